//! Positive real numbers as the runtime's multipliers.

use gan_core::Multiplier;

/// Mantissa and shift of a positive real number (TensorFlow Lite's `QuantizeMultiplier`).
pub(crate) fn multiplier(real: f64) -> Multiplier {
    let mut exponent = real.log2().floor() as i32 + 1;
    let mut mantissa = (real * 2f64.powi(31 - exponent)).round();
    if mantissa >= 2f64.powi(31) {
        mantissa /= 2.0;
        exponent += 1;
    }
    if exponent < -31 {
        return Multiplier {
            mantissa: 0,
            shift: 0,
        };
    }
    if exponent > 30 {
        return Multiplier {
            mantissa: i32::MAX,
            shift: 30,
        };
    }
    Multiplier {
        mantissa: mantissa as i32,
        shift: exponent as i8,
    }
}

/// The real number that a multiplier stands for.
pub(crate) fn multiplier_value(m: Multiplier) -> f64 {
    f64::from(m.mantissa) * 2f64.powi(i32::from(m.shift) - 31)
}
