//! Distances between pictures in a feature space, and what nearest neighbours say.

use rayon::prelude::*;

use crate::nn::gemm::{Matrix, matmul};

/// Points of a feature space: `[n, width]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// `[n, width]`
    pub values: Vec<f32>,
    /// Features of one picture.
    pub width: usize,
}

/// Rows of distances computed at once by one thread.
const BLOCK: usize = 64;

impl Points {
    /// Pictures.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The features of one picture.
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

    /// Squared distance of each point to its `k`-th nearest among `others` (from 1).
    pub fn kth_nearest(&self, others: &Self, k: usize) -> Vec<f32> {
        self.distances(others, |_, distances| kth(distances, k))
    }

    /// Which of `others` is nearest to each point.
    pub fn nearest(&self, others: &Self) -> Vec<usize> {
        self.distances(others, |_, distances| least(distances))
    }

    /// Squared distance of each point to its `k`-th nearest among the rest of them.
    pub fn kth_nearest_within(&self, k: usize) -> Vec<f32> {
        self.distances(self, |i, distances| {
            distances[i] = f32::INFINITY;
            kth(distances, k)
        })
    }
}

/// The `k`-th smallest (from 1); the largest where there are fewer.
fn kth(values: &mut [f32], k: usize) -> f32 {
    let k = k.clamp(1, values.len().max(1)) - 1;
    match values.len() {
        0 => f32::INFINITY,
        _ => *values.select_nth_unstable_by(k, f32::total_cmp).1,
    }
}

fn least(values: &[f32]) -> usize {
    let least = values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    least.map_or(0, |(i, _)| i)
}

/// What k-nearest-neighbour balls say of generated points (Kynkaanniemi et al. 2019; Naeem
/// et al. 2020).
#[derive(Clone, Debug, PartialEq)]
pub struct Balls {
    /// Whether each generated point lies in the ball of a real one; their share is precision.
    pub inside: Vec<bool>,
    /// Balls of real points that each generated one lies in, over `k`; their mean is density.
    pub density: Vec<f64>,
    /// Whether each real point lies in the ball of a generated one; their share is recall.
    pub recalled: Vec<bool>,
    /// Whether a generated point lies in each real one's ball; their share is coverage.
    pub covered: Vec<bool>,
}

/// Balls around each point of a set, up to its `k`-th nearest in the same set. Real points
/// come first: swapped, precision and recall change places.
pub fn balls(real: &Points, generated: &Points, k: usize) -> Balls {
    let real_radii = real.kth_nearest_within(k);
    let generated_radii = generated.kth_nearest_within(k);
    let of_generated = generated.distances(real, |_, distances| {
        let within = distances.iter().zip(&real_radii).filter(|(d, r)| d <= r);
        within.count()
    });
    let of_real = real.distances(generated, |i, distances| {
        let recalled = distances.iter().zip(&generated_radii).any(|(d, r)| d <= r);
        let covered = distances.iter().any(|d| *d <= real_radii[i]);
        (recalled, covered)
    });
    let (recalled, covered) = of_real.into_iter().unzip();
    Balls {
        inside: of_generated.iter().map(|&balls| balls > 0).collect(),
        density: of_generated.iter().map(|&n| n as f64 / k as f64).collect(),
        recalled,
        covered,
    }
}

/// Points of two equally large sets that their nearest neighbour (not themselves) puts into
/// the right one, of `2n` (Lopez-Paz and Oquab 2017).
pub fn one_nearest_hits(real: &Points, generated: &Points) -> usize {
    let all = real.concat(generated);
    let is_real = |i: usize| i < real.len();
    let hits = all.distances(&all, |i, distances| {
        distances[i] = f32::INFINITY;
        is_real(i) == is_real(least(distances))
    });
    hits.into_iter().filter(|&hit| hit).count()
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
