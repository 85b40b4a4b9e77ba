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
        match self.function {
            Function::Unnamed => true,
            Function::Linear => clamp == Some((i8::MIN, i8::MAX)),
            Function::Relu => clamp == Some((self.output.zero_point, i8::MAX)),
            Function::LeakyRelu { .. } | Function::Tanh | Function::Sigmoid => clamp.is_none(),
        }
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
        if let Some(index) = too_low.or_else(|| self.wrong_filling()) {
            return Err(LayerError::Weight { index });
        }
        match self.wrong_zero_point_correction() {
            Some(index) => Err(LayerError::ZeroPointCorrection { index }),
            None => Ok(()),
        }
    }
}
