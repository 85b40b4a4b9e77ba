//! Figures with their uncertainty.

use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Standard deviations on either side of a normal distribution's middle that hold 95 % of it.
const Z: f64 = 1.959_963_984_540_054;

impl Estimate {
    /// The same for `f` of the figure, a function that grows or falls throughout.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (f(self.low), f(self.high));
        Self {
            value: f(self.value),
            low: a.min(b),
            high: a.max(b),
        }
    }
}

/// The share `hits / n`, with Wilson's score interval (1927); of no trials at all it is
/// anything from 0 to 1.
pub fn share(hits: usize, n: usize) -> Estimate {
    if n == 0 {
        return Estimate {
            value: 0.0,
            low: 0.0,
            high: 1.0,
        };
    }
    let (p, n) = (hits as f64 / n as f64, n as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Estimate {
        value: p,
        // Rounding must not leave the share itself outside.
        low: (middle - half).clamp(0.0, p),
        high: (middle + half).clamp(p, 1.0),
    }
}

/// Groups of the jackknife.
pub const GROUPS: usize = 20;

/// `figure(None)`, with an interval from [`GROUPS`] more, each without one group of the
/// pictures (the delete-a-group jackknife): `figure(Some(g))` leaves out the pictures whose
/// number is `g` modulo [`GROUPS`].
pub fn jackknife(figure: impl Fn(Option<usize>) -> f64 + Sync) -> Estimate {
    use rayon::prelude::*;
    let value = figure(None);
    let without: Vec<f64> = (0..GROUPS)
        .into_par_iter()
        .map(|g| figure(Some(g)))
        .collect();
    let g = GROUPS as f64;
    let mean = without.iter().sum::<f64>() / g;
    let squares: f64 = without.iter().map(|v| (v - mean).powi(2)).sum();
    let half = Z * ((g - 1.0) / g * squares).sqrt();
    Estimate {
        value,
        low: value - half,
        high: value + half,
    }
}

/// The ratio of two shares, `(hits_a / n_a) / (hits_b / n_b)`, with the interval of its
/// logarithm (Katz et al. 1978).
pub fn ratio(a: (usize, usize), b: (usize, usize)) -> Estimate {
    let share = |(hits, n): (usize, usize)| (hits as f64 + 0.5) / (n as f64 + 0.5);
    let variance =
        |(hits, n): (usize, usize)| (1.0 / (hits as f64 + 0.5) - 1.0 / (n as f64 + 0.5)).max(0.0);
    let value = share(a) / share(b);
    let half = (Z * (variance(a) + variance(b)).sqrt()).exp();
    Estimate {
        value,
        low: value / half,
        high: value * half,
    }
}

/// The mean of one figure per picture, by the [`jackknife`].
pub fn jackknife_over(values: &[f64]) -> Estimate {
    jackknife(|left_out| {
        let kept = values.iter().enumerate();
        let kept = kept.filter(|(i, _)| Some(i % GROUPS) != left_out);
        let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (_, v)| (sum + v, n + 1.0));
        if n > 0.0 { sum / n } else { 0.0 }
    })
}

/// The median of one figure per picture, with the interval of its order statistics.
pub fn median(values: &[f64]) -> Estimate {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let at = |rank: f64| {
        let rank = rank.clamp(0.0, (n - 1.0).max(0.0)) as usize;
        sorted.get(rank).copied().unwrap_or(0.0)
    };
    let half = Z * n.sqrt() / 2.0;
    Estimate {
        value: at(n / 2.0),
        low: at((n / 2.0 - half).floor()),
        high: at((n / 2.0 + half).ceil()),
    }
}
