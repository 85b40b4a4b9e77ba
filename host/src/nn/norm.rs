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

/// Runs a loop over `$act` in one copy for each activation: a choice within the loop would
/// keep it from the processor's vectors.
macro_rules! by_activation {
    ($act:ident, $body:expr) => {
        match $act {
            Activation::Linear => {
                let $act = Activation::Linear;
                $body
            }
            Activation::Relu => {
                let $act = Activation::Relu;
                $body
            }
            Activation::LeakyRelu => {
                let $act = Activation::LeakyRelu;
                $body
            }
            Activation::Tanh => {
                let $act = Activation::Tanh;
                $body
            }
        }
    };
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
        let over_count = |sums: Vec<E>| sums.into_iter().map(|sum| sum / count).collect();
        let mean: Vec<E> = over_count(channel_sums(x, c, |x, sums| {
            sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
        }));
        let means = tiled(&mean);
        let var = over_count(channel_sums(x, c, |x, sums| {
            for ((sum, &x), &mean) in sums.iter_mut().zip(x).zip(&means) {
                *sum += (x - mean) * (x - mean);
            }
        }));
        Self { mean, var }
    }

    /// `1 / sqrt(var + epsilon)` of each channel.
    pub fn inv_std(&self) -> Vec<E> {
        let inv = |&var: &E| (var + E::of(NORM_EPSILON)).sqrt().recip();
        self.var.iter().map(inv).collect()
    }
}

/// Elements of a tile, at least: what a loop has to have to use the processor's vectors,
/// however few the channels.
const TILE_LEN: usize = 64;

/// Rows of `c` channels in a tile.
fn tile_rows(c: usize) -> usize {
    TILE_LEN.div_ceil(c)
}

/// Each channel's number, repeated for the rows of a tile.
fn tiled<E: Float>(channels: &[E]) -> Vec<E> {
    channels.repeat(tile_rows(channels.len()))
}

/// Adds up the rows of a tile of sums.
fn sum_of_tile<E: Float>(tile: &[E], c: usize) -> Vec<E> {
    let mut sums = vec![E::zero(); c];
    for row in tile.chunks_exact(c) {
        sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += v);
    }
    sums
}

/// Sums over the rows of `x` `[rows, c]`, group by group: `add` gets a tile of `x`, the last
/// one shorter, and adds to a tile of sums.
fn channel_sums<E: Float>(x: &[E], c: usize, add: impl Fn(&[E], &mut [E]) + Sync) -> Vec<E> {
    let (group, tile) = (group_len(x.len() / c) * c, tile_rows(c) * c);
    let sums = x.par_chunks(group).map(|x| {
        let mut sums = vec![E::zero(); tile];
        x.chunks(tile).for_each(|x| add(x, &mut sums));
        sum_of_tile(&sums, c)
    });
    let mut total = vec![E::zero(); c];
    add_in_order(sums.collect(), &mut total);
    total
}

/// `y = act(x * scale + offset)`, channel by channel. *Shapes*: `x` `[rows, c]`.
pub fn affine_act<E: Float>(x: &[E], scale: &[E], offset: &[E], act: Activation) -> Vec<E> {
    let c = scale.len();
    let (group, tile) = (group_len(x.len() / c) * c, tile_rows(c) * c);
    let (scale, offset) = (tiled(scale), tiled(offset));
    let mut y = vec![E::zero(); x.len()];
    let groups = x.par_chunks(group).zip(y.par_chunks_mut(group));
    groups.for_each(|(x, y)| {
        for (x, y) in x.chunks(tile).zip(y.chunks_mut(tile)) {
            let channels = scale.iter().zip(&offset);
            let y = y.iter_mut().zip(x).zip(channels);
            by_activation!(
                act,
                y.for_each(|((y, &x), (&scale, &offset))| *y = act.apply(x * scale + offset))
            );
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
    let (group, tile) = (group_len(x.len() / c) * c, tile_rows(c) * c);
    let means = tiled(&stats.mean);
    let inputs = x.par_chunks(group).zip(y.par_chunks(group));
    let sums = gy.par_chunks_mut(group).zip(inputs).map(|(gy, (x, y))| {
        let (mut g_beta, mut g_gamma) = (vec![E::zero(); tile], vec![E::zero(); tile]);
        let tiles = x.chunks(tile).zip(y.chunks(tile));
        for (gy, (x, y)) in gy.chunks_mut(tile).zip(tiles) {
            let slopes = gy.iter_mut().zip(y);
            by_activation!(act, slopes.for_each(|(gy, &y)| *gy *= act.slope(y)));
            g_beta.iter_mut().zip(&*gy).for_each(|(sum, &g)| *sum += g);
            let centred = x.iter().zip(&means).map(|(&x, &mean)| x - mean);
            for ((sum, &g), centred) in g_gamma.iter_mut().zip(&*gy).zip(centred) {
                *sum += g * centred;
            }
        }
        let mut sums = sum_of_tile(&g_beta, c);
        let g_gamma = sum_of_tile(&g_gamma, c).into_iter().zip(&inv_std);
        sums.extend(g_gamma.map(|(sum, &inv_std)| sum * inv_std));
        sums
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
    let (a, b, d) = (tiled(&a), tiled(&b), tiled(&d));
    let inputs = gy.par_chunks(group).zip(x.par_chunks(group));
    let groups = gx.par_chunks_mut(group).zip(inputs);
    groups.for_each(|(gx, (gy, x))| {
        let tiles = gy.chunks(tile).zip(x.chunks(tile));
        for (gx, (gy, x)) in gx.chunks_mut(tile).zip(tiles) {
            let channels = a.iter().zip(&b).zip(&d);
            let inputs = gy.iter().zip(x).zip(channels);
            for (gx, ((&gy, &x), ((&a, &b), &d))) in gx.iter_mut().zip(inputs) {
                *gx += a * gy + b * x + d;
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
    let (group, tile) = (group_len(y.len() / c) * c, tile_rows(c) * c);
    let inputs = y.par_chunks(group).zip(gy.par_chunks(group));
    let sums = gx.par_chunks_mut(group).zip(inputs).map(|(gx, (y, gy))| {
        let mut sums = vec![E::zero(); tile];
        let tiles = y.chunks(tile).zip(gy.chunks(tile));
        for (gx, (y, gy)) in gx.chunks_mut(tile).zip(tiles) {
            let inputs = y.iter().zip(gy).zip(&mut sums);
            let inputs = gx.iter_mut().zip(inputs);
            by_activation!(
                act,
                inputs.for_each(|(gx, ((&y, &gy), sum))| {
                    let g = gy * act.slope(y);
                    *gx += g;
                    *sum += g;
                })
            );
        }
        sum_of_tile(&sums, c)
    });
    let mut total = vec![E::zero(); c];
    add_in_order(sums.collect(), &mut total);
    total
}
