//! The checks of a layer's values, after which arithmetic can neither overflow nor panic.

use crate::error::LayerError;
use crate::layer::Layer;
use crate::types::{Activation, Function, WeightBits};

/// Bits of the `f32` values above zero and below infinity.
const POSITIVE_FINITE: core::ops::Range<u32> = 1..0x7f80_0000;

/// Words of scratch that a layer may take: 1 GiB. Rings have at most 2^28 bytes, so that a
/// whole arena can be counted in 32 bits.
const MAX_SCRATCH_WORDS: u64 = 1 << 28;

impl Layer<'_> {
    /// Whether the clamp or table is one that the function can have.
    fn can_hold_function(&self) -> bool {
        let clamp = match self.activation {
            Activation::Clamp { min, max } => Some((min, max)),
            Activation::Lut8(_) | Activation::Lut16(_) => None,
        };
        let unnamed = matches!(self.function, Function::Unnamed);
        unnamed || clamp == self.function.clamp(self.output.zero_point)
    }

    /// Checks every value that arithmetic relies on.
    pub(crate) fn check(&self) -> Result<(), LayerError> {
        // Scales as bits: even a comparison would pull in floating point.
        let [before, output] =
            [self.pre_activation, self.output].map(|q| (q.scale.to_bits(), q.zero_point));
        if !POSITIVE_FINITE.contains(&before.0) || !POSITIVE_FINITE.contains(&output.0) {
            return Err(LayerError::Scale);
        }
        match self.activation {
            Activation::Clamp { .. } if before != output => {
                return Err(LayerError::OutputQuant);
            }
            Activation::Lut16(_) if before.1 != 0 => {
                return Err(LayerError::ZeroPoint { found: before.1 });
            }
            _ => {}
        }
        if !self.can_hold_function() {
            return Err(LayerError::Function);
        }
        if self.scratch_words() > MAX_SCRATCH_WORDS {
            return Err(LayerError::ArenaSize);
        }
        // A sum has at most this many products of at most 255 * 127, and stays below
        // 2^30, so that it can be doubled. Taps on the margins of a plane add what the
        // zero-point corrections take away; on the way the sum may wrap.
        let room = ((1usize << 30) - 1).checked_sub(self.most_terms().saturating_mul(255 * 127));
        for (channel, (bias, multiplier)) in self.channels(0).enumerate() {
            if room.is_none_or(|room| bias.unsigned_abs() as usize > room) {
                return Err(LayerError::Overflow { channel });
            }
            if !multiplier.is_valid() {
                return Err(LayerError::Multiplier { channel });
            }
        }
        let mut weights = self.weights.iter();
        let too_low = match self.weight_bits {
            WeightBits::Eight => weights.position(|&w| w == 0x80),
            WeightBits::Four => weights.position(|&w| w & 0xf == 8 || w >> 4 == 8),
        };
        if let Some(index) = too_low.or_else(|| self.wrong_padding()) {
            return Err(LayerError::Weight { index });
        }
        match self.wrong_zero_point_correction() {
            Some(index) => Err(LayerError::ZeroPointCorrection { index }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::LayerError;
    use crate::layer::Layer;
    use crate::layer::tests::{flat, layer};
    use crate::types::{Activation, Function, Op};

    /// The error that is found in a good layer after a change.
    fn error(change: impl FnOnce(&mut Layer<'static>)) -> Option<LayerError> {
        let mut layer = layer(Op::Dense, [flat(2), flat(1)], &[0; 16]);
        change(&mut layer);
        layer.check().err()
    }

    #[test]
    fn values_that_arithmetic_cannot_take_are_refused() {
        assert_eq!(error(|_| ()), None);
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let refused = error(|layer| layer.output.scale = scale);
            assert_eq!(refused, Some(LayerError::Scale), "{scale}");
        }
        let refused = error(|layer| layer.output.zero_point = 1);
        assert_eq!(refused, Some(LayerError::OutputQuant));
        let channel = 0;
        let refused = error(|layer| layer.bias = &[0, 0, 0, 0x40]);
        assert_eq!(refused, Some(LayerError::Overflow { channel }));
        let refused = error(|layer| layer.mantissas = &[1, 0, 0, 0]);
        assert_eq!(refused, Some(LayerError::Multiplier { channel }));
        let refused = error(|layer| layer.weights = &[0, 0x80]);
        assert_eq!(refused, Some(LayerError::Weight { index: 1 }));
        let refused = error(|layer| layer.weights = &[0, 0, 1]);
        assert_eq!(refused, Some(LayerError::Weight { index: 2 }));
    }

    #[test]
    fn biases_and_products_together_stay_below_half_of_the_range() {
        // Two products of at most 255 * 127.
        let most = (1i32 << 30) - 1 - 2 * 255 * 127;
        for (bias, is_refused) in [(most, false), (-most, false), (most + 1, true)] {
            let mut layer = layer(Op::Dense, [flat(2), flat(1)], &[0; 16]);
            let bias = bias.to_le_bytes();
            layer.bias = &bias;
            assert_eq!(layer.check().is_err(), is_refused, "{bias:?}");
        }
    }

    #[test]
    fn a_clamp_or_table_has_to_suit_its_function() {
        let refused = |activation, function| {
            error(|layer| (layer.activation, layer.function) = (activation, function)).is_some()
        };
        let clamp = |min| Activation::Clamp { min, max: 127 };
        let leaky = Function::LeakyRelu { slope: 0.5 };
        let good = [
            (clamp(-128), Function::Linear),
            (clamp(0), Function::Relu),
            (clamp(5), Function::Unnamed),
            (Activation::Lut8(&[0; 256]), Function::Tanh),
            (Activation::Lut16(&[[0; 2]; 513]), leaky),
        ];
        assert!(
            good.iter()
                .all(|&(activation, function)| !refused(activation, function))
        );
        let bad = [
            (clamp(0), Function::Linear),
            (clamp(-128), Function::Relu),
            (clamp(-128), Function::Sigmoid),
            (clamp(0), leaky),
            (Activation::Lut8(&[0; 256]), Function::Relu),
        ];
        assert!(
            bad.iter()
                .all(|&(activation, function)| refused(activation, function))
        );
    }
}
