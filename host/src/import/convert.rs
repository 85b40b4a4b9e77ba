//! Takes each layer's tensors out of a file, checked, in our layouts.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::kind::{Kind, is_ambiguous, reaches_all};
use super::layout;
use super::names::{Modules, tensor_name};
use super::net::{Embedding, Joined, Section};
use super::weights::{Tensor, Tensors};
use crate::config::Image;
use crate::nn::Conv;
use crate::nn::network::GeneratorBlock;
use crate::nn::norm::NORM_EPSILON;
use crate::nn::op::{GeneratorOp, Op};
use crate::train::checkpoint::{Named, ema_tensor};

/// A layer in our layouts.
pub struct Layer {
    /// Shape by [`Op::weight_shape`].
    weight: Vec<f32>,
    /// `[c]`, or for each value of the first map
    bias: Option<Vec<f32>>,
    norm: Option<Norm>,
    /// What an input channel that is always 1 has to add, in the order of the weights' last
    /// `k * k * c_out`: biases before a `PixelShuffle`, where those of a channel differ.
    phases: Option<Vec<f32>>,
    /// Which modules it is made of.
    pub note: String,
}

/// Batch normalization, `[c]` each, or for each value of the first map.
struct Norm {
    mean: Vec<f32>,
    var: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

/// A shape that a tensor may have, and what has it.
type Form<K> = (K, Vec<usize>);

/// Takes tensors out of a file, and keeps what does not fit.
pub struct Converter<'t> {
    tensors: &'t Tensors,
    section: &'t Section,
    classes: usize,
    used: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'t> Converter<'t> {
    /// Of these tensors, of which `problems` are known already.
    pub fn new(
        tensors: &'t Tensors,
        section: &'t Section,
        classes: usize,
        problems: Vec<String>,
    ) -> Self {
        Self {
            tensors,
            section,
            classes,
            used: BTreeSet::new(),
            problems,
        }
    }

    /// Layer `i`; `None` where something does not fit.
    pub fn layer(
        &mut self,
        i: usize,
        spec: &GeneratorBlock,
        map: &Image,
        modules: &Modules,
    ) -> Option<Layer> {
        let embedding = match i {
            0 => self.embedding(),
            _ => None,
        };
        let forms = self.weight_forms(i, spec, map, modules);
        let Some(module) = &modules.layer else {
            let needs = options(&forms);
            let problem = format!("{}: no weight {needs}", spec.name);
            self.problems.push(problem);
            return None;
        };
        let name = tensor_name(module, "weight");
        let weight = self.take(spec, &name, &forms);
        if weight.is_none() && self.section.kind(i).is_none() {
            self.hint(i, spec, &name);
        }
        let kind = weight.map(|(kind, _)| kind);
        let bias = self.bias(spec, module, kind, map);
        let norm = self.norm(i, spec, modules.norm.as_deref(), kind, map);
        let (kind, tensor) = weight?;
        let values = match (kind, &tensor.transposed) {
            (Kind::ConvTranspose2d, Some(values)) => values,
            _ => &tensor.values,
        };
        // Keras's order is ours.
        let order = match self.section.channels_last && kind == Kind::Linear {
            true => &flat(Op::from(spec.op).output_len()),
            false => map,
        };
        let of_norm = modules.norm.iter();
        let of_norm: String = of_norm.map(|norm| format!(", BatchNorm {norm}")).collect();
        let mut layer = Layer {
            weight: ours(values, spec.op, kind, order),
            bias,
            norm,
            phases: None,
            note: format!("{:<16} {kind} {module}{of_norm}", spec.name),
        };
        match (spec.op, kind) {
            (GeneratorOp::Dense { n_in, n_out, .. }, _) => {
                for v in layer.vectors_mut().filter(|v| v.len() == n_out) {
                    *v = layout::map_to_nhwc(v, order);
                }
                if let Some((joined, tensor)) = embedding {
                    let latent = n_in - tensor.shape[0];
                    layer.fold_embedding(joined, tensor, latent, n_out);
                }
            }
            (GeneratorOp::ConvTranspose(conv), Kind::Conv2dPixelShuffle) => {
                layer.merge_phases(&conv);
                if layer.phases.is_some() && !reaches_all(&conv) {
                    self.problems.push(format!(
                        "{name}: the biases of a channel differ before PixelShuffle, which has a \
                         form only where the Conv2d's padding is at most (k - 1) / 2"
                    ));
                }
            }
            _ => (),
        }
        Some(layer)
    }

    /// Shapes that the weight of layer `i` may have.
    fn weight_forms(
        &mut self,
        i: usize,
        spec: &GeneratorBlock,
        map: &Image,
        modules: &Modules,
    ) -> Vec<Form<Kind>> {
        let conv = match spec.op {
            GeneratorOp::Dense { n_in, n_out, .. } => {
                let n_in = match (i, self.embedding()) {
                    (0, Some((_, tensor))) => n_in - tensor.shape[0] + tensor.shape[1],
                    _ => n_in,
                };
                let of_map = vec![n_in, map.channels, map.height, map.width];
                return vec![
                    (Kind::Linear, vec![n_out, n_in]),
                    (Kind::ConvTranspose2d, of_map),
                ];
            }
            GeneratorOp::ConvTranspose(conv) => conv,
        };
        let kinds = match self.section.kind(i) {
            Some(kind) => vec![kind],
            None => vec![Kind::ConvTranspose2d, Kind::Conv2d],
        };
        let forms = kinds
            .into_iter()
            .filter_map(|kind| Some((kind, kind.weight_shape(&conv)?)));
        let forms: Vec<Form<Kind>> = forms.collect();
        if let (None, true, Some(module)) =
            (self.section.kind(i), is_ambiguous(&conv), &modules.layer)
        {
            let weight = self.tensors.get(&tensor_name(module, "weight"));
            let fits = |tensor: &Tensor| forms.iter().any(|(_, shape)| *shape == tensor.shape);
            if weight.is_some_and(fits) {
                self.problems.push(ambiguity(i, spec, &conv, module));
            }
        }
        forms
    }

    /// Says of a weight of another shape what a `Conv2d` of that shape could be.
    fn hint(&mut self, i: usize, spec: &GeneratorBlock, name: &str) {
        let GeneratorOp::ConvTranspose(conv) = spec.op else {
            return;
        };
        let tensor = self.tensors.get(name);
        let hint = tensor.and_then(|tensor| Kind::hint(&tensor.shape, &conv, i));
        if let (Some(hint), Some(problem)) = (hint, self.problems.last_mut()) {
            problem.push_str("; ");
            problem.push_str(&hint);
        }
    }

    /// How the class's embedding meets the latent, and its tensor `[classes, len]`.
    fn embedding(&mut self) -> Option<(Joined, &'t Tensor)> {
        let Embedding { module, joined } = self.section.embedding.as_ref()?;
        let name = tensor_name(module, "weight");
        let is_new = self.used.insert(name.clone());
        let tensor = self.tensors.get(&name);
        let found = tensor.filter(|tensor| {
            let shape = &tensor.shape;
            self.classes > 0 && shape.len() == 2 && shape[0] == self.classes && shape[1] > 0
        });
        if found.is_none() && is_new {
            let shape = tensor.map_or("missing".into(), |tensor| format!("{:?}", tensor.shape));
            self.problems.push(format!(
                "{name} is {shape}: an Embedding of the class has a row for each, and class_names \
                 in [data] are {}",
                self.classes
            ));
        }
        found.map(|tensor| (*joined, tensor))
    }

    /// The bias of a layer of this kind, if it has one; a `Linear`'s has a number for each value.
    fn bias(
        &mut self,
        spec: &GeneratorBlock,
        module: &str,
        kind: Option<Kind>,
        map: &Image,
    ) -> Option<Vec<f32>> {
        let name = tensor_name(module, "bias");
        if !self.tensors.contains_key(&name) {
            return None;
        }
        let mut forms = vector_forms(spec, kind, map);
        match kind {
            Some(Kind::Linear | Kind::Conv2dPixelShuffle) => forms.truncate(1),
            Some(_) => drop(forms.drain(..forms.len() - 1)),
            None => (),
        }
        self.take(spec, &name, &forms)
            .map(|(_, tensor)| tensor.values.clone())
    }

    /// The normalization of a layer of this kind, its variance for our epsilon.
    fn norm(
        &mut self,
        i: usize,
        spec: &GeneratorBlock,
        module: Option<&str>,
        kind: Option<Kind>,
        map: &Image,
    ) -> Option<Norm> {
        let mut forms = vector_forms(spec, kind, map);
        if kind == Some(Kind::ConvTranspose2d) {
            drop(forms.drain(..forms.len() - 1));
        }
        let Some(module) = module else {
            if spec.norm {
                let needs = options(&forms);
                let none = format!("{}: no BatchNorm {needs}; norm = false if so", spec.name);
                self.problems.push(none);
            }
            return None;
        };
        let (form, mean) = self
            .take(spec, &tensor_name(module, "running_mean"), &forms)
            .unzip();
        // The others are to be like it.
        forms.retain(|(each, _)| form.is_none_or(|form| form == *each));
        let (_, var) = self
            .take(spec, &tensor_name(module, "running_var"), &forms)
            .unzip();
        let mut affine = |part: &str, otherwise: f32| {
            let name = tensor_name(module, part);
            match self.tensors.contains_key(&name) {
                true => self
                    .take(spec, &name, &forms)
                    .map(|(_, t)| t.values.clone()),
                false => Some(vec![otherwise; mean.map_or(0, |mean| mean.values.len())]),
            }
        };
        let (gamma, beta) = (affine("weight", 1.0), affine("bias", 0.0));
        let eps = self.section.eps.at(i);
        if var?.values.iter().any(|&v| f64::from(v) + eps <= 0.0) {
            let name = tensor_name(module, "running_var");
            self.problems
                .push(format!("{name} has values that are no variances"));
        }
        let our_var = |&v: &f32| (f64::from(v) + eps - NORM_EPSILON) as f32;
        Some(Norm {
            mean: mean?.values.clone(),
            var: var?.values.iter().map(our_var).collect(),
            gamma: gamma?,
            beta: beta?,
        })
    }

    /// The tensor of a name, if it has one of these shapes, and which.
    fn take<K: Copy + Display>(
        &mut self,
        spec: &GeneratorBlock,
        name: &str,
        forms: &[Form<K>],
    ) -> Option<(K, &'t Tensor)> {
        self.used.insert(name.to_owned());
        let needs = || format!("{} needs {}", spec.name, options(forms));
        let Some(tensor) = self.tensors.get(name) else {
            self.problems
                .push(format!("{name} is missing: {}", needs()));
            return None;
        };
        let form = forms.iter().find(|(_, shape)| *shape == tensor.shape);
        if form.is_none() {
            self.problems
                .push(format!("{name} is {:?}: {}", tensor.shape, needs()));
        }
        if let Some(problem) = &tensor.problem {
            self.problems.push(format!("{name} {problem}"));
        }
        form.map(|&(kind, _)| (kind, tensor))
    }

    /// Everything that did not fit, and names of tensors that nothing used. Those are among what
    /// does not fit, unless `[import]` names all modules.
    pub fn finish(mut self) -> (Vec<String>, Vec<String>) {
        let Section { layers, norms, .. } = self.section;
        let all_named = layers.is_some() && norms.is_some();
        let mut unused = Vec::new();
        for (name, tensor) in self.tensors {
            if self.used.contains(name) {
                continue;
            }
            unused.push(name.clone());
            if !all_named {
                let shape = &tensor.shape;
                let problem = format!("{name} {shape:?} belongs to no layer");
                self.problems.push(problem);
            }
        }
        (self.problems, unused)
    }
}

/// A weight in our layout; a dense layer's values are `order`'s `[c, h, w]`.
fn ours(values: &[f32], op: GeneratorOp, kind: Kind, order: &Image) -> Vec<f32> {
    match (op, kind) {
        (GeneratorOp::Dense { n_out, .. }, Kind::Linear) => {
            layout::linear(values, values.len() / n_out, order)
        }
        (GeneratorOp::Dense { n_out, .. }, _) => {
            layout::first_conv_transpose(values, values.len() / n_out, order)
        }
        (GeneratorOp::ConvTranspose(conv), kind) => match kind {
            Kind::UpsampleConv2d => layout::upsampled(values, &conv),
            Kind::Conv2dPixelShuffle => layout::pixel_shuffled(values, &conv),
            _ => layout::convolution(values, &conv, kind == Kind::Conv2d),
        },
    }
}

/// The error for a weight that may be of two kinds.
fn ambiguity(i: usize, spec: &GeneratorBlock, conv: &Conv, module: &str) -> String {
    let (c, k, stride) = (conv.c_in, conv.geometry.kernel, conv.geometry.stride);
    let of_kernel = format!("({c}, {c}, {k}");
    let otherwise = match stride {
        1 => format!("Conv2d{of_kernel}): say conv2d = [{i}]"),
        _ => {
            let hint = Kind::hint(&[c, c, k, k], conv, i).unwrap_or_default();
            format!("Conv2d{of_kernel}) behind Upsample({stride}): {hint}")
        }
    };
    format!(
        "{}: {module}.weight can be ConvTranspose2d{of_kernel}, {stride}): say \
         conv_transpose2d = [{i}] in [import]; or {otherwise}",
        spec.name
    )
}

/// Shapes of a bias or a normalization, the one for each channel last.
fn vector_forms(spec: &GeneratorBlock, kind: Option<Kind>, map: &Image) -> Vec<Form<&'static str>> {
    let channels = |c| ("each channel", vec![c]);
    match spec.op {
        GeneratorOp::Dense { n_out, .. } if n_out != map.channels => {
            vec![("each value", vec![n_out]), channels(map.channels)]
        }
        GeneratorOp::Dense { .. } => vec![channels(map.channels)],
        GeneratorOp::ConvTranspose(conv) => {
            let shuffled = conv.c_out * conv.geometry.stride.pow(2);
            let mut forms = vec![channels(conv.c_out)];
            if kind == Some(Kind::Conv2dPixelShuffle) {
                forms.insert(0, ("each channel before PixelShuffle", vec![shuffled]));
            }
            forms
        }
    }
}

