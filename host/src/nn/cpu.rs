//! A network's whole pass as one op on dfdx's tape: between its ends nothing is copied,
//! and every large vector is used again in the next step.

use std::mem;
use std::sync::Arc;

use dfdx::prelude::{
    Cpu, Device, Gradients, HasErr, HasShape, PutTape, SplitTape, Tape, TensorFromVec,
};
use gan_core::Shape;

use super::augment::{Change, change_images, change_images_grad};
use super::backend::Mat;
use super::buffers::Buffers;
use super::conv::WeightGrad;
use super::network::{Block, BlockSpec, Network, PassStats};
use super::norm;
use super::op::{linear, linear_grads};
use super::{Backend, BatchStats, Float, GradMask, Param};

type CpuResult<T> = Result<T, <Cpu as HasErr>::Err>;

impl<E: Float> Backend<E> for Cpu
where
    Self: Device<E>,
{
    fn forward_pass<T: Tape<E, Self>>(
        network: &Network<E, Self>,
        x: Mat<E, Self, T>,
        mask: GradMask,
    ) -> CpuResult<(Mat<E, Self, T>, PassStats<E>)> {
        let (x, mut tape) = x.split_tape();
        let buffers = network.buffers.clone();
        let (rows, cols) = *x.shape();
        let mut input = buffers.take(rows * cols);
        x.copy_into(&mut input);
        let mut current = Arc::new(input);
        let mut passes = Vec::with_capacity(network.blocks.len());
        for block in &network.blocks {
            let pass = BlockPass::forward(block, current, &buffers);
            current = Arc::clone(&pass.y);
            passes.push(pass);
        }
        let stats = passes.iter().map(|pass| pass.stats.clone()).collect();
        let c = network.blocks.last().map_or(1, |b| b.spec.op.c_out());
        let shape = (current.len() / c, c);
        let y = x.device().try_tensor_from_vec(current.to_vec(), shape)?;
        drop(current);
        let y_key = y.clone();
        tape.add_backward_op(move |grads| {
            let mut gy = mem::take(grad_of(grads, &y_key)?);
            for (i, pass) in passes.into_iter().enumerate().rev() {
                let mask = GradMask {
                    input: mask.input || i > 0,
                    ..mask
                };
                gy = pass.backward(gy, mask, grads, &buffers)?;
            }
            if mask.input {
                let gx = grad_of(grads, &x)?;
                gx.iter_mut().zip(&gy).for_each(|(sum, &g)| *sum += g);
            }
            buffers.give(gy);
            Ok(())
        });
        Ok((y.put_tape(tape), stats))
    }

    fn augment<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        shape: Shape,
        changes: Vec<Change>,
    ) -> CpuResult<Mat<E, Self, T>> {
        let (x, mut tape) = x.split_tape();
        let mut changed = vec![E::zero(); changes.len() * shape.len()];
        change_images(&x.as_vec(), shape, &changes, &mut changed);
        let rows = changes.len() * shape.h * shape.w;
        let y = x.device().try_tensor_from_vec(changed, (rows, shape.c))?;
        let y_key = y.clone();
        tape.add_backward_op(move |grads| {
            let gy = mem::take(grad_of(grads, &y_key)?);
            change_images_grad(&gy, shape, &changes, grad_of(grads, &x)?);
            Ok(())
        });
        Ok(y.put_tape(tape))
    }

    /// Empty: the kernels read the values themselves, and the tape needs no more of a
    /// parameter than its identity.
    fn param_tensor(&self, _: &[E], _: (usize, usize)) -> CpuResult<Mat<E, Self>> {
        self.try_tensor_from_vec(Vec::new(), (0, 0))
    }

    fn refresh(_: &mut Mat<E, Self>, _: &[E]) {}

    fn last_gradient(grads: &mut Gradients<E, Self>, param: &Param<E, Self>) -> CpuResult<Vec<E>> {
        let grad = mem::take(grad_of(grads, &param.tensor)?);
        // Of an empty tensor that no pass has used.
        let unused = grad.len() != param.values.len();
        Ok(if unused {
            vec![E::zero(); param.values.len()]
        } else {
            grad
        })
    }
}

/// Values of a block's forward pass that its backward pass reads.
struct BlockPass<E: Float>
where
    Cpu: Device<E>,
{
    spec: BlockSpec,
    x: Arc<Vec<E>>,
    /// Values before normalization, kept only where there is one.
    sums: Option<Vec<E>>,
    y: Arc<Vec<E>>,
    stats: Option<BatchStats<E>>,
    weight: Param<E, Cpu>,
    gamma: Option<Param<E, Cpu>>,
    beta: Param<E, Cpu>,
}

