//! Batch normalization, bias and activation in one pass over the data.

use rayon::prelude::*;

use super::activation::by_activation;
use super::conv::add_in_order;
use super::{Activation, Float, group_len};

/// Added to the variance before its root, as PyTorch does.
pub const NORM_EPSILON: f64 = 1e-5;

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

/// `y = act(x * scale + offset)`, channel by channel. *Shapes*: `x`, `y` `[rows, c]`.
pub fn affine_act<E: Float>(x: &[E], scale: &[E], offset: &[E], act: Activation, y: &mut [E]) {
    let c = scale.len();
    let (group, tile) = (group_len(x.len() / c) * c, tile_rows(c) * c);
    let (scale, offset) = (tiled(scale), tiled(offset));
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
/// statistics (Ioffe and Szegedy 2015, section 3). Turns `g` from the output's gradient into
/// the input's and returns those of `gamma` and `beta`. *Shapes*: `x`, `y`, `g` `[rows, c]`.
pub fn norm_act_grads<E: Float>(
    (x, y): (&[E], &[E]),
    stats: &BatchStats<E>,
    gamma: &[E],
    act: Activation,
    g: &mut [E],
) -> (Vec<E>, Vec<E>) {
    let c = gamma.len();
    let inv_std = stats.inv_std();
    let (group, tile) = (group_len(x.len() / c) * c, tile_rows(c) * c);
    let means = tiled(&stats.mean);
    let inputs = x.par_chunks(group).zip(y.par_chunks(group));
    let sums = g.par_chunks_mut(group).zip(inputs).map(|(g, (x, y))| {
        let (mut g_beta, mut g_gamma) = (vec![E::zero(); tile], vec![E::zero(); tile]);
        let tiles = x.chunks(tile).zip(y.chunks(tile));
        for (g, (x, y)) in g.chunks_mut(tile).zip(tiles) {
            let slopes = g.iter_mut().zip(y);
            by_activation!(act, slopes.for_each(|(g, &y)| *g *= act.slope_of_output(y)));
            g_beta.iter_mut().zip(&*g).for_each(|(sum, &g)| *sum += g);
            let centred = x.iter().zip(&means).map(|(&x, &mean)| x - mean);
            for ((sum, &g), centred) in g_gamma.iter_mut().zip(&*g).zip(centred) {
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
    let groups = g.par_chunks_mut(group).zip(x.par_chunks(group));
    groups.for_each(|(g, x)| {
        for (g, x) in g.chunks_mut(tile).zip(x.chunks(tile)) {
            let channels = a.iter().zip(&b).zip(&d);
            for ((g, &x), ((&a, &b), &d)) in g.iter_mut().zip(x).zip(channels) {
                *g = a * *g + b * x + d;
            }
        }
    });
    (g_gamma, g_beta)
}

/// Backward pass of `y = act(x + bias)`: turns `g` from the output's gradient into the
/// input's and returns the bias's. *Shapes*: `y`, `g` `[rows, c]`.
pub fn bias_act_grads<E: Float>(y: &[E], c: usize, act: Activation, g: &mut [E]) -> Vec<E> {
    let (group, tile) = (group_len(y.len() / c) * c, tile_rows(c) * c);
    let groups = g.par_chunks_mut(group).zip(y.par_chunks(group));
    let sums = groups.map(|(g, y)| {
        let mut sums = vec![E::zero(); tile];
        for (g, y) in g.chunks_mut(tile).zip(y.chunks(tile)) {
            let values = g.iter_mut().zip(y).zip(&mut sums);
            by_activation!(
                act,
                values.for_each(|((g, &y), sum)| {
                    *g *= act.slope_of_output(y);
                    *sum += *g;
                })
            );
        }
        sum_of_tile(&sums, c)
    });
    let mut total = vec![E::zero(); c];
    add_in_order(sums.collect(), &mut total);
    total
}
