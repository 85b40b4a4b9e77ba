//! From sums to activations.

use crate::fixed::{Multiplier, Rescale};
use crate::model::{Activation, Layer};

/// Requantizes a sum and applies the fused activation.
///
/// The product is added to `zero_point` and clamped; a table is then looked up at the
/// clamped value plus 128.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
pub fn requantize(sum: i32, multiplier: Multiplier, zero_point: i8, act: &Activation) -> i8 {
    let sum = multiplier.apply(sum).saturating_add(i32::from(zero_point));
    match *act {
        Activation::Clamp { min, max } => sum.max(i32::from(min)).min(i32::from(max)) as i8,
        Activation::Table(table) => table[(sum.clamp(-128, 127) + 128) as usize] as i8,
    }
}

/// [`requantize`] for one channel: every `step`-th value of `y` from the first on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
pub(crate) fn requantize_row(
    layer: &Layer<'_>,
    multiplier: Multiplier,
    sums: &[i32],
    y: &mut [i8],
    step: usize,
) {
    let (zero_point, act) = (layer.sum.zero_point, &layer.activation);
    let Some(rescale) = Rescale::new(multiplier, zero_point) else {
        return each(sums, y, step, |sum| {
            requantize(sum, multiplier, zero_point, act)
        });
    };
    // One loop an activation: the choice is made once a row.
    match *act {
        Activation::Clamp {
            min: -128,
            max: 127,
        } => {
            each(sums, y, step, |sum| {
                rescale.apply(sum).clamp(-128, 127) as i8
            });
        }
        Activation::Clamp { min, max } => {
            let (min, max) = (i32::from(min), i32::from(max));
            each(sums, y, step, |sum| {
                rescale.apply(sum).max(min).min(max) as i8
            });
        }
        Activation::Table(table) => each(sums, y, step, |sum| {
            table[(rescale.apply(sum).clamp(-128, 127) + 128) as usize] as i8
        }),
    }
}

#[inline]
fn each(sums: &[i32], y: &mut [i8], step: usize, f: impl Fn(i32) -> i8) {
    for (y, &sum) in y.chunks_mut(step.max(1)).zip(sums) {
        if let Some(y) = y.first_mut() {
            *y = f(sum);
        }
    }
}
