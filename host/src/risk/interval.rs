//! Figures with their uncertainty.

use serde::{Deserialize, Serialize};

use crate::random::{self, Purpose};

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
    /// A figure of too few images for an interval: its ends are not numbers, and no
    /// comparison with them holds.
    pub const fn without_interval(value: f64) -> Self {
        Self {
            value,
            low: f64::NAN,
            high: f64::NAN,
        }
    }

    /// Whether there were images enough for an interval.
    pub const fn has_interval(&self) -> bool {
        !self.low.is_nan()
    }

    /// The same for `f` of the figure, a function that grows or falls throughout.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        if !self.has_interval() {
            return Self::without_interval(f(self.value));
        }
        let (a, b) = (f(self.low), f(self.high));
        Self {
            value: f(self.value),
            low: a.min(b),
            high: a.max(b),
        }
    }
}

/// The share `hits / n` of independent trials, with Wilson's score interval (1927); of no
/// trials at all it is anything from 0 to 1.
pub fn share(hits: usize, n: usize) -> Estimate {
    if n == 0 {
        return Estimate {
            value: 0.0,
            low: 0.0,
            high: 1.0,
        };
    }
    wilson(hits as f64 / n as f64, n as f64)
}

fn wilson(p: f64, n: f64) -> Estimate {
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
/// [`Z`] of Student's distribution with `GROUPS - 1` degrees of freedom.
const T: f64 = 2.093_024_054_408_263;

/// `figure(None)`, with an interval from [`GROUPS`] more, each without one group of the
/// images (the delete-a-group jackknife, Kott 2001): `figure(Some(g))` leaves out the
/// images whose number is `g` modulo [`GROUPS`]. For figures that change smoothly as one
/// image does; neighbours do not.
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
    let half = T * ((g - 1.0) / g * squares).sqrt();
    Estimate {
        value,
        low: value - half,
        high: value + half,
    }
}

/// Random parts of each size that [`subsampling`] computes a figure of.
const PARTS: usize = 40;
/// [`Z`] of Student's distribution with `PARTS - 1` degrees of freedom.
const T_PARTS: f64 = 2.022_690_920_036_761;

/// A figure of a set, and how it differs between parts of the set.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// The figure of the whole set.
    pub value: f64,
    /// Mean over the quarters.
    part_mean: f64,
    /// Standard deviation from set to set, as the parts tell it; not a number where they are
    /// too small to tell.
    deviation: f64,
}

/// `figures` of `n` images, and how they differ between 40 random quarters and 40 random
/// halves of them: for figures of images that depend on each other, as neighbours do. What
/// the variance loses from quarters to halves it loses once more to the whole (subsampling
/// with an estimated rate, Politis, Romano and Wolf 1999, chapter 8), at most a half: images
/// that are all alike are as good as one.
///
/// `figures` gets the numbers of the images to compute them of. Fewer than `fewest`
/// images give no interval.
pub fn subsampling<const N: usize>(
    n: usize,
    fewest: usize,
    figures: impl Fn(&[usize]) -> [f64; N] + Sync,
) -> [Sampled; N] {
    let all: Vec<usize> = (0..n).collect();
    let values = figures(&all);
    if n < fewest {
        return values.map(|value| Sampled {
            value,
            part_mean: value,
            deviation: f64::NAN,
        });
    }
    let quarters = spreads(n, n / 4, &figures);
    let halves = spreads(n, n / 2, &figures);
    std::array::from_fn(|i| {
        let (quarter, half) = (quarters[i], halves[i]);
        let loss = half.variance / quarter.variance;
        // Not a number where no part differs.
        let loss = if loss > 0.5 { loss.min(1.0) } else { 0.5 };
        Sampled {
            value: values[i],
            part_mean: quarter.mean,
            deviation: (half.variance * loss).max(quarter.variance / 4.0).sqrt(),
        }
    })
}

/// A figure over random parts.
#[derive(Clone, Copy)]
struct Spread {
    mean: f64,
    /// Variance from set to set of the part's size.
    variance: f64,
}

/// The figures over random parts of `len` of `n` images.
fn spreads<const N: usize>(
    n: usize,
    len: usize,
    figures: &(impl Fn(&[usize]) -> [f64; N] + Sync),
) -> [Spread; N] {
    use rayon::prelude::*;
    let parts: Vec<[f64; N]> = (0..PARTS as u64)
        .into_par_iter()
        .map(|part| {
            let mut rng = random::stream(1, Purpose::Subsample, part);
            let order = random::permutation(&mut rng, n).into_iter();
            let part: Vec<usize> = order.take(len).map(|i| i as usize).collect();
            figures(&part)
        })
        .collect();
    // Parts of one set have images in common.
    let common = 1.0 - len as f64 / n as f64;
    std::array::from_fn(|i| {
        let mean = parts.iter().map(|values| values[i]).sum::<f64>() / PARTS as f64;
        let squares: f64 = parts.iter().map(|v| (v[i] - mean).powi(2)).sum();
        Spread {
            mean,
            variance: squares / (PARTS - 1) as f64 / common,
        }
    })
}

impl Sampled {
    /// The estimate with the interval of a normal distribution.
    pub fn estimate(self) -> Estimate {
        let half = T_PARTS * self.deviation;
        Estimate {
            value: self.value,
            low: self.value - half,
            high: self.value + half,
        }
    }

    /// A share of `n` images, with Wilson's interval for as many independent trials, `n` at
    /// most, as scatter as widely; so it stays between 0 and 1, and has a width at either end.
    pub fn share(self, n: usize) -> Estimate {
        let Self {
            value,
            part_mean,
            deviation,
        } = self;
        if deviation.is_nan() {
            return Estimate::without_interval(value);
        }
        // A share of 0 or 1 does not say how it scatters; the parts' shares do.
        let middle = if value > 0.0 && value < 1.0 {
            value
        } else {
            part_mean
        };
        let trials = middle * (1.0 - middle) / deviation.powi(2);
        // Not a number where no part differs.
        let trials = if trials > 0.0 { trials } else { f64::INFINITY };
        wilson(value, trials.clamp(1.0, n.max(1) as f64))
    }
}

/// The middle one, or the upper of two; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
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
