//! The way into the loops written for a processor.

#[cfg(target_arch = "riscv32")]
pub use super::riscv::MAX_WORDS;
#[cfg(all(target_arch = "arm", thumb1))]
pub use super::thumb1::MAX_WORDS;
#[cfg(all(target_arch = "arm", not(thumb1)))]
pub use super::thumb2::MAX_WORDS;
use super::{HALF, Taps};
use crate::ops::kernels::Blocks;

/// The state of a loop, which moves `low` and `high` on from channel to channel.
#[repr(C)]
struct Job {
    low: *mut i32,
    high: *mut i32,
    plane: *const u32,
    plane_end: *const u32,
    weights: *const u8,
    weights_end: *const u8,
    lane_bytes: usize,
    /// Bytes from one channel's sums to the next one's.
    sums_bytes: usize,
    /// Minus all the halves that a channel's sum will have in it.
    start: u32,
}

type Loop = unsafe extern "C" fn(*mut Job);

macro_rules! loops {
    ($($words:literal $one:ident $two:ident),*) => {
        #[expect(unsafe_code, reason = "written in assembly")]
        unsafe extern "C" {
            $(fn $one(job: *mut Job); fn $two(job: *mut Job);)*
        }

        fn loop_for(words: usize, taps: usize) -> Option<Loop> {
            match (words, taps) {
                $(($words, 1) => Some($one), ($words, 2) => Some($two),)*
                _ => None,
            }
        }
    };
}

#[cfg(target_arch = "arm")]
loops!(
    1 gan_packed_1_1 gan_packed_1_2,
    2 gan_packed_2_1 gan_packed_2_2,
    3 gan_packed_3_1 gan_packed_3_2
);
#[cfg(target_arch = "riscv32")]
loops!(
    1 gan_packed_1_1 gan_packed_1_2,
    2 gan_packed_2_1 gan_packed_2_2,
    3 gan_packed_3_1 gan_packed_3_2,
    4 gan_packed_4_1 gan_packed_4_2,
    5 gan_packed_5_1 gan_packed_5_2,
    6 gan_packed_6_1 gan_packed_6_2,
    7 gan_packed_7_1 gan_packed_7_2
);

#[expect(unsafe_code, reason = "written in assembly")]
unsafe extern "C" {
    fn gan_packed_write(
        low: *const i8,
        high: *const i8,
        to: *mut u32,
        lane_bytes: usize,
        lanes: usize,
    );
}

/// Writes one word of every lane, `stride` words apart.
#[expect(unsafe_code, reason = "written in assembly")]
pub fn write_both(low: &[i8], high: &[i8], plane: &mut [u32], stride: usize) {
    let lanes = low.len().min(high.len());
    if lanes > 0 && (lanes - 1) * stride < plane.len() {
        // SAFETY: `lanes` values are read of each; the last word written is the one checked.
        unsafe {
            let to = plane.as_mut_ptr();
            gan_packed_write(low.as_ptr(), high.as_ptr(), to, 4 * stride, lanes);
        }
    }
}

/// Adds the products of words `first..first + words` of every lane to all channels' sums.
#[expect(unsafe_code, reason = "written in assembly")]
pub fn add_words(
    sums: &mut [i32],
    plane: &[u32],
    weights: &[u8],
    blocks: &Blocks,
    taps: Taps,
    first: usize,
    words: usize,
) {
    let Some(run) = loop_for(words, taps.count) else {
        return;
    };
    let low = sums.as_mut_ptr().wrapping_add(first);
    let start = plane.as_ptr().wrapping_add(taps.offset + first);
    let weights = weights.as_ptr_range();
    let pairs = (blocks.lanes * taps.count / 2) as u32;
    let mut job = Job {
        low,
        high: low.wrapping_add(blocks.px / 2),
        plane: start,
        plane_end: start.wrapping_add(plane.len()),
        weights: weights.start,
        weights_end: weights.end,
        lane_bytes: 4 * blocks.words,
        sums_bytes: 4 * blocks.px,
        start: pairs.wrapping_mul(HALF).wrapping_neg(),
    };
    // SAFETY: `accumulate` has checked that `words + taps - 1` words from `start` on lie in
    // each lane, that the plane holds all lanes, that the weights are whole channels of
    // them, and that there are `px` sums for each channel, of which the loop changes
    // `first..first + words` of both halves.
    unsafe { run(&raw mut job) };
}
