//! `SMLAD`, two products and two additions an instruction, for Cortex-M4, M7 and M33.
//!
//! Blocks are 4, 7 or 8 pixels wide: their sums stay in registers while the weights of one
//! output channel run by, and two neighbouring taps share the words they load. For two taps
//! and eight pixels 24 instructions do 32 multiplications.

use super::portable::{accumulate_pairs, add_any, pack_pairs};
use super::{Blocks, KernelSet, Row, Taps};

/// Inner loops for ARMv7E-M, and ARMv8-M main with the DSP extension. Elsewhere, and for a file
/// that does not lie at a multiple of four bytes, the portable loops run on the same blocks.
#[derive(Clone, Copy, Debug)]
pub struct Dsp;

/// Words that lanes are longer than blocks, if that is enough: the loops step by constants.
const REACHES: [usize; 2] = [2, 4];

impl KernelSet for Dsp {
    fn blocks(outputs: usize, reach: usize, quads: usize) -> Blocks {
        let rounded = |px: &usize| outputs.next_multiple_of(*px);
        let px = [8, 7, 4].into_iter().min_by_key(rounded).unwrap_or(8);
        let reach = REACHES.into_iter().find(|&r| reach <= r).unwrap_or(reach);
        Blocks {
            px,
            count: outputs.div_ceil(px),
            words: px + reach,
            lanes: 2 * quads,
        }
    }

    #[cfg(not(gan_kernels = "dsp"))]
    fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        pack_pairs(values, row, blocks, plane, margins);
    }

    #[cfg(not(gan_kernels = "dsp"))]
    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        accumulate_any(sums, plane, weights, blocks, taps);
    }

    #[cfg(gan_kernels = "dsp")]
    fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        if row.c_in.is_multiple_of(4) && values.as_ptr().cast::<u32>().is_aligned() {
            arm::pack(values, row, blocks, plane, margins);
        } else {
            pack_pairs(values, row, blocks, plane, margins);
        }
    }

    #[cfg(gan_kernels = "dsp")]
    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
        if arm::accumulate(sums, plane, weights, blocks, taps).is_none() {
            accumulate_any(sums, plane, weights, blocks, taps);
        }
    }

    #[cfg(gan_kernels = "dsp")]
    fn clear(sums: &mut [i32]) {
        arm::clear(sums);
    }

    #[cfg(gan_kernels = "dsp")]
    fn dense(words: &[u32], weights: &[u8]) -> [i32; 4] {
        let mut sums = [0; 4];
        if arm::dense(words, weights, &mut sums) {
            sums
        } else {
            dense_anywhere(words, weights)
        }
    }
}

/// The loops in Rust, for lanes that the others cannot step over.
fn accumulate_any(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps) {
    match blocks.px {
        4 => accumulate_pairs(sums, plane, weights, blocks, taps, add_any::<4>),
        7 => accumulate_pairs(sums, plane, weights, blocks, taps, add_any::<7>),
        _ => accumulate_pairs(sums, plane, weights, blocks, taps, add_any::<8>),
    }
}

/// Apart, so that it costs the usual case no registers.
#[cfg(gan_kernels = "dsp")]
#[cold]
#[inline(never)]
fn dense_anywhere(words: &[u32], weights: &[u8]) -> [i32; 4] {
    super::Portable::dense(words, weights)
}

#[cfg(gan_kernels = "dsp")]
#[expect(
    unsafe_code,
    reason = "hand-allocated registers: LLVM spills these loops"
)]
mod arm {
    use core::arch::global_asm;

    use crate::ops::kernels::{Blocks, Row, Taps, pair};

    // The target's own feature set leaves the extension out.
    #[cfg(thumb8)]
    global_asm!(".cpu cortex-m33");

