//! The reference: plain loops over whole arrays, which compilers turn into vectors.

use super::{Blocks, KernelSet, Row, Taps, halves, pair};

/// Pixels of a block: two vectors of four `i32`.
const PX: usize = 8;

/// Runs on any machine.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Lays out pairs of channels, for this set and every other that reads such words.
pub(crate) fn widen_pairs(
    values: &[i8],
    row: &Row,
    blocks: &Blocks,
    plane: &mut [u32],
    margins: bool,
) {
    let margin = i16::from(row.zero_point);
    if margins {
        plane.fill(pair(margin, margin));
    }
    let pixels = values.chunks_exact(row.c_in.max(1));
    for (at, block) in plane
        .chunks_exact_mut(blocks.block_words().max(1))
        .enumerate()
    {
        // The block's first word is column `at * px - margin`.
        let first = (at * blocks.px).saturating_sub(row.margin);
        let skip = (row.margin + first).saturating_sub(at * blocks.px);
        for (x, pixel) in (skip..blocks.words).zip(pixels.clone().skip(first)) {
            let lanes = block.chunks_exact_mut((2 * blocks.words).max(1));
            for (lanes, quad) in lanes.zip(pixel.chunks(4)) {
                let value = |i: usize| quad.get(i).map_or(0, |&v| i16::from(v));
                if let Some(even) = lanes.get_mut(x) {
                    *even = pair(value(0), value(2));
                }
                if let Some(odd) = lanes.get_mut(x + blocks.words) {
                    *odd = pair(value(1), value(3));
                }
            }
        }
    }
}

/// `sums[p] += x[p] . (w0, w1)`.
#[inline]
fn add_products<const PX: usize>(sums: &mut [i32; PX], x: &[u32], w0: u8, w1: u8) {
    let Some(x) = x.first_chunk::<PX>() else {
        return;
    };
    let (w0, w1) = (i16::from(w0 as i8), i16::from(w1 as i8));
    let weights = if cfg!(target_endian = "little") {
        [w0, w1]
    } else {
        [w1, w0]
    };
    // Spelled with products apart, this becomes one `pmaddwd` for four pixels.
    let products: [[i32; 2]; PX] = core::array::from_fn(|p| {
        let x: [i16; 2] = bytemuck::must_cast(x[p]);
        [0, 1].map(|i| i32::from(x[i]) * i32::from(weights[i]))
    });
    for (sum, pair) in sums.iter_mut().zip(products) {
        *sum = sum.wrapping_add(pair[0] + pair[1]);
    }
}

/// [`KernelSet::accumulate`] over pairs of channels.
pub(crate) fn accumulate_pairs<const PX: usize>(
    sums: &mut [i32],
    plane: &[u32],
    weights: &[u8],
    blocks: &Blocks,
    taps: Taps,
) {
    for (sums, block) in blocks.zip(sums, plane, taps.block_sums) {
        let channels = weights.chunks_exact((blocks.lanes * 2 * taps.count).max(1));
        for (sums, weights) in sums.as_chunks_mut::<PX>().0.iter_mut().zip(channels) {
            let lanes = block.chunks_exact((2 * blocks.words).max(1));
            for (lanes, weights) in lanes.zip(weights.chunks_exact((4 * taps.count).max(1))) {
                let Some((even, odd)) = lanes.split_at_checked(blocks.words) else {
                    return;
                };
                let columns = taps.offset..taps.offset + taps.count;
                for (column, w) in columns.zip(weights.as_chunks::<4>().0) {
                    add_products(sums, even.get(column..).unwrap_or(&[]), w[0], w[2]);
                    add_products(sums, odd.get(column..).unwrap_or(&[]), w[1], w[3]);
                }
            }
        }
    }
}

impl KernelSet for Portable {
    fn blocks(outputs: usize, reach: usize, quads: usize) -> Blocks {
        Blocks {
            px: PX,
            count: outputs.div_ceil(PX),
            words: PX + reach,
            lanes: 2 * quads,
        }
    }

    fn widen(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        widen_pairs(values, row, blocks, plane, margins);
    }

    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        accumulate_pairs::<PX>(sums, plane, weights, blocks, taps);
    }

    fn widen_dense(values: &[i8], zero_point: i8, words: &mut [u32]) {
        for (words, quad) in words
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip(values.chunks(4))
        {
            let zero_point = i16::from(zero_point);
            let value = |i: usize| quad.get(i).map_or(0, |&v| i16::from(v) - zero_point);
            *words = [pair(value(0), value(2)), pair(value(1), value(3))];
        }
    }

    fn dense(words: &[u32], weights: &[u8]) -> [i32; 4] {
        let mut sums = [0i32; 4];
        let weights: &[i8] = bytemuck::must_cast_slice(weights);
        for (words, weights) in words
            .as_chunks::<2>()
            .0
            .iter()
            .zip(weights.as_chunks::<16>().0)
        {
            let ((x0, x2), (x1, x3)) = (halves(words[0]), halves(words[1]));
            for (i, x) in [x0, x1, x2, x3].into_iter().enumerate() {
                for (o, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(x * i32::from(weights[4 * o + i]));
                }
            }
        }
        sums
    }
}
