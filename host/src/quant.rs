//! From floats to a `.gan` file.
//!
//! The folded generator is run on seeded latents; each tensor gets the range, out of the
//! full one and a ladder of clipped ones, that leaves the smallest squared error behind
//! its activation. Weights are symmetric with one scale per output channel.

use gan_core::format::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::latent::LATENT_SCALE;
use gan_core::model::Window;
use gan_core::{Activation as CoreActivation, ModelError, Multiplier, Op as CoreOp, Quant, Shape};

use crate::generator::{FloatGenerator, FloatLayer};
use crate::nn::Activation;
use crate::nn::network::Op;
use crate::sample::{Order, float_input};

/// Latents that a run is calibrated on unless it says otherwise.
pub const CALIBRATION_IMAGES: usize = 512;

/// Seeds of calibration begin here, far from those that people type.
const CALIBRATION_SEED: u64 = 1 << 48;

/// Shares of the full range that are tried for each end.
const CLIP_STEPS: usize = 40;

/// Why a generator has no int8 form.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A weight or an activation is not a number.
    #[error("layer {layer} has values that are not numbers: the training has diverged")]
    NotANumber {
        /// Counted from 0.
        layer: usize,
    },
    /// The runtime refuses the result.
    #[error("the int8 model would be refused: {0}")]
    Refused(#[from] ModelError),
}

/// A layer in integers, owned.
struct IntLayer {
    op: CoreOp,
    input_shape: Shape,
    output_shape: Shape,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    sum: Quant,
    output: Quant,
    relu: bool,
    table: Option<[u8; 256]>,
}

/// Quantizes and encodes a generator, calibrated on `images` seeded latents.
pub fn quantize(generator: &FloatGenerator, images: usize) -> Result<Vec<u8>, QuantizeError> {
    let order = Order {
        count: images.max(1),
        seed: CALIBRATION_SEED,
        class: None,
    };
    let mut x = float_input(generator, &order, 0..order.count);
    let input_len = generator.config.input_len();
    let mut shape = Shape {
        h: 1,
        w: 1,
        c: input_len,
    };
    let mut quant = Quant {
        scale: LATENT_SCALE,
        zero_point: 0,
    };
    let mut layers = Vec::new();
    for (i, layer) in generator.layers.iter().enumerate() {
        let mut sums = layer.sums(&x);
        if !sums.iter().chain(&layer.weight).all(|v| v.is_finite()) {
            return Err(QuantizeError::NotANumber { layer: i });
        }
        let (sum, output) = activation_quants(layer.activation, &sums);
        layers.push(int_layer(layer, shape, quant, sum, output, generator));
        layer.activate(&mut sums);
        (x, quant) = (sums, output);
        shape = layers[i].output_shape;
    }
    encode_model(generator, &layers)
}

/// Quantization of a layer's sum and of its output.
fn activation_quants(act: Activation, sums: &[f32]) -> (Quant, Quant) {
    match act {
        Activation::Relu => {
            let quant = best_quant(sums, act, true);
            (quant, quant)
        }
        Activation::Linear => {
            let quant = best_quant(sums, act, false);
            (quant, quant)
        }
        Activation::Tanh => {
            let output = Quant {
                scale: 1.0 / 128.0,
                zero_point: 0,
            };
            (best_quant(sums, act, false), output)
        }
        Activation::LeakyRelu => {
            let sum = best_quant(sums, act, false);
            let outputs: Vec<f32> = sums.iter().map(|&v| act.apply(v)).collect();
            (sum, best_quant(&outputs, Activation::Linear, false))
        }
    }
}

/// The range of `[low, high]` and its clipped forms with the smallest squared error of
/// the activation's output. `positive`: ReLU follows, so the range begins at 0 and its
/// zero point is -128.
fn best_quant(sums: &[f32], act: Activation, positive: bool) -> Quant {
    let low = sums.iter().fold(0f32, |low, &v| low.min(v));
    let high = sums.iter().fold(0f32, |high, &v| high.max(v));
    let low = if positive { 0.0 } else { low };
    // A fixed stride keeps the search fast; the end points come from all values.
    let stride = sums.len().div_ceil(1 << 15).max(1);
    let sample: Vec<f32> = sums.iter().copied().step_by(stride).collect();
    let error = |quant: &Quant| -> f64 {
        let errors = sample.iter().map(|&v| {
            let back = act.apply(dequantize(quantize_value(v, quant), quant));
            f64::from(back - act.apply(v)).powi(2)
        });
        errors.sum()
    };
    let share = |i: usize| 1.0 - i as f32 / (CLIP_STEPS + 10) as f32;
    let mut best = quant_of(low, high);
    let mut least = error(&best);
    let mut consider = |low: f32, high: f32| {
        let quant = quant_of(low, high);
        let error = error(&quant);
        if error < least {
            (best, least) = (quant, error);
            return true;
        }
        false
    };
    // One end after the other: the error has one valley along each.
    let mut ends = (low, high);
    for i in 1..CLIP_STEPS {
        if consider(ends.0, high * share(i)) {
            ends.1 = high * share(i);
        }
    }
    for i in 1..CLIP_STEPS {
        if low < 0.0 {
            consider(low * share(i), ends.1);
        }
    }
    best
}

/// Scale and zero point that put `[low, high]`, 0 included, on `[-128, 127]`.
fn quant_of(low: f32, high: f32) -> Quant {
    let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE * 256.0);
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0);
    Quant {
        scale,
        zero_point: zero_point as i8,
    }
}

fn quantize_value(v: f32, quant: &Quant) -> i8 {
    let q = (v / quant.scale).round() + f32::from(quant.zero_point);
    q.clamp(-128.0, 127.0) as i8
}

