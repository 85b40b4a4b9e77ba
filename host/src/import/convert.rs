//! Takes each layer's tensors out of a file, checked, in our layouts.

use std::collections::BTreeSet;

use super::layout::{convolution, first_conv_transpose, linear, map_to_nhwc};
use super::names::{Modules, tensor_name};
use super::net::Section;
use super::weights::Tensors;
use crate::config::FirstMap;
use crate::nn::Conv;
use crate::nn::network::{BlockSpec, Op};
use crate::nn::norm::NORM_EPSILON;
use crate::train::checkpoint::Named;

/// A layer in our layouts.
pub struct Layer {
    /// Shape by [`Op::weight_shape`].
    weight: Vec<f32>,
    /// `[c]`, or for each value of the first map
    bias: Option<Vec<f32>>,
    norm: Option<Norm>,
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

/// A shape that a tensor may have, and the kind of module that has it.
type Form = (&'static str, Vec<usize>);

/// Takes tensors out of a file, and keeps what does not fit.
pub struct Converter<'t> {
    tensors: &'t Tensors,
    section: &'t Section,
    used: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'t> Converter<'t> {
    /// Of these tensors, of which `problems` are known already.
    pub fn new(tensors: &'t Tensors, section: &'t Section, problems: Vec<String>) -> Self {
        Self {
            tensors,
            section,
            used: BTreeSet::new(),
            problems,
        }
    }

    /// Layer `i`; `None` where something does not fit.
    pub fn layer(
        &mut self,
        i: usize,
        spec: &BlockSpec,
        map: &FirstMap,
        modules: &Modules,
    ) -> Option<Layer> {
        let forms = self.weight_forms(i, spec, map);
        let Some(module) = &modules.layer else {
            let needs = options(&forms);
            let problem = format!("{}: no weight {needs}", spec.name);
            self.problems.push(problem);
            return None;
        };
        let weight = self.take(spec, &tensor_name(module, "weight"), &forms);
        let kind = weight.map(|(kind, _)| kind);
        let bias = self.bias(spec, module, kind, map);
        let norm = self.norm(spec, modules.norm.as_deref(), kind, map);
        let (kind, values) = weight?;
        let of_norm = modules
            .norm
            .iter()
            .map(|norm| format!(", BatchNorm {norm}"));
        let mut layer = Layer {
            weight: match (spec.op, kind) {
                (Op::Dense { n_in, .. }, "Linear") => linear(values, n_in, map),
                (Op::Dense { n_in, .. }, _) => first_conv_transpose(values, n_in, map),
                (Op::ConvTranspose(conv) | Op::Conv(conv), _) => {
                    convolution(values, &conv, kind == "Conv2d")
                }
            },
            bias,
            norm,
            note: format!(
                "{:<16} {kind} {module}{}",
                spec.name,
                of_norm.collect::<String>()
            ),
        };
        if matches!(spec.op, Op::Dense { .. }) {
            layer.vectors_mut().for_each(|v| *v = map_to_nhwc(v, map));
        }
        Some(layer)
    }

    /// Shapes that the weight of layer `i` may have.
    fn weight_forms(&self, i: usize, spec: &BlockSpec, map: &FirstMap) -> Vec<Form> {
        let (c_in, c_out, k, stride) = match spec.op {
            Op::Dense { n_in, n_out, .. } => {
                return vec![
                    ("Linear", vec![n_out, n_in]),
                    (
                        "ConvTranspose2d",
                        vec![n_in, map.channels, map.height, map.width],
                    ),
                ];
            }
            Op::ConvTranspose(conv) | Op::Conv(conv) => {
                let Conv {
                    geometry,
                    c_in,
                    c_out,
                } = conv;
                (c_in, c_out, geometry.kernel, geometry.stride)
            }
        };
        let transposed = ("ConvTranspose2d", vec![c_in, c_out, k, k]);
        let plain = ("Conv2d", vec![c_out, c_in, k, k]);
        match self.section.conv2d.contains(&i) {
            true => vec![plain],
            false if stride == 1 && c_in != c_out => vec![transposed, plain],
            false => vec![transposed],
        }
    }

    /// The bias of a layer of this kind, if it has one; a `Linear`'s has a number for each value.
    fn bias(
        &mut self,
        spec: &BlockSpec,
        module: &str,
        kind: Option<&str>,
        map: &FirstMap,
    ) -> Option<Vec<f32>> {
        let name = tensor_name(module, "bias");
        if !self.tensors.contains_key(&name) {
            return None;
        }
        let mut forms = vector_forms(spec, map);
        match kind {
            Some("Linear") => forms.truncate(1),
            Some(_) => drop(forms.drain(..forms.len() - 1)),
            None => (),
        }
        self.take(spec, &name, &forms)
            .map(|(_, values)| values.to_vec())
    }

    /// The normalization of a layer of this kind, its variance for our epsilon.
    fn norm(
        &mut self,
        spec: &BlockSpec,
        module: Option<&str>,
        kind: Option<&str>,
        map: &FirstMap,
    ) -> Option<Norm> {
        let mut forms = vector_forms(spec, map);
        if kind.is_some_and(|kind| kind != "Linear") {
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
                true => self.take(spec, &name, &forms).map(|(_, v)| v.to_vec()),
                false => Some(vec![otherwise; mean.map_or(0, <[f32]>::len)]),
            }
        };
        let (gamma, beta) = (affine("weight", 1.0), affine("bias", 0.0));
        let eps = self.section.eps;
        if var?.iter().any(|&v| f64::from(v) + eps <= 0.0) {
            let name = tensor_name(module, "running_var");
            self.problems
                .push(format!("{name} has values that are no variances"));
        }
        let our_var = |&v: &f32| (f64::from(v) + eps - NORM_EPSILON) as f32;
        Some(Norm {
            mean: mean?.to_vec(),
            var: var?.iter().map(our_var).collect(),
            gamma: gamma?,
            beta: beta?,
        })
    }

    /// The tensor of a name, if it has one of these shapes, and which.
    fn take(
        &mut self,
        spec: &BlockSpec,
        name: &str,
        forms: &[Form],
    ) -> Option<(&'static str, &'t [f32])> {
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
        form.map(|&(kind, _)| (kind, tensor.values.as_slice()))
    }

    /// Everything that did not fit; tensors that nothing used are among it.
    pub fn finish(mut self) -> Vec<String> {
        for (name, tensor) in self.tensors {
            if !self.used.contains(name) {
                let shape = &tensor.shape;
                self.problems
                    .push(format!("{name} {shape:?} belongs to no layer"));
            }
        }
        self.problems
    }
}

/// Shapes of a bias or a normalization, the one for each channel last.
fn vector_forms(spec: &BlockSpec, map: &FirstMap) -> Vec<Form> {
    let channels = |c| ("each channel", vec![c]);
    match spec.op {
        Op::Dense { n_out, .. } if n_out != map.channels => {
            vec![("each value", vec![n_out]), channels(map.channels)]
        }
        Op::Dense { .. } => vec![channels(map.channels)],
        Op::ConvTranspose(conv) | Op::Conv(conv) => vec![channels(conv.c_out)],
    }
}

/// `[8, 4] (Linear) or [4, 8, 1, 1] (ConvTranspose2d)`
fn options(forms: &[Form]) -> String {
    let forms = forms
        .iter()
        .map(|(kind, shape)| format!("{shape:?} ({kind})"));
    forms.collect::<Vec<_>>().join(" or ")
}

impl Layer {
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

    /// Halves what goes into the activation.
    pub fn halve(&mut self) {
        let (scale, bias) = match &mut self.norm {
            Some(norm) => (&mut norm.gamma, Some(&mut norm.beta)),
            None => (&mut self.weight, self.bias.as_mut()),
        };
        scale
            .iter_mut()
            .chain(bias.into_iter().flatten())
            .for_each(|v| *v *= 0.5);
    }

    /// The tensors under their names in a run's file. A bias before normalization is taken from
    /// the mean.
    pub fn named(self, spec: &BlockSpec) -> Vec<Named> {
        let ((rows, cols), c) = (spec.op.weight_shape(), spec.op.c_out());
        let name = |part: &str| format!("average.{}.{part}", spec.name);
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
