//! Dense (fully connected) layer.

use super::{activation::requantize, dot};
use crate::model::Layer;

/// `y[o] = requantize(bias[o] + sum_i (x[i] - zero_point) * w[o][i])`.
///
/// *Shapes*: `x` `[n_in]`, weights `[n_out, n_in]`, `y` `[n_out]`, read as the layer's
/// `[h, w, c]`. One bias and one multiplier per output value.
pub fn dense(layer: &Layer<'_>, x: &[i8], y: &mut [i8]) {
    let zero_point = i16::from(layer.input.zero_point);
    let rows = layer.weights.chunks_exact(x.len().max(1));
    for ((y, w), (bias, multiplier)) in y.iter_mut().zip(rows).zip(layer.channels()) {
        let acc = bias.wrapping_add(dot(x, w, zero_point));
        *y = requantize(acc, multiplier, layer.sum.zero_point, &layer.activation);
    }
}
