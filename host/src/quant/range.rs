//! Ranges of activations: scale and zero point of a tensor.

use gan_core::Quant;
use rayon::prelude::*;

use crate::nn::Activation;

/// Ranges that are tried for each end, each a little smaller than the one before: values
/// before tanh may reach ten times as far as its output shows.
const CLIP_STEPS: i32 = 50;
const CLIP_SHARE: f32 = 0.95;

/// Quantization of a layer's values before the activation, and of its output.
pub(super) struct TensorQuants {
    pub pre_activation: Quant,
    pub output: Quant,
    /// Whether the values before the activation have 16 bits.
    pub is_16_bits: bool,
}

impl TensorQuants {
    /// Chooses both for values before the activation, `[rows, c]`. Tables have 16 bits if
    /// `products`, the largest scale of the layer's products, is given.
    pub fn choose(act: Activation, values: &[f32], c: usize, products: Option<f32>) -> Self {
        if act.to_gan().clamp(0).is_some() {
            let both = best_quant(values, c, act, act == Activation::Relu);
            return Self {
                pre_activation: both,
                output: both,
                is_16_bits: false,
            };
        }
        let output = act.output_quant().unwrap_or_else(|| {
            let outputs: Vec<f32> = values.iter().map(|&v| act.apply(v)).collect();
            best_quant(&outputs, c, Activation::Linear, false)
        });
        Self {
            pre_activation: match products {
                Some(products) => quant_of_16_bits(act, values, products),
                None => best_quant(values, c, act, false),
            },
            output,
            is_16_bits: products.is_some(),
        }
    }

    /// Rounds values before the activation to those that the next layer reads.
    pub fn round(&self, act: Activation, values: &mut [f32]) {
        values.par_chunks_mut(1 << 14).for_each(|values| {
            for value in values {
                let v = if self.is_16_bits {
                    *value
                } else {
                    dequantize(
                        quantize_value(*value, &self.pre_activation),
                        &self.pre_activation,
                    )
                };
                *value = dequantize(quantize_value(act.apply(v), &self.output), &self.output);
            }
        });
    }
}

/// Room above the largest value that was seen, before a 16-bit table.
const WIDE_HEADROOM: f32 = 1.25;

/// 16 bits for values before a 16-bit table. Its straight lines are the shorter, the smaller the
/// range; but a multiplier of more than a half would leave the runtime's fast path, and
/// resolve what products of scale `products` have not.
fn quant_of_16_bits(act: Activation, values: &[f32], products: f32) -> Quant {
    let largest = values
        .iter()
        .fold(f32::MIN_POSITIVE * 65536.0, |max, v| max.max(v.abs()));
    let reach = act
        .reach_16_bits()
        .map_or(largest, |reach| largest.min(reach));
    Quant {
        scale: (WIDE_HEADROOM * reach / 32767.0).max(2.0 * products),
        zero_point: 0,
    }
}

/// The range of `[low, high]` and its clipped forms with the smallest squared error of
/// the activation's output, for `values` before it, `[rows, c]`. `positive`: ReLU follows, so
/// the range begins at 0 and its zero point is -128.
fn best_quant(values: &[f32], c: usize, act: Activation, positive: bool) -> Quant {
    let low = values.iter().fold(0f32, |low, &v| low.min(v));
    let high = values.iter().fold(0f32, |high, &v| high.max(v));
    let low = if positive { 0.0 } else { low };
    // A fixed stride keeps the search fast; the end points come from all values. It shares no
    // divisor with the channels, so that every one has its turn.
    let mut stride = values.len().div_ceil(1 << 15) | 1;
    while gcd(stride, c) > 1 {
        stride += 2;
    }
    let sample: Vec<f32> = values.iter().copied().step_by(stride).collect();
    let error = |quant: &Quant| -> f64 {
        let errors = sample.iter().map(|&v| {
            let back = act.apply(dequantize(quantize_value(v, quant), quant));
            f64::from(back - act.apply(v)).powi(2)
        });
        errors.sum()
    };
    let share = |i: i32| CLIP_SHARE.powi(i);
    let mut best = quant_of(low, high);
    let mut least = error(&best);
    let mut consider = |low: f32, high: f32| {
        let quant = quant_of(low, high);
        let error = error(&quant);
        if error < least {
            (best, least) = (quant, error);
            return true;
        }
        false
    };
    // One end after the other: the error has one valley along each.
    let mut ends = (low, high);
    for i in 1..CLIP_STEPS {
        if consider(ends.0, high * share(i)) {
            ends.1 = high * share(i);
        }
    }
    for i in 1..CLIP_STEPS {
        if low < 0.0 {
            consider(low * share(i), ends.1);
        }
    }
    best
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Scale and zero point that put `[low, high]`, 0 included, on `[-128, 127]`.
fn quant_of(low: f32, high: f32) -> Quant {
    let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE * 256.0);
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0);
    Quant {
        scale,
        zero_point: zero_point as i8,
    }
}

pub(super) fn quantize_value(v: f32, quant: &Quant) -> i8 {
    let q = (v / quant.scale).round() + f32::from(quant.zero_point);
    q.clamp(-128.0, 127.0) as i8
}

/// The real number that `q` stands for.
pub fn dequantize(q: i8, quant: &Quant) -> f32 {
    f32::from(i16::from(q) - i16::from(quant.zero_point)) * quant.scale
}
