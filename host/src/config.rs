//! What a run is made of: picture format, both networks, training.
//!
//! The presets are TOML files in `host/presets/`; a user's own file has the same
//! form. The run folder keeps the resolved one.

use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use gan_core::types::MAX_LAYERS;
use serde::{Deserialize, Serialize};

use crate::console::check_text;
use crate::data::{Colour, Fit, MAX_CLASSES};
use crate::files::read_regular;
use crate::memory::{TooMuch, reserved};
use crate::nn::network::{BlockSpec, Op};
use crate::nn::{Activation, Conv, Geometry, Margins};
use crate::train::augment::Augmentation;
use crate::train::loss::Loss;

/// Everything that decides the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of the model; goes into the `.gan` file.
    pub name: String,
    /// The pictures' format.
    pub image: Image,
    /// The network that goes to the device.
    pub generator: Generator,
    /// Its opponent, which stays on the host.
    pub discriminator: Discriminator,
    /// How both are trained.
    #[serde(default)]
    pub training: Training,
    /// Where the pictures come from.
    #[serde(default)]
    pub data: Data,
}

/// Size of a picture, in pixels, and its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
}

/// Dense layers, of which the last makes a map, then transposed convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Latent values; the class, one-hot, comes behind them.
    pub latent: usize,
    /// Dense layers before the one that makes the first map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<DenseLayer>,
    /// From the latent, or the last hidden layer, to the first map.
    pub dense: FirstMap,
    /// From map to map, the last to the picture.
    #[serde(default)]
    pub conv_transpose: Vec<ConvTransposeLayer>,
}

impl Generator {
    /// The map that dense layer `i` writes, counted from the first hidden one.
    pub fn dense_map(&self, i: usize) -> Image {
        match self.hidden.get(i) {
            Some(layer) => Image {
                height: 1,
                width: 1,
                channels: layer.units,
            },
            None => Image {
                height: self.dense.height,
                width: self.dense.width,
                channels: self.dense.channels,
            },
        }
    }

    /// The activations of all layers, first to last.
    pub fn activations_mut(&mut self) -> impl Iterator<Item = &mut Activation> {
        let hidden = self.hidden.iter_mut().map(|layer| &mut layer.activation);
        let maps = self
            .conv_transpose
            .iter_mut()
            .map(|layer| &mut layer.activation);
        hidden.chain([&mut self.dense.activation]).chain(maps)
    }
}

/// The generator's dense layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstMap {
    /// Of the map, in pixels.
    pub height: usize,
    /// Of the map, in pixels.
    pub width: usize,
    /// Of the map.
    pub channels: usize,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// A bias (or normalization) for each value of the map, not for each channel.
    #[serde(default)]
    pub per_value: bool,
    /// After it.
    pub activation: Activation,
}

/// One transposed convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeLayer {
    /// Of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Output pixels per input pixel.
    pub stride: usize,
    /// Cut off at the top, left, bottom and right, in pixels.
    pub crop: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}

/// Convolutions, then dense layers; the judgement (one dense unit and the projection on
/// the class) follows by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// From map to map.
    #[serde(default)]
    pub conv: Vec<ConvLayer>,
    /// Hidden dense layers behind the maps.
    #[serde(default)]
    pub dense: Vec<DenseLayer>,
    /// Weights over their largest singular value, in every layer (Miyato et al. 2018).
    #[serde(default)]
    pub spectral_norm: bool,
}

/// One convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvLayer {
    /// Of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Input pixels per output pixel.
    pub stride: usize,
    /// Zeros added at the top, left, bottom and right, in pixels.
    pub pad: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}

/// One hidden dense layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseLayer {
    /// Values out.
    pub units: usize,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}

