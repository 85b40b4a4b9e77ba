//! Convolution and transposed convolution on slices, forward and backward.
//!
//! Each image group is unfolded into a buffer that stays in cache and multiplied
//! at once. Groups, not threads, decide how sums are split, so the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::buffers::Buffers;
use super::gemm::{Matrix, matmul};
use super::geometry::Geometry;
use super::unfold::{fold, unfold};
use super::{Float, group_len};

/// A layer's geometry and channel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Places where taps land.
    pub geometry: Geometry,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
}

/// Elements of the unfolded buffer that one product works on, so that it stays in L2.
const COLS_LEN: usize = 128 * 1024;

/// Rows of a group's product, at least: with fewer, packing the weights anew for every group
/// takes longer than the product.
const MIN_ROWS: usize = 128;

impl Conv {
    fn big(&self, c: usize) -> usize {
        self.geometry.big_len() * c
    }

    fn small(&self, c: usize) -> usize {
        self.geometry.small_len() * c
    }

    /// How `n` images are split: those of a group, and those that one product takes, with
    /// `c` channels unfolded.
    fn split(&self, n: usize, c: usize) -> (usize, usize) {
        let block = COLS_LEN / (self.small(self.geometry.taps() * c));
        let group = group_len(n).max(MIN_ROWS.div_ceil(self.geometry.small_len()));
        (group, block.clamp(1, group))
    }
}

/// The gradient of a layer's weights on its way.
pub struct WeightGrad<E> {
    /// Gradients, as many as weights.
    pub values: Vec<E>,
    /// Whether the values count already, and are added to.
    pub accumulate: bool,
}

impl<E: Float> WeightGrad<E> {
    /// Adds up the groups' partial sums, always in the same order.
    fn sum_up(&mut self, parts: Vec<Vec<E>>, buffers: &Buffers<E>) {
        for part in parts {
            if self.accumulate {
                let pairs = self
                    .values
                    .par_chunks_mut(SUM_CHUNK)
                    .zip(part.par_chunks(SUM_CHUNK));
                pairs.for_each(|(sum, part)| {
                    sum.iter_mut().zip(part).for_each(|(sum, &v)| *sum += v);
                });
            } else {
                self.values.copy_from_slice(&part);
                self.accumulate = true;
            }
            buffers.give(part);
        }
    }
}

/// Values that one thread adds up at a time.
const SUM_CHUNK: usize = 32 * 1024;

/// Unfolds a run of big images into the front of `cols`; returns that part.
fn unfold_images<'a, E: Float>(
    images: &[E],
    c: usize,
    g: &Geometry,
    cols: &'a mut [E],
) -> &'a mut [E] {
    let (image_len, cols_len) = (g.big_len() * c, g.small_len() * g.taps() * c);
    let cols = &mut cols[..images.len() / image_len * cols_len];
    let pairs = images
        .chunks_exact(image_len)
        .zip(cols.chunks_exact_mut(cols_len));
    pairs.for_each(|(image, cols)| unfold(image, c, g, cols));
    cols
}

/// Folds `cols` onto a run of big images, overwriting them.
fn fold_images<E: Float>(cols: &[E], c: usize, g: &Geometry, images: &mut [E]) {
    images.fill(E::zero());
    let pairs = cols
        .chunks_exact(g.small_len() * g.taps() * c)
        .zip(images.chunks_exact_mut(g.big_len() * c));
    pairs.for_each(|(cols, image)| fold(cols, c, g, image));
}

/// `y = unfold(x) * w`.
///
/// *Shapes*: `x` `[n, big_h, big_w, c_in]`, `w` `[k * k * c_in, c_out]`, `y`
/// `[n, small_h, small_w, c_out]`.
pub fn conv2d<E: Float>(conv: &Conv, x: &[E], w: &[E], y: &mut [E], buffers: &Buffers<E>) {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let (group, block) = conv.split(x.len() / x_len, conv.c_in);
    let rows = conv.geometry.taps() * conv.c_in;
    let w = Matrix::new(w, rows, conv.c_out);
    let groups = x
        .par_chunks(group * x_len)
        .zip(y.par_chunks_mut(group * y_len));
    groups.for_each(|(x, y)| {
        let mut buffer = buffers.take(block * conv.small(rows));
        for (x, y) in x.chunks(block * x_len).zip(y.chunks_mut(block * y_len)) {
            let cols = unfold_images(x, conv.c_in, &conv.geometry, &mut buffer);
            matmul(Matrix::new(cols, cols.len() / rows, rows), w, y, false);
        }
        buffers.give(buffer);
    });
}

/// Gradient of [`conv2d`] for its input: `gx = fold(gy * w^T)`.
pub fn conv2d_input_grad<E: Float>(
    conv: &Conv,
    w: &[E],
    gy: &[E],
    gx: &mut [E],
    buffers: &Buffers<E>,
) {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let (group, block) = conv.split(gx.len() / x_len, conv.c_in);
    let rows = conv.geometry.taps() * conv.c_in;
    let w = Matrix::new(w, rows, conv.c_out);
    let groups = gy
        .par_chunks(group * y_len)
        .zip(gx.par_chunks_mut(group * x_len));
    groups.for_each(|(gy, gx)| {
        let mut buffer = buffers.take(block * conv.small(rows));
        for (gy, gx) in gy.chunks(block * y_len).zip(gx.chunks_mut(block * x_len)) {
            let pixels = gy.len() / conv.c_out;
            let cols = &mut buffer[..pixels * rows];
            matmul(Matrix::new(gy, pixels, conv.c_out), w.t(), cols, false);
            fold_images(cols, conv.c_in, &conv.geometry, gx);
        }
        buffers.give(buffer);
    });
}

