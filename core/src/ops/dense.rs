//! Dense (fully connected) layer.

use super::SectionLens;
use super::activation::requantize;
use super::kernels::KernelSet;
use crate::layer::Layer;
use crate::layout::quads;
use crate::slice::{part, part_mut};
use crate::types::{Shape, WeightBits};

/// The operator's code in a layer's entry.
pub(crate) const CODE: u8 = 0;

/// Lengths of the sections; the input has `input_len` values, the output `output_len`.
pub(crate) fn section_lens(
    input_len: usize,
    output: Shape,
    output_len: usize,
    bits: WeightBits,
) -> SectionLens {
    let blocks = quads(output.w * output.c) as u64 * output.h as u64;
    SectionLens {
        weights: blocks * quads(input_len) as u64 * quad_bytes(bits),
        channels: output_len,
        zero_point_corrections: 0,
    }
}

/// Bytes of the weights from four inputs to four outputs.
const fn quad_bytes(bits: WeightBits) -> u64 {
    match bits {
        WeightBits::Eight => 16,
        WeightBits::Four => 8,
    }
}

/// Place of the weight from input `i` to output `o`, counted as if each had 8 bits.
pub(crate) const fn weight_index(input: Shape, output: Shape, o: usize, i: usize) -> usize {
    let row_len = output.w * output.c;
    let (row, o) = (o / row_len, o % row_len);
    let block = row * quads(row_len) + o / 4;
    (block * quads(input.len()) + i / 4) * 16 + o % 4 * 4 + i % 4
}

/// Place of the first padding weight that is not 0.
pub(crate) fn wrong_padding(layer: &Layer<'_>) -> Option<usize> {
    let (n_in, output) = (layer.input_shape.len(), layer.output_shape);
    let (row_len, quads_in) = (output.w * output.c, quads(n_in));
    let blocks = (0..output.h).flat_map(|_| 0..quads(row_len));
    blocks.enumerate().find_map(|(block, quad)| {
        let outputs = row_len - 4 * quad;
        let first = match outputs {
            // The last inputs' filling only.
            4.. => quads_in - usize::from(4 * quads_in > n_in),
            _ => 0,
        };
        let places = (first..quads_in).flat_map(|i| (0..16).map(move |at| (i, at)));
        let filling = places.filter(|(i, at)| at / 4 >= outputs || 4 * i + at % 4 >= n_in);
        let mut places = filling.map(|(i, at)| (block * quads_in + i) * 16 + at);
        places.find(|&at| layer.weight(at) != 0)
    })
}

/// Words that [`output_row`] works in: the input, the sums of a row, and the weights of four
/// outputs where they have to be unpacked.
pub(crate) const fn scratch_words(n_in: usize, row_len: usize, bits: WeightBits) -> usize {
    let unpacked = match bits {
        WeightBits::Eight => 0,
        WeightBits::Four => 4 * quads(n_in),
    };
    2 * quads(n_in) + unpacked + 4 * quads(row_len)
}

/// `y[i] = requantize(bias[o] + sum_j (x[j] - zero_point) * w[o][j])` for the outputs `o`
/// of row `row`.
///
/// *Shapes*: `x` `[n_in]`, `y` `[w * c_out]`, weights of the row
/// `[ceil(w * c_out / 4)][ceil(n_in / 4)][4][4]`, of 8 or 4 bits, read once and in order. One bias
/// and one multiplier per output.
pub(crate) fn output_row<K: KernelSet>(
    layer: &Layer<'_>,
    row: usize,
    x: &[i8],
    scratch: &mut [u32],
    y: &mut [i8],
) {
    let quads_in = quads(x.len());
    let Some((words, rest)) = scratch.split_at_mut_checked(2 * quads_in) else {
        return;
    };
    K::pack_dense(x, layer.input.zero_point, words);
    match layer.weight_bits {
        WeightBits::Eight => {
            let sums = bytemuck::must_cast_slice_mut::<u32, i32>(rest);
            let row_sums = part_mut(sums, ..4 * quads(y.len()));
            let fours = row_sums.as_chunks_mut::<4>().0.iter_mut();
            let block_bytes = (16 * quads_in).max(1);
            let weights = row_weights(layer, row, block_bytes, y.len());
            for (sums, weights) in fours.zip(weights.chunks_exact(block_bytes)) {
                *sums = K::dense(words, weights);
            }
            finish(layer, row, sums, y);
        }
        WeightBits::Four => four_bit_row::<K>(layer, row, words, rest, y),
    }
}

