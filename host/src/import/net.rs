//! The network that a PyTorch file is to fill: a configuration whose discriminator and
//! training may be left out, and `[import]`, which says what the file's names and shapes do
//! not.

use std::path::Path;

use serde::Deserialize;

use crate::config::{
    Config, ConfigError, Data, Discriminator, Generator, Image, Training, explain, read_text,
};
use crate::nn::Activation;
use crate::nn::network::{BlockSpec, Op};
use crate::nn::norm::{LEAKY_SLOPE, NORM_EPSILON};

/// A checked description.
pub struct Net {
    /// Resolved, but for `per_value`, which the weights tell.
    pub config: Config,
    /// What was said about the file.
    pub section: Section,
    /// The last layer was sigmoid, and is tanh now: its weights are to be halved, because
    /// `2 sigmoid(x) - 1 = tanh(x / 2)`.
    pub halved: bool,
}

/// `[import]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// Module of each layer's weight, first to last.
    pub layers: Option<Vec<String>>,
    /// Module of each layer's normalization, "" for none.
    pub norms: Option<Vec<String>>,
    /// Layers that are `Conv2d`, where shapes do not tell; the dense one is 0.
    pub conv2d: Vec<usize>,
    /// Of every normalization.
    pub eps: f64,
    /// Of every `LeakyReLU`.
    pub leaky_slope: f64,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            layers: None,
            norms: None,
            conv2d: Vec::new(),
            eps: NORM_EPSILON,
            leaky_slope: LEAKY_SLOPE,
        }
    }
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
        let last = config.generator.conv_transpose.last_mut();
        let last = last.map_or(&mut config.generator.dense.activation, |layer| {
            &mut layer.activation
        });
        let halved = *last == Activation::Sigmoid;
        if halved {
            *last = Activation::Tanh;
        }
        config.check(&origin)?;
        let shape = |message| ConfigError::Shape {
            origin: origin.clone(),
            message,
        };
        let blocks = config.generator_blocks().map_err(shape)?;
        let problems = file.import.problems(&blocks);
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

impl Section {
    /// What does not fit the layers, a line each.
    fn problems(&self, blocks: &[BlockSpec]) -> Vec<String> {
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
        for &i in &self.conv2d {
            match blocks.get(i).map(|spec| (&spec.name, spec.op)) {
                Some((_, Op::ConvTranspose(conv))) if conv.geometry.stride == 1 => (),
                Some((name, Op::ConvTranspose(conv))) => problems.push(format!(
                    "conv2d: {name} has stride {}; a Conv2d can have stride 1 only",
                    conv.geometry.stride
                )),
                _ => problems.push(format!(
                    "conv2d: layer {i} is no convolution; they are 1 to {}",
                    count - 1
                )),
            }
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            problems.push(format!("eps is {}, use a number above 0", self.eps));
        }
        let leaky = |spec: &&BlockSpec| spec.activation == Activation::LeakyRelu;
        if self.leaky_slope != LEAKY_SLOPE {
            let leaky = blocks.iter().filter(leaky).map(|spec| {
                format!(
                    "leaky_slope is {}: {} is leaky_relu, whose slope here is {LEAKY_SLOPE} and \
                     no other",
                    self.leaky_slope, spec.name
                )
            });
            problems.extend(leaky);
        }
        problems
    }
}