/// The recipe: DCGAN (Radford et al. 2016) with an averaged generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Updates of each network.
    pub steps: u64,
    /// Pictures per step.
    pub batch: usize,
    /// Decides everything random in the run.
    pub seed: u64,
    /// Of Adam, before it decays.
    pub learning_rate: f32,
    /// The discriminator's, where it is to be another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminator_learning_rate: Option<f32>,
    /// Adam's decay of the first moment.
    pub beta1: f32,
    /// Adam's decay of the second moment.
    pub beta2: f32,
    /// bce, hinge or relativistic.
    pub loss: Loss,
    /// What the discriminator's target for real pictures stays below 1 (not with hinge).
    pub label_smoothing: f32,
    /// Weight of the `LeCam` regularizer, which holds the discriminator back on little data.
    pub lecam: f32,
    /// Changes to what the discriminator sees: "translation", "color", "cutout"; none given
    /// means all of them where there are few pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Vec<Augmentation>>,
    /// A run, or its generator.safetensors, whose pictures the generator is to draw too, of
    /// the same latents; its generator may have any layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Weight of the mean squared difference from the teacher's pictures.
    pub teacher_weight: f32,
    /// What the loss of judging real pictures counts for in the discriminator's.
    pub real_weight: f32,
    /// What the loss of judging generated pictures counts for in it.
    pub fake_weight: f32,
    /// Share of the steps after which the learning rate starts to fall.
    pub decay_from: f32,
    /// What it has fallen to, linearly, at the end, as a share of itself.
    pub decay_to: f32,
    /// Share of the old average generator kept at each step.
    pub ema: f32,
    /// Standard deviation of the first weights.
    pub init_std: f32,
    /// Whether a run that collapses, saturates or meets a NaN goes back and, at last, stops.
    pub watch: bool,
    /// Steps between looks at the confidence risk, 0 for none: the least risky generator is
    /// kept, and a run that gets no better stops.
    pub watch_risk: u64,
    /// Steps between sample grids.
    pub sample_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 4_000,
            batch: 64,
            seed: 1,
            learning_rate: 2e-4,
            discriminator_learning_rate: None,
            beta1: 0.5,
            beta2: 0.99,
            loss: Loss::Bce,
            label_smoothing: 0.0,
            lecam: 0.0,
            augment: None,
            teacher: None,
            teacher_weight: 5.0,
            real_weight: 1.0,
            fake_weight: 1.0,
            decay_from: 0.5,
            decay_to: 0.02,
            ema: 0.999,
            init_std: 0.02,
            watch: true,
            watch_risk: 0,
            sample_every: 250,
            checkpoint_every: 250,
        }
    }
}

/// Source of the pictures; none means the set that comes with the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// IDX files, a folder of pictures or a tile sheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Width and height of a sheet's tiles, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tile: Option<(usize, usize)>,
    /// Names for classes that are only numbers in the data, as in IDX files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What happens to pictures of another aspect: "crop", "pad" or "stretch".
    #[serde(skip_serializing_if = "is_default")]
    pub fit: Fit,
    /// Colour behind transparent pixels and beside padded pictures.
    #[serde(skip_serializing_if = "is_default")]
    pub background: Colour,
    /// Whether IDX files have rows for columns, as EMNIST's do.
    #[serde(skip_serializing_if = "is_default")]
    pub transpose: bool,
    /// Whether any number of files of a folder may be left out.
    #[serde(skip_serializing_if = "is_default", alias = "accept_losses")]
    pub skip_invalid: bool,
    /// Names of the classes, filled in from the data.
    pub class_names: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Presets by name.
pub const PRESETS: [(&str, &str); 4] = [
    ("fashion", include_str!("../presets/fashion.toml")),
    ("avatar", include_str!("../presets/avatar.toml")),
    ("seed", include_str!("../presets/seed.toml")),
    ("seed-relu", include_str!("../presets/seed-relu.toml")),
];

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Error,
    },
    /// Not TOML, a key nobody knows, or a value of the wrong type.
    #[error("{origin}, {message}")]
    Syntax {
        /// File or preset.
        origin: String,
        /// Line, problem and remedy.
        message: String,
    },
    /// The layers do not make a network.
    #[error("{origin}: {message}")]
    Shape {
        /// File or preset.
        origin: String,
        /// Problem and remedy.
        message: String,
    },
}

