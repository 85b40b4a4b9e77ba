//! Two products by one multiplication, for cores without a dual multiply-accumulate.
//!
//! A word holds a channel at two pixels, `x0 + (x1 << 16)`. Times a weight it is
//! `w * x0 + (w * x1 << 16)`, both products at once. Of two such words with raw `i8` values
//! the low sum stays within `2 * 128 * 127 < 2^15`, so adding `2^15` makes it positive and
//! the high sum can be read off by a shift. `low` adds up whole words (modulo `2^32`),
//! `high` the shifted ones; at the end `low - (high << 16)`, less all the `2^15`, is the low
//! pixel's sum, exactly.

use super::{Blocks, KernelSet, Row, Taps};
use crate::slice::part_mut;

/// Inner loops for Cortex-M0+, Cortex-M3 and RISC-V.
#[derive(Clone, Copy, Debug)]
pub struct Packed;

/// Makes the low half of two products positive.
const HALF: u32 = 1 << 15;

#[cfg(all(gan_kernels = "packed", target_arch = "riscv32"))]
#[expect(unsafe_code, reason = "written in assembly")]
mod riscv;
#[cfg(all(gan_kernels = "packed", target_arch = "arm", thumb1))]
#[expect(unsafe_code, reason = "written in assembly")]
mod thumb1;
#[cfg(all(gan_kernels = "packed", target_arch = "arm", not(thumb1)))]
#[expect(unsafe_code, reason = "written in assembly")]
mod thumb2;

#[cfg(all(gan_kernels = "packed", target_os = "none"))]
mod device;
#[cfg(all(gan_kernels = "packed", target_os = "none"))]
use device::{MAX_WORDS, add_words, write_both};
#[cfg(not(all(gan_kernels = "packed", target_os = "none")))]
mod anywhere;
#[cfg(not(all(gan_kernels = "packed", target_os = "none")))]
use anywhere::{MAX_WORDS, add_words, write_both};

impl KernelSet for Packed {
    /// One block, of two halves: word `i` holds columns `i` and `i + px / 2`.
    fn blocks(outputs: usize, reach: usize, quads: usize) -> Blocks {
        let half = outputs.div_ceil(2);
        Blocks {
            px: 2 * half,
            count: 1,
            words: half + reach,
            lanes: 4 * quads,
        }
    }

    fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        if margins {
            plane.fill(packed(row.zero_point, row.zero_point));
        }
        let pixel = |x: usize| {
            let at = x.checked_sub(row.margin)?.wrapping_mul(row.c_in);
            values.get(at..)?.get(..row.c_in)
        };
        for x in 0..blocks.words {
            let (low, high) = (pixel(x), pixel(x + blocks.px / 2));
            let plane = part_mut(plane, x..);
            write_lanes(low, high, row.zero_point, plane, blocks.words);
        }
    }

    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        let (half, channel_bytes) = (blocks.px / 2, blocks.lanes * taps.count);
        let c_out = weights.len() / channel_bytes.max(1);
        let in_lane = taps.offset + taps.count + half <= blocks.words + 1;
        let whole = c_out > 0 && weights.len() == c_out * channel_bytes;
        let (Some(sums), Some(plane)) = (
            sums.get_mut(..c_out * blocks.px),
            plane.get(..blocks.plane_words()),
        ) else {
            return;
        };
        if !in_lane || !whole || !matches!(taps.count, 1 | 2) {
            return;
        }
        let mut first = 0;
        while first < half {
            let words = (half - first).min(MAX_WORDS);
            // Two and two words share more than three and one.
            let words = if half - first == words + 1 && words > 2 {
                words - 1
            } else {
                words
            };
            add_words(sums, plane, weights, blocks, taps, first, words);
            first += words;
        }
    }

    #[cfg(all(gan_kernels = "packed", target_arch = "arm", thumb1))]
    fn dense(words: &[u32], weights: &[u8]) -> [i32; 4] {
        thumb1::dense(words, weights)
    }
}

const fn packed(low: i8, high: i8) -> u32 {
    (low as u32).wrapping_add((high as u32) << 16)
}

/// Writes one word of every lane, `stride` words apart; a pixel that is not there is the
/// zero point.
fn write_lanes(
    low: Option<&[i8]>,
    high: Option<&[i8]>,
    zero_point: i8,
    plane: &mut [u32],
    stride: usize,
) {
    match (low, high) {
        (Some(low), Some(high)) => write_both(low, high, plane, stride),
        (Some(low), None) => {
            for (word, &low) in plane.iter_mut().step_by(stride.max(1)).zip(low) {
                *word = packed(low, zero_point);
            }
        }
        (None, Some(high)) => {
            for (word, &high) in plane.iter_mut().step_by(stride.max(1)).zip(high) {
                *word = packed(zero_point, high);
            }
        }
        (None, None) => {}
    }
}
