//! The critic that goes with a generator onto a device: taught by the judge, quantized like
//! the generator.

use gan_core::Model;
use gan_core::choose::Memory;
use gan_core::{Critic, Mode};
use rayon::prelude::*;

use super::classifier::{CRITIC, Classifier, Schedule};
use super::features::format;
use super::interval::{Estimate, share};
use super::judge::Judge;
use super::knn_metrics::FLAGGED;
use super::two_sample::{View, seen};
use super::{Progress, RiskError};
use crate::data::Images;
use crate::generator::FloatLayer;
use crate::quant::{QuantizeError, quantize_critic};
use crate::sample::{self, Order, SampleKey};
use crate::seeds;

/// Images that it learns from.
const TRAINING_IMAGES: usize = 20_000;
/// Images seen in training.
const SEEN: usize = 600_000;
/// An image counts as strange, for training, at this p-value: above the one of flagged images,
/// because there are few of those.
const STRANGE: f64 = 0.1;
/// Fresh images that the passing score is chosen by.
const FRESH: usize = 4000;
/// Values of an image from which on the critic sees it halved.
const LARGE: usize = 512;

/// A model with its critic, and what that does.
pub struct Taught {
    /// The `.gan` file.
    pub bytes: Vec<u8>,
    /// Share of fresh images that are flagged.
    pub flagged: Estimate,
    /// The same of those that pass.
    pub flagged_of_passing: Estimate,
}

/// Teaches a critic which images of a model the judge finds strange, next to held-out real
/// ones; it lets the share `passing` of the model's images through.
pub fn teach(
    file: &[u8],
    judge: &Judge<'_>,
    held_out: &Images,
    passing: f64,
    progress: &mut Progress<'_>,
) -> Result<Taught, RiskError> {
    let model = Model::parse(file).map_err(QuantizeError::from)?;
    judge.ensure_can_flag(STRANGE, held_out.len())?;
    progress("drawing the critic's images", 0, 2);
    let mut images = drawn(&model, seeds::CRITIC_TRAINING, TRAINING_IMAGES)?;
    let mut real = held_out.clone();
    real.labels.clear();
    images.append(&real);
    progress("drawing the critic's images", 1, 2);
    let each = judge.each(&images)?;
    images.labels = each.iter().map(|e| u8::from(e.p_value > STRANGE)).collect();
    let halved = images.image_len() > LARGE;
    let view = if halved { View::Half } else { View::Full };
    let images = seen(&images, view);
    let mut classifier = Classifier::new(CRITIC, format(&images), 2, 1)?;
    let schedule = Schedule {
        seen: SEEN,
        rate: 1e-3,
        shift: 0,
        seed: 1,
    };
    let mut notify = |done, all| progress("teaching the critic", done, all);
    classifier.train(&images, &images.labels, &schedule, &mut notify)?;
    let mut layers = classifier.two_dense_layers().unwrap_or_default();
    if let Some(first) = layers.first_mut() {
        as_integers_mean_it(first);
    }
    let some = images.first(FRESH).pixels;
    let some = some.iter().map(|&p| (f32::from(p) - 128.0) / 128.0);
    let integers = |passing| {
        let file = quantize_critic(file, &layers, some.clone().collect(), halved, passing);
        file.map_err(RiskError::from)
    };
    let untried = integers(0)?;
    let (passing, flagged, flagged_of_passing) = try_out(&untried, judge, passing)?;
    Ok(Taught {
        bytes: integers(passing)?,
        flagged,
        flagged_of_passing,
    })
}

/// The score that the share `passing` of fresh images reaches; how many of them are flagged,
/// and how many of those that pass.
fn try_out(
    file: &[u8],
    judge: &Judge<'_>,
    passing: f64,
) -> Result<(i8, Estimate, Estimate), RiskError> {
    let model = Model::parse(file).map_err(QuantizeError::from)?;
    let each = judge.each(&drawn(&model, seeds::CRITIC_THRESHOLD, FRESH)?)?;
    let scores = scores(&model, seeds::CRITIC_THRESHOLD, FRESH)?;
    let mut sorted = scores.clone();
    sorted.sort_unstable();
    let at = ((1.0 - passing) * FRESH as f64) as usize;
    let least = sorted.get(at).copied().unwrap_or(i8::MAX);
    let flagged = |least: i8| {
        let passing = scores
            .iter()
            .zip(&each)
            .filter(|(score, _)| **score >= least);
        let passing: Vec<f64> = passing.map(|(_, each)| each.p_value).collect();
        share(
            passing.iter().filter(|p| **p <= FLAGGED).count(),
            passing.len(),
        )
    };
    Ok((least, flagged(i8::MIN), flagged(least)))
}

/// Images of all classes in turn, without labels.
fn drawn(model: &Model<'_>, seed: u64, count: usize) -> Result<Images, RiskError> {
    let order = Order {
        count,
        seed,
        class: None,
    };
    let images = sample::int8(model, &order)?;
    Ok(Images {
        labels: Vec::new(),
        ..images
    })
}

/// The critic's scores of the same images.
fn scores(model: &Model<'_>, seed: u64, count: usize) -> Result<Vec<i8>, RiskError> {
    let order = Order {
        count,
        seed,
        class: None,
    };
    let score = |SampleKey { seed, class }| {
        let mut memory = Memory {
            arena: &mut vec![0; model.required_words(Mode::Streamed)],
            input: &mut vec![0; model.input_len()],
            seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
        };
        let score = model.score(seed, class, &mut memory)?;
        Ok(score.unwrap_or(i8::MIN))
    };
    let each = order.each(model.class_count());
    each.into_par_iter().map(score).collect()
}

/// Turns a layer that reads grey levels `u / 127.5 - 1` into one that reads `q / 128`, where
/// `u = q + 128`.
fn as_integers_mean_it(layer: &mut FloatLayer) {
    let half_step = 0.5 / 127.5;
    for row in layer.weight.chunks_exact_mut(layer.bias.len().max(1)) {
        for (weight, bias) in row.iter_mut().zip(&mut layer.bias) {
            *bias += half_step * *weight;
            *weight *= 128.0 / 127.5;
        }
    }
}
