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

use crate::error::ModelError;
use crate::format::MAX_MAP_LEN;
use crate::geometry::divide;
use crate::model::{Op, Shape, WeightBits, Window};

/// Groups of four.
pub(crate) const fn quads(n: usize) -> usize {
    n.div_ceil(4)
}

/// Lengths that follow from an operator and its shapes; below 2^50, so in more than the 32
/// bits of a small core.
pub(crate) struct Lens {
    /// Bytes.
    pub weights: u64,
    /// Biases and multipliers.
    pub channels: usize,
    /// Corrections, where the input has a zero point.
    pub corrections: u64,
}

/// Lengths of the sections of layer number `layer`, whose shapes have to fit the operator.
pub(crate) fn lens(
    layer: usize,
    op: Op,
    bits: WeightBits,
    input: Shape,
    output: Shape,
) -> Result<Lens, ModelError> {
    let map_size = ModelError::MapSize { layer };
    let len = |s: Shape| {
        let len = s.h.checked_mul(s.w).and_then(|len| len.checked_mul(s.c));
        let len = len.filter(|&len| len > 0 && len <= MAX_MAP_LEN);
        len.ok_or(map_size)
    };
    let (input_len, output_len) = (len(input)?, len(output)?);
    let Op::ConvTranspose(v) = op else {
        let blocks = quads(output.w * output.c) as u64 * output.h as u64;
        return Ok(Lens {
            weights: blocks * quads(input_len) as u64 * quad_bytes(bits),
            channels: output_len,
            corrections: 0,
        });
    };
    if v.kernel == 0 || v.stride == 0 {
        return Err(ModelError::Window { layer });
    }
    // `LayerSpec` may have more than the bytes of a file hold.
    let side = |len: usize, crops: [usize; 2]| {
        let whole = (len - 1).saturating_mul(v.stride).saturating_add(v.kernel);
        let left = whole.saturating_sub(crops[0].saturating_add(crops[1]));
        if left > 0 {
            Ok(left)
        } else {
            Err(ModelError::Crops { layer })
        }
    };
    let rows = side(input.h, [v.crop_top, v.crop_bottom])?;
    let columns = side(input.w, [v.crop_left, v.crop_right])?;
    if (rows, columns) != (output.h, output.w) {
        return Err(ModelError::OutputShape { layer });
    }
    let product = |factors: [usize; 4]| {
        let factors = factors.into_iter().map(|factor| factor as u64);
        factors.fold(1, u64::saturating_mul)
    };
    Ok(Lens {
        weights: product([v.kernel, v.kernel, output.c, 4 * quads(input.c)]),
        channels: output.c,
        corrections: product([v.kernel, v.stride, output.c, 1]),
    })
}

/// Bytes of the dense weights from four inputs to four outputs.
pub(crate) const fn quad_bytes(bits: WeightBits) -> u64 {
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

/// Taps of phase `r`, and of all phases before it: the first `kernel % stride` phases have
/// one more than the others.
const fn taps_and_before(window: Window, r: usize) -> (usize, usize) {
    let (taps, more) = divide(window.kernel, window.stride);
    if r < more {
        (taps + 1, r * (taps + 1))
    } else {
        (taps, r * taps + more)
    }
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
    let mut sum: i32 = 0;
    for group in (0..taps).step_by(2) {
        let bytes = (taps - group).min(2) * quads(c_in) * 4;
        let at = (ky * window.kernel + before + group) * tap_bytes + o * bytes;
        let weights = weights.get(at..).and_then(|w| w.get(..bytes));
        let weights = weights.unwrap_or(&[]).iter();
        sum = weights.fold(sum, |sum, &w| sum.wrapping_add(i32::from(w as i8)));
    }
    sum
}