/// The rest of [`output_row`] for weights that have to be unpacked first.
#[inline(never)]
fn four_bit_row<K: KernelSet>(
    layer: &Layer<'_>,
    row: usize,
    words: &[u32],
    scratch: &mut [u32],
    y: &mut [i8],
) {
    let Some((unpacked, sums)) = scratch.split_at_mut_checked(2 * words.len()) else {
        return;
    };
    let sums = bytemuck::must_cast_slice_mut::<u32, i32>(sums);
    let row_sums = part_mut(sums, ..4 * quads(y.len()));
    let block_bytes = 4 * words.len();
    let mut weights = row_weights(layer, row, block_bytes, y.len());
    for sums in row_sums.as_chunks_mut::<4>().0 {
        let (packed, behind) = weights.split_at_checked(block_bytes).unwrap_or_default();
        *sums = K::dense(words, unpack(packed, unpacked));
        weights = behind;
    }
    finish(layer, row, sums, y);
}

/// The weights of row `row` of `row_len` outputs, and those behind it.
fn row_weights<'a>(layer: &Layer<'a>, row: usize, block_bytes: usize, row_len: usize) -> &'a [u8] {
    let row_bytes = quads(row_len) * block_bytes;
    part(layer.weights, row * row_bytes..)
}

/// Sums to activations.
fn finish(layer: &Layer<'_>, row: usize, sums: &[i32], y: &mut [i8]) {
    let channels = layer.channels(row * y.len());
    requantize(layer, channels, sums, y);
}

/// Weights of 4 bits as `i8`, in `words`; the order is that of [`layout`](crate::layout).
#[inline(never)]
fn unpack<'w>(packed: &[u8], words: &'w mut [u32]) -> &'w [u8] {
    let pairs = packed.as_chunks::<4>().0.as_chunks::<2>().0;
    let sixteens = pairs.iter().zip(words.as_chunks_mut::<4>().0);
    for (eight, words) in sixteens {
        for (i, word) in words.iter_mut().enumerate() {
            let packed = eight.get(i % 2).map_or(0, |b| u32::from_ne_bytes(*b));
            // Four halves at once: the sign bit is flipped, so that values go from 0 to 15, and 8 is
            // taken away; the high bit of each byte keeps the borrow within it.
            let halves = (packed >> (i / 2 * 4)) & 0x0f0f_0f0f;
            let raised = (halves ^ 0x0808_0808) | 0x8080_8080;
            *word = (raised - 0x0808_0808) ^ 0x8080_8080;
        }
    }
    bytemuck::must_cast_slice(words)
}

#[cfg(test)]
mod tests {
    use super::{output_row, scratch_words, weight_index, wrong_padding};
    use crate::fixed::Multiplier;
    use crate::layer::tests::{flat, layer};
    use crate::ops::kernels::Portable;
    use crate::types::{Op, Shape, WeightBits};

    #[test]
    fn every_weight_has_a_place_of_its_own() {
        let (input, output) = (flat(6), Shape { h: 2, w: 3, c: 2 });
        let places = (0..12).flat_map(|o| (0..6).map(move |i| weight_index(input, output, o, i)));
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        places.dedup();
        // Two rows of two blocks of two quads of 16 bytes.
        assert!(places.len() == 72 && places.iter().all(|&at| at < 2 * 2 * 2 * 16));
    }

    #[test]
    fn a_row_is_the_sum_of_its_products() {
        let bias = [10i32.to_le_bytes(), 1i32.to_le_bytes()];
        for bits in [WeightBits::Eight, WeightBits::Four] {
            let weights: &[u8] = match bits {
                WeightBits::Eight => &[5, 7, 0, 0, 0xfe, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                WeightBits::Four => &[5, 7, 0, 0, 0xe, 1, 0, 0],
            };
            let mut layer = layer(Op::Dense, [flat(2), flat(2)], weights);
            layer.weight_bits = bits;
            layer.bias = bias.as_flattened();
            layer.input.zero_point = 1;
            layer.pre_activation.zero_point = 2;
            assert!(layer.channels(0).all(|(_, by)| by
                == Multiplier {
                    mantissa: 1 << 30,
                    shift: 1
                }));
            let mut scratch = vec![9; scratch_words(2, 2, bits)];
            let mut y = [0; 2];
            output_row::<Portable>(&layer, 0, &[3, -4], &mut scratch, &mut y);
            // 10 + 2 * 5 - 5 * 7 and 1 - 2 * 2 - 5 * 1, and the zero point.
            assert_eq!(y, [-15 + 2, -8 + 2], "{bits:?}");
            assert_eq!(wrong_padding(&layer), None);
        }
    }

    #[test]
    fn weights_beyond_the_shapes_have_to_be_zero() {
        for at in [2, 3, 6, 8, 15] {
            let mut weights = [0; 16];
            weights[at] = 1;
            let layer = layer(Op::Dense, [flat(2), flat(2)], &weights);
            assert_eq!(wrong_padding(&layer), Some(at));
        }
    }
}
