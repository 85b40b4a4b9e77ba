//! Where each weight lies: in the order in which the inner loops read them.
//!
//! - Transposed convolution: `[ky][phase][group][c_out][c_in / 4][tap of the group][4]`.
//!   A phase `kx % stride` has its taps in the order of the input columns that they read,
//!   so by falling `kx`, in groups of two; the last may be single.
//! - Dense: `[row][outputs of the row / 4][n_in / 4][4 outputs][4 inputs]`. With 4 bits, each
//!   16 of these are 8 bytes: the first 8 in the low halves, the others in the high ones.
//!
//! Input channels and dense outputs are filled up to multiples of four with zeros. The
//! corrections of a transposed convolution are `[ky][phase][c_out]`.

use crate::format::MAX_MAP_LEN;
use crate::geometry::{divide, phase_taps};
use crate::model::{Op, Shape, WeightBits, Window};

/// Groups of four.
pub(crate) const fn quads(n: usize) -> usize {
    n.div_ceil(4)
}

/// Lengths that follow from an operator and its shapes.
pub(crate) struct Lens {
    /// Bytes.
    pub weights: usize,
    /// Biases and multipliers.
    pub channels: usize,
    /// Corrections, where the input has a zero point.
    pub corrections: usize,
}

/// Lengths of the sections, or `None` where the shapes do not fit the operator.
pub(crate) fn lens(op: Op, bits: WeightBits, input: Shape, output: Shape) -> Option<Lens> {
    let len = |s: Shape| {
        let len = s.h.checked_mul(s.w)?.checked_mul(s.c)?;
        (len > 0 && len <= MAX_MAP_LEN).then_some(len)
    };
    let (input_len, output_len) = (len(input)?, len(output)?);
    match op {
        Op::Dense => Some(Lens {
            weights: quads(output.w * output.c)
                .checked_mul(quad_bytes(bits) * output.h)?
                .checked_mul(quads(input_len))?,
            channels: output_len,
            corrections: 0,
        }),
        Op::ConvTranspose(v) => {
            let side =
                |len: usize, crop: usize| ((len - 1) * v.stride + v.kernel).checked_sub(crop);
            let fits = side(input.h, v.crop_top + v.crop_bottom) == Some(output.h)
                && side(input.w, v.crop_left + v.crop_right) == Some(output.w);
            let taps = v.kernel * v.kernel;
            let weights = output
                .c
                .checked_mul(taps)?
                .checked_mul(4 * quads(input.c))?;
            let fits = fits && bits == WeightBits::Eight;
            (fits && v.kernel > 0 && v.stride > 0).then_some(Lens {
                weights,
                channels: output.c,
                corrections: v.kernel * v.stride * output.c,
            })
        }
    }
}

/// Bytes of the dense weights from four inputs to four outputs.
pub(crate) const fn quad_bytes(bits: WeightBits) -> usize {
    match bits {
        WeightBits::Eight => 16,
        WeightBits::Four => 8,
    }
}

/// Place of the dense weight from input `i` to output `o`, were it a byte.
pub(crate) const fn dense_index(input: Shape, output: Shape, o: usize, i: usize) -> usize {
    let row_len = output.w * output.c;
    let (row, o) = (o / row_len, o % row_len);
    let block = row * quads(row_len) + o / 4;
    (block * quads(input.len()) + i / 4) * 16 + o % 4 * 4 + i % 4
}

/// Place of the transposed convolution's weight from channel `c` to channel `o`.
pub(crate) const fn conv_index(
    window: Window,
    (c_in, c_out): (usize, usize),
    (o, ky, kx, c): (usize, usize, usize, usize),
) -> usize {
    let (n, r) = divide(kx, window.stride);
    let (taps, before) = taps_and_before(window, r);
    let position = taps - 1 - n;
    let group = position - position % 2;
    let group_taps = if group + 1 < taps { 2 } else { 1 };
    let quads = quads(c_in);
    (ky * window.kernel + before + group) * c_out * quads * 4
        + ((o * quads + c / 4) * group_taps + position % 2) * 4
        + c % 4
}

/// Taps of a phase, and of all phases before it.
const fn taps_and_before(window: Window, r: usize) -> (usize, usize) {
    let (mut before, mut i) = (0, 0);
    while i < r {
        before += phase_taps(window.kernel, window.stride, i);
        i += 1;
    }
    (phase_taps(window.kernel, window.stride, r), before)
}

/// Sum of the weights of kernel row `ky` and phase `r` to channel `o`, laid out.
pub(crate) fn tap_sum(
    window: Window,
    (c_in, c_out): (usize, usize),
    (ky, r, o): (usize, usize, usize),
    weights: &[u8],
) -> i32 {
    let (taps, before) = taps_and_before(window, r);
    let tap_bytes = c_out * quads(c_in) * 4;
    let mut sum = 0;
    for group in (0..taps).step_by(2) {
        let bytes = (taps - group).min(2) * quads(c_in) * 4;
        let at = (ky * window.kernel + before + group) * tap_bytes + o * bytes;
        let weights = weights.get(at..).and_then(|w| w.get(..bytes));
        let weights = weights.unwrap_or(&[]).iter();
        sum += weights.map(|&w| i32::from(w as i8)).sum::<i32>();
    }
    sum
}
