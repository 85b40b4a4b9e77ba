//! Convolution and transposed convolution on slices, forward and backward.
//!
//! Each image group is unfolded into a buffer that stays in cache and multiplied
//! at once. Groups, not threads, decide how sums are split, so the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::gemm::{Matrix, matmul};
use super::geometry::Geometry;
use super::unfold::{fold, unfold};
use super::{Float, group_len};

/// A layer's geometry and channel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Where taps land.
    pub geometry: Geometry,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
}

/// Elements of the unfolded buffer that one product works on, so that it stays in L2.
const COLS_LEN: usize = 128 * 1024;

impl Conv {
    fn big(&self, c: usize) -> usize {
        self.geometry.big_len() * c
    }

    fn small(&self, c: usize) -> usize {
        self.geometry.small_len() * c
    }

    /// Images that one product takes, with `c` channels unfolded.
    fn block(&self, c: usize) -> usize {
        (COLS_LEN / (self.geometry.small_len() * self.geometry.taps() * c)).max(1)
    }
}

/// Unfolds a run of big images into `cols`, resized to fit.
fn unfold_images<E: Float>(images: &[E], c: usize, g: &Geometry, cols: &mut Vec<E>) {
    let (image_len, cols_len) = (g.big_len() * c, g.small_len() * g.taps() * c);
    cols.resize(images.len() / image_len * cols_len, E::zero());
    let pairs = images
        .chunks_exact(image_len)
        .zip(cols.chunks_exact_mut(cols_len));
    pairs.for_each(|(image, cols)| unfold(image, c, g, cols));
}

/// Folds `cols` onto a run of big images, adding to them.
fn fold_images<E: Float>(cols: &[E], c: usize, g: &Geometry, images: &mut [E]) {
    let pairs = cols
        .chunks_exact(g.small_len() * g.taps() * c)
        .zip(images.chunks_exact_mut(g.big_len() * c));
    pairs.for_each(|(cols, image)| fold(cols, c, g, image));
}

/// `y = unfold(x) * w`.
///
/// *Shapes*: `x` `[n, big_h, big_w, c_in]`, `w` `[k * k * c_in, c_out]`, `y`
/// `[n, small_h, small_w, c_out]`.
pub fn conv2d<E: Float>(conv: &Conv, x: &[E], w: &[E]) -> Vec<E> {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let n = x.len() / x_len;
    let (group, block) = (group_len(n), conv.block(conv.c_in));
    let rows = conv.geometry.taps() * conv.c_in;
    let w = Matrix::new(w, rows, conv.c_out);
    let mut y = vec![E::zero(); n * y_len];
    let groups = x
        .par_chunks(group * x_len)
        .zip(y.par_chunks_mut(group * y_len));
    groups.for_each_init(Vec::new, |cols, (x, y)| {
        for (x, y) in x.chunks(block * x_len).zip(y.chunks_mut(block * y_len)) {
            unfold_images(x, conv.c_in, &conv.geometry, cols);
            matmul(Matrix::new(cols, cols.len() / rows, rows), w, y, false);
        }
    });
    y
}

/// Gradient of [`conv2d`] for its input: `gx += fold(gy * w^T)`.
pub fn conv2d_input_grad<E: Float>(conv: &Conv, w: &[E], gy: &[E], gx: &mut [E]) {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let (group, block) = (group_len(gx.len() / x_len), conv.block(conv.c_in));
    let rows = conv.geometry.taps() * conv.c_in;
    let w = Matrix::new(w, rows, conv.c_out);
    let groups = gy
        .par_chunks(group * y_len)
        .zip(gx.par_chunks_mut(group * x_len));
    groups.for_each_init(Vec::new, |cols: &mut Vec<E>, (gy, gx)| {
        for (gy, gx) in gy.chunks(block * y_len).zip(gx.chunks_mut(block * x_len)) {
            let pixels = gy.len() / conv.c_out;
            cols.resize(pixels * rows, E::zero());
            matmul(Matrix::new(gy, pixels, conv.c_out), w.t(), cols, false);
            fold_images(cols, conv.c_in, &conv.geometry, gx);
        }
    });
}

