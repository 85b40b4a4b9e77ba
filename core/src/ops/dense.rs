//! Dense (fully connected) layer.

use super::activation::requantize;
use super::kernels::KernelSet;
use crate::layout::quads;
use crate::model::Layer;

/// Words that [`output_row`] works in.
pub(crate) const fn scratch_words(n_in: usize) -> usize {
    2 * quads(n_in)
}

/// `y[i] = requantize(bias[o] + sum_j (x[j] - zero_point) * w[o][j])` for the outputs `o`
/// of row `row`.
///
/// *Shapes*: `x` `[n_in]`, `y` `[w * c_out]`, weights of the row
/// `[ceil(w * c_out / 4)][n_in / 4][4][4]`, read once and in order. One bias and one
/// multiplier per output.
pub(crate) fn output_row<K: KernelSet>(
    layer: &Layer<'_>,
    row: usize,
    x: &[i8],
    scratch: &mut [u32],
    y: &mut [i8],
) {
    let words = scratch.get_mut(..scratch_words(x.len())).unwrap_or(&mut []);
    K::widen_dense(x, layer.input.zero_point, words);
    let block_bytes = (16 * quads(x.len())).max(1);
    let row_bytes = y.len().div_ceil(4) * block_bytes;
    let weights = layer.weights.get(row * row_bytes..).unwrap_or(&[]);
    let mut channels = layer.channels(row * y.len());
    for (y, weights) in y.chunks_mut(4).zip(weights.chunks_exact(block_bytes)) {
        let sums = K::dense(words, weights);
        for ((y, sum), (bias, multiplier)) in y.iter_mut().zip(sums).zip(&mut channels) {
            let sum = bias.wrapping_add(sum);
            *y = requantize(sum, multiplier, layer.sum.zero_point, &layer.activation);
        }
    }
}
