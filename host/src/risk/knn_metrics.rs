//! The figures that follow from distances between features, with their intervals.

use super::interval::{Estimate, median, subsampling};
use super::knn::{Points, neighbourhood, p_values};

/// Neighbours of every k-nearest figure (Naeem et al. 2020).
pub const K: usize = 5;
/// Fewer images give no interval: each of the quarters that it comes from takes four times
/// as many as are neighbours.
pub const FEWEST_FOR_INTERVAL: usize = 4 * 4 * K;
/// An image is flagged at this p-value.
pub const FLAGGED: f64 = 0.05;
/// Share of real images that are as near to others as copies are.
const COPIES: f64 = 0.01;
/// A ratio of distances below this counts as this, so that it has a logarithm.
const NO_DISTANCE: f64 = 1e-9;

/// Images as they are compared.
pub struct Sample {
    /// Features of the images.
    pub points: Points,
    /// Squared distance of each to the nearest training image, and to the
    /// [`K`]-th.
    to_train: Vec<[f32; 2]>,
}

impl Sample {
    /// Looks at `points` beside those of the training images.
    pub fn new(points: Points, train: &Points) -> Self {
        let to_train = points.nearest_distances(train, [1, K]);
        Self { points, to_train }
    }

    /// How strange each image is: its distance to the [`K`]-th training image.
    pub fn scores(&self) -> Vec<f32> {
        self.to_train.iter().map(|&[_, score]| score).collect()
    }

    fn select(&self, kept: &[usize]) -> Self {
        Self {
            to_train: kept.iter().map(|&i| self.to_train[i]).collect(),
            points: self.points.select(kept.iter().copied()),
        }
    }
}

/// Figures of generated images that follow from distances.
pub struct KnnMetrics {
    /// Accuracy of leave-one-out 1-NN.
    pub one_nearest: Estimate,
    /// Share of the generated that lie in a real one's ball.
    pub precision: Estimate,
    /// Balls of real ones that a generated one lies in, over [`K`].
    pub density: Estimate,
    /// Share of the real ones in whose ball a generated one lies.
    pub coverage: Estimate,
    /// Share of the real ones that lie in a generated one's ball.
    pub recall: Estimate,
    /// Share as near to a training image as the nearest hundredth of the real ones.
    pub copies: Estimate,
    /// Share as near to a real one as the nearest hundredth of these among themselves.
    pub copies_control: Estimate,
    /// Median of the distance to the nearest training image over that to the nearest real
    /// one.
    pub distance_ratio: Estimate,
    /// Share with a p-value of [`FLAGGED`] or less.
    pub flagged: Estimate,
}

/// Compares as many generated images with real ones. Both are samples, so that intervals
/// allow for the chance in either; the training images are what they are.
pub fn compare(real: &Sample, generated: &Sample) -> KnnMetrics {
    let n = generated.points.len();
    let figures = subsampling(n, FEWEST_FOR_INTERVAL, |kept| {
        figures(&real.select(kept), &generated.select(kept))
    });
    let [
        one_nearest,
        precision,
        density,
        coverage,
        recall,
        copies,
        copies_control,
        distance_ratio,
        flagged,
    ] = figures;
    KnnMetrics {
        one_nearest: one_nearest.share(2 * n),
        precision: precision.share(n),
        density: density.estimate(),
        coverage: coverage.share(n),
        recall: recall.share(n),
        copies: copies.share(n),
        copies_control: copies_control.share(n),
        distance_ratio: distance_ratio.estimate().map(f64::exp),
        flagged: flagged.share(n),
    }
}

/// The figures in the order of [`KnnMetrics`]; of the ratio the logarithm, for fewer images are
/// all farther from each other.
fn figures(real: &Sample, generated: &Sample) -> [f64; 9] {
    let found = neighbourhood(&real.points, &generated.points, K);
    let nearest = |sample: &Sample| sample.to_train.iter().map(|&[d, _]| d).collect();
    let to_train: Vec<f32> = nearest(generated);
    let ratios = to_train.iter().zip(&found.to_real);
    let ratios = ratios.map(|(t, r)| f64::from((t / r.max(f32::MIN_POSITIVE)).sqrt()));
    let p_values = p_values(&real.scores(), &generated.scores());
    [
        share_of(found.told.iter().copied()),
        share_of(found.inside.iter().copied()),
        found.density.iter().sum::<f64>() / found.density.len().max(1) as f64,
        share_of(found.covered.iter().copied()),
        share_of(found.recalled.iter().copied()),
        share_as_near(&to_train, nearest(real)),
        share_as_near(&found.to_real, found.within_real),
        median(ratios.collect()).max(NO_DISTANCE).ln(),
        share_of(p_values.iter().map(|&p| p <= FLAGGED)),
    ]
}

/// The share of `distances` that are no larger than those of the nearest [`COPIES`] of real
/// images, or of the nearest one where there are few.
fn share_as_near(distances: &[f32], mut real: Vec<f32>) -> f64 {
    let at = ((COPIES * real.len() as f64).ceil() as usize).saturating_sub(1);
    if real.is_empty() {
        return 0.0;
    }
    let (_, &mut limit, _) = real.select_nth_unstable_by(at, f32::total_cmp);
    share_of(distances.iter().map(|&d| d <= limit))
}

fn share_of(hits: impl ExactSizeIterator<Item = bool>) -> f64 {
    let n = hits.len().max(1);
    hits.filter(|&hit| hit).count() as f64 / n as f64
}
