//! Distinguishability: how often a classifier tells generated images from real ones.

use super::RiskError;
use super::classifier::{Classifier, Layers, SMALL, STRONG, Schedule, affordable};
use super::features::format;
use super::interval::{Estimate, share};
use crate::data::Images;

/// The form in which a test sees an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Full,
    /// The colours of a display: 16 grey levels, or RGB565.
    Display,
    /// Means of two by two pixels.
    Half,
}

/// A classifier of real and generated images.
#[derive(Clone, Copy, Debug)]
pub struct TwoSampleTest {
    /// Keys of its figures: R, and the accuracy that it comes from.
    pub keys: [&'static str; 2],
    /// Name of R for people.
    pub name: &'static str,
    layers: Layers,
    view: View,
}

/// Weaker to stronger, then the strong one with worse eyes.
pub const TESTS: [TwoSampleTest; 4] = [
    TwoSampleTest {
        keys: ["risk_small_cnn", "small_cnn"],
        name: "R by a small CNN",
        layers: SMALL,
        view: View::Full,
    },
    TwoSampleTest {
        keys: ["risk_strong_cnn", "strong_cnn"],
        name: "R by a strong CNN",
        layers: STRONG,
        view: View::Full,
    },
    TwoSampleTest {
        keys: ["risk_strong_cnn_display", "strong_cnn_display"],
        name: "R by a strong CNN, as displayed",
        layers: STRONG,
        view: View::Display,
    },
    TwoSampleTest {
        keys: ["risk_strong_cnn_half", "strong_cnn_half"],
        name: "R by a strong CNN, half resolution",
        layers: STRONG,
        view: View::Half,
    },
];

/// Images seen in training.
const SEEN: usize = 48_000;

impl TwoSampleTest {
    /// Accuracy of the two-sample test (Lopez-Paz and Oquab 2017): trained on the first half
    /// of either set, judged on the rest. The sets are equally large and in random order.
    pub fn accuracy(&self, real: &Images, generated: &Images) -> Result<Estimate, RiskError> {
        let (real, generated) = (seen(real, self.view), seen(generated, self.view));
        let middle = real.len() / 2;
        let train = labelled(&real, &generated, 0..middle);
        let test = labelled(&real, &generated, middle..real.len());
        let mut classifier = Classifier::new(self.layers, format(&train), 2, 1)?;
        let schedule = Schedule {
            seen: affordable(SEEN, &train),
            rate: 1e-3,
            shift: 0,
            seed: 1,
        };
        classifier.train(&train, &train.labels, &schedule, &mut |_, _| {})?;
        let hits = classifier.hits(&classifier.features(&test)?, &test.labels)?;
        Ok(share(hits, test.len()))
    }
}

/// Real images (label 0) and generated ones (1).
fn labelled(real: &Images, generated: &Images, range: std::ops::Range<usize>) -> Images {
    let mut both = real.none_alike();
    for i in range {
        for (label, images) in [real, generated].into_iter().enumerate() {
            both.pixels.extend_from_slice(images.image(i));
            both.labels.push(label as u8);
        }
    }
    both
}

/// The images as `view` shows them.
pub fn seen(images: &Images, view: View) -> Images {
    match view {
        View::Full => images.clone(),
        View::Display => at_display(images),
        View::Half => halved(images),
    }
}

fn at_display(images: &Images) -> Images {
    let bits = |channel| match (images.channels, channel) {
        (1, _) => 4,
        (_, 1) => 6,
        _ => 5,
    };
    let rounded = |(i, &p): (usize, &u8)| {
        let most = (1 << bits(i % images.channels)) - 1;
        let level = (u32::from(p) * most + 127) / 255;
        ((level * 255 + most / 2) / most) as u8
    };
    Images {
        pixels: images.pixels.iter().enumerate().map(rounded).collect(),
        labels: images.labels.clone(),
        ..*images
    }
}

/// A last odd row or column is left out; images of one pixel stay.
fn halved(images: &Images) -> Images {
    let (h, w, c) = ((images.height / 2), (images.width / 2), images.channels);
    if h == 0 || w == 0 {
        return images.clone();
    }
    let mut pixels = Vec::with_capacity(images.pixels.len() / 4);
    for i in 0..images.len() {
        let image = images.image(i);
        let at = |y: usize, x: usize, channel: usize| {
            u32::from(image[(y * images.width + x) * c + channel])
        };
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (2 * y, 2 * x))) {
            pixels.extend((0..c).map(|k| {
                let sum = at(y, x, k) + at(y, x + 1, k) + at(y + 1, x, k) + at(y + 1, x + 1, k);
                ((sum + 2) / 4) as u8
            }));
        }
    }
    Images {
        height: h,
        width: w,
        channels: c,
        pixels,
        labels: images.labels.clone(),
    }
}
