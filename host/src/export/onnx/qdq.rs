//! A `.gan` file with its integers, as floats that are rounded to int8 and back (QDQ).

use gan_core::latent::LATENT_SCALE;
use gan_core::{Activation as CoreActivation, Layer, Model, Op, Quant};

use super::OnnxError;
use super::chain::{Chain, Linear, Provenance};
use crate::export::function::function;
use crate::nn::Activation;
use crate::quant::multiplier_value;

/// The file of a model, which draws what [`Model::run`] draws but for the rounding of floats,
/// and for tanh itself in the place of a wide table's straight lines. Its input has the latent as real numbers and
/// 3, which is `ONE_HOT * LATENT_SCALE`, in the class's place.
pub fn qdq(model: &Model<'_>) -> Result<Vec<u8>, OnnxError> {
    let mut chain = Chain::new(model.input_len());
    let latent = Quant {
        scale: LATENT_SCALE,
        zero_point: 0,
    };
    chain.round("latent".into(), &latent);
    for (i, layer) in model.layers().iter().enumerate() {
        let linear = Linear {
            op: layer.op,
            input: layer.input_shape,
            output: layer.output_shape,
        };
        constants(&mut chain, i, layer, &linear)?;
        chain.linear(i, &linear);
        activate(&mut chain, i, layer, &linear)?;
        chain.round(format!("layer{i}.output"), &layer.output);
    }
    let labels = model.labels();
    let provenance = Provenance {
        name: model.name(),
        dataset: model.dataset(),
        steps: model.steps().into(),
        seed: model.seed(),
        labels: labels.collect(),
    };
    Ok(chain.finish(model.output_shape(), &provenance))
}

fn kind(op: Op) -> &'static str {
    match op {
        Op::Dense => "dense",
        Op::ConvTranspose(_) => "a transposed convolution",
    }
}

/// Whether a clamp is ReLU.
fn is_relu(layer: &Layer<'_>) -> bool {
    let (min, max) = (layer.pre_activation.zero_point, 127);
    layer.activation == CoreActivation::Clamp { min, max }
}

/// Weights and biases with the scales that the multipliers amount to: `input.scale *
/// weight scale = multiplier * sum.scale`.
fn constants(
    chain: &mut Chain,
    i: usize,
    layer: &Layer<'_>,
    linear: &Linear,
) -> Result<(), OnnxError> {
    let (mut bias, mut scales, mut bias_scales) = (Vec::new(), Vec::new(), Vec::new());
    for (b, multiplier) in layer.channels(0) {
        let product_scale = multiplier_value(multiplier) * f64::from(layer.pre_activation.scale);
        bias.push(b);
        scales.push((product_scale / f64::from(layer.input.scale)) as f32);
        bias_scales.push(product_scale as f32);
    }
    if !scales.iter().chain(&bias_scales).all(|s| s.is_finite()) {
        let (layer, kind) = (i, kind(layer.op));
        return Err(OnnxError::Scale { layer, kind });
    }
    let weights = linear.weights(&layer.weights().collect::<Vec<_>>());
    let [bias_scales, scales] = [bias_scales, scales].map(|s| linear.channels(&s));
    let name = format!("layer{i}.weight");
    chain.int8(name, linear.dims(), &weights, &scales);
    let (name, bias) = (format!("layer{i}.bias"), linear.channels(&bias));
    chain.int32(name, &bias, &bias_scales);
    Ok(())
}

/// Rounds as the runtime does: it rounds twice, first to `2^shift` steps, so that its sums go up
/// or down `2^(shift - 1)` steps early. That is no part of the bias, which ONNX Runtime would
/// round to whole products.
fn early(chain: &mut Chain, i: usize, layer: &Layer<'_>, linear: &Linear) {
    let steps = layer
        .channels(0)
        .map(|(_, multiplier)| match multiplier.shift {
            ..0 => 2f32.powi(i32::from(multiplier.shift) - 1),
            0.. => 0.0,
        });
    let early: Vec<f32> = steps
        .map(|steps| steps * layer.pre_activation.scale)
        .collect();
    let name = format!("layer{i}.early");
    chain.add_away(&name, linear, &linear.channels(&early));
}

/// What lies between a layer's sum and the rounding of its output.
fn activate(
    chain: &mut Chain,
    i: usize,
    layer: &Layer<'_>,
    linear: &Linear,
) -> Result<(), OnnxError> {
    let kind = kind(layer.op);
    let act = function(layer).ok_or(OnnxError::Table { layer: i, kind });
    match layer.activation {
        CoreActivation::Clamp { .. } if is_relu(layer) => {
            early(chain, i, layer, linear);
            chain.activate(i, Activation::Relu);
        }
        // The rounding clamps.
        CoreActivation::Clamp {
            min: -128,
            max: 127,
        } => early(chain, i, layer, linear),
        CoreActivation::Clamp { min, max } => {
            let layer = i;
            return Err(OnnxError::Clamp {
                layer,
                kind,
                min,
                max,
            });
        }
        CoreActivation::Lut8(_) => {
            let act = act?;
            early(chain, i, layer, linear);
            chain.round(format!("layer{i}.sum"), &layer.pre_activation);
            chain.activate(i, act);
        }
        // Operator set 13 has no int16: floats hold the steps. The table's own have eight more
        // bits than the output's, and are rounded up at a half, so half of one early.
        CoreActivation::Lut16(_) => {
            early(chain, i, layer, linear);
            chain.round_wide(format!("layer{i}.sum"), layer.pre_activation.scale);
            chain.activate(i, act?);
            chain.add(format!("layer{i}.half"), layer.output.scale / 512.0);
        }
    }
    Ok(())
}
