//! The default network and training time for a set of images.

use std::time::Duration;

use super::{Capacity, Config, SIDES_PX};
use crate::data::Survey;

/// The size of a set up to which the discriminator memorizes it without augmentation.
pub const FEW_IMAGES: usize = 5_000;

/// Side of the embedded grey images, which have a preset of their own, in pixels.
const FASHION_PX: usize = 28;

impl Config {
    /// The preset for images of a source, in `channels` channels. IDX files of the size of the
    /// embedded images get `fashion`.
    pub fn for_images(
        survey: &Survey,
        side_px: usize,
        channels: usize,
        capacity: Capacity,
    ) -> Option<Self> {
        let is_fashion = side_px == FASHION_PX && channels == 1 && survey.files.is_none();
        if is_fashion && capacity == Capacity::Full {
            return Self::preset("fashion").ok();
        }
        Self::dcgan(side_px, channels, capacity)
    }
}

/// The side at which images of a source are drawn, in pixels: their own where they all have
/// one that there is a network for, and else 64, 32 or 16.
pub fn default_side_px(survey: &Survey) -> usize {
    let [least, middle, _] = survey.sides_px;
    if survey.are_alike && least <= 64 && SIDES_PX.contains(&least) {
        return least;
    }
    match middle {
        48.. => 64,
        24.. => 32,
        _ => 16,
    }
}

/// The time in which a network learns `images` images on two cores.
pub fn default_budget(side_px: usize, images: usize) -> Duration {
    let minutes = match (side_px, images) {
        (48.., 500..) => 20,
        (48.., _) => 15,
        (24.., 20_000..) => 20,
        (24.., _) => 10,
        _ => 5,
    };
    Duration::from_secs(60 * minutes)
}