/// Gradient of [`conv2d`] for its weights: `gw += unfold(x)^T * gy`.
pub fn conv2d_weight_grad<E: Float>(conv: &Conv, x: &[E], gy: &[E], gw: &mut [E]) {
    let (x_len, y_len) = (conv.big(conv.c_in), conv.small(conv.c_out));
    let (group, block) = (group_len(x.len() / x_len), conv.block(conv.c_in));
    let rows = conv.geometry.taps() * conv.c_in;
    let groups = x
        .par_chunks(group * x_len)
        .zip(gy.par_chunks(group * y_len));
    let sums = groups.map_init(Vec::new, |cols, (x, gy)| {
        let mut sum = vec![E::zero(); rows * conv.c_out];
        for (x, gy) in x.chunks(block * x_len).zip(gy.chunks(block * y_len)) {
            unfold_images(x, conv.c_in, &conv.geometry, cols);
            let pixels = cols.len() / rows;
            let gy = Matrix::new(gy, pixels, conv.c_out);
            matmul(Matrix::new(cols, pixels, rows).t(), gy, &mut sum, true);
        }
        sum
    });
    add_in_order(sums.collect(), gw);
}

/// `y = fold(x * w)`.
///
/// *Shapes*: `x` `[n, small_h, small_w, c_in]`, `w` `[c_in, k * k * c_out]`, `y`
/// `[n, big_h, big_w, c_out]`.
pub fn conv_transpose2d<E: Float>(conv: &Conv, x: &[E], w: &[E]) -> Vec<E> {
    let (x_len, y_len) = (conv.small(conv.c_in), conv.big(conv.c_out));
    let n = x.len() / x_len;
    let (group, block) = (group_len(n), conv.block(conv.c_out));
    let width = conv.geometry.taps() * conv.c_out;
    let w = Matrix::new(w, conv.c_in, width);
    let mut y = vec![E::zero(); n * y_len];
    let groups = x
        .par_chunks(group * x_len)
        .zip(y.par_chunks_mut(group * y_len));
    groups.for_each_init(Vec::new, |cols: &mut Vec<E>, (x, y)| {
        for (x, y) in x.chunks(block * x_len).zip(y.chunks_mut(block * y_len)) {
            let pixels = x.len() / conv.c_in;
            cols.resize(pixels * width, E::zero());
            matmul(Matrix::new(x, pixels, conv.c_in), w, cols, false);
            fold_images(cols, conv.c_out, &conv.geometry, y);
        }
    });
    y
}

/// Gradients of [`conv_transpose2d`]: `gx += unfold(gy) * w^T` and `gw += x^T * unfold(gy)`,
/// each where asked for.
pub fn conv_transpose2d_grads<E: Float>(
    conv: &Conv,
    x: &[E],
    w: &[E],
    gy: &[E],
    mut gx: Option<&mut [E]>,
    gw: Option<&mut [E]>,
) {
    let (x_len, y_len) = (conv.small(conv.c_in), conv.big(conv.c_out));
    let (group, block) = (group_len(x.len() / x_len), conv.block(conv.c_out));
    let width = conv.geometry.taps() * conv.c_out;
    let w = Matrix::new(w, conv.c_in, width);
    let gw_len = if gw.is_some() { conv.c_in * width } else { 0 };
    let group_count = x.len().div_ceil(group * x_len);
    let gx_groups: Vec<Option<&mut [E]>> = match gx.as_mut() {
        Some(gx) => gx.chunks_mut(group * x_len).map(Some).collect(),
        None => (0..group_count).map(|_| None).collect(),
    };
    let groups = x
        .par_chunks(group * x_len)
        .zip(gy.par_chunks(group * y_len))
        .zip(gx_groups);
    let sums = groups.map_init(Vec::new, |cols, ((x, gy), mut gx)| {
        let mut sum = vec![E::zero(); gw_len];
        let blocks = x.chunks(block * x_len).zip(gy.chunks(block * y_len));
        for (i, (x, gy)) in blocks.enumerate() {
            unfold_images(gy, conv.c_out, &conv.geometry, cols);
            let pixels = x.len() / conv.c_in;
            let cols = Matrix::new(cols, pixels, width);
            if let Some(gx) = &mut gx {
                let from = i * block * x_len;
                matmul(cols, w.t(), &mut gx[from..from + x.len()], true);
            }
            if gw_len > 0 {
                matmul(Matrix::new(x, pixels, conv.c_in).t(), cols, &mut sum, true);
            }
        }
        sum
    });
    let sums = sums.collect();
    if let Some(gw) = gw {
        add_in_order(sums, gw);
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
