//! The linear part of a block: shapes, passes and gradients, with one `match` for each question.

use dfdx::prelude::{Device, Tape};

use super::buffers::Buffers;
use super::conv::{self, Conv, WeightGrad};
use super::gemm::{Matrix, matmul_parallel};
use super::{Float, Mat, generic};

/// The linear part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `n_in` values to pixels of `c_out` channels, `n_out` values in all.
    Dense {
        /// Values in.
        n_in: usize,
        /// Values out.
        n_out: usize,
        /// Channels of the output, a divisor of `n_out`: what has scale and offset of its own.
        c_out: usize,
    },
    /// Strided convolution.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(Conv),
}

impl Op {
    /// Shape of the weights: `[n_in, n_out]`, `[k * k * c_in, c_out]` or
    /// `[c_in, k * k * c_out]`.
    pub fn weight_shape(&self) -> (usize, usize) {
        match *self {
            Self::Dense { n_in, n_out, .. } => (n_in, n_out),
            Self::Conv(conv) => (conv.geometry.taps() * conv.c_in, conv.c_out),
            Self::ConvTranspose(conv) => (conv.c_in, conv.geometry.taps() * conv.c_out),
        }
    }

    /// Channels of the output.
    pub fn c_out(&self) -> usize {
        match *self {
            Self::Dense { c_out, .. } => c_out,
            Self::Conv(conv) | Self::ConvTranspose(conv) => conv.c_out,
        }
    }

    /// Values of one input.
    pub fn input_len(&self) -> usize {
        match *self {
            Self::Dense { n_in, .. } => n_in,
            Self::Conv(conv) => conv.geometry.big_len() * conv.c_in,
            Self::ConvTranspose(conv) => conv.geometry.small_len() * conv.c_in,
        }
    }

    /// Values of one output.
    pub fn output_len(&self) -> usize {
        match *self {
            Self::Dense { n_out, .. } => n_out,
            Self::Conv(conv) => conv.geometry.small_len() * conv.c_out,
            Self::ConvTranspose(conv) => conv.geometry.big_len() * conv.c_out,
        }
    }
}

/// The linear part of a generator's block: what a device can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratorOp {
    /// A dense layer, see [`Op::Dense`].
    Dense {
        /// Values in.
        n_in: usize,
        /// Values out.
        n_out: usize,
        /// Channels of the output.
        c_out: usize,
    },
    /// A transposed convolution, see [`Op::ConvTranspose`].
    ConvTranspose(Conv),
}

impl GeneratorOp {
    /// The transposed convolution, if it is one.
    pub const fn conv_transpose(self) -> Option<Conv> {
        match self {
            Self::ConvTranspose(conv) => Some(conv),
            Self::Dense { .. } => None,
        }
    }
}

impl From<GeneratorOp> for Op {
    fn from(op: GeneratorOp) -> Self {
        match op {
            GeneratorOp::Dense { n_in, n_out, c_out } => Self::Dense { n_in, n_out, c_out },
            GeneratorOp::ConvTranspose(conv) => Self::ConvTranspose(conv),
        }
    }
}

/// The linear part of a block. *Shapes*: `x` `[n, values in]`, `y` `[n, values out]`.
pub fn linear<E: Float>(op: &Op, x: &[E], w: &[E], y: &mut [E], buffers: &Buffers<E>) {
    match *op {
        Op::Dense { n_in, n_out, .. } => {
            let (x, w) = (
                Matrix::new(x, x.len() / n_in, n_in),
                Matrix::new(w, n_in, n_out),
            );
            matmul_parallel(x, w, y, false);
        }
        Op::Conv(conv) => conv::conv2d(&conv, x, w, y, buffers),
        Op::ConvTranspose(conv) => conv::conv_transpose2d(&conv, x, w, y, buffers),
    }
}

/// Gradients of [`linear`], each where asked for: `gx` is overwritten, `gw` too unless it
/// accumulates.
pub fn linear_grads<E: Float>(
    op: &Op,
    (x, w): (&[E], &[E]),
    gy: &[E],
    gx: Option<&mut [E]>,
    gw: Option<&mut WeightGrad<E>>,
    buffers: &Buffers<E>,
) {
    match *op {
        Op::Dense { n_in, n_out, .. } => {
            let n = x.len() / n_in;
            let (x, w) = (Matrix::new(x, n, n_in), Matrix::new(w, n_in, n_out));
            let gy = Matrix::new(gy, n, n_out);
            if let Some(gw) = gw {
                matmul_parallel(x.t(), gy, &mut gw.values, gw.accumulate);
            }
            if let Some(gx) = gx {
                matmul_parallel(gy, w.t(), gx, false);
            }
        }
        Op::Conv(conv) => {
            if let Some(gw) = gw {
                conv::conv2d_weight_grad(&conv, x, gy, gw, buffers);
            }
            if let Some(gx) = gx {
                conv::conv2d_input_grad(&conv, w, gy, gx, buffers);
            }
        }
        Op::ConvTranspose(conv) => {
            conv::conv_transpose2d_grads(&conv, (x, w), gy, gx, gw, buffers);
        }
    }
}

/// The linear part of a block in dfdx's own ops. *Shapes* as in [`linear`], with the pixels of
/// a map in the rows.
pub fn linear_on_tape<E: Float, D: Device<E>, T: Tape<E, D>>(
    op: Op,
    x: Mat<E, D, T>,
    w: &Mat<E, D>,
) -> Result<Mat<E, D, T>, D::Err> {
    match op {
        Op::Dense { c_out, .. } => generic::dense(x, w, c_out),
        Op::Conv(conv) => generic::conv2d(x, w, conv),
        Op::ConvTranspose(conv) => generic::conv_transpose2d(x, w, conv),
    }
}
