//! How alike the images of a set are, by thumbnails of them.

use gan_core::Shape;
use rayon::prelude::*;

use super::Images;

/// Images that are compared: the first ones.
const COMPARED: usize = 3000;
/// Sides of a thumbnail, in pixels.
const SIDE_PX: usize = 8;
/// Root mean square of the difference of near-duplicates' thumbnails, in grey levels.
const DUPLICATE_LEVELS: f32 = 2.5;
/// Most that mirrored images are farther from the set than its own are from one another, for
/// the set to be one that mirroring suits.
const MIRROR_RATIO: f32 = 1.12;

/// How alike the images of a set are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Images that look like one before them, but for small changes.
    pub near_duplicates: usize,
    /// The distance from a mirrored image to the nearest image of another number, over that
    /// of the image itself; the median.
    pub mirror_ratio: f32,
}

impl Likeness {
    /// Whether mirrored images resemble the set.
    pub fn bears_mirroring(&self) -> bool {
        self.mirror_ratio <= MIRROR_RATIO
    }

    /// Compares all pairs of images of one class, or of the set.
    pub fn of(images: &Images) -> Self {
        let n = images.len().min(COMPARED);
        let thumbnails: Vec<Vec<f32>> = (0..n).map(|i| thumbnail(images, i)).collect();
        let label = |i: usize| images.labels.get(i);
        let nearest = |wanted: &[f32], i: usize| {
            let others = (0..n).filter(|&j| j != i && label(j) == label(i));
            let distances = others.map(|j| distance(wanted, &thumbnails[j]));
            distances.fold(f32::INFINITY, f32::min)
        };
        let ratios = (0..n).into_par_iter().map(|i| {
            let mirrored = mirrored(&thumbnails[i], images.channels);
            nearest(&mirrored, i) / nearest(&thumbnails[i], i).max(DUPLICATE_LEVELS)
        });
        let mut ratios: Vec<f32> = ratios.filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f32::total_cmp);
        let near_duplicates = (1..n).into_par_iter().filter(|&i| {
            let mut before = thumbnails[..i].iter();
            before.any(|other| distance(&thumbnails[i], other) < DUPLICATE_LEVELS)
        });
        Self {
            near_duplicates: near_duplicates.count(),
            mirror_ratio: ratios
                .get(ratios.len() / 2)
                .copied()
                .unwrap_or(f32::INFINITY),
        }
    }
}

/// Means of the pixels that fall into each of 8x8 fields. *Shape*: `[8, 8, c]`.
pub(super) fn thumbnail(images: &Images, i: usize) -> Vec<f32> {
    let Shape { h, w, c } = images.shape();
    let mut sums = vec![0f32; SIDE_PX * SIDE_PX * c];
    let mut counts = vec![0f32; SIDE_PX * SIDE_PX];
    for (at, pixel) in images.image(i).chunks_exact(c).enumerate() {
        let field = at / w * SIDE_PX / h * SIDE_PX + at % w * SIDE_PX / w;
        counts[field] += 1.0;
        for (sum, &value) in sums[field * c..].iter_mut().zip(pixel) {
            *sum += f32::from(value);
        }
    }
    let counts = counts
        .iter()
        .flat_map(|&count| std::iter::repeat_n(count.max(1.0), c));
    sums.iter()
        .zip(counts)
        .map(|(sum, count)| sum / count)
        .collect()
}

/// A thumbnail with left and right exchanged.
fn mirrored(thumbnail: &[f32], channels: usize) -> Vec<f32> {
    let rows = thumbnail.chunks_exact(SIDE_PX * channels);
    rows.flat_map(|row| row.chunks_exact(channels).rev().flatten().copied())
        .collect()
}

/// Root mean square of the difference.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f32 {
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / a.len() as f32).sqrt()
}
