//! Figures with their uncertainty.

use serde::{Deserialize, Serialize};

use crate::train::random::{self, Purpose};

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
/// pictures (the delete-a-group jackknife, Kott 2001): `figure(Some(g))` leaves out the
/// pictures whose number is `g` modulo [`GROUPS`]. For figures that change smoothly as one
/// picture does; neighbours do not.
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

/// Parts of the pictures that [`subsampling`] looks at, and their share of all.
const PARTS: usize = 40;
const PART: usize = 4;
/// Pictures of a part at least, half of all at most: neighbours need company.
const FEWEST: usize = 8;
/// [`Z`] of Student's distribution with `PARTS - 1` degrees of freedom.
const T_PARTS: f64 = 2.022_690_920_036_761;

/// `figures` of `n` pictures, with intervals from how they differ between 40 random
/// quarters of them (Politis and Romano 1994): for figures of pictures that depend on
/// each other, as neighbours do. `figures` gets the numbers of the pictures to look at.
pub fn subsampling<const N: usize>(
    n: usize,
    figures: impl Fn(&[usize]) -> [f64; N] + Sync,
) -> [Estimate; N] {
    use rayon::prelude::*;
    let all: Vec<usize> = (0..n).collect();
    let values = figures(&all);
    let len = (n / PART).max(FEWEST).min(n / 2).max(1);
    let parts: Vec<[f64; N]> = (0..PARTS as u64)
        .into_par_iter()
        .map(|part| {
            let mut rng = random::stream(1, Purpose::Subsample, part);
            let order = random::permutation(&mut rng, n).into_iter();
            let part: Vec<usize> = order.take(len).map(|i| i as usize).collect();
            figures(&part)
        })
        .collect();
    // What quarters of one set differ by, to what whole sets differ by.
    let scale = len as f64 / (n - len).max(1) as f64 / (PARTS - 1) as f64;
    std::array::from_fn(|i| {
        let mean = parts.iter().map(|values| values[i]).sum::<f64>() / PARTS as f64;
        let squares: f64 = parts.iter().map(|v| (v[i] - mean).powi(2)).sum();
        let half = T_PARTS * (scale * squares).sqrt();
        Estimate {
            value: values[i],
            low: values[i] - half,
            high: values[i] + half,
        }
    })
}

/// A share of `n` pictures by [`subsampling`], with Wilson's interval for as many independent
/// trials, `n` at most, as scatter as widely; so it stays between 0 and 1, and has a width at
/// either end.
pub fn as_share(found: Estimate, n: usize) -> Estimate {
    let p = found.value;
    let variance = ((found.high - found.low) / (2.0 * Z)).powi(2);
    let trials = p * (1.0 - p) / variance;
    // Not a number at 0 and 1, where no part differs.
    let trials = if trials > 0.0 { trials } else { f64::INFINITY };
    wilson(p, trials.clamp(1.0, n.max(1) as f64))
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
