//! Differentiable augmentation (Zhao et al. 2020): what the discriminator sees, real or
//! generated, is changed at random, so that it cannot learn a small set by heart. The
//! probability of a change follows from how well it knows the real images (Karras et al. 2020).

use gan_core::Shape;
use gan_core::latent::Pcg32;
use serde::{Deserialize, Serialize};

use crate::config::Augmentation;
use crate::nn::augment::Change;
use crate::random;

/// Images over which the probability of a change rises from 0 to 1, at the fastest.
const RAMP_IMAGES: f32 = 60_000.0;
/// Images over which the mean sign is taken.
const SIGN_IMAGES: f32 = 800.0;

/// The strength of the augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strength {
    /// Probability of each kind of change in an image, from 0 to 1.
    pub probability: f32,
    /// Moving average of the signs of the discriminator's scores of real images, from -1 to 1:
    /// 0 where it guesses, 1 where it knows them all.
    pub mean_sign: f32,
}

impl Strength {
    /// The strength at which every image is changed.
    pub fn always() -> Self {
        Self::start(0.0)
    }

    /// The strength that a run with this target begins with.
    pub fn start(target: f32) -> Self {
        let probability = if target == 0.0 { 1.0 } else { 0.0 };
        Self {
            probability,
            mean_sign: 0.0,
        }
    }

    /// Takes in a batch's scores of real images, the sign of which is that of their difference
    /// from `neutral`: the probability rises while the mean sign is above `target`, and falls
    /// below it. With a target of 0 it stays.
    pub fn follow(&mut self, scores: &[f32], neutral: f32, target: f32) {
        if target == 0.0 {
            return;
        }
        let batch = scores.len() as f32;
        let signs = scores.iter().map(|score| (score - neutral).signum());
        let sign = signs.sum::<f32>() / batch;
        self.mean_sign += (batch / SIGN_IMAGES).min(1.0) * (sign - self.mean_sign);
        let change = (self.mean_sign - target).signum() * batch / RAMP_IMAGES;
        self.probability = (self.probability + change).clamp(0.0, 1.0);
    }
}

/// Draws the change of one image `[h, w, c]`; each kind but `Flip` has this probability.
pub fn draw_change(
    shape: Shape,
    kinds: &[Augmentation],
    probability: f32,
    rng: &mut Pcg32,
) -> Change {
    let mut is_drawn = |kind| random::uniform(rng) < probability || kind == Augmentation::Flip;
    let drawn: Vec<_> = kinds.iter().filter(|&&kind| is_drawn(kind)).collect();
    let has = |kind| drawn.contains(&&kind);
    let mut change = Change::NONE;
    if has(Augmentation::Color) {
        change = draw_colors(shape.c, rng);
    }
    for (axis, side) in [shape.h as isize, shape.w as isize].into_iter().enumerate() {
        if has(Augmentation::Translation) {
            let most = (side + 4) / 8;
            change.shift[axis] = random::below(rng, 2 * most as usize + 1) as isize - most;
        }
        if has(Augmentation::Cutout) {
            let len = (side + 1) / 2;
            let centre = random::below(rng, side as usize + 1) as isize;
            change.hole_at[axis] = centre - len / 2;
            change.hole_len[axis] = len;
        }
    }
    change.flipped = has(Augmentation::Flip) && random::below(rng, 2) == 1;
    change
}

/// `contrast * (saturation * (x - m) + m + brightness - mean) + mean`, where `m` is the mean
/// of a pixel's channels and `mean` that of the brightened image.
fn draw_colors(channels: usize, rng: &mut Pcg32) -> Change {
    let mut draw = || random::uniform(rng);
    let (brightness, saturation, contrast) = (draw() - 0.5, 2.0 * draw(), draw() + 0.5);
    // A grey image has no saturation.
    let saturation = if channels == 1 { 1.0 } else { saturation };
    Change {
        own: contrast * saturation,
        pixel_mean: contrast * (1.0 - saturation),
        image_mean: 1.0 - contrast,
        offset: brightness,
        ..Change::NONE
    }
}
