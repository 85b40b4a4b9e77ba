//! From floats to a `.gan` file.
//!
//! The folded generator is run on seeded latents; each tensor gets the range, out of the
//! full one and a ladder of clipped ones, that leaves the smallest squared error behind
//! its activation. Weights are symmetric with one scale per output channel. The bias of a layer
//! corrects the mean error that rounding its weights and inputs causes (Nagel et al. 2019).

mod constants;
mod lower;
mod multiplier;
mod operator;
mod range;
mod table;
mod weights;

use gan_core::encode::{CriticSpec, LayerSpec, ModelSpec, encode, encode_critic, encoded_bytes};
use gan_core::error::FileError;
use gan_core::latent::LATENT_SCALE;
use gan_core::types::WeightBits;
use gan_core::{ModelError, Quant};

use self::lower::{Input, IntLayer, flat, round_layers};
use crate::config::Config;
use crate::generator::{FloatGenerator, FloatLayer};
use crate::nn::network::GeneratorBlock;
use crate::nn::op::Op;
use crate::sample::{Order, float_input};
use crate::seeds;

pub use constants::{DominantConstant, dominant_constants};
pub(crate) use lower::map_shape;
pub(crate) use multiplier::{multiplier, multiplier_value};
pub use operator::weight_bits;
pub(crate) use operator::{rows_of, runtime_op};
pub use range::dequantize;
pub use weights::rounded_weights;

/// Latents that a run is calibrated on unless it says otherwise.
pub const CALIBRATION_IMAGES: usize = 512;

/// Options of the quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Latents that ranges and corrections are measured on.
    pub calibration_images: usize,
    /// Bits of the dense layer's weights.
    pub dense_bits: WeightBits,
    /// Sums of 16 bits before tanh and the like (1 KB of table), or of 8 as TensorFlow Lite
    /// has them.
    pub use_lut16: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calibration_images: CALIBRATION_IMAGES,
            dense_bits: WeightBits::Eight,
            use_lut16: true,
        }
    }
}

/// Why a generator has no int8 form.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A weight or an activation is not a number.
    #[error("layer {layer} has values that are not numbers: the training has diverged")]
    NotANumber {
        /// The layer, counted from 0.
        layer: usize,
    },
    /// A bias is too large for 32 bits beside the weights of its channel.
    #[error(
        "layer {layer}, channel {channel}: the bias is too large to be rounded; train with a \
         lower learning rate"
    )]
    Bias {
        /// The layer, counted from 0.
        layer: usize,
        /// The channel, counted from 0.
        channel: usize,
    },
    /// The runtime refuses the result.
    #[error("the int8 model would be refused: {0}")]
    Refused(#[from] ModelError),
}

/// Quantizes and encodes a generator.
pub fn quantize(generator: &FloatGenerator, options: &Options) -> Result<Vec<u8>, QuantizeError> {
    quantize_tuned(generator, generator, options)
}

/// As [`quantize`], with weights of `tuned`, whose rounded form is to do what `generator` does
/// unrounded.
pub fn quantize_tuned(
    generator: &FloatGenerator,
    tuned: &FloatGenerator,
    options: &Options,
) -> Result<Vec<u8>, QuantizeError> {
    let input = Input {
        x: calibration_input(generator, options.calibration_images.max(1)),
        shape: flat(generator.config.input_len()),
        quant: Quant {
            scale: LATENT_SCALE,
            zero_point: 0,
        },
        latent: generator.config.generator.latent,
    };
    let dense_output = |i, _| map_shape(generator.config.generator.dense_map(i));
    let pairs = generator.layers.iter().zip(&tuned.layers);
    let layers = round_layers(pairs, input, dense_output, options)?;
    encode_model(generator, &layers)
}

/// The float input of `count` images for calibration. *Shape*: `[count, latent + classes]`.
fn calibration_input(generator: &FloatGenerator, count: usize) -> Vec<f32> {
    let order = Order {
        count,
        seed: seeds::CALIBRATION,
        class: None,
    };
    let classes = generator.config.data.class_names.len();
    float_input(generator, &order.each(classes))
}

/// The `.gan` file of a generator whose weights are all 0: what a configuration needs of a
/// device. *Errors*: the runtime cannot draw what it describes.
pub fn blank_model(config: &Config, dataset: &str) -> Result<Vec<u8>, String> {
    let blank = |block: GeneratorBlock| FloatLayer {
        weight: vec![
            0.0;
            Op::from(block.op).weight_shape().0 * Op::from(block.op).weight_shape().1
        ],
        bias: vec![0.0; Op::from(block.op).c_out()],
        op: block.op,
        activation: block.activation,
    };
    let generator = FloatGenerator {
        config: config.clone(),
        dataset: dataset.to_owned(),
        step: 0,
        layers: config.generator_blocks()?.into_iter().map(blank).collect(),
    };
    let options = Options {
        calibration_images: 1,
        ..Options::default()
    };
    let quantized = quantize(&generator, &options);
    quantized.map_err(|error| {
        format!("the generator could be trained, but not be written for a device: {error}")
    })
}

/// Quantizes a critic of two dense layers and writes it into a model's `file`; `seen` `[n, len]`
/// is some of what it may see, as the integers mean it.
pub fn quantize_critic(
    file: &[u8],
    layers: &[FloatLayer],
    seen: Vec<f32>,
    halved: bool,
    passing: i8,
) -> Result<Vec<u8>, QuantizeError> {
    let model = gan_core::Model::parse(file)?;
    let n_in = layers
        .first()
        .map_or(0, |layer| Op::from(layer.op).input_len());
    let last = model.layers().last().map(|layer| layer.output);
    let input = Input {
        x: seen,
        shape: flat(n_in),
        quant: last.ok_or(ModelError::from(FileError::LayerCount { found: 0 }))?,
        latent: n_in,
    };
    let pairs = layers.iter().zip(layers);
    let layers = round_layers(pairs, input, |_, c| flat(c), &Options::default())?;
    let [first, second] = layers.as_slice() else {
        let found = layers.len();
        return Err(ModelError::from(FileError::LayerCount { found }).into());
    };
    let spec = CriticSpec {
        halved,
        passing,
        layers: [first.spec(), second.spec()],
    };
    match encode_critic(file, &spec, &mut []) {
        Err(ModelError::File(FileError::BufferTooSmall { need_bytes, .. })) => {
            let mut bytes = vec![0; need_bytes];
            encode_critic(file, &spec, &mut bytes)?;
            Ok(bytes)
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Vec::new()),
    }
}

fn encode_model(generator: &FloatGenerator, layers: &[IntLayer]) -> Result<Vec<u8>, QuantizeError> {
    let specs: Vec<LayerSpec> = layers.iter().map(IntLayer::spec).collect();
    let config = &generator.config;
    let labels: Vec<&str> = config.data.class_names.iter().map(String::as_str).collect();
    let latent = config.generator.latent;
    let spec = ModelSpec {
        name: &config.name,
        dataset: &generator.dataset,
        labels: &labels,
        latent_len: u16::try_from(latent)
            .map_err(|_| ModelError::from(FileError::TooLarge { value: latent }))?,
        steps: u32::try_from(generator.step).unwrap_or(u32::MAX),
        seed: config.training.seed,
        layers: &specs,
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes)?;
    Ok(bytes)
}
