//! Dense (fully connected) layer.

use super::activation::Requantizer;
use super::kernels::KernelSet;
use crate::layout::quads;
use crate::model::Layer;

/// Words that [`output_row`] works in: the input and the sums of a row.
pub(crate) const fn scratch_words(n_in: usize, row_len: usize) -> usize {
    2 * quads(n_in) + 4 * quads(row_len)
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
    let Some((words, sums)) = scratch.split_at_mut_checked(2 * quads(x.len())) else {
        return;
    };
    let sums = bytemuck::must_cast_slice_mut::<u32, i32>(sums);
    K::widen_dense(x, layer.input.zero_point, words);
    let block_bytes = (16 * quads(x.len())).max(1);
    let row_bytes = y.len().div_ceil(4) * block_bytes;
    let weights = layer.weights.get(row * row_bytes..).unwrap_or(&[]);
    let blocks = weights.chunks_exact(block_bytes);
    let row_sums = sums.get_mut(..4 * quads(y.len())).unwrap_or(&mut []);
    for (sums, weights) in row_sums.as_chunks_mut::<4>().0.iter_mut().zip(blocks) {
        *sums = K::dense(words, weights);
    }
    let channels = layer.channels(row * y.len());
    for ((y, &sum), (bias, multiplier)) in y.iter_mut().zip(&*sums).zip(channels) {
        let requantizer = Requantizer {
            multiplier,
            zero_point: layer.sum.zero_point,
            activation: layer.activation,
        };
        *y = requantizer.apply(bias.wrapping_add(sum));
    }
}
