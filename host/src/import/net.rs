//! The network that a PyTorch file is to fill: a configuration whose discriminator and
//! training may be left out, and `[import]`, which says what the file's names and shapes do
//! not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::kind::Kind;
use crate::config::{
    Config, ConfigError, Data, Discriminator, Generator, Image, Training, explain, read_text,
};
use crate::nn::activation::LEAKY_SLOPE;
use crate::nn::network::GeneratorBlock;
use crate::nn::norm::NORM_EPSILON;
use crate::nn::{Activation, Conv};

/// A checked description.
pub struct Net {
    /// Resolved, but for `per_value`, which the weights tell.
    pub config: Config,
    /// Description of the import by the user.
    pub section: Section,
    /// The last layer was sigmoid, and is tanh now: its weights are to be halved, because
    /// `2 sigmoid(x) - 1 = tanh(x / 2)`.
    pub halved: bool,
}

/// `[import]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// Prefix of the generator's tensors, where the file has others.
    pub prefix: Option<String>,
    /// Modules or tensors that are not the generator's.
    pub ignore: Vec<String>,
    /// Module of each layer's weight, first to last.
    pub layers: Option<Vec<String>>,
    /// Module of each layer's normalization, "" for none.
    pub norms: Option<Vec<String>>,
    /// Layers that are `Conv2d`, where shapes do not tell; the dense one is 0.
    pub conv2d: Vec<usize>,
    /// Layers that are `ConvTranspose2d`, where shapes do not tell.
    pub conv_transpose2d: Vec<usize>,
    /// Layers that are a `Conv2d` behind an `Upsample`.
    pub upsample: Vec<usize>,
    /// The mode of the `Upsample`s.
    pub upsample_mode: UpsampleMode,
    /// Layers that are a `Conv2d` before a `PixelShuffle`.
    pub pixel_shuffle: Vec<usize>,
    /// The class's `Embedding`.
    pub embedding: Option<Embedding>,
    /// Whether the dense layer's values are `[h, w, c]`, as Keras has them, not `[c, h, w]`.
    pub channels_last: bool,
    /// The `eps` of the normalizations.
    pub eps: PerLayer,
    /// Slope of the `LeakyReLU`s, where the layers do not say it.
    pub leaky_slope: Option<PerLayer>,
}

/// A number for all layers, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a number, or a list of a number for each layer")]
pub enum PerLayer {
    /// The same for all.
    All(f64),
    /// First to last.
    Each(Vec<f64>),
}

/// An `Embedding` of the class, joined to the latent by `cat`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Its module.
    pub module: String,
    /// How it meets the latent.
    pub joined: Joined,
}

/// How a class's embedding and the latent become one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// `cat([embedding, latent])`
    Before,
    /// `cat([latent, embedding])`
    After,
    /// `embedding * latent`
    Times,
}

impl PerLayer {
    /// The number of layer `i`.
    pub fn at(&self, i: usize) -> f64 {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values.get(i).copied().unwrap_or(f64::NAN),
        }
    }

    /// The problem with the numbers of `count` layers, each of which has to pass `is_good`.
    fn problems(
        &self,
        (key, use_what): (&str, &str),
        count: usize,
        is_good: impl Fn(f64) -> bool,
    ) -> Vec<String> {
        let values = match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values.as_slice(),
        };
        let bad = values.iter().filter(|&&value| !is_good(value));
        let mut problems: Vec<String> = bad
            .map(|value| format!("{key} is {value}, use {use_what}"))
            .collect();
        if let Self::Each(values) = self
            && values.len() != count
        {
            problems.push(format!(
                "{key} has {} numbers, there are {count} layers: give one for all, or one for each",
                values.len()
            ));
        }
        problems
    }
}

impl Default for Section {
    fn default() -> Self {
        Self {
            prefix: None,
            ignore: Vec::new(),
            layers: None,
            norms: None,
            conv2d: Vec::new(),
            conv_transpose2d: Vec::new(),
            upsample: Vec::new(),
            upsample_mode: UpsampleMode::Nearest,
            pixel_shuffle: Vec::new(),
            embedding: None,
            channels_last: false,
            eps: PerLayer::All(NORM_EPSILON),
            leaky_slope: None,
        }
    }
}

