//! Activations in integers: a clamp, or a table of the function's values.

use gan_core::types::LUT16_LEN;

use super::range::{TensorQuants, dequantize, quantize_value};
use crate::nn::Activation;

/// An activation in integers, owned.
pub(super) enum IntActivation {
    Clamp { min: i8 },
    Lut8(Box<[u8; 256]>),
    Lut16(Box<[[u8; 2]; LUT16_LEN]>),
}

/// The runtime's activation: a clamp where that will do, else a table.
pub(super) fn activation(act: Activation, tensor: &TensorQuants) -> IntActivation {
    let TensorQuants {
        pre_activation,
        output,
        is_16_bits,
    } = tensor;
    if let Some((min, _)) = act.to_gan().clamp(output.zero_point) {
        return IntActivation::Clamp { min };
    }
    if *is_16_bits {
        let entry = |i: usize| {
            let value = act.apply((i as f32 - 256.0) * 128.0 * pre_activation.scale);
            let steps = value / output.scale + f32::from(output.zero_point);
            let wide = (steps * 256.0).round().clamp(-32768.0, 32767.0);
            (wide as i16).to_le_bytes()
        };
        return IntActivation::Lut16(Box::new(std::array::from_fn(entry)));
    }
    let entry = |i: usize| {
        let q = i8::from_ne_bytes([(i as u8) ^ 0x80]);
        let value = act.apply(dequantize(q, pre_activation));
        quantize_value(value, output) as u8
    };
    IntActivation::Lut8(Box::new(std::array::from_fn(entry)))
}
