//! A `.gan` file with its integers, as floats that are rounded to int8 and back (QDQ).

use gan_core::{Activation as CoreActivation, Model};

use super::chain::Chain;
use crate::export::ExportError;
use crate::export::graph::{Graph, GraphLayer, INPUT_QUANT, Int8Parameters};
use crate::quant::multiplier_value;

type Layer<'a> = GraphLayer<Int8Parameters<'a>>;

/// The file of a model. It draws what [`Model::run`] draws but for the rounding of floats, and
/// for tanh itself in the place of a 16-bit table's straight lines. Its input has the latent as
/// real numbers and 3, which is `ONE_HOT * LATENT_SCALE`, in the class's place.
pub fn qdq(model: &Model<'_>) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of_model(model)?;
    let mut chain = Chain::new(graph.input_len());
    chain.round("latent".into(), &INPUT_QUANT);
    for layer in &graph.layers {
        constants(&mut chain, layer)?;
        chain.linear(layer);
        activate(&mut chain, layer)?;
        let name = format!("layer{}.output", layer.index);
        chain.round(name, &layer.parameters.output);
    }
    Ok(chain.finish(&graph))
}

/// Weights and biases with the scales that the multipliers amount to: `input.scale *
/// weight scale = multiplier * pre_activation.scale`.
fn constants(chain: &mut Chain, layer: &Layer<'_>) -> Result<(), ExportError> {
    let (i, of) = (layer.index, &layer.parameters);
    let (mut scales, mut bias_scales) = (Vec::new(), Vec::new());
    for &multiplier in &of.multipliers {
        let product_scale = multiplier_value(multiplier) * f64::from(of.pre_activation.scale);
        scales.push((product_scale / f64::from(of.input.scale)) as f32);
        bias_scales.push(product_scale as f32);
    }
    if !scales.iter().chain(&bias_scales).all(|s| s.is_finite()) {
        let kind = layer.kind;
        return Err(ExportError::Scale { layer: i, kind });
    }
    let weights = layer.channels_first_weights(&of.weights);
    let [bias_scales, scales] =
        [bias_scales, scales].map(|scales: Vec<f32>| layer.channels_first_values(&scales));
    let axis = layer.channels_first_output_axis();
    let at = (layer.channels_first_dims(), axis);
    chain.int8(format!("layer{i}.weight"), at, &weights, &scales);
    let bias = layer.channels_first_values(&of.bias);
    chain.int32(format!("layer{i}.bias"), &bias, &bias_scales);
    Ok(())
}

/// Rounds as the runtime does: it rounds twice, first to `2^shift` steps, so that its sums go up
/// or down `2^(shift - 1)` steps early. That is no part of the bias, which ONNX Runtime would
/// round to whole products.
fn early(chain: &mut Chain, layer: &Layer<'_>) {
    let of = &layer.parameters;
    let steps = of
        .multipliers
        .iter()
        .map(|multiplier| match multiplier.shift {
            ..0 => 2f32.powi(i32::from(multiplier.shift) - 1),
            0.. => 0.0,
        });
    let early: Vec<f32> = steps.map(|steps| steps * of.pre_activation.scale).collect();
    let name = format!("layer{}.early", layer.index);
    chain.add_away(&name, layer.op, &layer.channels_first_values(&early));
}

/// The nodes between a layer's linear part and the rounding of its output.
fn activate(chain: &mut Chain, layer: &Layer<'_>) -> Result<(), ExportError> {
    let (i, of) = (layer.index, &layer.parameters);
    let activation = layer.function()?;
    early(chain, layer);
    match of.activation {
        // The rounding clamps.
        CoreActivation::Clamp { .. } => chain.activate(i, activation),
        CoreActivation::Lut8(_) => {
            chain.round(format!("layer{i}.sum"), &of.pre_activation);
            chain.activate(i, activation);
        }
        // Operator set 13 has no int16: floats hold the steps. The table's own have eight more
        // bits than the output's, and are rounded up at a half, so half of one early.
        CoreActivation::Lut16(_) => {
            chain.round_wide(format!("layer{i}.sum"), of.pre_activation.scale);
            chain.activate(i, activation);
            chain.add(format!("layer{i}.half"), of.output.scale / 512.0);
        }
    }
    Ok(())
}
