//! What the networks need of a dfdx device, and the fast form for `Cpu`.

use std::mem;

use dfdx::prelude::{
    CopySlice, Cpu, Device, Gradients, NoneTape, PutTape, SplitTape, Tape, Tensor, TensorFromVec,
};

use super::Float;
use super::conv::{self, Conv};
use super::gemm::{self, Matrix};
use super::norm::{self, Activation, BatchStats};

/// A matrix on a device: `[pixels, channels]` for activations.
pub type Mat<E, D, T = NoneTape> = Tensor<(usize, usize), E, D, T>;

/// Which gradients a layer has to produce; the others' work is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of the layer's input.
    pub input: bool,
    /// Of the layer's own parameters.
    pub weights: bool,
}

/// The differentiable layers of both networks on a device.
pub trait Backend<E: Float>: Device<E> {
    /// Convolution. *Shapes*: `x` `[n * big, c_in]`, `w` `[k * k * c_in, c_out]`, result
    /// `[n * small, c_out]`.
    fn conv2d<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        conv: Conv,
        wanted: Wanted,
    ) -> Result<Mat<E, Self, T>, Self::Err>;

    /// Transposed convolution. *Shapes*: `x` `[n * small, c_in]`, `w`
    /// `[c_in, k * k * c_out]`, result `[n * big, c_out]`.
    fn conv_transpose2d<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        conv: Conv,
        wanted: Wanted,
    ) -> Result<Mat<E, Self, T>, Self::Err>;

    /// Dense (fully connected) layer. *Shapes*: `x` any matrix of `n * n_in` elements,
    /// `w` `[n_in, n_out]`, result `[n * n_out / c, c]`.
    fn dense<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        c: usize,
        wanted: Wanted,
    ) -> Result<Mat<E, Self, T>, Self::Err>;

    /// Batch normalization and activation, with the batch's statistics. *Shapes*: `x`
    /// `[rows, c]`, `gamma` and `beta` `[1, c]`.
    fn norm_act<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        gamma: &Mat<E, Self>,
        beta: &Mat<E, Self>,
        act: Activation,
    ) -> Result<(Mat<E, Self, T>, BatchStats<E>), Self::Err>;

    /// Bias and activation. *Shapes*: `x` `[rows, c]`, `bias` `[1, c]`.
    fn bias_act<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        bias: &Mat<E, Self>,
        act: Activation,
    ) -> Result<Mat<E, Self, T>, Self::Err>;

    /// A tensor's gradient, which may be moved out: nobody asks for it again.
    fn last_gradient(
        grads: &mut Gradients<E, Self>,
        t: &Mat<E, Self>,
    ) -> Result<Vec<E>, Self::Err> {
        Ok(values(&grads.get(t)))
    }
}

/// A tensor's values.
pub fn values<E: Float, D: CopySlice<E>, T>(t: &Mat<E, D, T>) -> Vec<E> {
    let (rows, cols) = *dfdx::shapes::HasShape::shape(t);
    let mut values = vec![E::zero(); rows * cols];
    t.copy_into(&mut values);
    values
}

type CpuResult<T> = Result<T, <Cpu as dfdx::prelude::HasErr>::Err>;

/// Moves the gradient of `t` out; nobody reads it again, or [`put_grad`] puts it back.
fn take_grad<E: Float>(grads: &mut Gradients<E, Cpu>, t: &Mat<E, Cpu>) -> CpuResult<Vec<E>> {
    Ok(mem::take(&mut **grads.get_or_alloc_mut(t)?))
}

fn put_grad<E: Float>(
    grads: &mut Gradients<E, Cpu>,
    t: &Mat<E, Cpu>,
    grad: Vec<E>,
) -> CpuResult<()> {
    **grads.get_or_alloc_mut(t)? = grad;
    Ok(())
}

fn add_grad<E: Float>(grads: &mut Gradients<E, Cpu>, t: &Mat<E, Cpu>, grad: &[E]) -> CpuResult<()> {
    let sum = grads.get_or_alloc_mut(t)?;
    sum.iter_mut().zip(grad).for_each(|(sum, &g)| *sum += g);
    Ok(())
}

/// Wraps `y` as the result of an op on `x`, whose `backward` gets the gradient of `y`.
fn record<E, T, F>(
    x: Mat<E, Cpu, T>,
    y: Vec<E>,
    shape: (usize, usize),
    backward: F,
) -> CpuResult<Mat<E, Cpu, T>>
where
    E: Float,
    Cpu: Device<E>,
    T: Tape<E, Cpu>,
    F: 'static + FnOnce(&mut Gradients<E, Cpu>, &Mat<E, Cpu>, Vec<E>) -> CpuResult<()>,
{
    let (x, mut tape) = x.split_tape();
    let y = x.device().try_tensor_from_vec(y, shape)?;
    let y_handle = y.clone();
    tape.add_backward_op(move |grads| {
        let gy = take_grad(grads, &y_handle)?;
        backward(grads, &x, gy)
    });
    Ok(y.put_tape(tape))
}