/// `mode` of an `Upsample`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpsampleMode {
    /// Each pixel again and again.
    Nearest,
    /// The same, where the factor is whole.
    NearestExact,
    /// Means of neighbours.
    Bilinear,
    /// Of more of them.
    Bicubic,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    image: Image,
    generator: Generator,
    #[serde(default)]
    discriminator: Discriminator,
    #[serde(default)]
    training: Training,
    #[serde(default)]
    data: Data,
    #[serde(default)]
    import: Section,
}

impl Net {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = read_text(path)?;
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            origin: origin.clone(),
            message: explain(&text, &error),
        })?;
        let mut config = Config {
            name: file.name,
            image: file.image,
            generator: file.generator,
            discriminator: file.discriminator,
            training: file.training,
            data: file.data,
        };
        let last = config.generator.activations_mut().last();
        let last = last.filter(|last| **last == Activation::Sigmoid);
        let halved = last.map(|last| *last = Activation::Tanh).is_some();
        config.check(&origin)?;
        let shape = |message| ConfigError::Shape {
            origin: origin.clone(),
            message,
        };
        let blocks = config.generator_blocks().map_err(shape)?;
        let mut problems = file.import.problems(&blocks);
        if let Some(slopes) = &file.import.leaky_slope {
            give_slopes(&mut config, &blocks, slopes, &mut problems);
        }
        if !problems.is_empty() {
            return Err(shape(format!("[import]\n  {}", problems.join("\n  "))));
        }
        Ok(Self {
            config,
            section: file.import,
            halved,
        })
    }
}

/// Gives the `LeakyReLU`s that do not say it their slopes.
fn give_slopes(
    config: &mut Config,
    blocks: &[GeneratorBlock],
    slopes: &PerLayer,
    problems: &mut Vec<String>,
) {
    let activations = config.generator.activations_mut().zip(blocks);
    for (i, (activation, spec)) in activations.enumerate() {
        let Activation::LeakyRelu(own) = activation else {
            continue;
        };
        let given = slopes.at(i);
        if *own != LEAKY_SLOPE && *own != given {
            problems.push(format!(
                "leaky_slope is {given} for {}, whose activation says {own}: give one of them",
                spec.name
            ));
        }
        *own = given;
    }
}

impl Section {
    /// Whether a key names a module.
    pub fn names(&self, module: &str) -> bool {
        let lists = [&self.layers, &self.norms].into_iter().flatten().flatten();
        let of_class = self.embedding.iter().map(|embedding| &embedding.module);
        lists.chain(of_class).any(|named| named == module)
    }

