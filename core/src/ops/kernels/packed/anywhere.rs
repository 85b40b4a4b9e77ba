//! The packed loops in plain Rust, one word at a time: for tests on the host.

use super::{HALF, Taps, packed};
use crate::ops::kernels::Blocks;

/// Words at once.
pub const MAX_WORDS: usize = 3;

/// Writes one word of every lane, `stride` words apart.
pub fn write_both(low: &[i8], high: &[i8], plane: &mut [u32], stride: usize) {
    let lanes = plane.iter_mut().step_by(stride.max(1));
    for (word, (&low, &high)) in lanes.zip(low.iter().zip(high)) {
        *word = packed(low, high);
    }
}

/// Adds the products of words `first..first + words` of every lane to all channels' sums.
pub fn add_words(
    sums: &mut [i32],
    plane: &[u32],
    weights: &[u8],
    blocks: &Blocks,
    taps: Taps,
    first: usize,
    words: usize,
) {
    let channels = weights.chunks_exact(blocks.lanes * taps.count);
    for (sums, weights) in sums.chunks_exact_mut(blocks.px).zip(channels) {
        for i in first..first + words {
            let (low, high) = word(plane, weights, blocks, taps, i);
            sums[i] = sums[i].wrapping_add(low);
            sums[i + blocks.px / 2] = sums[i + blocks.px / 2].wrapping_add(high);
        }
    }
}

fn word(plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps, i: usize) -> (i32, i32) {
    let (mut low, mut high) = (0u32, 0i32);
    // Taps are paired where there are two, else lanes.
    let product = |lane: usize, tap: usize| {
        let w = weights[(lane / 4 * taps.count + tap) * 4 + lane % 4] as i8;
        plane[lane * blocks.words + taps.offset + tap + i].wrapping_mul(w as u32)
    };
    for pair in 0..blocks.lanes * taps.count / 2 {
        let two = match taps.count {
            2 => product(pair, 0).wrapping_add(product(pair, 1)),
            _ => product(2 * pair, 0).wrapping_add(product(2 * pair + 1, 0)),
        };
        let two = two.wrapping_add(HALF);
        low = low.wrapping_add(two).wrapping_sub(HALF);
        high = high.wrapping_add(two as i32 >> 16);
    }
    (low.wrapping_sub((high as u32) << 16) as i32, high)
}
