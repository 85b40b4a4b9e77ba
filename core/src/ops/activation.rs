//! From sums to activations.

use crate::fixed::{Multiplier, Rescale};
use crate::layer::Layer;
use crate::types::{Activation, LUT16_LEN};

/// The numbers that turn the sums of one output channel into activations.
///
/// The product of a sum, within `±2^30`, and the multiplier is added to the zero point and
/// clamped; a table is then looked up at the clamped value plus 128. Before a 16-bit table the
/// clamp is to 16 bits, and the table is interpolated.
#[derive(Clone, Copy, Debug)]
pub struct Requantizer<'a> {
    /// Ratio of the sum's scale to the output's.
    pub multiplier: Multiplier,
    /// Zero point of the requantized sum.
    pub zero_point: i8,
    /// Clamp or table.
    pub activation: Activation<'a>,
}

impl Requantizer<'_> {
    /// The arithmetic's definition, zero point included.
    fn slow(&self, sum: i32) -> i32 {
        let product = self.multiplier.apply(sum);
        product.saturating_add(i32::from(self.zero_point))
    }

    #[inline]
    fn activate(&self, sum: i32) -> i8 {
        match self.activation {
            Activation::Clamp { min, max } => clamp(sum, i32::from(min), i32::from(max)),
            Activation::Lut8(table) => look_up(table, sum),
            Activation::Lut16(table) => interpolate(table, sum),
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
            Activation::Lut8(table) => {
                each(sums, y, step, |sum| {
                    look_up(table, rescale.apply(sum, start))
                });
            }
            Activation::Lut16(table) => {
                each(sums, y, step, |sum| {
                    interpolate(table, rescale.apply(sum, start))
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

/// TensorFlow Lite's `LUTLookup` for 16 bits: 512 steps of 128, straight lines between their
/// ends, rounded; then the high byte, rounded, ties up.
#[inline]
fn interpolate(table: &[[u8; 2]; LUT16_LEN], sum: i32) -> i8 {
    let sum = sum.clamp(-0x8000, 0x7fff) + 0x8000;
    let (step, offset) = ((sum >> 7) as usize & 0x1ff, sum & 0x7f);
    let entry = |at: usize| i32::from(i16::from_le_bytes(table[at]));
    let (low, high) = (entry(step), entry(step + 1));
    let wide = low + (((high - low) * offset + 64) >> 7);
    ((wide + 128) >> 8).min(127) as i8
}

/// Requantizes the sum of each channel (its bias not yet in it) into its value of `y`.
pub(crate) fn requantize(
    layer: &Layer<'_>,
    channels: impl Iterator<Item = (i32, Multiplier)>,
    sums: &[i32],
    y: &mut [i8],
) {
    // One loop an activation, as above.
    match layer.activation {
        Activation::Clamp { min, max } => {
            let (min, max) = (i32::from(min), i32::from(max));
            each_channel(layer, channels, sums, y, |sum| clamp(sum, min, max));
        }
        Activation::Lut8(table) => {
            each_channel(layer, channels, sums, y, |sum| look_up(table, sum));
        }
        Activation::Lut16(table) => {
            each_channel(layer, channels, sums, y, |sum| interpolate(table, sum));
        }
    }
}

#[inline]
fn each_channel(
    layer: &Layer<'_>,
    channels: impl Iterator<Item = (i32, Multiplier)>,
    sums: &[i32],
    y: &mut [i8],
    f: impl Fn(i32) -> i8,
) {
    let zero_point = layer.pre_activation.zero_point;
    for ((y, &sum), (bias, multiplier)) in y.iter_mut().zip(sums).zip(channels) {
        let sum = bias.wrapping_add(sum);
        *y = f(match Rescale::new(multiplier, zero_point) {
            Some(rescale) => rescale.apply(sum, 0),
            None => multiplier.apply(sum).saturating_add(i32::from(zero_point)),
        });
    }
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

#[cfg(test)]
mod tests {
    use super::{interpolate, look_up};

    #[test]
    fn a_table_of_eight_bits_is_looked_up_from_minus_128_on() {
        let table: [u8; 256] = std::array::from_fn(|i| (i as i32 - 128) as u8);
        assert_eq!(
            [-500, -128, -1, 0, 127, 500].map(|sum| look_up(&table, sum)),
            [-128, -128, -1, 0, 127, 127]
        );
    }

    #[test]
    fn between_the_entries_of_a_table_of_sixteen_bits_are_straight_lines() {
        // The sum itself, whose high byte is rounded, ties up.
        let table =
            std::array::from_fn(|i| ((i as i32 * 128 - 32768).min(32767) as i16).to_le_bytes());
        let sums = [
            -99_999, -32_768, -385, -384, 0, 127, 128, 1000, 32_639, 32_640, 99_999,
        ];
        let found = sums.map(|sum| interpolate(&table, sum));
        assert_eq!(found, [-128, -128, -2, -1, 0, 0, 1, 4, 127, 127, 127]);
    }
}