/// `[8, 4] (Linear) or [4, 8, 1, 1] (ConvTranspose2d)`
fn options<K: Display>(forms: &[Form<K>]) -> String {
    let forms = forms
        .iter()
        .map(|(kind, shape)| format!("{shape:?} ({kind})"));
    forms.collect::<Vec<_>>().join(" or ")
}

/// A map of one pixel.
const fn flat(channels: usize) -> Image {
    Image {
        height: 1,
        width: 1,
        channels,
    }
}

impl Layer {
    /// Takes classes, one-hot behind the latent, in the place of their embedding: the rows of its
    /// values become, for each class, their sum with its embedding's numbers.
    fn fold_embedding(&mut self, joined: Joined, embedding: &Tensor, latent: usize, n_out: usize) {
        let len = embedding.shape[1];
        let (first, second) = self.weight.split_at(match joined {
            Joined::Before => len * n_out,
            _ => latent * n_out,
        });
        let (of_class, of_latent) = match joined {
            Joined::Before => (first, second),
            _ => (second, first),
        };
        let mut weight = of_latent.to_vec();
        for numbers in embedding.values.chunks_exact(len) {
            let mut sums = vec![0f64; n_out];
            for (row, &number) in of_class.chunks_exact(n_out).zip(numbers) {
                for (sum, &w) in sums.iter_mut().zip(row) {
                    *sum += f64::from(number) * f64::from(w);
                }
            }
            weight.extend(sums.into_iter().map(|sum| sum as f32));
        }
        self.weight = weight;
    }

