//! A model within TensorFlow Lite's means.

use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::{Activation as CoreActivation, Model, Multiplier, Quant};

use super::{ExportError, Graph, Layer};
use crate::quant::{multiplier, multiplier_value};

/// Steps of a 16-bit value in one of an 8-bit value of the same range.
const WIDE_STEPS: f32 = 256.0;

/// The parts of a layer that change.
struct Legal {
    multipliers: Vec<Multiplier>,
    pre_activation: Quant,
    lut: Option<[u8; 256]>,
}

/// The `.gan` file next to `model` that TensorFlow Lite can draw to the bit: values before tanh
/// and the like have 8 bits, their tables are those of its operators, and multipliers are
/// quotients of `f32` scales. A file that `gan quantize --tanh-bits 8` wrote stays as it is;
/// vetted seeds and critic are left out.
pub fn legalize(model: &Model<'_>) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of_model(model)?;
    let legal = graph.layers.iter().map(legalize_layer);
    let legal: Vec<Legal> = legal.collect::<Result<_, _>>()?;
    let layers = model.layers().iter().zip(&graph.layers).zip(&legal);
    let specs: Vec<LayerSpec<'_>> = layers
        .map(|((of_model, layer), legal)| LayerSpec {
            op: of_model.op,
            input_shape: layer.input,
            output_shape: layer.output,
            weights: &layer.parameters.weights,
            weight_bits: of_model.weight_bits,
            bias: &layer.parameters.bias,
            multipliers: &legal.multipliers,
            pre_activation: legal.pre_activation,
            output: layer.parameters.output,
            function: of_model.function,
            activation: match &legal.lut {
                Some(lut) => CoreActivation::Lut8(lut),
                None => layer.parameters.activation,
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

fn legalize_layer(layer: &Layer<'_>) -> Result<Legal, ExportError> {
    let of = &layer.parameters;
    let activation = layer.function()?;
    let mut pre_activation = of.pre_activation;
    if matches!(of.activation, CoreActivation::Lut16(_)) {
        pre_activation.scale *= WIDE_STEPS;
        if let Some(reach) = activation.reach_8_bits() {
            pre_activation.scale = pre_activation.scale.min(reach / 127.0);
        }
    }
    let [old, new] = [of.pre_activation, pre_activation].map(|quant| f64::from(quant.scale));
    let multipliers = of.multipliers.iter().map(|&m| {
        let rescaled = match pre_activation == of.pre_activation {
            true => m,
            false => multiplier(multiplier_value(m) * old / new),
        };
        let scale = filter_scale(rescaled, of.input.scale, pre_activation.scale);
        quotient(of.input.scale, scale, pre_activation.scale)
    });
    let multipliers = multipliers.collect();
    let lut = match (of.activation, activation.negative_slope()) {
        (CoreActivation::Clamp { .. }, _) => None,
        (_, Some(slope)) => Some(leaky_relu(slope, &pre_activation, &of.output)),
        (_, None) => Some(looked_up(
            |x| activation.apply(x),
            &pre_activation,
            &of.output,
        )),
    };
    Ok(Legal {
        multipliers,
        pre_activation,
        lut,
    })
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
    let real = multiplier_value(wanted).max(2f64.powi(-40));
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
