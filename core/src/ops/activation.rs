//! From accumulator to activation.

use crate::fixed::Multiplier;
use crate::model::Activation;

/// Requantizes an accumulator and applies the fused activation.
///
/// The product is added to `zero_point` and clamped; a table is then looked up at the
/// clamped value plus 128.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
pub fn requantize(acc: i32, multiplier: Multiplier, zero_point: i8, act: &Activation) -> i8 {
    let sum = multiplier.apply(acc).saturating_add(i32::from(zero_point));
    match *act {
        Activation::Clamp { min, max } => sum.max(i32::from(min)).min(i32::from(max)) as i8,
        Activation::Table(table) => table[(sum.clamp(-128, 127) + 128) as usize] as i8,
    }
}
