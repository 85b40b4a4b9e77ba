//! Differentiable augmentation (Zhao et al. 2020): what the discriminator sees, real or
//! generated, is changed at random, so that it cannot learn a small set by heart.

use gan_core::Shape;
use gan_core::latent::Pcg32;

use crate::config::Augmentation;
use crate::nn::augment::Change;
use crate::random;

/// Draws the change of one image `[h, w, c]`.
pub fn draw_change(shape: Shape, kinds: &[Augmentation], rng: &mut Pcg32) -> Change {
    let has = |kind| kinds.contains(&kind);
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
