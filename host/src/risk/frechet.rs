//! Distances between the distributions of two sets of features.

use nalgebra::{DMatrix, SymmetricEigen};

use super::interval::{Estimate, GROUPS, jackknife};
use super::knn::Points;
use crate::nn::gemm::{Matrix, matmul};

/// Sums over the images of one group, from which any union's moments follow.
#[derive(Clone)]
struct Moments {
    n: f64,
    /// `[width]`
    sums: Vec<f64>,
    /// `[width, width]`
    products: Vec<f64>,
}

impl Moments {
    fn of(points: &Points) -> Self {
        let (n, width) = (points.len(), points.width);
        let values: Vec<f64> = points.values.iter().map(|&v| f64::from(v)).collect();
        let mut products = vec![0.0; width * width];
        let x = Matrix::new(&values, n, width);
        matmul(x.t(), x, &mut products, false);
        let mut sums = vec![0.0; width];
        for row in values.chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
        let n = n as f64;
        Self { n, sums, products }
    }

    fn add(mut self, other: &Self) -> Self {
        self.n += other.n;
        let add = |a: &mut Vec<f64>, b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.sums, &other.sums);
        add(&mut self.products, &other.products);
        self
    }

    /// Mean, and covariance by `n - 1`.
    fn gaussian(&self) -> (Vec<f64>, DMatrix<f64>) {
        let mean: Vec<f64> = self.sums.iter().map(|sum| sum / self.n).collect();
        let width = mean.len();
        let covariance = DMatrix::from_fn(width, width, |i, j| {
            let product = self.products[i * width + j] - self.n * mean[i] * mean[j];
            product / (self.n - 1.0).max(1.0)
        });
        (mean, covariance)
    }
}

/// One set's moments, group by group.
fn grouped(points: &Points) -> Vec<Moments> {
    let groups = (0..GROUPS).map(|g| points.select((g..points.len()).step_by(GROUPS)));
    groups.map(|points| Moments::of(&points)).collect()
}

fn without(groups: &[Moments], left_out: Option<usize>) -> Moments {
    let kept = groups.iter().enumerate();
    let mut kept = kept.filter(|(g, _)| Some(*g) != left_out).map(|(_, m)| m);
    let first = kept.next().cloned();
    let first = first.unwrap_or_else(|| groups[0].clone());
    kept.fold(first, Moments::add)
}

/// The Frechet distance of two normal distributions with the sets' moments (Heusel et al.
/// 2017), by the symmetric form `|m_a - m_b|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)`,
/// whose roots are real. Its value depends on the number of images: compare like with like.
pub fn frechet(a: &Points, b: &Points) -> Estimate {
    let (a, b) = (grouped(a), grouped(b));
    jackknife(|left_out| {
        let (mean_a, a) = without(&a, left_out).gaussian();
        let (mean_b, b) = without(&b, left_out).gaussian();
        let means = mean_a.iter().zip(&mean_b);
        let means: f64 = means.map(|(a, b)| (a - b).powi(2)).sum();
        let root = square_root(a.clone());
        let inner = &root * &b * &root;
        let inner = (&inner + inner.transpose()) * 0.5;
        let traces = a.trace() + b.trace();
        let eigenvalues = SymmetricEigen::new(inner).eigenvalues;
        let cross: f64 = eigenvalues.iter().map(|&v| v.max(0.0).sqrt()).sum();
        (means + traces - 2.0 * cross).max(0.0)
    })
}

fn square_root(matrix: DMatrix<f64>) -> DMatrix<f64> {
    let mut eigen = SymmetricEigen::new(matrix);
    eigen.eigenvalues.apply(|v| *v = v.max(0.0).sqrt());
    eigen.recompose()
}

/// The kernel distance (KID, Binkowski et al. 2018): the unbiased estimate of the squared
/// maximum mean discrepancy by the kernel `(x y / width + 1)^3`. It can be below zero.
pub fn kernel_distance(a: &Points, b: &Points) -> Estimate {
    let (aa, bb, ab) = (kernel_sums(a, a), kernel_sums(b, b), kernel_sums(a, b));
    let sizes = |points: &Points| -> Vec<f64> {
        let group = |g| (g..points.len()).step_by(GROUPS).len() as f64;
        (0..GROUPS).map(group).collect()
    };
    let (na, nb) = (sizes(a), sizes(b));
    jackknife(|left_out| {
        let kept = |g: &usize| Some(*g) != left_out;
        let count = |n: &[f64]| (0..GROUPS).filter(kept).map(|g| n[g]).sum::<f64>();
        let sum = |sums: &[f64]| {
            let pairs = (0..GROUPS).filter(kept).flat_map(|i| {
                let row = (0..GROUPS).filter(kept);
                row.map(move |j| i * GROUPS + j)
            });
            pairs.map(|at| sums[at]).sum::<f64>()
        };
        let (na, nb) = (count(&na), count(&nb));
        let within = |sum: f64, n: f64| sum / (n * (n - 1.0)).max(1.0);
        within(sum(&aa), na) + within(sum(&bb), nb) - 2.0 * sum(&ab) / (na * nb).max(1.0)
    })
}

/// Sums of the kernel over the pairs of two groups, `[GROUPS, GROUPS]`; an image and itself
/// are no pair.
fn kernel_sums(a: &Points, b: &Points) -> Vec<f64> {
    let same = std::ptr::eq(a, b);
    let scale = 1.0 / a.width as f64;
    let squares: Vec<f64> = (0..b.len())
        .map(|i| b.row(i).iter().map(|&v| f64::from(v).powi(2)).sum())
        .collect();
    let rows = a.distances(b, |i, distances| {
        let own: f64 = a.row(i).iter().map(|&v| f64::from(v).powi(2)).sum();
        let mut sums = [0.0; GROUPS];
        for (j, &d) in distances.iter().enumerate() {
            if !(same && i == j) {
                let product = (own + squares[j] - f64::from(d)) / 2.0;
                sums[j % GROUPS] += (product * scale + 1.0).powi(3);
            }
        }
        sums
    });
    let mut sums = vec![0.0; GROUPS * GROUPS];
    for (i, row) in rows.iter().enumerate() {
        let into = &mut sums[(i % GROUPS) * GROUPS..][..GROUPS];
        into.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    sums
}
