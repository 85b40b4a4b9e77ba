//! Batch normalization, bias and activation in one pass over the data.

use rayon::prelude::*;

use super::conv::add_in_order;
use super::{Float, group_len};

/// What follows a layer's sum; each is invertible enough that its derivative is a
/// function of its output alone.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x` where positive, `0.2 x` elsewhere
    LeakyRelu,
    /// hyperbolic tangent
    Tanh,
}

/// Slope of [`Activation::LeakyRelu`] below zero (Radford et al. 2016).
pub const LEAKY_SLOPE: f64 = 0.2;

/// Added to the variance before its root, as PyTorch does.
pub const NORM_EPSILON: f64 = 1e-5;

impl Activation {
    /// The function's value at `x`.
    #[inline(always)]
    pub fn apply<E: Float>(self, x: E) -> E {
        match self {
            Self::Linear => x,
            // Not `max`, which would hide a NaN.
            Self::Relu => {
                if x < E::zero() {
                    E::zero()
                } else {
                    x
                }
            }
            Self::LeakyRelu => x.max(x * E::of(LEAKY_SLOPE)),
            Self::Tanh => x.tanh(),
        }
    }

    /// The derivative where the function's value is `y`.
    #[inline(always)]
    fn slope<E: Float>(self, y: E) -> E {
        let step = |below: E| if y > E::zero() { E::one() } else { below };
        match self {
            Self::Linear => E::one(),
            Self::Relu => step(E::zero()),
            Self::LeakyRelu => step(E::of(LEAKY_SLOPE)),
            Self::Tanh => E::one() - y * y,
        }
    }
}

/// Mean and (biased) variance of each channel over a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStats<E> {
    /// `[c]`
    pub mean: Vec<E>,
    /// `[c]`
    pub var: Vec<E>,
}

impl<E: Float> BatchStats<E> {
    /// Statistics of `x` `[rows, c]`; the variance from centred values, in a second pass.
    pub fn of(x: &[E], c: usize) -> Self {
        let count = E::of((x.len() / c) as f64);
        let mean = channel_sums(x, c, |_, v| v);
        let mean: Vec<E> = mean.into_iter().map(|sum| sum / count).collect();
        let var = channel_sums(x, c, |ch, v| (v - mean[ch]) * (v - mean[ch]));
        let var = var.into_iter().map(|sum| sum / count).collect();
        Self { mean, var }
    }

    /// `1 / sqrt(var + epsilon)` of each channel.
    pub fn inv_std(&self) -> Vec<E> {
        let inv = |&var: &E| (var + E::of(NORM_EPSILON)).sqrt().recip();
        self.var.iter().map(inv).collect()
    }
}

/// Sums `f(channel, value)` over the rows of `x` `[rows, c]`, group by group.
fn channel_sums<E: Float>(x: &[E], c: usize, f: impl Fn(usize, E) -> E + Sync) -> Vec<E> {
    let group = group_len(x.len() / c) * c;
    let sums = x.par_chunks(group).map(|x| {
        let mut sum = vec![E::zero(); c];
        for row in x.chunks_exact(c) {
            for (ch, (sum, &v)) in sum.iter_mut().zip(row).enumerate() {
                *sum += f(ch, v);
            }
        }
        sum
    });
    let mut total = vec![E::zero(); c];
    add_in_order(sums.collect(), &mut total);
    total
}

/// `y = act(x * scale + offset)`, channel by channel. *Shapes*: `x` `[rows, c]`.
pub fn affine_act<E: Float>(x: &[E], scale: &[E], offset: &[E], act: Activation) -> Vec<E> {
    let c = scale.len();
    let group = group_len(x.len() / c) * c;
    let mut y = vec![E::zero(); x.len()];
    let groups = x.par_chunks(group).zip(y.par_chunks_mut(group));
    groups.for_each(|(x, y)| {
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            let channels = scale.iter().zip(offset);
            for ((y, &x), (&scale, &offset)) in y.iter_mut().zip(x).zip(channels) {
                *y = act.apply(x * scale + offset);
            }
        }
    });
    y
}

