//! Which function a table stands for: other formats have names where a `.gan` file has tables.

use gan_core::{Activation as CoreActivation, Layer};

use crate::nn::Activation;
use crate::quant::dequantize;

/// Functions that the quantizer makes tables of.
const FUNCTIONS: [Activation; 3] = [Activation::Tanh, Activation::Sigmoid, Activation::LeakyRelu];

/// The function whose rounded values a layer's table holds, each within one step of the
/// output; `None` for any other table, and for a clamp.
pub fn function(layer: &Layer<'_>) -> Option<Activation> {
    // Input and output, in their own steps.
    let entries: Vec<(f32, f32)> = match layer.activation {
        CoreActivation::Clamp { .. } => return None,
        CoreActivation::Table(table) => {
            let sums = (0..=255u8).map(|i| dequantize((i ^ 0x80) as i8, &layer.sum));
            sums.zip(table.iter().map(|&q| f32::from(q as i8)))
                .collect()
        }
        CoreActivation::WideTable(table) => {
            let sums = (0i16..).map(|i| f32::from(i - 256) * 128.0 * layer.sum.scale);
            let wide = |&entry: &[u8; 2]| f32::from(i16::from_le_bytes(entry)) / 256.0;
            sums.zip(table.iter().map(wide)).collect()
        }
    };
    let worst = |act: Activation| {
        let errors = entries.iter().map(|&(sum, found)| {
            let steps = act.apply(sum) / layer.output.scale;
            let steps = steps + f32::from(layer.output.zero_point);
            (steps.clamp(-128.0, 127.0) - found).abs()
        });
        errors.fold(0.0, f32::max)
    };
    let best = FUNCTIONS.map(|act| (worst(act), act));
    let best = best.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|&(worst, _)| worst <= 1.0).map(|(_, act)| act)
}