    /// Whether the bias or the normalization has `len` numbers.
    pub fn has_len(&self, len: usize) -> bool {
        let of_norm = self.norm.as_ref().map(|norm| norm.mean.len());
        let of_bias = self.bias.as_ref().map(Vec::len);
        of_norm == Some(len) || of_bias == Some(len)
    }

    fn vectors_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let norm = self.norm.iter_mut();
        let norm = norm.flat_map(|n| [&mut n.mean, &mut n.var, &mut n.gamma, &mut n.beta]);
        norm.chain(&mut self.bias)
    }

    /// Repeats numbers of each channel for every pixel, so that there are `len`.
    pub fn spread(&mut self, len: usize) {
        self.vectors_mut()
            .for_each(|v| *v = v.repeat(len / v.len()));
    }

    /// Turns what a `Conv2d` has for each of its channels into what there is behind the
    /// `PixelShuffle`: a normalization in between goes into weights and bias, and a bias becomes
    /// its mean in each channel; what is left of it is [`phases`](Self::take_phases).
    fn merge_phases(&mut self, conv: &Conv) {
        let (g, c) = (conv.geometry, conv.c_out);
        let each = g.stride * g.stride;
        let mut bias: Vec<f64> = match &self.bias {
            Some(bias) => bias.iter().map(|&b| f64::from(b)).collect(),
            None => vec![0.0; c * each],
        };
        if let Some(norm) = self
            .norm
            .take_if(|norm| norm.mean.len() == c * each && each > 1)
        {
            let std = |v: f32| (f64::from(v) + NORM_EPSILON).sqrt();
            let scales = norm.gamma.iter().zip(&norm.var);
            let scales: Vec<f64> = scales.map(|(&g, &v)| f64::from(g) / std(v)).collect();
            for (at, w) in self.weight.iter_mut().enumerate() {
                let (tap, o) = (at / c % g.taps(), at % c);
                let phase = tap / g.kernel % g.stride * g.stride + tap % g.kernel % g.stride;
                *w = (f64::from(*w) * scales[o * each + phase]) as f32;
            }
            for (i, b) in bias.iter_mut().enumerate() {
                *b = f64::from(norm.beta[i]) + (*b - f64::from(norm.mean[i])) * scales[i];
            }
        }
        let means = bias.chunks_exact(each);
        let means: Vec<f64> = means.map(|b| b.iter().sum::<f64>() / each as f64).collect();
        let rest = bias
            .iter()
            .enumerate()
            .map(|(i, b)| (b - means[i / each]) as f32);
        let rest: Vec<f32> = rest.collect();
        self.phases = (rest.iter().any(|&b| b != 0.0)).then(|| layout::phase_offsets(&rest, conv));
        self.bias = Some(means.into_iter().map(|b| b as f32).collect());
    }

    /// Whether there is a normalization.
    pub fn is_normed(&self) -> bool {
        self.norm.is_some()
    }

    /// The weights of an input channel that is always 1, if there is one.
    pub fn take_phases(&mut self) -> Option<Vec<f32>> {
        self.phases.take()
    }

    /// Takes one more input channel, the last, which is always `value` and adds `offsets`.
    pub fn add_input(&mut self, offsets: &[f32], value: f32) {
        self.weight
            .extend(offsets.iter().map(|offset| offset / value));
    }

    /// Writes one more channel behind each pixel's `c` channels, which is always 1 before the
    /// activation; biases are `biases` numbers.
    pub fn add_constant(&mut self, c: usize, biases: usize) {
        let wider = |values: &[f32], one: f32| -> Vec<f32> {
            let pixels = values.chunks_exact(c);
            pixels
                .flat_map(|pixel| pixel.iter().copied().chain([one]))
                .collect()
        };
        self.weight = wider(&self.weight, 0.0);
        let of_bias = if self.norm.is_some() { 0.0 } else { 1.0 };
        let bias = self.bias.get_or_insert_with(|| vec![0.0; biases]);
        *bias = wider(bias, of_bias);
        if let Some(norm) = &mut self.norm {
            norm.mean = wider(&norm.mean, 0.0);
            norm.var = wider(&norm.var, 1.0);
            norm.gamma = wider(&norm.gamma, 1.0);
            norm.beta = wider(&norm.beta, 1.0);
        }
    }

    /// Halves what goes into the activation.
    pub fn halve(&mut self) {
        let halved: Vec<&mut Vec<f32>> = match &mut self.norm {
            Some(norm) => vec![&mut norm.gamma, &mut norm.beta],
            None => {
                let offsets = self.bias.iter_mut().chain(&mut self.phases);
                [&mut self.weight].into_iter().chain(offsets).collect()
            }
        };
        halved.into_iter().flatten().for_each(|v| *v *= 0.5);
    }

    /// The tensors under their names in a run's file. A bias before normalization is taken from
    /// the mean.
    pub fn named(self, spec: &GeneratorBlock) -> Vec<Named> {
        let op = Op::from(spec.op);
        let ((rows, cols), c) = (op.weight_shape(), op.c_out());
        let name = |part: &str| ema_tensor(&format!("{}.{part}", spec.name));
        let mut named = vec![(name("weight"), vec![rows, cols], self.weight)];
        let bias = self.bias.unwrap_or_else(|| vec![0.0; c]);
        match self.norm {
            None => named.push((name("beta"), vec![1, c], bias)),
            Some(norm) => {
                let less =
                    |(&mean, &bias): (&f32, &f32)| (f64::from(mean) - f64::from(bias)) as f32;
                let mean = norm.mean.iter().zip(&bias).map(less).collect();
                named.extend([
                    (name("gamma"), vec![1, c], norm.gamma),
                    (name("beta"), vec![1, c], norm.beta),
                    (name("mean"), vec![c], mean),
                    (name("var"), vec![c], norm.var),
                ]);
            }
        }
        named
    }
}