/// Scale and offset that normalization with `stats` amounts to.
pub fn norm_affine<E: Float>(stats: &BatchStats<E>, gamma: &[E], beta: &[E]) -> (Vec<E>, Vec<E>) {
    let inv_std = stats.inv_std();
    let scale: Vec<E> = gamma.iter().zip(inv_std).map(|(&g, s)| g * s).collect();
    let terms = beta.iter().zip(&stats.mean).zip(&scale);
    let offset = terms.map(|((&b, &mean), &scale)| b - mean * scale);
    let offset = offset.collect();
    (scale, offset)
}

/// Backward pass of `y = act(gamma * (x - mean) / std + beta)` through the batch's own
/// statistics (Ioffe and Szegedy 2015, section 3). Adds the input's gradient to `gx` and
/// returns those of `gamma` and `beta`. *Shapes*: `x`, `y`, `gy`, `gx` `[rows, c]`.
pub fn norm_act_grads<E: Float>(
    (x, y): (&[E], &[E]),
    stats: &BatchStats<E>,
    gamma: &[E],
    act: Activation,
    mut gy: Vec<E>,
    gx: &mut [E],
) -> (Vec<E>, Vec<E>) {
    let c = gamma.len();
    let inv_std = stats.inv_std();
    let group = group_len(x.len() / c) * c;
    let inputs = x.par_chunks(group).zip(y.par_chunks(group));
    let sums = gy.par_chunks_mut(group).zip(inputs).map(|(gy, (x, y))| {
        let mut sum = vec![E::zero(); 2 * c];
        let (g_beta, g_gamma) = sum.split_at_mut(c);
        let rows = x.chunks_exact(c).zip(y.chunks_exact(c));
        for (gy, (x, y)) in gy.chunks_exact_mut(c).zip(rows) {
            for ch in 0..c {
                gy[ch] *= act.slope(y[ch]);
                g_beta[ch] += gy[ch];
                g_gamma[ch] += gy[ch] * (x[ch] - stats.mean[ch]) * inv_std[ch];
            }
        }
        sum
    });
    let mut g_beta = vec![E::zero(); 2 * c];
    add_in_order(sums.collect(), &mut g_beta);
    let g_gamma = g_beta.split_off(c);

    // gx = gamma / std * (g - mean(g) - x_hat * mean(g * x_hat)) = a * g + b * x + d
    let count = E::of((x.len() / c) as f64);
    let a: Vec<E> = gamma.iter().zip(&inv_std).map(|(&g, &s)| g * s).collect();
    let b = |ch: usize| -a[ch] * inv_std[ch] * g_gamma[ch] / count;
    let b: Vec<E> = (0..c).map(b).collect();
    let d = |ch: usize| -a[ch] * g_beta[ch] / count - b[ch] * stats.mean[ch];
    let d: Vec<E> = (0..c).map(d).collect();
    let inputs = gy.par_chunks(group).zip(x.par_chunks(group));
    gx.par_chunks_mut(group)
        .zip(inputs)
        .for_each(|(gx, (gy, x))| {
            let rows = gy.chunks_exact(c).zip(x.chunks_exact(c));
            for (gx, (gy, x)) in gx.chunks_exact_mut(c).zip(rows) {
                for ch in 0..c {
                    gx[ch] += a[ch] * gy[ch] + b[ch] * x[ch] + d[ch];
                }
            }
        });
    (g_gamma, g_beta)
}

/// Backward pass of `y = act(x + bias)`: adds the input's gradient to `gx` and returns
/// the bias's. *Shapes*: `y`, `gy`, `gx` `[rows, c]`.
pub fn bias_act_grads<E: Float>(
    y: &[E],
    c: usize,
    act: Activation,
    gy: &[E],
    gx: &mut [E],
) -> Vec<E> {
    let group = group_len(y.len() / c) * c;
    let inputs = y.par_chunks(group).zip(gy.par_chunks(group));
    let sums = gx.par_chunks_mut(group).zip(inputs).map(|(gx, (y, gy))| {
        let mut sum = vec![E::zero(); c];
        let rows = y.chunks_exact(c).zip(gy.chunks_exact(c));
        for (gx, (y, gy)) in gx.chunks_exact_mut(c).zip(rows) {
            for ch in 0..c {
                let g = gy[ch] * act.slope(y[ch]);
                gx[ch] += g;
                sum[ch] += g;
            }
        }
        sum
    });
    let mut total = vec![E::zero(); c];
    add_in_order(sums.collect(), &mut total);
    total
}
