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
    /// The function that the clamp or table holds.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::Layer;
    use crate::fixed::Multiplier;
    use crate::types::{Activation, Function, Op, Quant, Shape, WeightBits};

    const BIASES: [u8; 256] = [0; 256];
    const MANTISSAS: [[u8; 4]; 64] = [(1i32 << 30).to_le_bytes(); 64];
    const SHIFTS: [u8; 64] = [1; 64];

    /// A layer of up to 64 channels whose outputs are its sums: no biases, multipliers of 1.
    pub(crate) fn layer(op: Op, shapes: [Shape; 2], weights: &[u8]) -> Layer<'_> {
        let quant = Quant {
            scale: 0.5,
            zero_point: 0,
        };
        let channels = match op {
            Op::Dense => shapes[1].len(),
            Op::ConvTranspose(_) => shapes[1].c,
        };
        Layer {
            op,
            input_shape: shapes[0],
            output_shape: shapes[1],
            input: quant,
            pre_activation: quant,
            output: quant,
            activation: Activation::Clamp {
                min: -128,
                max: 127,
            },
            function: Function::Linear,
            weight_bits: WeightBits::Eight,
            weights,
            bias: &BIASES[..4 * channels],
            mantissas: &MANTISSAS.as_flattened()[..4 * channels],
            shifts: &SHIFTS[..channels],
            zero_point_corrections: &[],
        }
    }

    /// A map of one pixel.
    pub(crate) fn flat(c: usize) -> Shape {
        Shape { h: 1, w: 1, c }
    }

    #[test]
    fn weights_keep_their_sign() {
        let mut layer = layer(
            Op::Dense,
            [flat(4), flat(4)],
            &[0xf7, 0x81, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!([0, 1, 8, 99].map(|at| layer.weight(at)), [-9, -127, 0, 0]);
        layer.weight_bits = WeightBits::Four;
        assert_eq!([0, 1, 8, 9].map(|at| layer.weight(at)), [7, 1, -1, -8]);
    }

    #[test]
    fn channels_are_walked_from_any_one_on() {
        let mut layer = layer(Op::Dense, [flat(1), flat(3)], &[0; 16]);
        let biases = [5i32, -6, 7].map(i32::to_le_bytes);
        layer.bias = biases.as_flattened();
        layer.shifts = &[0, 0xff, 1];
        let found: Vec<_> = layer
            .channels(1)
            .map(|(bias, by)| (bias, by.shift))
            .collect();
        assert_eq!(found, [(-6, -1), (7, 1)]);
        let mut by = layer.channels(0).map(|(_, by)| by);
        assert!(by.all(|Multiplier { mantissa, .. }| mantissa == 1 << 30));
        assert_eq!(layer.channels(4).count(), 0);
        assert_eq!(layer.flash_bytes(), 16 + 3 * (4 + 4 + 1));
    }
}