impl<E: Float> Backend<E> for Cpu
where
    Self: Device<E>,
{
    fn last_gradient(grads: &mut Gradients<E, Self>, t: &Mat<E, Self>) -> CpuResult<Vec<E>> {
        take_grad(grads, t)
    }

    fn conv2d<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        conv: Conv,
        wanted: Wanted,
    ) -> CpuResult<Mat<E, Self, T>> {
        let (xs, w) = (values(&x), w.clone());
        let ws = values(&w);
        let y = conv::conv2d(&conv, &xs, &ws);
        let shape = (y.len() / conv.c_out, conv.c_out);
        record(x, y, shape, move |grads, x, gy| {
            if wanted.weights {
                let mut gw = take_grad(grads, &w)?;
                conv::conv2d_weight_grad(&conv, &xs, &gy, &mut gw);
                put_grad(grads, &w, gw)?;
            }
            if wanted.input {
                let mut gx = take_grad(grads, x)?;
                conv::conv2d_input_grad(&conv, &ws, &gy, &mut gx);
                put_grad(grads, x, gx)?;
            }
            Ok(())
        })
    }

    fn conv_transpose2d<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        conv: Conv,
        wanted: Wanted,
    ) -> CpuResult<Mat<E, Self, T>> {
        let (xs, w) = (values(&x), w.clone());
        let ws = values(&w);
        let y = conv::conv_transpose2d(&conv, &xs, &ws);
        let shape = (y.len() / conv.c_out, conv.c_out);
        record(x, y, shape, move |grads, x, gy| {
            let mut take = |wanted: bool, t| wanted.then(|| take_grad(grads, t)).transpose();
            let (mut gx, mut gw) = (take(wanted.input, x)?, take(wanted.weights, &w)?);
            let (gx_out, gw_out) = (gx.as_deref_mut(), gw.as_deref_mut());
            conv::conv_transpose2d_grads(&conv, &xs, &ws, &gy, gx_out, gw_out);
            gw.map_or(Ok(()), |gw| put_grad(grads, &w, gw))?;
            gx.map_or(Ok(()), |gx| put_grad(grads, x, gx))
        })
    }

    fn dense<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        w: &Mat<E, Self>,
        c: usize,
        wanted: Wanted,
    ) -> CpuResult<Mat<E, Self, T>> {
        let (n_in, n_out) = *dfdx::shapes::HasShape::shape(w);
        let (xs, w) = (values(&x), w.clone());
        let ws = values(&w);
        let n = xs.len() / n_in;
        let mut y = vec![E::zero(); n * n_out];
        let w_matrix = Matrix::new(&ws, n_in, n_out);
        gemm::matmul_parallel(Matrix::new(&xs, n, n_in), w_matrix, &mut y, false);
        let shape = (y.len() / c, c);
        record(x, y, shape, move |grads, x, gy| {
            let gy = Matrix::new(&gy, n, n_out);
            if wanted.weights {
                let mut gw = take_grad(grads, &w)?;
                gemm::matmul_parallel(Matrix::new(&xs, n, n_in).t(), gy, &mut gw, true);
                put_grad(grads, &w, gw)?;
            }
            if wanted.input {
                let mut gx = take_grad(grads, x)?;
                gemm::matmul_parallel(gy, Matrix::new(&ws, n_in, n_out).t(), &mut gx, true);
                put_grad(grads, x, gx)?;
            }
            Ok(())
        })
    }

    fn norm_act<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        gamma: &Mat<E, Self>,
        beta: &Mat<E, Self>,
        act: Activation,
    ) -> CpuResult<(Mat<E, Self, T>, BatchStats<E>)> {
        let (gamma, beta) = (gamma.clone(), beta.clone());
        let (xs, gammas) = (values(&x), values(&gamma));
        let stats = BatchStats::of(&xs, gammas.len());
        let (scale, offset) = norm::norm_affine(&stats, &gammas, &values(&beta));
        let y = norm::affine_act(&xs, &scale, &offset, act);
        let shape = (y.len() / gammas.len(), gammas.len());
        let (ys, batch) = (y.clone(), stats.clone());
        let y = record(x, y, shape, move |grads, x, gy| {
            let mut gx = take_grad(grads, x)?;
            let (g_gamma, g_beta) =
                norm::norm_act_grads((&xs, &ys), &batch, &gammas, act, gy, &mut gx);
            put_grad(grads, x, gx)?;
            add_grad(grads, &gamma, &g_gamma)?;
            add_grad(grads, &beta, &g_beta)
        })?;
        Ok((y, stats))
    }

    fn bias_act<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        bias: &Mat<E, Self>,
        act: Activation,
    ) -> CpuResult<Mat<E, Self, T>> {
        let bias = bias.clone();
        let offset = values(&bias);
        let y = norm::affine_act(&values(&x), &vec![E::one(); offset.len()], &offset, act);
        let shape = (y.len() / offset.len(), offset.len());
        let ys = y.clone();
        record(x, y, shape, move |grads, x, gy| {
            let mut gx = take_grad(grads, x)?;
            let g_bias = norm::bias_act_grads(&ys, offset.len(), act, &gy, &mut gx);
            put_grad(grads, x, gx)?;
            add_grad(grads, &bias, &g_bias)
        })
    }
}