    // Registers of `gan_dsp_P_T_S`: r4.. sums of P pixels, r0 plane, r1 weights, r2 and r3
    // the weights of one or two taps, r12 and lr two words of the plane. On the stack: 0 end
    // of the plane, 4 its start, 8 sums, 12 end of the weights. T taps; S bytes a lane.
    global_asm!(
        ".syntax unified",
        // Two weights of pair 0 or 1 of a quad, for one or two taps.
        ".macro gan_weights taps, pair",
        ".if \\taps == 2",
        ".if \\pair == 0",
        "ldrd r2, r3, [r1]",
        "sxtb16 r2, r2",
        "sxtb16 r3, r3",
        ".else",
        "ldrd r2, r3, [r1], #8",
        "sxtb16 r2, r2, ror #8",
        "sxtb16 r3, r3, ror #8",
        ".endif",
        ".else",
        ".if \\pair == 0",
        "ldr r2, [r1]",
        "sxtb16 r2, r2",
        ".else",
        "ldr r2, [r1], #4",
        "sxtb16 r2, r2, ror #8",
        ".endif",
        ".endif",
        ".endm",
        // Two words, whose pixels are `middle` and `right`, `left` being the one before.
        ".macro gan_two_words taps, left, middle, right",
        ".if \\taps == 2",
        "smlad \\left, r12, r3, \\left",
        "smlad \\middle, lr, r3, \\middle",
        ".endif",
        "smlad \\middle, r12, r2, \\middle",
        "smlad \\right, lr, r2, \\right",
        ".endm",
        ".macro gan_pair px, taps, stride",
        "ldrd r12, lr, [r0], #\\stride",
        "smlad r4, r12, r2, r4",
        "smlad r5, lr, r2, r5",
        ".if \\taps == 2",
        "smlad r4, lr, r3, r4",
        ".endif",
        "ldrd r12, lr, [r0, #8 - \\stride]",
        "gan_two_words \\taps, r5, r6, r7",
        ".if \\px > 4",
        "ldrd r12, lr, [r0, #16 - \\stride]",
        "gan_two_words \\taps, r7, r8, r9",
        ".if \\px == 8",
        "ldrd r12, lr, [r0, #24 - \\stride]",
        "gan_two_words \\taps, r9, r10, r11",
        ".if \\taps == 2",
        "ldr r12, [r0, #32 - \\stride]",
        "smlad r11, r12, r3, r11",
        ".endif",
        ".else",
        ".if \\taps == 2",
        "ldrd r12, lr, [r0, #24 - \\stride]",
        "smlad r9, r12, r3, r9",
        "smlad r10, lr, r3, r10",
        ".else",
        "ldr r12, [r0, #24 - \\stride]",
        ".endif",
        "smlad r10, r12, r2, r10",
        ".endif",
        ".else",
        ".if \\taps == 2",
        "ldr r12, [r0, #16 - \\stride]",
        "smlad r7, r12, r3, r7",
        ".endif",
        ".endif",
        ".endm",
        // (sums r0, plane r1, weights r2, end of the weights r3, end of the plane [sp])
        ".macro gan_dsp px, taps, stride, last",
        ".section .text.gan_dsp_\\px\\()_\\taps\\()_\\stride, \"ax\", %progbits",
        ".p2align 2",
        ".global gan_dsp_\\px\\()_\\taps\\()_\\stride",
        ".type gan_dsp_\\px\\()_\\taps\\()_\\stride, %function",
        ".thumb_func",
        "gan_dsp_\\px\\()_\\taps\\()_\\stride:",
        "ldr r12, [sp]",
        "push {{r4-r11, lr}}",
        "push {{r0, r3}}",
        "push {{r1, r12}}",
        // Now 0 the plane, 4 its end, 8 the sums, 12 the end of the weights.
        "mov r1, r2",
        "2:",
        "ldr r12, [sp, #8]",
        "ldr r0, [sp]",
        "ldm r12, {{r4-\\last}}",
        "3:",
        "gan_weights \\taps, 0",
        "gan_pair \\px, \\taps, \\stride",
        "gan_weights \\taps, 1",
        "gan_pair \\px, \\taps, \\stride",
        "ldr r12, [sp, #4]",
        "cmp r0, r12",
        "bne 3b",
        "ldrd r12, lr, [sp, #8]",
        "stm r12!, {{r4-\\last}}",
        "str r12, [sp, #8]",
        "cmp r1, lr",
        "bne 2b",
        "add sp, #16",
        "pop {{r4-r11, pc}}",
        ".endm",
        "gan_dsp 4, 1, 24, r7",
        "gan_dsp 4, 1, 32, r7",
        "gan_dsp 4, 2, 24, r7",
        "gan_dsp 4, 2, 32, r7",
        "gan_dsp 7, 1, 36, r10",
        "gan_dsp 7, 1, 44, r10",
        "gan_dsp 7, 2, 36, r10",
        "gan_dsp 7, 2, 44, r10",
        "gan_dsp 8, 1, 40, r11",
        "gan_dsp 8, 1, 48, r11",
        "gan_dsp 8, 2, 40, r11",
        "gan_dsp 8, 2, 48, r11",
        // (plane r0, values r1, pixels r2, quads r3, bytes of a lane [sp])
        ".section .text.gan_dsp_pack, \"ax\", %progbits",
        ".p2align 2",
        ".global gan_dsp_pack",
        ".type gan_dsp_pack, %function",
        ".thumb_func",
        "gan_dsp_pack:",
        "ldr r12, [sp]",
        "push {{r4-r8, lr}}",
        "2:",
        "mov r4, r0",
        "lsrs r5, r3, #1",
        "beq 4f",
        "3:",
        "ldrd r6, r7, [r1], #8",
        "sxtb16 r8, r6",
        "sxtb16 r6, r6, ror #8",
        "str r8, [r4]",
        "str r6, [r4, r12]",
        "add r4, r4, r12, lsl #1",
        "sxtb16 r8, r7",
        "sxtb16 r7, r7, ror #8",
        "str r8, [r4]",
        "str r7, [r4, r12]",
        "add r4, r4, r12, lsl #1",
        "subs r5, #1",
        "bne 3b",
        "4:",
        "lsls r5, r3, #31",
        "beq 5f",
        "ldr r6, [r1], #4",
        "sxtb16 r8, r6",
        "sxtb16 r6, r6, ror #8",
        "str r8, [r4]",
        "str r6, [r4, r12]",
        "5:",
        "adds r0, #4",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4-r8, pc}}",
        // (words r0, weights r1, end of the words r2, sums r3)
        ".section .text.gan_dsp_dense, \"ax\", %progbits",
        ".p2align 2",
        ".global gan_dsp_dense",
        ".type gan_dsp_dense, %function",
        ".thumb_func",
        "gan_dsp_dense:",
        "push {{r3-r11, lr}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "2:",
        "ldrd r8, r9, [r0], #8",
        "ldm r1!, {{r10, r11, r12, lr}}",
        ".macro gan_dense_output sum, weights",
        "sxtb16 r3, \\weights",
        "smlad \\sum, r3, r8, \\sum",
        "sxtb16 r3, \\weights, ror #8",
        "smlad \\sum, r3, r9, \\sum",
        ".endm",
        "gan_dense_output r4, r10",
        "gan_dense_output r5, r11",
        "gan_dense_output r6, r12",
        "gan_dense_output r7, lr",
        "cmp r0, r2",
        "bne 2b",
        "pop {{r3}}",
        "stm r3!, {{r4-r7}}",
        "pop {{r4-r11, pc}}",
        // (sums r0, their end r1), a multiple of eight
        ".section .text.gan_dsp_clear, \"ax\", %progbits",
        ".p2align 2",
        ".global gan_dsp_clear",
        ".type gan_dsp_clear, %function",
        ".thumb_func",
        "gan_dsp_clear:",
        "push {{r4-r7, lr}}",
        "movs r2, #0",
        "movs r3, #0",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "mov r12, r2",
        "mov lr, r2",
        "2:",
        "stm r0!, {{r2-r7, r12, lr}}",
        "cmp r0, r1",
        "bne 2b",
        "pop {{r4-r7, pc}}",
        ".text",
    );

    type Accumulate = unsafe extern "C" fn(*mut i32, *const u32, *const u8, *const u8, *const u32);

    unsafe extern "C" {
        fn gan_dsp_4_1_24(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_4_1_32(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_4_2_24(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_4_2_32(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_7_1_36(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_7_1_44(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_7_2_36(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_7_2_44(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_8_1_40(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_8_1_48(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_8_2_40(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_8_2_48(s: *mut i32, x: *const u32, w: *const u8, we: *const u8, xe: *const u32);
        fn gan_dsp_pack(plane: *mut u32, values: *const i8, px: usize, quads: usize, lane: usize);
        fn gan_dsp_clear(sums: *mut i32, end: *mut i32);
        fn gan_dsp_dense(words: *const u32, w: *const u8, end: *const u32, sums: *mut i32);
    }

    fn loop_for(px: usize, taps: usize, words: usize) -> Option<Accumulate> {
        Some(match (px, taps, words) {
            (4, 1, 6) => gan_dsp_4_1_24,
            (4, 1, 8) => gan_dsp_4_1_32,
            (4, 2, 6) => gan_dsp_4_2_24,
            (4, 2, 8) => gan_dsp_4_2_32,
            (7, 1, 9) => gan_dsp_7_1_36,
            (7, 1, 11) => gan_dsp_7_1_44,
            (7, 2, 9) => gan_dsp_7_2_36,
            (7, 2, 11) => gan_dsp_7_2_44,
            (8, 1, 10) => gan_dsp_8_1_40,
            (8, 1, 12) => gan_dsp_8_1_48,
            (8, 2, 10) => gan_dsp_8_2_40,
            (8, 2, 12) => gan_dsp_8_2_48,
            _ => return None,
        })
    }

    /// Nothing where no loop fits.
    pub fn accumulate(
        sums: &mut [i32],
        plane: &[u32],
        weights: &[u8],
        blocks: &Blocks,
        taps: Taps,
    ) -> Option<()> {
        let run = loop_for(blocks.px, taps.count, blocks.words)?;
        let channel_bytes = 2 * blocks.lanes * taps.count;
        let c_out = weights.len() / channel_bytes.max(1);
        let in_lane = taps.offset + taps.count + blocks.px <= blocks.words + 1;
        let whole = c_out > 0 && weights.len() == c_out * channel_bytes;
        if !in_lane || !whole || !weights.as_ptr().cast::<u32>().is_aligned() {
            return None;
        }
        let weights = weights.as_ptr_range();
        for (sums, block) in blocks.zip(sums, plane, taps.block_sums) {
            let sums = sums.get_mut(..c_out * blocks.px)?;
            // SAFETY: a loop over lanes of `words` words reads `px + taps - 1` words of each
            // from `offset` on, and stops where the next quad would begin; it reads all
            // weights and writes `px` sums for every `channel_bytes` of them.
            unsafe {
                let plane = block.as_ptr().wrapping_add(taps.offset);
                let end = plane.wrapping_add(block.len());
                run(sums.as_mut_ptr(), plane, weights.start, weights.end, end);
            }
        }
        Some(())
    }

    pub fn clear(sums: &mut [i32]) {
        let (whole, rest) = sums.as_chunks_mut::<8>();
        rest.fill(0);
        if !whole.is_empty() {
            let range = whole.as_mut_ptr_range();
            // SAFETY: steps of eight words over the whole range.
            unsafe { gan_dsp_clear(range.start.cast(), range.end.cast()) };
        }
    }

    /// `c_in` is a multiple of 4, and so is the values' address.
    pub fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool) {
        let margin = i16::from(row.zero_point);
        let (quads, columns) = (row.c_in / 4, values.len() / row.c_in.max(1));
        for (at, block) in plane
            .chunks_exact_mut(blocks.block_words().max(1))
            .enumerate()
        {
            let (first, skip) = blocks.first_pixel(at, row.margin);
            let px = columns
                .saturating_sub(first)
                .min(blocks.words.saturating_sub(skip));
            if margins && px < blocks.words {
                block.fill(pair(margin, margin));
            }
            let pixels = values.get(first * row.c_in..(first + px) * row.c_in);
            if let (Some(pixels), 1.., true) = (pixels, px, 2 * quads == blocks.lanes) {
                // SAFETY: `px` pixels of `quads * 4` values are there to read; each lane has
                // room for them behind `skip`, and there are two lanes a quad.
                unsafe {
                    let plane = block.as_mut_ptr().wrapping_add(skip);
                    gan_dsp_pack(plane, pixels.as_ptr(), px, quads, 4 * blocks.words);
                }
            }
        }
    }

    /// Whether it could: not from weights that lie at an odd place.
    pub fn dense(words: &[u32], weights: &[u8], sums: &mut [i32; 4]) -> bool {
        let fits = !words.is_empty()
            && words.len().is_multiple_of(2)
            && weights.len() == 8 * words.len()
            && weights.as_ptr().cast::<u32>().is_aligned();
        if fits {
            // SAFETY: two words and sixteen weights a step; four sums are written.
            unsafe {
                let end = words.as_ptr_range().end;
                gan_dsp_dense(words.as_ptr(), weights.as_ptr(), end, sums.as_mut_ptr());
            }
        }
        fits
    }
}
