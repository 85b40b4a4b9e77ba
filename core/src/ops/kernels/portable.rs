//! The reference: plain loops over whole arrays, which compilers turn into vectors.

use super::{Blocks, KernelSet, Row, Taps, halves, pair};

/// Pixels of a block: two vectors of four `i32`.
const PX: usize = 8;

/// Runs on any machine.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Lays out pairs of channels, for this set and every other that reads such words.
pub(crate) fn pack_pairs(
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
        let (first, skip) = blocks.first_pixel(at, row.margin);
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

/// [`add_any`] for eight pixels, by two `pmaddwd`, which LLVM does not find in it here.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(unsafe_code, reason = "an intrinsic")]
fn add_eight(sums: &mut [i32; PX], x: &[u32; PX], w0: i16, w1: i16) {
    use core::arch::x86_64::{__m128i, _mm_add_epi32, _mm_madd_epi16, _mm_set1_epi32};

    let x: [__m128i; 2] = bytemuck::must_cast(*x);
    let total: [__m128i; 2] = bytemuck::must_cast(*sums);
    // SAFETY: SSE2 is a part of this architecture.
    let total = unsafe {
        let w = _mm_set1_epi32(pair(w0, w1) as i32);
        [0, 1].map(|i| _mm_add_epi32(total[i], _mm_madd_epi16(x[i], w)))
    };
    *sums = bytemuck::must_cast(total);
}

#[cfg(not(target_arch = "x86_64"))]
use add_any as add_eight;

/// `sums[p] += x[p] . (w0, w1)`.
#[inline]
pub(crate) fn add_any<const N: usize>(sums: &mut [i32; N], x: &[u32; N], w0: i16, w1: i16) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        let (low, high) = halves(x);
        *sum = sum.wrapping_add(low * i32::from(w0) + high * i32::from(w1));
    }
}

/// [`KernelSet::accumulate`] over pairs of channels, by a function for one word of each
/// pixel.
#[inline]
pub(crate) fn accumulate_pairs<const N: usize>(
    sums: &mut [i32],
    plane: &[u32],
    weights: &[u8],
    blocks: &Blocks,
    taps: Taps,
    add: impl Fn(&mut [i32; N], &[u32; N], i16, i16),
) {
    for (sums, block) in blocks.zip(sums, plane, taps.block_sums) {
        let channels = weights.chunks_exact((blocks.lanes * 2 * taps.count).max(1));
        for (sums, weights) in sums.as_chunks_mut::<N>().0.iter_mut().zip(channels) {
            // A copy, which stays in registers.
            let mut total = *sums;
            let lanes = block.chunks_exact((2 * blocks.words).max(1));
            for (lanes, weights) in lanes.zip(weights.chunks_exact((4 * taps.count).max(1))) {
                for (tap, w) in weights.as_chunks::<4>().0.iter().enumerate() {
                    let at = taps.offset + tap;
                    let even = lanes.get(at..).and_then(<[u32]>::first_chunk);
                    let odd = lanes
                        .get(blocks.words + at..)
                        .and_then(<[u32]>::first_chunk);
                    let w = w.map(|w| i16::from(w as i8));
                    if let (Some(even), Some(odd)) = (even, odd) {
                        add(&mut total, even, w[0], w[2]);
                        add(&mut total, odd, w[1], w[3]);
                    }
                }
            }
            *sums = total;
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

    fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        pack_pairs(values, row, blocks, plane, margins);
    }

    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        accumulate_pairs::<PX>(sums, plane, weights, blocks, taps, add_eight);
    }

    fn pack_dense(values: &[i8], zero_point: i8, words: &mut [u32]) {
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

    // The call would cost a tenth of it.
    #[inline(always)]
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
