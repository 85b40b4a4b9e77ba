//! Weights in integers: symmetric, with one scale for each output channel.

use gan_core::types::WeightBits;
use rayon::prelude::*;

use super::operator::{Place, rows_of};
use crate::generator::FloatLayer;

/// Shares of an output channel's largest weight that are tried for its largest step.
const WEIGHT_CLIPS: [f64; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// The weights of one output channel (dense: value) in the runtime's order.
pub(super) struct RoundedRow {
    places: Vec<Place>,
    pub scale: f64,
    pub steps: Vec<i8>,
}

impl RoundedRow {
    /// Scale and steps with the smallest squared error; the scale is `least_scale` or more.
    fn of(layer: &FloatLayer, places: Vec<Place>, bits: WeightBits, least_scale: f64) -> Self {
        let most = match bits {
            WeightBits::Eight => 127.0,
            WeightBits::Four => 7.0,
        };
        let weights = places.iter().map(|&(at, unit)| layer.weight[at] * unit);
        let weights: Vec<f32> = weights.collect();
        let largest = weights.iter().fold(0f32, |max, w| max.max(w.abs()));
        let largest = f64::from(largest.max(f32::MIN_POSITIVE * 256.0));
        let step = |w: f32, scale: f64| (f64::from(w) / scale).round().clamp(-most, most);
        let error = |scale: f64| -> f64 {
            let errors = weights
                .iter()
                .map(|&w| step(w, scale) * scale - f64::from(w));
            errors.map(|e| e * e).sum()
        };
        // Of 24 bits, so that other runtimes can be told the very scale.
        let scales = WEIGHT_CLIPS.map(|share| (share * largest / most).max(least_scale));
        let scales = scales.map(|scale| f64::from(scale as f32));
        let scale = scales
            .into_iter()
            .min_by(|&a, &b| error(a).total_cmp(&error(b)))
            .unwrap_or(scales[0]);
        let steps = weights.iter().map(|&w| step(w, scale) as i8).collect();
        Self {
            places,
            scale,
            steps,
        }
    }
}

/// The most that a bias is to be in steps of its channel's products, by the choice of their
/// scale: a channel whose weights are 0 or next to it would lose its bias otherwise.
const WANTED_BIAS_STEPS: f64 = (1 << 27) as f64;

/// A layer's weights, rounded; inputs from `latent` on are classes. With the scale of the
/// inputs the scale of a row is large enough for its bias.
pub(super) fn round_rows(
    layer: &FloatLayer,
    bits: WeightBits,
    latent: usize,
    input_scale: Option<f32>,
) -> Vec<RoundedRow> {
    let (n, places) = rows_of(layer.op, latent);
    let least_scale = |o: usize| {
        let bias = f64::from(layer.bias[o % layer.bias.len()].abs());
        input_scale.map_or(0.0, |scale| bias / f64::from(scale) / WANTED_BIAS_STEPS)
    };
    let rows = (0..n).into_par_iter();
    rows.map(|o| RoundedRow::of(layer, places(o), bits, least_scale(o)))
        .collect()
}

/// Rounded weights as floats, in the layer's own order.
pub(super) fn in_place(layer: &FloatLayer, rows: &[RoundedRow]) -> Vec<f32> {
    let mut weight = layer.weight.clone();
    for row in rows {
        for (&(at, unit), &step) in row.places.iter().zip(&row.steps) {
            weight[at] = (f64::from(step) * row.scale) as f32 / unit;
        }
    }
    weight
}

/// A layer's weights as the runtime will have them, in floats, in the layer's own order;
/// inputs from `latent` on are classes.
pub fn rounded_weights(layer: &FloatLayer, bits: WeightBits, latent: usize) -> Vec<f32> {
    in_place(layer, &round_rows(layer, bits, latent, None))
}
