//! `SMLAD`, two products and two additions an instruction, for Cortex-M4, M7 and M33.
//!
//! Blocks are 4, 7 or 8 pixels wide: their sums stay in registers while the weights of one
//! output channel run by, and two neighbouring taps share the words they load.

use super::portable::{accumulate_pairs, widen_pairs};
use super::{Blocks, KernelSet, Row, Taps};

/// For ARMv7E-M, and ARMv8-M main with the DSP extension; elsewhere its blocks with the
/// portable loops.
#[derive(Clone, Copy, Debug)]
pub struct Dsp;

impl KernelSet for Dsp {
    const WEIGHT_ALIGN: usize = if cfg!(gan_kernels = "dsp") { 4 } else { 1 };

    /// Lanes are 2 or 4 words longer than a block where they can be, because the loops step
    /// by constants.
    fn blocks(outputs: usize, reach: usize, quads: usize) -> Blocks {
        let waste = |px: &usize| outputs.next_multiple_of(*px);
        let px = [8, 7, 4].into_iter().min_by_key(waste).unwrap_or(8);
        let reach = match reach {
            0..=2 => 2,
            3..=4 => 4,
            more => more,
        };
        Blocks {
            px,
            count: outputs.div_ceil(px),
            words: px + reach,
            lanes: 2 * quads,
        }
    }

    fn widen(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32]) {
        widen_pairs(values, row, blocks, plane);
    }

    fn accumulate(sums: &mut [i32], block: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        match blocks.px {
            4 => accumulate_pairs::<4>(sums, block, weights, blocks, taps),
            7 => accumulate_pairs::<7>(sums, block, weights, blocks, taps),
            _ => accumulate_pairs::<8>(sums, block, weights, blocks, taps),
        }
    }
}
