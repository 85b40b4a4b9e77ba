//! A model within TensorFlow Lite's means.

use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::{Activation as CoreActivation, Layer, Model, Multiplier, Quant};

use super::TfliteError;
use super::function;
use crate::nn::Activation;
use crate::quant::multiplier;

/// Steps of a wide sum in one of a narrow sum of the same range.
const WIDE_STEPS: f32 = 256.0;

/// Where tanh comes to half a step of 1: wider sums would only have wider steps.
const TANH_REACH: f32 = 2.567;

/// A layer, rewritten.
struct Rewritten {
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    pre_activation: Quant,
    table: Option<[u8; 256]>,
}

/// The `.gan` file next to `model` that TensorFlow Lite can draw to the bit: sums before tanh
/// and the like have 8 bits, their tables are those of its operators, and multipliers are
/// quotients of `f32` scales. A file that `host quantize --tanh-bits 8` wrote stays as it is;
/// vetted seeds and critic are left out.
pub fn form(model: &Model<'_>) -> Result<Vec<u8>, TfliteError> {
    let layers = model.layers().iter().enumerate();
    let rewritten: Vec<Rewritten> = layers
        .map(|(i, layer)| rewrite(i, layer))
        .collect::<Result<_, _>>()?;
    let specs: Vec<LayerSpec<'_>> = model
        .layers()
        .iter()
        .zip(&rewritten)
        .map(|(layer, new)| LayerSpec {
            op: layer.op,
            input_shape: layer.input_shape,
            output_shape: layer.output_shape,
            weights: &new.weights,
            weight_bits: layer.weight_bits,
            bias: &new.bias,
            multipliers: &new.multipliers,
            pre_activation: new.pre_activation,
            output: layer.output,
            function: layer.function,
            activation: match &new.table {
                Some(table) => CoreActivation::Lut8(table),
                None => layer.activation,
            },
        })
        .collect();
    let labels: Vec<&str> = model.labels().collect();
    let spec = ModelSpec {
        name: model.name(),
        dataset: model.dataset(),
        labels: &labels,
        latent_len: u16::try_from(model.latent_len()).unwrap_or(u16::MAX),
        steps: model.steps(),
        seed: model.seed(),
        layers: &specs,
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes)?;
    Ok(bytes)
}

fn rewrite(i: usize, layer: &Layer<'_>) -> Result<Rewritten, TfliteError> {
    let act = function(layer);
    let mut sum = layer.pre_activation;
    if matches!(layer.activation, CoreActivation::Lut16(_)) {
        sum.scale *= WIDE_STEPS;
        if act == Some(Activation::Tanh) {
            sum.scale = sum.scale.min(TANH_REACH / 127.0);
        }
    }
    let (bias, multipliers) = layer
        .channels(0)
        .map(|(bias, m)| {
            let narrowed = match sum == layer.pre_activation {
                true => m,
                false => multiplier(
                    real(m) * f64::from(layer.pre_activation.scale) / f64::from(sum.scale),
                ),
            };
            let scale = filter_scale(narrowed, layer.input.scale, sum.scale);
            (bias, quotient(layer.input.scale, scale, sum.scale))
        })
        .unzip();
    let table = match (layer.activation, act) {
        (CoreActivation::Clamp { .. }, _) => None,
        (_, Some(Activation::Tanh)) => Some(looked_up(f32::tanh, &sum, &layer.output)),
        (_, Some(Activation::Sigmoid)) => {
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            Some(looked_up(sigmoid, &sum, &layer.output))
        }
        (_, Some(Activation::LeakyRelu(slope))) => Some(leaky_relu(slope, &sum, &layer.output)),
        _ => return Err(TfliteError::Table { layer: i }),
    };
    Ok(Rewritten {
        weights: layer.weights().collect(),
        bias,
        multipliers,
        pre_activation: sum,
        table,
    })
}

fn real(m: Multiplier) -> f64 {
    f64::from(m.mantissa) * 2f64.powi(i32::from(m.shift) - 31)
}

/// The multiplier that TensorFlow Lite computes from scales
/// (`PopulateConvolutionQuantizationParams`).
fn quotient(input: f32, filter: f32, output: f32) -> Multiplier {
    multiplier(f64::from(input) * f64::from(filter) / f64::from(output))
}

/// The scale of a channel's weights for which TensorFlow Lite computes `wanted`, or the
/// nearest multiplier that a scale of 24 bits can give.
pub(super) fn filter_scale(wanted: Multiplier, input: f32, output: f32) -> f32 {
    // Less than any multiplier, where it is to be 0.
    let real = real(wanted).max(2f64.powi(-40));
    let scale = (real * f64::from(output) / f64::from(input)) as f32;
    let scale = scale.max(f32::MIN_POSITIVE);
    let near = [scale, scale.next_down(), scale.next_up()];
    let exact = near
        .into_iter()
        .find(|&s| quotient(input, s, output) == wanted);
    exact.unwrap_or(scale)
}

/// A table as `LUTPopulate` fills it: the function in `f32`, rounded half away from zero.
fn looked_up(f: impl Fn(f32) -> f32, sum: &Quant, output: &Quant) -> [u8; 256] {
    let inverse = 1.0 / output.scale;
    std::array::from_fn(|i| {
        let q = i32::from((i as u8 ^ 0x80) as i8);
        let value = f(sum.scale * (q - i32::from(sum.zero_point)) as f32);
        let rounded = (value * inverse).round() + f32::from(output.zero_point);
        rounded.clamp(-128.0, 127.0) as i8 as u8
    })
}

/// A table of what `QuantizeLeakyRelu` computes.
fn leaky_relu(slope: f64, sum: &Quant, output: &Quant) -> [u8; 256] {
    // The products are of `f32`, as there.
    let identity = multiplier(f64::from(sum.scale / output.scale));
    let alpha = multiplier(f64::from(sum.scale * slope as f32 / output.scale));
    std::array::from_fn(|i| {
        let q = i32::from((i as u8 ^ 0x80) as i8) - i32::from(sum.zero_point);
        let scaled = if q >= 0 { identity } else { alpha }.apply(q);
        (scaled + i32::from(output.zero_point)).clamp(-128, 127) as i8 as u8
    })
}