    /// The names of modules.
    pub fn modules_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let lists = [&mut self.layers, &mut self.norms].into_iter();
        let of_class = self
            .embedding
            .iter_mut()
            .map(|embedding| &mut embedding.module);
        lists.flatten().flatten().chain(of_class)
    }

    /// The entries that do not fit the layers, a line each.
    fn problems(&self, blocks: &[GeneratorBlock]) -> Vec<String> {
        let mut problems = Vec::new();
        let count = blocks.len();
        let lists = [("layers", &self.layers), ("norms", &self.norms)];
        for (key, list) in lists {
            if let Some(found) = list.as_ref().map(Vec::len).filter(|&len| len != count) {
                problems.push(format!(
                    "{key} names {found} modules, there are {count} layers: name one for each, \
                     the dense layer's first"
                ));
            }
        }
        for (module, spec) in self.norms.iter().flatten().zip(blocks) {
            if module.is_empty() == spec.norm {
                problems.push(format!(
                    "norms has {module:?} for {}, whose norm is {}: one of them is wrong",
                    spec.name, spec.norm
                ));
            }
        }
        self.kind_problems(blocks, &mut problems);
        let eps = ("eps", "a number of 0 or more");
        let is_eps = |eps: f64| eps.is_finite() && eps >= 0.0;
        problems.extend(self.eps.problems(eps, count, is_eps));
        let slope = ("leaky_slope", "a number from 0 to below 1");
        let is_slope = |slope: f64| (0.0..1.0).contains(&slope);
        let slopes = self.leaky_slope.iter();
        problems.extend(slopes.flat_map(|slopes| slopes.problems(slope, count, is_slope)));
        if let Some(Embedding { module, joined }) = &self.embedding
            && *joined == Joined::Times
        {
            problems.push(format!(
                "embedding: {module} is multiplied with the latent, which is no layer of a \
                 generator here; one that is joined to it by cat is"
            ));
        }
        problems
    }
    /// The kind of layer `i`, if it is given.
    pub fn kind(&self, i: usize) -> Option<Kind> {
        let kinds = self.kinds();
        let given = kinds.iter().find(|(_, layers, _)| layers.contains(&i));
        given.map(|&(_, _, kind)| kind)
    }

    /// The keys that give the kinds of layers.
    fn kinds(&self) -> [(&'static str, &[usize], Kind); 4] {
        [
            ("conv2d", &self.conv2d, Kind::Conv2d),
            (
                "conv_transpose2d",
                &self.conv_transpose2d,
                Kind::ConvTranspose2d,
            ),
            ("upsample", &self.upsample, Kind::UpsampleConv2d),
            (
                "pixel_shuffle",
                &self.pixel_shuffle,
                Kind::Conv2dPixelShuffle,
            ),
        ]
    }

    /// Kinds that a layer cannot have, a line each.
    fn kind_problems(&self, blocks: &[GeneratorBlock], problems: &mut Vec<String>) {
        let mut given = BTreeMap::new();
        for (key, layers, kind) in self.kinds() {
            for &i in layers {
                if let Some(other) = given.insert(i, key) {
                    problems.push(format!("{other} and {key} both name layer {i}"));
                }
                let Some((name, conv)) = blocks.get(i).and_then(convolution) else {
                    let first = blocks.iter().take_while(|spec| convolution(spec).is_none());
                    problems.push(format!(
                        "{key}: layer {i} is no convolution; they are {} to {}",
                        first.count(),
                        blocks.len() - 1
                    ));
                    continue;
                };
                let (kernel, stride) = (conv.geometry.kernel, conv.geometry.stride);
                match kind {
                    Kind::Conv2d if stride != 1 => problems.push(format!(
                        "conv2d: {name} has stride {stride}; a Conv2d can have stride 1 only. \
                         Behind Upsample({stride}) it is upsample = [{i}], before \
                         PixelShuffle({stride}) it is pixel_shuffle = [{i}]"
                    )),
                    Kind::UpsampleConv2d if kernel < stride => problems.push(format!(
                        "upsample: {name} has kernel {kernel} and stride {stride}: Upsample(s) \
                         and Conv2d of k taps are kernel = k + s - 1, stride = s, crop four times \
                         k - 1 - padding"
                    )),
                    Kind::Conv2dPixelShuffle if kind.weight_shape(&conv).is_none() => {
                        problems.push(format!(
                            "pixel_shuffle: {name} has kernel {kernel} and stride {stride}: Conv2d \
                             of k taps and PixelShuffle(s) are kernel = k * s, stride = s, crop \
                             four times s * (k - 1 - padding)"
                        ));
                    }
                    Kind::UpsampleConv2d => problems.extend(self.mode_problem(name, &conv)),
                    _ => (),
                }
            }
        }
    }

    /// Why the `Upsample` before a convolution has no exact form.
    fn mode_problem(&self, name: &str, conv: &Conv) -> Option<String> {
        let mode = match self.upsample_mode {
            UpsampleMode::Nearest | UpsampleMode::NearestExact => return None,
            // All neighbours of a single pixel are itself.
            _ if conv.geometry.small == [1, 1] => return None,
            UpsampleMode::Bilinear => "bilinear",
            UpsampleMode::Bicubic => "bicubic",
        };
        Some(format!(
            "upsample_mode: {name}'s Upsample is {mode}, which repeats the pixels of the border \
             where it needs more; a transposed convolution has zeros there, so images would be \
             wrong along all borders. Train with Upsample(mode=\"nearest\") instead"
        ))
    }
}

/// A layer's name and transposed convolution, if it is one.
fn convolution(spec: &GeneratorBlock) -> Option<(&str, Conv)> {
    Some((&spec.name, spec.op.conv_transpose()?))
}