impl<E: Float> BlockPass<E>
where
    Cpu: Device<E>,
{
    fn forward(block: &Block<E, Cpu>, x: Arc<Vec<E>>, buffers: &Buffers<E>) -> Self {
        let Block {
            spec, gamma, beta, ..
        } = block;
        let n = x.len() / spec.op.input_len();
        let mut sums = buffers.take(n * spec.op.output_len());
        linear(&spec.op, &x, &block.weight.values, &mut sums, buffers);
        let mut y = buffers.take(sums.len());
        let stats = match gamma {
            Some(gamma) => {
                let stats = BatchStats::of(&sums, spec.op.c_out());
                let (scale, offset) = norm::norm_affine(&stats, &gamma.values, &beta.values);
                norm::affine_act(&sums, &scale, &offset, spec.activation, &mut y);
                Some(stats)
            }
            None => {
                let ones = vec![E::one(); spec.op.c_out()];
                norm::affine_act(&sums, &ones, &beta.values, spec.activation, &mut y);
                None
            }
        };
        let sums = if stats.is_some() {
            Some(sums)
        } else {
            buffers.give(sums);
            None
        };
        Self {
            spec: spec.clone(),
            x,
            sums,
            y: Arc::new(y),
            stats,
            weight: block.weight.clone(),
            gamma: gamma.clone(),
            beta: beta.clone(),
        }
    }

    /// Adds the parameters' gradients to `grads` and returns the input's, empty if unwanted.
    fn backward(
        self,
        mut gy: Vec<E>,
        mask: GradMask,
        grads: &mut Gradients<E, Cpu>,
        buffers: &Buffers<E>,
    ) -> CpuResult<Vec<E>> {
        let act = self.spec.activation;
        let g_beta = match (&self.gamma, &self.stats, &self.sums) {
            (Some(gamma), Some(stats), Some(sums)) => {
                let outputs = (sums.as_slice(), self.y.as_slice());
                let (g_gamma, g_beta) =
                    norm::norm_act_grads(outputs, stats, &gamma.values, act, &mut gy);
                add_grad(grads, gamma, g_gamma, mask)?;
                g_beta
            }
            _ => norm::bias_act_grads(&self.y, self.beta.values.len(), act, &mut gy),
        };
        add_grad(grads, &self.beta, g_beta, mask)?;
        let mut gx = mask.input.then(|| buffers.take(self.x.len()));
        let gw = mask
            .weights
            .then(|| take_grad(grads, &self.weight, buffers));
        let mut gw = gw.transpose()?;
        let (x, w) = (&self.x, &self.weight.values);
        linear_grads(
            &self.spec.op,
            (x, w),
            &gy,
            gx.as_deref_mut(),
            gw.as_mut(),
            buffers,
        );
        if let Some(gw) = gw {
            *grad_of(grads, &self.weight.tensor)? = gw.values;
        }
        buffers.give(gy);
        self.sums.into_iter().for_each(|sums| buffers.give(sums));
        buffers.give_shared(self.y);
        buffers.give_shared(self.x);
        Ok(gx.unwrap_or_default())
    }
}

/// The gradient of a tensor, zeros where there was none.
fn grad_of<'a, E: Float>(
    grads: &'a mut Gradients<E, Cpu>,
    tensor: &Mat<E, Cpu>,
) -> CpuResult<&'a mut Vec<E>> {
    Ok(&mut **grads.get_or_alloc_mut(tensor)?)
}

fn add_grad<E: Float>(
    grads: &mut Gradients<E, Cpu>,
    param: &Param<E, Cpu>,
    grad: Vec<E>,
    mask: GradMask,
) -> CpuResult<()>
where
    Cpu: Device<E>,
{
    if mask.weights {
        let sum = grad_of(grads, &param.tensor)?;
        if sum.is_empty() {
            *sum = grad;
        } else {
            sum.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
        }
    }
    Ok(())
}

/// Moves a weight's gradient out of `grads`, to add to it; a first one starts from nothing.
fn take_grad<E: Float>(
    grads: &mut Gradients<E, Cpu>,
    param: &Param<E, Cpu>,
    buffers: &Buffers<E>,
) -> CpuResult<WeightGrad<E>>
where
    Cpu: Device<E>,
{
    let values = mem::take(grad_of(grads, &param.tensor)?);
    let first = values.is_empty();
    Ok(WeightGrad {
        values: if first {
            buffers.take(param.values.len())
        } else {
            values
        },
        accumulate: !first,
    })
}
