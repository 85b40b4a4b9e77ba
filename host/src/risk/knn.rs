//! Distances between images in a feature space, and what nearest neighbours say.

use rayon::prelude::*;

use crate::nn::gemm::{Matrix, matmul};

/// Points of a feature space: `[n, width]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// `[n, width]`
    pub values: Vec<f32>,
    /// Features of one image.
    pub width: usize,
}

/// Rows of distances computed at once by one thread.
const BLOCK: usize = 64;

impl Points {
    /// Images.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The features of one image.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The rows that `keep` names, in its order.
    pub fn select(&self, keep: impl IntoIterator<Item = usize>) -> Self {
        let rows = keep.into_iter().flat_map(|i| self.row(i));
        Self {
            values: rows.copied().collect(),
            width: self.width,
        }
    }

    /// These points, then `other`'s.
    pub fn concat(&self, other: &Self) -> Self {
        Self {
            values: [self.values.as_slice(), &other.values].concat(),
            width: self.width,
        }
    }

    fn squares(&self) -> Vec<f32> {
        let rows = self.values.par_chunks(self.width.max(1));
        rows.map(|row| row.iter().map(|v| v * v).sum()).collect()
    }

    /// Calls `f(i, distances)` for each point `i`: squared Euclidean distances to all of
    /// `others`, by `|a|^2 + |b|^2 - 2ab`, never below 0.
    pub fn distances<R: Send>(
        &self,
        others: &Self,
        f: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Vec<R> {
        let (a_squares, b_squares) = (self.squares(), others.squares());
        let blocks = self
            .values
            .par_chunks(BLOCK * self.width.max(1))
            .enumerate();
        let blocks = blocks.map(|(block, rows)| {
            let n = rows.len() / self.width;
            let mut products = vec![0.0; n * others.len()];
            let (a, b) = (
                Matrix::new(rows, n, self.width),
                Matrix::new(&others.values, others.len(), self.width),
            );
            matmul(a, b.t(), &mut products, false);
            let rows = products.chunks_exact_mut(others.len().max(1)).enumerate();
            let each = rows.map(|(i, distances)| {
                let i = block * BLOCK + i;
                for (d, b) in distances.iter_mut().zip(&b_squares) {
                    *d = (a_squares[i] + b - 2.0 * *d).max(0.0);
                }
                f(i, distances)
            });
            each.collect::<Vec<R>>()
        });
        blocks.flatten_iter().collect()
    }

    /// Squared distances of each point to its nearest among `others`, its second nearest or
    /// whichever else, by their `ranks` from 1.
    pub fn nearest_distances<const N: usize>(
        &self,
        others: &Self,
        ranks: [usize; N],
    ) -> Vec<[f32; N]> {
        self.distances(others, |_, distances| ranked(distances, ranks))
    }

    /// Which of `others` is nearest to each point.
    pub fn nearest(&self, others: &Self) -> Vec<usize> {
        self.distances(others, |_, distances| least(distances))
    }

    /// The same among the rest of them.
    pub fn nearest_distances_within<const N: usize>(&self, ranks: [usize; N]) -> Vec<[f32; N]> {
        self.distances(self, |i, distances| {
            distances[i] = f32::INFINITY;
            ranked(distances, ranks)
        })
    }
}

/// The smallest values of these ranks from 1; the largest where there are fewer.
fn ranked<const N: usize>(values: &[f32], ranks: [usize; N]) -> [f32; N] {
    let ranks = ranks.map(|rank| rank.clamp(1, values.len().max(1)));
    // Few of many: one pass, which hardly ever has something to insert.
    let mut smallest = vec![f32::INFINITY; ranks.into_iter().max().unwrap_or(1)];
    let last = smallest.len() - 1;
    for &value in values {
        if value < smallest[last] {
            let at = smallest.partition_point(|&s| s <= value);
            smallest[at..].rotate_right(1);
            smallest[at] = value;
        }
    }
    ranks.map(|rank| smallest[rank - 1])
}

fn least(values: &[f32]) -> usize {
    let least = values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    least.map_or(0, |(i, _)| i)
}

/// What nearest neighbours say of generated points: by balls around each point up to its
/// `k`-th nearest in the same set (Kynkaanniemi et al. 2019; Naeem et al. 2020), and by the
/// nearest alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbourhood {
    /// Whether each generated point lies in the ball of a real one; their share is precision.
    pub inside: Vec<bool>,
    /// Balls of real points that each generated one lies in, over `k`; their mean is density.
    pub density: Vec<f64>,
    /// Whether each real point lies in the ball of a generated one; their share is recall.
    pub recalled: Vec<bool>,
    /// Whether a generated point lies in each real one's ball; their share is coverage.
    pub covered: Vec<bool>,
    /// Whether the nearest other point of each real one, then of each generated one, is of
    /// its own set: for sets of one size, the hits of leave-one-out 1-NN (Lopez-Paz and Oquab
    /// 2017). Where both are as near, a real one counts.
    pub told: Vec<bool>,
    /// Squared distance of each generated point to its nearest real one.
    pub to_real: Vec<f32>,
    /// Squared distance of each real point to its nearest other real one.
    pub within_real: Vec<f32>,
}

