//! Layers in integers, each rounded for what the rounded ones before it compute.

use gan_core::encode::LayerSpec;
use gan_core::types::WeightBits;
use gan_core::{Activation as CoreActivation, Function, Multiplier, Op as CoreOp, Quant, Shape};

use super::multiplier::multiplier;
use super::operator::{channels, runtime_op, weight_bits};
use super::range::TensorQuants;
use super::table::{IntActivation, activation};
use super::weights::{RoundedRow, in_place, round_rows};
use super::{Options, QuantizeError};
use crate::config::Image;
use crate::generator::FloatLayer;
use crate::nn::Activation;

/// A layer in integers, owned.
pub(super) struct IntLayer {
    op: CoreOp,
    input_shape: Shape,
    output_shape: Shape,
    weight_bits: WeightBits,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    pre_activation: Quant,
    output: Quant,
    activation: IntActivation,
    function: Function,
}

impl IntLayer {
    pub fn spec(&self) -> LayerSpec<'_> {
        LayerSpec {
            op: self.op,
            input_shape: self.input_shape,
            output_shape: self.output_shape,
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            pre_activation: self.pre_activation,
            output: self.output,
            weight_bits: self.weight_bits,
            function: self.function,
            activation: match &self.activation {
                IntActivation::Clamp { min } => CoreActivation::Clamp {
                    min: *min,
                    max: 127,
                },
                IntActivation::Lut8(table) => CoreActivation::Lut8(table),
                IntActivation::Lut16(table) => CoreActivation::Lut16(table),
            },
        }
    }
}

/// A map as the runtime has it.
pub(crate) fn map_shape(map: Image) -> Shape {
    Shape {
        h: map.height,
        w: map.width,
        c: map.channels,
    }
}

/// A map of one pixel.
pub(super) fn flat(c: usize) -> Shape {
    Shape { h: 1, w: 1, c }
}

/// The input of the first layer.
pub(super) struct Input {
    /// `[n, len]`
    pub x: Vec<f32>,
    pub shape: Shape,
    pub quant: Quant,
    /// Values from here on are classes.
    pub latent: usize,
}

/// Rounds layers one after the other, each on the output of the rounded ones before it. `pairs`
/// are layers and their fine-tuned forms, see [`quantize_tuned`](super::quantize_tuned);
/// `dense_output` is the map of dense layer `i` with so many outputs.
pub(super) fn round_layers<'l>(
    pairs: impl Iterator<Item = (&'l FloatLayer, &'l FloatLayer)>,
    input: Input,
    dense_output: impl Fn(usize, usize) -> Shape,
    options: &Options,
) -> Result<Vec<IntLayer>, QuantizeError> {
    let Input {
        mut x,
        mut shape,
        mut quant,
        latent,
    } = input;
    let mut rounded_x = x.clone();
    let mut layers = Vec::new();
    for (i, (whole, layer)) in pairs.enumerate() {
        let mut pre_activation = whole.pre_activation(&x);
        let parameters = layer.weight.iter().chain(&layer.bias);
        if !pre_activation
            .iter()
            .chain(parameters)
            .all(|v| v.is_finite())
        {
            return Err(QuantizeError::NotANumber { layer: i });
        }
        let bits = weight_bits(layer.op, options);
        let latent = if i == 0 { latent } else { usize::MAX };
        let rows = round_rows(layer, bits, latent, Some(quant.scale));
        let rounded = FloatLayer {
            weight: in_place(layer, &rows),
            ..layer.clone()
        };
        let mut rounded_pre_activation = rounded.pre_activation(&rounded_x);
        let correction = correction(
            layer.activation,
            &pre_activation,
            &rounded_pre_activation,
            channels(layer.op),
        );
        for pixel in rounded_pre_activation.chunks_exact_mut(correction.len()) {
            pixel.iter_mut().zip(&correction).for_each(|(v, c)| *v += c);
        }
        let largest_scale = rows.iter().map(|row| row.scale).fold(0.0, f64::max);
        let products = f64::from(quant.scale) * largest_scale;
        let products = options.use_lut16.then_some(products as f32);
        let tensor = TensorQuants::choose(
            layer.activation,
            &pre_activation,
            channels(layer.op),
            products,
        );
        let (rows, input) = ((bits, rows), (shape, quant));
        let op = runtime_op(layer.op, |n_out| dense_output(i, n_out));
        let int = int_layer(layer, rows, input, &tensor, &correction, op);
        let int = int.map_err(|channel| QuantizeError::Bias { layer: i, channel })?;
        layer.activate(&mut pre_activation);
        tensor.round(layer.activation, &mut rounded_pre_activation);
        (x, rounded_x) = (pre_activation, rounded_pre_activation);
        (shape, quant) = (int.output_shape, int.output);
        layers.push(int);
    }
    Ok(layers)
}

/// What to add to each output channel of `rounded` so that its activations come nearest to
/// those of `whole` `[rows, c]`: the mean difference, weighted by the square of the
/// activation's slope, for where it is flat nothing is seen of a difference.
fn correction(act: Activation, whole: &[f32], rounded: &[f32], c: usize) -> Vec<f32> {
    let (mut differences, mut weights) = (vec![0f64; c], vec![0f64; c]);
    for (whole, rounded) in whole.chunks_exact(c).zip(rounded.chunks_exact(c)) {
        for (i, (whole, rounded)) in whole.iter().zip(rounded).enumerate() {
            let weight = f64::from(act.slope(*whole)).powi(2);
            differences[i] += weight * f64::from(whole - rounded);
            weights[i] += weight;
        }
    }
    let means = differences.iter().zip(weights);
    means
        .map(|(sum, weight)| (sum / weight.max(1e-9)) as f32)
        .collect()
}

/// The most that a bias may be in steps of a layer's products: it leaves room for the largest
/// sum of products that a layer may have.
const MOST_BIAS_STEPS: f64 = 5e8;

/// Puts a layer's integers together. *Errors*: a channel whose bias is too large.
fn int_layer(
    layer: &FloatLayer,
    (weight_bits, rows): (WeightBits, Vec<RoundedRow>),
    (input_shape, input): (Shape, Quant),
    tensor: &TensorQuants,
    correction: &[f32],
    (op, output_shape): (CoreOp, Shape),
) -> Result<IntLayer, usize> {
    let mut int = IntLayer {
        op,
        input_shape,
        output_shape,
        weight_bits,
        weights: Vec::new(),
        bias: Vec::new(),
        multipliers: Vec::new(),
        pre_activation: tensor.pre_activation,
        output: tensor.output,
        activation: activation(layer.activation, tensor),
        function: layer.activation.to_gan(),
    };
    for (o, (row, correction)) in rows.into_iter().zip(correction).enumerate() {
        let bias = layer.bias[o % layer.bias.len()];
        int.weights.extend(row.steps);
        let product_scale = f64::from(input.scale) * row.scale;
        let bias = (f64::from(bias + correction) / product_scale).round();
        if bias.abs() > MOST_BIAS_STEPS {
            return Err(o);
        }
        int.bias.push(bias as i32);
        int.multipliers.push(multiplier(
            product_scale / f64::from(tensor.pre_activation.scale),
        ));
    }
    Ok(int)
}
