//! How far the integers are from the floats, on the same latents.

use gan_core::{InferError, Mode, Model};
use rayon::prelude::*;
use serde::Serialize;

use crate::data::Images;
use crate::generator::FloatGenerator;
use crate::quant::dequantize;
use crate::sample::{self, Order, SampleKey, float_input};
use crate::seeds;

/// The result of a comparison; grey levels go from 0 to 255.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Latents that were drawn.
    pub images: usize,
    /// Seed of the first latent.
    pub seed: u64,
    /// Peak signal-to-noise ratio of all pixels together; infinite if equal.
    pub psnr_db: f64,
    /// Mean structural similarity (Wang et al. 2004), 7x7 windows, uniform weights.
    pub ssim: f64,
    /// Mean absolute error in grey levels.
    pub mean_abs_error: f64,
    /// Largest absolute error in grey levels.
    pub max_abs_error: u8,
    /// Signal-to-noise ratio of each layer's output.
    pub layer_snr_db: Vec<f64>,
}

/// Latents that a run is compared on unless it says otherwise.
pub const COMPARE_IMAGES: usize = 1000;

/// Latents whose layers are compared; the figures settle long before.
const LAYER_IMAGES: usize = 64;

/// Draws `count` images both ways and measures the difference.
pub fn compare(
    generator: &FloatGenerator,
    model: &Model<'_>,
    count: usize,
) -> Result<Comparison, InferError> {
    let order = Order {
        count,
        seed: seeds::COMPARISON,
        class: None,
    };
    let float = sample::float(generator, &order);
    let int8 = sample::int8(model, &order)?;
    let errors = float
        .pixels
        .iter()
        .zip(&int8.pixels)
        .map(|(a, &b)| a.abs_diff(b));
    let n = float.pixels.len() as f64;
    let sum: u64 = errors.clone().map(u64::from).sum();
    let squares: u64 = errors.clone().map(|e| u64::from(e).pow(2)).sum();
    let ssims = (0..count).into_par_iter().map(|i| ssim(&float, &int8, i));
    let ssims: Vec<f64> = ssims.collect();
    Ok(Comparison {
        images: count,
        seed: seeds::COMPARISON,
        psnr_db: 10.0 * (255.0 * 255.0 * n / squares as f64).log10(),
        ssim: ssims.iter().sum::<f64>() / count as f64,
        mean_abs_error: sum as f64 / n,
        max_abs_error: errors.max().unwrap_or(0),
        layer_snr_db: layer_snr(generator, model, &order)?,
    })
}

/// Sums of squares over the values of a layer.
#[derive(Clone, Copy, Default)]
struct Power {
    /// Power of the floats.
    signal: f64,
    /// Power of the integers' differences from them.
    noise: f64,
}

/// Signal-to-noise ratio of each layer's output over an order's first images.
fn layer_snr(
    generator: &FloatGenerator,
    model: &Model<'_>,
    order: &Order,
) -> Result<Vec<f64>, InferError> {
    let mut power = vec![Power::default(); model.layers().len()];
    let mut input = vec![0; model.input_len()];
    let mut arena = vec![0; model.required_words(Mode::WholeLayers)];
    let each = order.each(model.class_count());
    for &SampleKey { seed, class } in each.iter().take(LAYER_IMAGES) {
        model.fill_input(seed, class, &mut input)?;
        let mut x = float_input(generator, &[SampleKey { seed, class }]);
        let mut outputs = Vec::new();
        for layer in &generator.layers {
            x = layer.pre_activation(&x);
            layer.activate(&mut x);
            outputs.push(x.clone());
        }
        model.run_observed(&input, &mut arena, |layer, values| {
            let quant = model.layers()[layer].output;
            for (&float, &q) in outputs[layer].iter().zip(values) {
                let noise = f64::from(float - dequantize(q, &quant));
                power[layer].signal += f64::from(float).powi(2);
                power[layer].noise += noise.powi(2);
            }
        })?;
    }
    let snr = |of: Power| 10.0 * (of.signal / of.noise).log10();
    Ok(power.into_iter().map(snr).collect())
}

/// Structural similarity of image `i`, averaged over channels and 7x7 windows.
fn ssim(a: &Images, b: &Images, i: usize) -> f64 {
    const SIDE: usize = 7;
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    let side = SIDE.min(a.height).min(a.width);
    let n = (side * side) as f64;
    let (mut total, mut windows) = (0.0, 0);
    for y in 0..=a.height - side {
        for x in 0..=a.width - side {
            for channel in 0..a.channels {
                let (mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0);
                for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
                    let at = ((y + dy) * a.width + x + dx) * a.channels + channel;
                    let (va, vb) = (f64::from(a.image(i)[at]), f64::from(b.image(i)[at]));
                    sa += va;
                    sb += vb;
                    saa += va * va;
                    sbb += vb * vb;
                    sab += va * vb;
                }
                let (ma, mb) = (sa / n, sb / n);
                let (vara, varb) = (saa / n - ma * ma, sbb / n - mb * mb);
                let cov = sab / n - ma * mb;
                let structure = (2.0 * cov + c2) / (vara + varb + c2);
                total += (2.0 * ma * mb + c1) / (ma * ma + mb * mb + c1) * structure;
                windows += 1;
            }
        }
    }
    total / f64::from(windows)
}