/// The real number that `q` stands for.
pub fn dequantize(q: i8, quant: &Quant) -> f32 {
    f32::from(i16::from(q) - i16::from(quant.zero_point)) * quant.scale
}

fn int_layer(
    layer: &FloatLayer,
    input_shape: Shape,
    input: Quant,
    sum: Quant,
    output: Quant,
    generator: &FloatGenerator,
) -> IntLayer {
    let (op, output_shape, rows) = layer_rows(layer, generator);
    let mut int = IntLayer {
        op,
        input_shape,
        output_shape,
        weights: Vec::new(),
        bias: Vec::new(),
        multipliers: Vec::new(),
        sum,
        output,
        relu: layer.activation == Activation::Relu,
        table: table(layer.activation, &sum, &output),
    };
    for (weights, bias) in rows {
        let largest = weights.iter().fold(0f32, |max, w| max.max(w.abs()));
        let scale = f64::from(largest.max(f32::MIN_POSITIVE * 256.0)) / 127.0;
        let quantized = |w: &f32| (f64::from(*w) / scale).round().clamp(-127.0, 127.0) as i8;
        int.weights.extend(weights.iter().map(quantized));
        let product_scale = f64::from(input.scale) * scale;
        let bias = (f64::from(bias) / product_scale).round();
        // The limit leaves room for the largest sum of products that a layer may have.
        int.bias.push(bias.clamp(-5e8, 5e8) as i32);
        int.multipliers
            .push(multiplier(product_scale / f64::from(sum.scale)));
    }
    int
}

/// A layer's weights output channel by output channel, in the runtime's order, and its
/// biases.
fn layer_rows(
    layer: &FloatLayer,
    generator: &FloatGenerator,
) -> (CoreOp, Shape, Vec<(Vec<f32>, f32)>) {
    match layer.op {
        Op::Dense { n_in, n_out, c_out } => {
            let first = &generator.config.generator.dense;
            let shape = Shape {
                h: first.height,
                w: first.width,
                c: first.channels,
            };
            let row = |o: usize| {
                let weights = (0..n_in).map(|i| layer.weight[i * n_out + o]).collect();
                (weights, layer.bias[o % c_out])
            };
            (CoreOp::Dense, shape, (0..n_out).map(row).collect())
        }
        Op::ConvTranspose(conv) | Op::Conv(conv) => {
            let g = conv.geometry;
            let full = |i: usize| (g.small[i] - 1) * g.stride + g.kernel;
            let window = Window {
                kernel: g.kernel,
                stride: g.stride,
                crop_top: g.top,
                crop_left: g.left,
                crop_bottom: full(0) - g.top - g.big[0],
                crop_right: full(1) - g.left - g.big[1],
            };
            let shape = Shape {
                h: g.big[0],
                w: g.big[1],
                c: conv.c_out,
            };
            let row = |o: usize| {
                let at = |tap: usize, i: usize| (i * g.taps() + tap) * conv.c_out + o;
                let weights = (0..g.taps())
                    .flat_map(|tap| (0..conv.c_in).map(move |i| layer.weight[at(tap, i)]));
                (weights.collect(), layer.bias[o])
            };
            let rows = (0..conv.c_out).map(row).collect();
            (CoreOp::ConvTranspose(window), shape, rows)
        }
    }
}

/// Mantissa and shift of a positive real number (TensorFlow Lite's `QuantizeMultiplier`).
fn multiplier(real: f64) -> Multiplier {
    let mut exponent = real.log2().floor() as i32 + 1;
    let mut mantissa = (real * 2f64.powi(31 - exponent)).round();
    if mantissa >= 2f64.powi(31) {
        mantissa /= 2.0;
        exponent += 1;
    }
    if exponent < -31 {
        return Multiplier {
            mantissa: 0,
            shift: 0,
        };
    }
    if exponent > 30 {
        return Multiplier {
            mantissa: i32::MAX,
            shift: 30,
        };
    }
    Multiplier {
        mantissa: mantissa as i32,
        shift: exponent as i8,
    }
}

/// Outputs for sums from -128 to 127, where a clamp does not do.
fn table(act: Activation, sum: &Quant, output: &Quant) -> Option<[u8; 256]> {
    if matches!(act, Activation::Linear | Activation::Relu) {
        return None;
    }
    let entry = |i: usize| {
        let q = i8::from_ne_bytes([(i as u8) ^ 0x80]);
        let value = act.apply(dequantize(q, sum));
        quantize_value(value, output) as u8
    };
    Some(std::array::from_fn(entry))
}

fn encode_model(generator: &FloatGenerator, layers: &[IntLayer]) -> Result<Vec<u8>, QuantizeError> {
    let specs: Vec<LayerSpec> = layers
        .iter()
        .map(|layer| LayerSpec {
            op: layer.op,
            input_shape: layer.input_shape,
            output_shape: layer.output_shape,
            weights: &layer.weights,
            bias: &layer.bias,
            multipliers: &layer.multipliers,
            sum: layer.sum,
            output: layer.output,
            activation: match &layer.table {
                Some(table) => CoreActivation::Table(table),
                None => CoreActivation::Clamp {
                    min: if layer.relu {
                        layer.sum.zero_point
                    } else {
                        -128
                    },
                    max: 127,
                },
            },
        })
        .collect();
    let config = &generator.config;
    let labels: Vec<&str> = config.data.class_names.iter().map(String::as_str).collect();
    let spec = ModelSpec {
        name: &config.name,
        dataset: &generator.dataset,
        labels: &labels,
        latent_len: u16::try_from(config.generator.latent).map_err(|_| ModelError::BadText)?,
        steps: u32::try_from(generator.step).unwrap_or(u32::MAX),
        seed: config.training.seed,
        layers: &specs,
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes)?;
    Ok(bytes)
}