/// Compares two sets. Real points come first: swapped, precision and recall change places.
pub fn neighbourhood(real: &Points, generated: &Points, k: usize) -> Neighbourhood {
    let of_real = real.nearest_distances_within([1, k]);
    let of_generated = generated.nearest_distances_within([1, k]);
    let from_generated = generated.distances(real, |_, distances| {
        let balls = distances.iter().zip(&of_real);
        let balls = balls.filter(|(d, [_, radius])| *d <= radius).count();
        (balls, smallest(distances))
    });
    let from_real = real.distances(generated, |i, distances| {
        let mut balls = distances.iter().zip(&of_generated);
        let recalled = balls.any(|(d, [_, radius])| d <= radius);
        let nearest = smallest(distances);
        (recalled, nearest <= of_real[i][1], nearest)
    });
    let real_told = from_real.iter().zip(&of_real);
    let real_told = real_told.map(|((.., nearest), [own, _])| own <= nearest);
    let generated_told = from_generated.iter().zip(&of_generated);
    let generated_told = generated_told.map(|((_, nearest), [own, _])| own < nearest);
    let balls = from_generated.iter().map(|&(balls, _)| balls);
    Neighbourhood {
        inside: balls.clone().map(|balls| balls > 0).collect(),
        density: balls.map(|balls| balls as f64 / k as f64).collect(),
        recalled: from_real.iter().map(|found| found.0).collect(),
        covered: from_real.iter().map(|found| found.1).collect(),
        told: real_told.chain(generated_told).collect(),
        to_real: from_generated.iter().map(|&(_, nearest)| nearest).collect(),
        within_real: of_real.iter().map(|&[own, _]| own).collect(),
    }
}

fn smallest(values: &[f32]) -> f32 {
    let mut lanes = [f32::INFINITY; 16];
    for values in values.chunks(lanes.len()) {
        let pairs = lanes.iter_mut().zip(values);
        pairs.for_each(|(least, &value)| *least = least.min(value));
    }
    lanes.into_iter().fold(f32::INFINITY, f32::min)
}

/// Conformal p-values (Vovk et al. 2005): the share of `calibration` scores, and of the
/// point's own, that are at least as large as its own. If the point comes from where the
/// calibration does, it is at most `p` with probability `p`.
pub fn p_values(calibration: &[f32], scores: &[f32]) -> Vec<f64> {
    let mut sorted = calibration.to_vec();
    sorted.sort_by(f32::total_cmp);
    let p = |score: &f32| {
        let below = sorted.partition_point(|c| c < score);
        (sorted.len() - below + 1) as f64 / (sorted.len() + 1) as f64
    };
    scores.iter().map(p).collect()
}
