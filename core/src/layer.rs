//! One layer: its operator, its shapes and its sections of the file, in place.

use crate::fixed::Multiplier;
use crate::layout::nibble;
use crate::slice::part;
use crate::types::{Activation, Function, Op, Quant, Shape, WeightBits};

/// One layer of a checked model, in place.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Operator.
    pub op: Op,
    /// Shape of the input.
    pub input_shape: Shape,
    /// Shape of the output.
    pub output_shape: Shape,
    /// Scale and zero point of the input.
    pub input: Quant,
    /// Scale and zero point of the requantized sum, which the activation reads.
    pub pre_activation: Quant,
    /// Scale and zero point of the output.
    pub output: Quant,
    /// Clamp or table.
    pub activation: Activation<'a>,
    /// What the clamp or table holds.
    pub function: Function,
    /// Bits of each weight.
    pub weight_bits: WeightBits,
    /// See [`layout`](crate::layout).
    pub(crate) weights: &'a [u8],
    pub(crate) bias: &'a [u8],
    pub(crate) mantissas: &'a [u8],
    pub(crate) shifts: &'a [u8],
    /// `i32` `[ky][phase][c_out]`: the sum of the weights times minus the input's zero
    /// point; empty where that is 0.
    pub(crate) zero_point_corrections: &'a [u8],
}

impl<'a> Layer<'a> {
    /// Bias and multiplier of each output channel (dense: value) from `first` on.
    pub fn channels(&self, first: usize) -> impl Iterator<Item = (i32, Multiplier)> + use<'a> {
        let words = |bytes: &'a [u8]| {
            let words = part(bytes, 4 * first..).as_chunks::<4>().0;
            words.iter().map(|&word| i32::from_le_bytes(word))
        };
        let (biases, mantissas) = (words(self.bias), words(self.mantissas));
        let multipliers = mantissas.zip(part(self.shifts, first..));
        biases.zip(multipliers).map(|(bias, (mantissa, &shift))| {
            let shift = shift as i8;
            (bias, Multiplier { mantissa, shift })
        })
    }

    /// The weight at a place of the [`layout`].
    pub(crate) fn weight(&self, at: usize) -> i8 {
        match self.weight_bits {
            WeightBits::Eight => self.weights.get(at).map_or(0, |&w| w as i8),
            WeightBits::Four => {
                let (byte, shift) = nibble(at);
                let half = self
                    .weights
                    .get(byte)
                    .map_or(0, |&pair| pair >> shift & 0xf);
                ((half ^ 8) as i8).wrapping_sub(8)
            }
        }
    }

    /// Bytes of weights, biases, multipliers, zero-point corrections and table.
    pub fn flash_bytes(&self) -> usize {
        self.weights.len()
            + self.bias.len()
            + self.mantissas.len()
            + self.shifts.len()
            + self.zero_point_corrections.len()
            + self.activation.table_bytes()
    }
}
