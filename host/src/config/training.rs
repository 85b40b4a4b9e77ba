//! The recipe: how both networks are trained.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The recipe: DCGAN (Radford et al. 2016) with an averaged generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Updates of each network.
    pub steps: u64,
    /// Images per step.
    pub batch: usize,
    /// Seed of the first weights, the order of the images and the latents.
    pub seed: u64,
    /// Adam's learning rate, before it decays.
    pub learning_rate: f32,
    /// The discriminator's, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminator_learning_rate: Option<f32>,
    /// Adam's decay of the first moment.
    pub beta1: f32,
    /// Adam's decay of the second moment.
    pub beta2: f32,
    /// bce, hinge or relativistic.
    pub loss: Loss,
    /// Amount by which the discriminator's target for real images is below 1 (not with hinge).
    pub label_smoothing: f32,
    /// Weight of the `LeCam` regularizer, which holds the discriminator back on little data.
    pub lecam: f32,
    /// Changes to what the discriminator sees: "translation", "color", "cutout", "flip"; none
    /// given means the first two where there are few images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Vec<Augmentation>>,
    /// Mean sign of the discriminator's scores of real images, at most 1, above which each kind
    /// of change becomes more probable, and below which less; 0 makes all changes to all images.
    pub augment_target: f32,
    /// A run, or its generator.safetensors, whose images the generator is to draw too, of
    /// the same latents; its generator may have any layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Weight of the mean squared difference from the teacher's images.
    pub teacher_weight: f32,
    /// Weight of the loss on real images in the discriminator's loss.
    pub real_weight: f32,
    /// Weight of the loss on generated images in the discriminator's loss.
    pub fake_weight: f32,
    /// Share of the steps after which the learning rate starts to fall.
    pub decay_from: f32,
    /// Learning rate at the end, as a share of the first one; it falls linearly.
    pub decay_to: f32,
    /// Share of the old averages of the generator that is kept at each step.
    pub ema: f32,
    /// Standard deviation of the first weights.
    pub init_std: f32,
    /// Whether a run that collapses, saturates or meets a NaN goes back and, at last, stops.
    pub watch: bool,
    /// Steps between evaluations of the confidence risk, 0 for none: the least risky generator is
    /// kept, and a run that gets no better stops.
    pub watch_risk: u64,
    /// Steps between sample grids.
    pub sample_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 4_000,
            batch: 64,
            seed: 1,
            learning_rate: 2e-4,
            discriminator_learning_rate: None,
            beta1: 0.5,
            beta2: 0.99,
            loss: Loss::Bce,
            label_smoothing: 0.0,
            lecam: 0.0,
            augment: None,
            augment_target: 0.6,
            teacher: None,
            teacher_weight: 5.0,
            real_weight: 1.0,
            fake_weight: 1.0,
            decay_from: 0.5,
            decay_to: 0.02,
            ema: 0.999,
            init_std: 0.02,
            watch: true,
            watch_risk: 0,
            sample_every: 250,
            checkpoint_every: 250,
        }
    }
}

/// A pair of losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross-entropy, the generator's non-saturating (Goodfellow et al. 2014).
    #[default]
    Bce,
    /// Margins of one on both sides (Lim and Ye 2017).
    Hinge,
    /// Cross-entropy of each real image's lead over a generated one
    /// (Jolicoeur-Martineau 2019; Huang et al. 2024).
    Relativistic,
}

impl Loss {
    /// Whether the generator's loss compares its scores with those of real images.
    pub const fn needs_real_scores(self) -> bool {
        matches!(self, Self::Relativistic)
    }
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// Shifts by up to an eighth of the side; grey comes in.
    Translation,
    /// Brightness by up to a quarter of the range, saturation and contrast.
    Color,
    /// A grey square of half the side.
    Cutout,
    /// Left and right exchanged, every second time; for images that may be mirrored.
    Flip,
}

impl Augmentation {
    /// The kinds that suit all images.
    pub const DEFAULT: [Self; 2] = [Self::Translation, Self::Color];
}

impl Training {
    pub(super) fn check(&self) -> Result<(), String> {
        let unit = 0.0..=1.0;
        let shares = [
            ("decay_from", self.decay_from),
            ("decay_to", self.decay_to),
            ("ema", self.ema),
            ("label_smoothing", self.label_smoothing),
            ("augment_target", self.augment_target),
        ];
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(format!(
                    "training.{key} is {beta}, use a number from 0 to below 1"
                ));
            }
        }
        for (key, value) in shares {
            if !unit.contains(&value) {
                return Err(format!(
                    "training.{key} is {value}, use a number from 0 to 1"
                ));
            }
        }
        let weights = [
            self.real_weight,
            self.fake_weight,
            self.lecam,
            self.teacher_weight,
        ];
        if !weights
            .iter()
            .all(|weight| weight.is_finite() && *weight >= 0.0)
        {
            return Err(
                "training.real_weight, fake_weight, lecam and teacher_weight must be 0 or more, \
                 and finite"
                    .into(),
            );
        }
        if self.batch < 2 {
            return Err("training.batch must be 2 or more: batch statistics need them".into());
        }
        let sizes = [
            ("learning_rate", Some(self.learning_rate)),
            (
                "discriminator_learning_rate",
                self.discriminator_learning_rate,
            ),
            ("init_std", Some(self.init_std)),
        ];
        for (key, size) in sizes {
            if !size.is_none_or(|size| size > 0.0 && size.is_finite()) {
                let size = size.unwrap_or_default();
                return Err(format!(
                    "training.{key} is {size}, use a finite number above 0"
                ));
            }
        }
        if self.steps == 0 || self.sample_every == 0 || self.checkpoint_every == 0 {
            return Err("training.steps, sample_every and checkpoint_every must not be 0".into());
        }
        Ok(())
    }
}
