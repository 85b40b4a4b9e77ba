//! Two products by one multiplication, for cores without a dual multiply-accumulate.
//!
//! A word holds a channel at two pixels, `x0 + (x1 << 16)`. Times a weight it is
//! `w * x0 + (w * x1 << 16)`, both products at once; of two such words with raw `i8`
//! values the low sum stays within `2 * 128 * 127 < 2^15`, so adding `2^15` makes it
//! positive and the high sum can be read off by a shift. `low` adds up whole words (modulo
//! `2^32`), `high` the shifted ones; at the end `low - (high << 16)` is the low pixel's
//! sum, exactly.

use super::{Blocks, KernelSet, Row, Taps};

/// For Cortex-M0+, Cortex-M3 and RISC-V.
#[derive(Clone, Copy, Debug)]
pub struct Packed;

/// Makes the low half of two products positive.
const HALF: u32 = 1 << 15;

impl KernelSet for Packed {
    const WEIGHT_ALIGN: usize = 1;

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

    fn widen(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], _: bool) {
        plane.fill(packed(row.zero_point, row.zero_point));
        // Channels beyond `c_in` have zero weights; what their lanes hold does not matter.
        let half = blocks.px / 2;
        for (lane, channel) in plane.chunks_exact_mut(blocks.words.max(1)).zip(0..row.c_in) {
            let column = |x: usize| {
                let at = x.checked_sub(row.margin)?.checked_mul(row.c_in)?;
                values.get(at + channel).copied()
            };
            for (x, word) in lane.iter_mut().enumerate() {
                let low = column(x).unwrap_or(row.zero_point);
                *word = packed(low, column(x + half).unwrap_or(row.zero_point));
            }
        }
    }

    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        let channels = weights.chunks_exact((blocks.lanes * taps.count).max(1));
        let half = blocks.px / 2;
        for (sums, weights) in sums.chunks_exact_mut(blocks.px.max(1)).zip(channels) {
            let (low, high) = sums.split_at_mut(half);
            for (i, (low, high)) in low.iter_mut().zip(high).enumerate() {
                let (l, h) = column(plane, weights, blocks, taps, i);
                *low = low.wrapping_add(l);
                *high = high.wrapping_add(h);
            }
        }
    }
}

fn packed(low: i8, high: i8) -> u32 {
    (low as u32).wrapping_add((high as u32) << 16)
}

fn column(block: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps, i: usize) -> (i32, i32) {
    let (mut low, mut high) = (0u32, 0i32);
    let quads = block.chunks_exact((4 * blocks.words).max(1));
    for (lanes, weights) in quads.zip(weights.chunks_exact((4 * taps.count).max(1))) {
        let x = |c: usize, tap: usize| {
            let at = c * blocks.words + taps.offset + tap + i;
            lanes.get(at).copied().unwrap_or(0)
        };
        let product = |c: usize, tap: usize| {
            let w = weights.get(4 * tap + c).map_or(0, |&w| w as i8);
            x(c, tap).wrapping_mul(w as u32)
        };
        for tap in 0..taps.count {
            for c in [0, 2] {
                let two = product(c, tap)
                    .wrapping_add(product(c + 1, tap))
                    .wrapping_add(HALF);
                low = low.wrapping_add(two).wrapping_sub(HALF);
                high = high.wrapping_add(two as i32 >> 16);
            }
        }
    }
    (low.wrapping_sub((high as u32) << 16) as i32, high)
}
