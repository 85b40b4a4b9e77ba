//! From sums to activations.

use crate::fixed::{Multiplier, Rescale};
use crate::model::Activation;

/// What turns the sums of one output channel into activations.
#[derive(Clone, Copy, Debug)]
pub struct Requantizer<'a> {
    /// Of the sum's scale to the output's.
    pub multiplier: Multiplier,
    /// Of the requantized sum.
    pub zero_point: i8,
    /// Clamp or table.
    pub activation: Activation<'a>,
}

impl Requantizer<'_> {
    /// Requantizes one sum, within `±2^30`, and applies the activation.
    ///
    /// The product is added to the zero point and clamped; a table is then looked up at the
    /// clamped value plus 128.
    #[inline]
    pub fn apply(&self, sum: i32) -> i8 {
        let product = match Rescale::new(self.multiplier, self.zero_point) {
            Some(rescale) => rescale.apply(sum, 0),
            None => self.slow(sum),
        };
        self.activate(product)
    }

    /// The arithmetic's definition, zero point included.
    fn slow(&self, sum: i32) -> i32 {
        let product = self.multiplier.apply(sum);
        product.saturating_add(i32::from(self.zero_point))
    }

    #[inline]
    fn activate(&self, sum: i32) -> i8 {
        match self.activation {
            Activation::Clamp { min, max } => clamp(sum, i32::from(min), i32::from(max)),
            Activation::Table(table) => look_up(table, sum),
        }
    }

    /// Requantizes `start` plus each of `sums` into every `step`-th value of `y` from the
    /// first on, as far as there are any.
    pub(crate) fn apply_row(&self, start: i32, sums: &[i32], y: &mut [i8], step: usize) {
        let Some(rescale) = Rescale::new(self.multiplier, self.zero_point) else {
            return each(sums, y, step, |sum| {
                self.activate(self.slow(start.wrapping_add(sum)))
            });
        };
        let start = start.wrapping_mul(2);
        // One loop an activation: the choice is made once a row.
        match self.activation {
            Activation::Clamp {
                min: -128,
                max: 127,
            } => {
                each(sums, y, step, |sum| {
                    clamp(rescale.apply(sum, start), -128, 127)
                });
            }
            Activation::Clamp { min, max } => {
                let (min, max) = (i32::from(min), i32::from(max));
                each(sums, y, step, |sum| {
                    clamp(rescale.apply(sum, start), min, max)
                });
            }
            Activation::Table(table) => {
                each(sums, y, step, |sum| {
                    look_up(table, rescale.apply(sum, start))
                });
            }
        }
    }
}

#[inline]
fn clamp(sum: i32, min: i32, max: i32) -> i8 {
    sum.max(min).min(max) as i8
}

#[inline]
fn look_up(table: &[u8; 256], sum: i32) -> i8 {
    table[usize::from(clamp(sum, -128, 127) as u8 ^ 0x80)] as i8
}

/// Not inlined: alone, the loop's values fit into registers.
#[inline(never)]
fn each(sums: &[i32], y: &mut [i8], step: usize, f: impl Fn(i32) -> i8) {
    let mut at = 0;
    for &sum in sums {
        let Some(y) = y.get_mut(at) else {
            return;
        };
        *y = f(sum);
        at += step;
    }
}