/// Gradient of [`conv2d`] for its weights: `gw += unfold(x)^T * gy`.
pub fn conv2d_weight_grad<E: Float>(
    conv: &Conv,
    x: &[E],
    gy: &[E],
    gw: &mut WeightGrad<E>,
    buffers: &Buffers<E>,
) {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let (group, block) = conv.split(x.len() / x_len, conv.c_in);
    let rows = conv.geometry.taps() * conv.c_in;
    let groups = x
        .par_chunks(group * x_len)
        .zip(gy.par_chunks(group * y_len));
    let sums = groups.map(|(x, gy)| {
        let mut buffer = buffers.take(block * conv.small(rows));
        let mut sum = buffers.take(rows * conv.c_out);
        let blocks = x.chunks(block * x_len).zip(gy.chunks(block * y_len));
        for (i, (x, gy)) in blocks.enumerate() {
            let cols = unfold_images(x, conv.c_in, &conv.geometry, &mut buffer);
            let pixels = cols.len() / rows;
            let gy = Matrix::new(gy, pixels, conv.c_out);
            matmul(Matrix::new(cols, pixels, rows).t(), gy, &mut sum, i > 0);
        }
        buffers.give(buffer);
        sum
    });
    gw.sum_up(sums.collect(), buffers);
}

/// `y = fold(x * w)`.
///
/// *Shapes*: `x` `[n, small_h, small_w, c_in]`, `w` `[c_in, k * k * c_out]`, `y`
/// `[n, big_h, big_w, c_out]`.
pub fn conv_transpose2d<E: Float>(
    conv: &Conv,
    x: &[E],
    w: &[E],
    y: &mut [E],
    buffers: &Buffers<E>,
) {
    let (x_len, y_len) = (conv.small(conv.c_in), conv.big(conv.c_out));
    let (group, block) = conv.split(x.len() / x_len, conv.c_out);
    let width = conv.geometry.taps() * conv.c_out;
    let w = Matrix::new(w, conv.c_in, width);
    let groups = x
        .par_chunks(group * x_len)
        .zip(y.par_chunks_mut(group * y_len));
    groups.for_each(|(x, y)| {
        let mut buffer = buffers.take(block * conv.small(width));
        for (x, y) in x.chunks(block * x_len).zip(y.chunks_mut(block * y_len)) {
            let pixels = x.len() / conv.c_in;
            let cols = &mut buffer[..pixels * width];
            matmul(Matrix::new(x, pixels, conv.c_in), w, cols, false);
            fold_images(cols, conv.c_out, &conv.geometry, y);
        }
        buffers.give(buffer);
    });
}

/// Gradients of [`conv_transpose2d`]: `gx = unfold(gy) * w^T` and
/// `gw += x^T * unfold(gy)`, each where asked for.
pub fn conv_transpose2d_grads<E: Float>(
    conv: &Conv,
    (x, w): (&[E], &[E]),
    gy: &[E],
    gx: Option<&mut [E]>,
    gw: Option<&mut WeightGrad<E>>,
    buffers: &Buffers<E>,
) {
    let (x_len, y_len) = (conv.small(conv.c_in), conv.big(conv.c_out));
    let (group, block) = conv.split(x.len() / x_len, conv.c_out);
    let width = conv.geometry.taps() * conv.c_out;
    let w = Matrix::new(w, conv.c_in, width);
    let group_count = x.len().div_ceil(group * x_len);
    let gx_groups: Vec<Option<&mut [E]>> = match gx {
        Some(gx) => gx.chunks_mut(group * x_len).map(Some).collect(),
        None => (0..group_count).map(|_| None).collect(),
    };
    let groups = x
        .par_chunks(group * x_len)
        .zip(gy.par_chunks(group * y_len))
        .zip(gx_groups);
    let sums = groups.map(|((x, gy), mut gx)| {
        let mut buffer = buffers.take(block * conv.small(width));
        let mut sum = gw.is_some().then(|| buffers.take(conv.c_in * width));
        let blocks = x.chunks(block * x_len).zip(gy.chunks(block * y_len));
        for (i, (x, gy)) in blocks.enumerate() {
            let cols = unfold_images(gy, conv.c_out, &conv.geometry, &mut buffer);
            let pixels = x.len() / conv.c_in;
            let cols = Matrix::new(cols, pixels, width);
            if let Some(gx) = &mut gx {
                let from = i * block * x_len;
                matmul(cols, w.t(), &mut gx[from..from + x.len()], false);
            }
            if let Some(sum) = &mut sum {
                matmul(Matrix::new(x, pixels, conv.c_in).t(), cols, sum, i > 0);
            }
        }
        buffers.give(buffer);
        sum
    });
    let sums: Vec<Option<Vec<E>>> = sums.collect();
    if let Some(gw) = gw {
        gw.sum_up(sums.into_iter().flatten().collect(), buffers);
    }
}

/// Adds the groups' partial sums to `total`, always in the same order.
pub(super) fn add_in_order<E: Float>(sums: Vec<Vec<E>>, total: &mut [E]) {
    for sum in sums {
        for (total, v) in total.iter_mut().zip(sum) {
            *total += v;
        }
    }
}
