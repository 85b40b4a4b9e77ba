//! The one rounding rule: TensorFlow Lite's `MultiplyByQuantizedMultiplier` with double
//! rounding (gemmlowp).

/// A positive real number as `mantissa * 2^(shift - 31)`.
///
/// `mantissa` is 0 or in `[2^30, 2^31 - 1]`, `shift` in `[-31, 30]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// Q31.
    pub mantissa: i32,
    /// Shift, to the left where it is positive.
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

/// [`Multiplier::apply`] and the addition of a zero point in four operations.
///
/// Only for shifts in `[-20, -1]`, which nearly every channel has, and sums within
/// `±2^30`, as [`Model::parse`](crate::Model::parse) ensures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rescale {
    mantissa: i32,
    right: u32,
    /// Half a step of the shift, and the zero point above it.
    nudge: i32,
}

impl Rescale {
    pub const fn new(multiplier: Multiplier, zero_point: i8) -> Option<Self> {
        if multiplier.shift < -20 || multiplier.shift > -1 {
            return None;
        }
        let right = multiplier.shift.unsigned_abs() as u32;
        Some(Self {
            mantissa: multiplier.mantissa,
            right,
            nudge: (1 << (right - 1)) + ((zero_point as i32) << right),
        })
    }

    /// The product of `sum + twice_start / 2`: twice the sum times a Q31 mantissa, high
    /// half, ties up; then `(high - (high < 0) + half) >> right` is the division with ties
    /// away from zero. The sum's sign stands for the product's: where they differ the
    /// product is 0, which either sign rounds to 0.
    #[inline]
    pub const fn apply(&self, sum: i32, twice_start: i32) -> i32 {
        let twice = twice_start.wrapping_add(sum << 1);
        let high = rounding_high_mul(twice, self.mantissa);
        (high + ((twice >> 31) + self.nudge)) >> self.right
    }
}

/// `(a * b + 2^31) >> 32` for `b >= 0`.
#[cfg(not(thumb1))]
#[inline]
const fn rounding_high_mul(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64 + (1 << 31)) >> 32) as i32
}

/// The same by 16-bit halves, where no instruction multiplies to 64 bits.
#[cfg(thumb1)]
#[inline]
const fn rounding_high_mul(a: i32, b: i32) -> i32 {
    let (a_low, a_high) = ((a as u32) & 0xffff, a >> 16);
    let (b_low, b_high) = ((b as u32) & 0xffff, b >> 16);
    // a * b = high * 2^32 + (cross + middle) * 2^16 + 16 bits, with cross signed and middle
    // not; each fits 32 bits, as does middle with what carries into it.
    let cross = a_high.wrapping_mul(b_low as i32);
    let middle = a_low * b_high as u32 + ((a_low * b_low) >> 16) + (1 << 15);
    let low = (middle & 0xffff) + (cross as u32 & 0xffff);
    a_high * b_high + (cross >> 16) + (middle >> 16) as i32 + (low >> 16) as i32
}

#[cfg(test)]
mod tests {
    use super::{Multiplier, Rescale, doubling_high_mul, rounding_divide_by_power_of_two};

    #[test]
    fn a_division_rounds_ties_away_from_zero() {
        let divide = rounding_divide_by_power_of_two;
        let cases = [
            (5, 3),
            (-5, -3),
            (3, 2),
            (-3, -2),
            (4, 2),
            (1, 1),
            (-1, -1),
            (0, 0),
        ];
        for (x, half) in cases {
            assert_eq!(divide(x, 1), half, "{x}");
        }
        assert_eq!([divide(6, 2), divide(-6, 2), divide(-5, 2)], [2, -2, -1]);
        assert_eq!([divide(i32::MIN, 31), divide(i32::MAX, 0)], [-1, i32::MAX]);
    }

    #[test]
    fn a_product_rounds_ties_up_and_saturates() {
        let half = 1 << 30;
        assert_eq!([3, -3, 4].map(|x| doubling_high_mul(x, half)), [2, -1, 2]);
        assert_eq!(doubling_high_mul(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(doubling_high_mul(i32::MIN, i32::MAX), -i32::MAX);
    }

    #[test]
    fn multipliers_scale_by_powers_of_two() {
        let by = |shift, acc| {
            Multiplier {
                mantissa: 1 << 30,
                shift,
            }
            .apply(acc)
        };
        assert_eq!(
            [by(1, 77), by(2, 77), by(-1, 80), by(-3, -160)],
            [77, 154, 20, -10]
        );
        let valid = |mantissa, shift| Multiplier { mantissa, shift }.is_valid();
        assert!(valid(0, -31) && valid(i32::MAX, 30) && valid(1 << 30, 0));
        assert!(!valid(1, 0) && !valid(-1, 0) && !valid(0, -32) && !valid(0, 31));
    }

    #[test]
    fn the_short_form_gives_the_same_values() {
        for shift in -20..0 {
            let multiplier = Multiplier {
                mantissa: 1_518_500_250,
                shift,
            };
            let rescale = Rescale::new(multiplier, -7).unwrap();
            for i in -2000..2000i32 {
                let sum = i * 268_435 + i % 7;
                assert_eq!(
                    rescale.apply(sum, 0),
                    multiplier.apply(sum) - 7,
                    "{sum} {shift}"
                );
                assert_eq!(rescale.apply(sum - 5, 10), multiplier.apply(sum) - 7);
            }
        }
        let other = |shift| {
            Rescale::new(
                Multiplier {
                    mantissa: 1 << 30,
                    shift,
                },
                0,
            )
        };
        assert!(other(0).is_none() && other(-21).is_none());
    }
}
