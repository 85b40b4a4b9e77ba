//! Which function a table stands for: other formats have names where a `.gan` file has tables.

use gan_core::{Activation as CoreActivation, Layer, Quant};

use crate::nn::Activation;
use crate::quant::dequantize;

/// The function whose rounded values a layer's table holds, each within one step of the
/// output; `None` for any other table, and for a clamp.
pub fn function(layer: &Layer<'_>) -> Option<Activation> {
    // Input and output, in their own steps.
    let entries: Vec<(f32, f32)> = match layer.activation {
        CoreActivation::Clamp { .. } => return None,
        CoreActivation::Lut8(table) => {
            let sums = (0..=255u8).map(|i| dequantize((i ^ 0x80) as i8, &layer.pre_activation));
            sums.zip(table.iter().map(|&q| f32::from(q as i8)))
                .collect()
        }
        CoreActivation::Lut16(table) => {
            let sums = (0i16..).map(|i| f32::from(i - 256) * 128.0 * layer.pre_activation.scale);
            let wide = |&entry: &[u8; 2]| f32::from(i16::from_le_bytes(entry)) / 256.0;
            sums.zip(table.iter().map(wide)).collect()
        }
    };
    let error = |act: Activation, &(sum, found): &(f32, f32)| {
        let steps = act.apply(sum) / layer.output.scale;
        let steps = steps + f32::from(layer.output.zero_point);
        (steps.clamp(-128.0, 127.0) - found).abs()
    };
    let worst = |act: Activation| entries.iter().map(|e| error(act, e)).fold(0.0, f32::max);
    let unit = match layer.activation {
        CoreActivation::Lut16(_) => 1.0 / 256.0,
        _ => 1.0,
    };
    let others = |act: Activation| {
        let missed = entries
            .iter()
            .filter(|entry| error(act, entry) > 0.501 * unit);
        missed.count()
    };
    let leaky = slope(&entries, &layer.output, others);
    let leaky = Activation::LeakyRelu(leaky);
    let best = [Activation::Tanh, Activation::Sigmoid, leaky].map(|act| (worst(act), act));
    let best = best.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|&(worst, _)| worst <= 1.0).map(|(_, act)| act)
}

/// The slope below zero of a table of leaky ReLU, from its sums and outputs: of the decimals with
/// few digits near the one of least squares, the one that leaves the fewest entries to another
/// rounding (`others` counts them), and the shortest of several: a slope is a number that somebody
/// wrote.
fn slope(entries: &[(f32, f32)], output: &Quant, others: impl Fn(Activation) -> usize) -> f64 {
    // Where the output is at its end, the table says no more than that.
    let below = entries
        .iter()
        .filter(|&&(sum, found)| sum < 0.0 && found > -128.0);
    let below = below.map(|&(sum, found)| {
        let steps = f64::from(found) - f64::from(output.zero_point);
        (f64::from(sum), steps * f64::from(output.scale))
    });
    let (products, squares) = below.fold((0.0, 0.0), |(products, squares), (sum, value)| {
        (products + sum * value, squares + sum * sum)
    });
    let fitted: f64 = if squares > 0.0 {
        products / squares
    } else {
        0.0
    };
    let decimals = (1..=SLOPE_DIGITS).map(|digits| {
        let unit = 10f64.powi(digits);
        (fitted * unit).round().clamp(0.0, unit - 1.0) / unit
    });
    let best = decimals.min_by_key(|&slope| others(Activation::LeakyRelu(slope)));
    best.unwrap_or(fitted)
}

/// Most digits of a slope behind the point.
const SLOPE_DIGITS: i32 = 6;