impl Config {
    /// A preset by name, `None` if there is none.
    pub fn preset(name: &str) -> Option<Result<Self, ConfigError>> {
        let (name, text) = PRESETS.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(text, &format!("preset {name}")))
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_text(path)?, &path.display().to_string())
    }

    /// Parses and checks `text`, which came from `origin`.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            origin: origin.to_owned(),
            message: explain(text, &error),
        })?;
        config.check(origin)?;
        Ok(config)
    }

    /// Checks that the values make sense together.
    pub fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let shape = |message: String| ConfigError::Shape {
            origin: origin.to_owned(),
            message,
        };
        check_name(&self.name).map_err(shape)?;
        check_names("data.labels", &self.data.labels).map_err(shape)?;
        check_names("data.class_names", &self.data.class_names).map_err(shape)?;
        if !matches!(self.image.channels, 1 | 3) {
            let channels = self.image.channels;
            return Err(shape(format!(
                "image.channels is {channels}, use 1 (grey) or 3 (RGB)"
            )));
        }
        let classes = self.data.class_names.len();
        if classes > MAX_CLASSES {
            return Err(shape(format!(
                "data.class_names has {classes} names, at most {MAX_CLASSES} are possible"
            )));
        }
        self.training.check().map_err(shape)?;
        self.check_sizes().map_err(shape)?;
        let generator = self.generator_blocks().map_err(shape)?;
        let discriminator = self.discriminator_blocks().map_err(shape)?;
        let blocks = [generator, discriminator].concat();
        self.check_memory(&blocks).map_err(|e| shape(e.to_string()))
    }

    /// Checks that there is memory for the weights with their gradients and moments, and for
    /// the maps of a batch with their gradients.
    fn check_memory(&self, blocks: &[BlockSpec]) -> Result<(), TooMuch> {
        let weights = blocks.iter().map(|block| {
            let (rows, columns) = block.op.weight_shape();
            rows.saturating_mul(columns)
        });
        let weights = weights.fold(0, usize::saturating_add);
        reserved::<[f32; 4]>("the number of weights", &[weights])?;
        let values = blocks.iter().map(|block| block.op.output_len());
        let values = values.fold(0, usize::saturating_add);
        reserved::<[f32; 2]>("training.batch", &[self.training.batch, values])?;
        Ok(())
    }

    /// Checks that no size is absurd, so that products of them are numbers.
    fn check_sizes(&self) -> Result<(), String> {
        let first = &self.generator.dense;
        let mut sizes = vec![
            ("image.height".to_owned(), self.image.height),
            ("image.width".into(), self.image.width),
            ("generator.latent".into(), self.generator.latent),
            ("generator.dense.height".into(), first.height),
            ("generator.dense.width".into(), first.width),
            ("generator.dense.channels".into(), first.channels),
        ];
        let mut push = |at: String, of: [usize; 3], margins: (&str, [usize; 4])| {
            let [channels, kernel, stride] = of;
            let named = [
                ("channels", channels),
                ("kernel", kernel),
                ("stride", stride),
            ];
            let margins = margins.1.map(|margin| (margins.0, margin));
            let named = named.into_iter().chain(margins);
            sizes.extend(named.map(|(name, size)| (format!("{at}, {name}"), size)));
        };
        for (layer, i) in self.generator.conv_transpose.iter().zip(1..) {
            let of = [layer.channels, layer.kernel, layer.stride];
            let at = format!("generator.conv_transpose number {i}");
            push(at, of, ("crop", layer.crop));
        }
        for (layer, i) in self.discriminator.conv.iter().zip(1..) {
            let of = [layer.channels, layer.kernel, layer.stride];
            let at = format!("discriminator.conv number {i}");
            push(at, of, ("pad", layer.pad));
        }
        let dense = [
            ("generator.hidden", &self.generator.hidden),
            ("discriminator.dense", &self.discriminator.dense),
        ];
        for (key, layers) in dense {
            for (layer, i) in layers.iter().zip(1..) {
                sizes.push((format!("{key} number {i}, units"), layer.units));
            }
        }
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > LARGEST_SIZE) {
            return Err(format!("{name} is {size}, the largest is {LARGEST_SIZE}"));
        }
        self.check_format_limits()
    }

    /// Checks what a `.gan` file has room for, so that nothing is trained that it has not.
    fn check_format_limits(&self) -> Result<(), String> {
        let convs = &self.generator.conv_transpose;
        let layers = self.generator.hidden.len() + 1 + convs.len();
        if layers > MAX_LAYERS {
            return Err(format!(
                "the generator has {layers} layers, the most that a device draws is {MAX_LAYERS}"
            ));
        }
        for (i, layer) in convs.iter().enumerate() {
            let sizes = [("kernel", layer.kernel), ("stride", layer.stride)];
            let crops = layer.crop.map(|crop| ("crop", crop));
            for (key, size) in sizes.into_iter().chain(crops) {
                if size > usize::from(u8::MAX) {
                    let (number, most) = (i + 1, u8::MAX);
                    return Err(format!(
                        "generator.conv_transpose number {number}: a {key} of {size}, the most \
                         that a device draws is {most}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Weights of both networks.
    pub fn weights(&self) -> Result<usize, String> {
        let blocks = [self.generator_blocks()?, self.discriminator_blocks()?].concat();
        let shapes = blocks.iter().map(|block| block.op.weight_shape());
        Ok(shapes.map(|(rows, columns)| rows * columns).sum())
    }

    /// Values into the generator: latent and one-hot class.
    pub fn input_len(&self) -> usize {
        self.generator.latent + self.data.class_names.len()
    }

    /// The generator, layer by layer; an error says which layer does not fit.
    pub fn generator_blocks(&self) -> Result<Vec<BlockSpec>, String> {
        let first = &self.generator.dense;
        let n_out = first.height * first.width * first.channels;
        check_map(
            "generator.dense",
            [first.height, first.width],
            first.channels,
        )?;
        if n_out == 0 || self.generator.latent == 0 {
            return Err("generator.latent and the size of generator.dense must not be 0".into());
        }
        let (mut blocks, mut n_in) = (Vec::new(), self.input_len());
        for (i, layer) in self.generator.hidden.iter().enumerate() {
            let n_out = layer.units;
            if n_out == 0 {
                return Err(format!("generator.hidden number {} has no units", i + 1));
            }
            blocks.push(BlockSpec {
                name: format!("hidden{}", i + 1),
                op: Op::Dense {
                    n_in,
                    n_out,
                    c_out: n_out,
                },
                norm: layer.norm,
                spectral: false,
                activation: layer.activation,
            });
            n_in = n_out;
        }
        blocks.push(BlockSpec {
            name: "dense".into(),
            op: Op::Dense {
                n_in,
                n_out,
                c_out: if first.per_value {
                    n_out
                } else {
                    first.channels
                },
            },
            norm: first.norm,
            spectral: false,
            activation: first.activation,
        });
        let (mut size, mut c_in) = ([first.height, first.width], first.channels);
        for (i, layer) in self.generator.conv_transpose.iter().enumerate() {
            let at = format!("generator.conv_transpose number {}", i + 1);
            let geometry = (layer.channels > 0).then_some(margins(layer.crop));
            let geometry = geometry
                .and_then(|crop| Geometry::conv_transpose(size, layer.kernel, layer.stride, crop))
                .ok_or_else(|| format!("{at} leaves nothing of its {size:?} input"))?;
            check_map(&at, geometry.big, layer.channels)?;
            blocks.push(BlockSpec {
                name: format!("conv_transpose{}", i + 1),
                op: Op::ConvTranspose(Conv {
                    geometry,
                    c_in,
                    c_out: layer.channels,
                }),
                norm: layer.norm,
                spectral: false,
                activation: layer.activation,
            });
            (size, c_in) = (geometry.big, layer.channels);
        }
        if let Some(last) = blocks.last().filter(|b| b.activation != Activation::Tanh) {
            return Err(format!(
                "the last layer of the generator, {}, has to end in tanh: pictures go from -1 to 1",
                last.name
            ));
        }
        let image = [self.image.height, self.image.width, self.image.channels];
        if [size[0], size[1], c_in] != image {
            return Err(format!(
                "the generator draws {}x{}x{c_in} pictures, [image] says {}x{}x{} \
                 (height x width x channels): change the last layers or [image]",
                size[0], size[1], image[0], image[1], image[2]
            ));
        }
        Ok(blocks)
    }

    /// The discriminator, with the judgement as its last block: one unit, and one more
    /// per class of which only the picture's own counts (Miyato and Koyama 2018).
    pub fn discriminator_blocks(&self) -> Result<Vec<BlockSpec>, String> {
        let mut blocks = Vec::new();
        let (mut size, mut c_in) = ([self.image.height, self.image.width], self.image.channels);
        for (i, layer) in self.discriminator.conv.iter().enumerate() {
            let at = format!("discriminator.conv number {}", i + 1);
            let geometry = (layer.channels > 0).then_some(margins(layer.pad));
            let geometry = geometry
                .and_then(|pad| Geometry::conv(size, layer.kernel, layer.stride, pad))
                .ok_or_else(|| format!("{at}: its kernel does not fit its {size:?} input"))?;
            check_map(&at, geometry.small, layer.channels)?;
            blocks.push(BlockSpec {
                name: format!("conv{}", i + 1),
                op: Op::Conv(Conv {
                    geometry,
                    c_in,
                    c_out: layer.channels,
                }),
                norm: layer.norm,
                spectral: self.discriminator.spectral_norm,
                activation: layer.activation,
            });
            (size, c_in) = (geometry.small, layer.channels);
        }
        let mut n_in = size[0] * size[1] * c_in;
        let mut dense = |name: String, n_out, norm, activation| {
            blocks.push(BlockSpec {
                name,
                op: Op::Dense {
                    n_in,
                    n_out,
                    c_out: n_out,
                },
                norm,
                spectral: self.discriminator.spectral_norm,
                activation,
            });
            n_in = n_out;
        };
        for (i, layer) in self.discriminator.dense.iter().enumerate() {
            if layer.units == 0 {
                return Err(format!("discriminator.dense number {} has no units", i + 1));
            }
            dense(
                format!("dense{}", i + 1),
                layer.units,
                layer.norm,
                layer.activation,
            );
        }
        let judgements = 1 + self.data.class_names.len();
        dense("judgement".into(), judgements, false, Activation::Linear);
        Ok(blocks)
    }
}

/// Most bytes of a name: file systems take 255 for a path's component.
const LONGEST_NAME_BYTES: usize = 100;

/// Checks that a name can be a run's folder, a path's one component on every system.
fn check_name(name: &str) -> Result<(), String> {
    check_text("name", name)?;
    let reserved = |c: char| matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    if name.starts_with('.') || name.ends_with(['.', ' ']) || name.contains(reserved) {
        return Err(format!(
            "name is `{name}`, which cannot be a folder's name everywhere: use letters, digits, \
             `-` and `_`"
        ));
    }
    if name.len() > LONGEST_NAME_BYTES {
        let bytes = name.len();
        return Err(format!(
            "name has {bytes} bytes, the most is {LONGEST_NAME_BYTES}"
        ));
    }
    Ok(())
}

/// Checks that classes have names to show, and that no two share one.
pub fn check_names(what: &str, names: &[String]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for (class, name) in names.iter().enumerate() {
        check_text(&format!("{what}: the name of class {class}"), name)?;
        if !seen.insert(name) {
            return Err(format!("{what} has two classes `{name}`: rename one"));
        }
    }
    Ok(())
}

impl Training {
    fn check(&self) -> Result<(), String> {
        let unit = 0.0..=1.0;
        let shares = [
            ("decay_from", self.decay_from),
            ("decay_to", self.decay_to),
            ("ema", self.ema),
            ("label_smoothing", self.label_smoothing),
        ];
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(format!(
                    "training.{key} is {beta}, use a number from 0 to below 1"
                ));
            }
        }
        for (key, value) in shares {
            if !unit.contains(&value) {
                return Err(format!(
                    "training.{key} is {value}, use a number from 0 to 1"
                ));
            }
        }
        let weights = [
            self.real_weight,
            self.fake_weight,
            self.lecam,
            self.teacher_weight,
        ];
        if !weights
            .iter()
            .all(|weight| weight.is_finite() && *weight >= 0.0)
        {
            return Err(
                "training.real_weight, fake_weight, lecam and teacher_weight must be 0 or more, \
                 and finite"
                    .into(),
            );
        }
        if self.batch < 2 {
            return Err("training.batch must be 2 or more: batch statistics need them".into());
        }
        let sizes = [
            ("learning_rate", Some(self.learning_rate)),
            (
                "discriminator_learning_rate",
                self.discriminator_learning_rate,
            ),
            ("init_std", Some(self.init_std)),
        ];
        for (key, size) in sizes {
            if !size.is_none_or(|size| size > 0.0 && size.is_finite()) {
                let size = size.unwrap_or_default();
                return Err(format!(
                    "training.{key} is {size}, use a finite number above 0"
                ));
            }
        }
        if self.steps == 0 || self.sample_every == 0 || self.checkpoint_every == 0 {
            return Err("training.steps, sample_every and checkpoint_every must not be 0".into());
        }
        Ok(())
    }
}

/// Largest side, kernel or number of channels that a network may have.
const LARGEST_SIZE: usize = 1 << 14;
/// Most values of a map.
const LARGEST_MAP: usize = 1 << 26;

fn check_map(at: &str, [height, width]: [usize; 2], channels: usize) -> Result<(), String> {
    if height.max(width) > LARGEST_SIZE || height * width * channels > LARGEST_MAP {
        return Err(format!(
            "{at} makes {height}x{width}x{channels} values, the most is {LARGEST_MAP}"
        ));
    }
    Ok(())
}

fn margins([top, left, bottom, right]: [usize; 4]) -> Margins {
    Margins {
        top,
        left,
        bottom,
        right,
    }
}

/// The most bytes of a configuration.
const TEXT_BYTES: u64 = 1 << 20;

/// The text of a configuration.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read = read_regular(path, TEXT_BYTES).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    });
    read.map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Line, problem, and for an unknown key the nearest known one.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text[..start].matches('\n').count();
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let nearest = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => known
            .iter()
            .max_by(|a, b| {
                let likeness = |key: &str| strsim::jaro_winkler(unknown, key);
                likeness(a).total_cmp(&likeness(b))
            })
            .map(|key| format!("; did you mean `{key}`?")),
        _ => None,
    };
    format!("line {line}: {message}{}", nearest.unwrap_or_default())
}
