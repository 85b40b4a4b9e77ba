//! The one rounding rule: TensorFlow Lite's `MultiplyByQuantizedMultiplier` with double
//! rounding (gemmlowp).

/// A positive real number as `mantissa * 2^(shift - 31)`.
///
/// `mantissa` is 0 or in `[2^30, 2^31 - 1]`, `shift` in `[-31, 30]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// Q31.
    pub mantissa: i32,
    /// Positive is left.
    pub shift: i8,
}

impl Multiplier {
    /// Whether both parts are in range.
    pub const fn is_valid(self) -> bool {
        (self.mantissa == 0 || self.mantissa >= 1 << 30) && self.shift >= -31 && self.shift <= 30
    }

    /// `acc * self`, rounded twice: to the Q31 product, ties up (towards positive), then
    /// to the shift, ties away from zero. A left shift wraps, as in the reference kernels.
    #[inline]
    pub const fn apply(self, acc: i32) -> i32 {
        let (left, right) = if self.shift > 0 {
            (self.shift as u32, 0)
        } else {
            (0, self.shift.unsigned_abs() as u32)
        };
        let high = doubling_high_mul(acc.wrapping_mul(1 << left), self.mantissa);
        rounding_divide_by_power_of_two(high, right)
    }
}

/// The high half of `2 * a * b`, rounded to nearest, saturating where both are the minimum.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the quotient fits: see the guard"
)]
pub const fn doubling_high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = a as i64 * b as i64;
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^exponent`, ties away from zero; `exponent` in `[0, 31]`.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the mask has at most 31 bits"
)]
pub const fn rounding_divide_by_power_of_two(x: i32, exponent: u32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + (x < 0) as i32;
    (x >> exponent) + (remainder > threshold) as i32
}
