//! Both networks as one thing: a chain of blocks.

use dfdx::prelude::Tape;

use super::{Activation, Backend, BatchStats, Conv, Mat, Wanted};

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

    /// Values of one output.
    pub fn output_len(&self) -> usize {
        match *self {
            Self::Dense { n_out, .. } => n_out,
            Self::Conv(conv) => conv.geometry.small_len() * conv.c_out,
            Self::ConvTranspose(conv) => conv.geometry.big_len() * conv.c_out,
        }
    }
}

/// What a block is made of, before it has values.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockSpec {
    /// Prefix of its parameters' names.
    pub name: String,
    /// The linear part.
    pub op: Op,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// What follows.
    pub activation: Activation,
}

/// Linear part, then batch normalization or a bias, then an activation.
pub struct Block<D: Backend<f32>> {
    /// Its description.
    pub spec: BlockSpec,
    /// Shape by [`Op::weight_shape`].
    pub weight: Mat<f32, D>,
    /// `[1, c]`, with batch normalization only.
    pub gamma: Option<Mat<f32, D>>,
    /// `[1, c]`: what is added, with batch normalization or without.
    pub beta: Mat<f32, D>,
    /// Moving averages of the batch statistics, with batch normalization only.
    pub running: Option<BatchStats<f32>>,
}

/// Share of a new batch in the running statistics, as in PyTorch.
const RUNNING_MOMENTUM: f32 = 0.1;

impl<D: Backend<f32>> Block<D> {
    /// Weights from `normal` (times `init_std`), scales near one, offsets zero.
    fn new(
        spec: BlockSpec,
        init_std: f32,
        normal: &mut impl FnMut() -> f32,
        device: &D,
    ) -> Result<Self, D::Err> {
        let (rows, cols) = spec.op.weight_shape();
        let c = spec.op.c_out();
        let weight = (0..rows * cols).map(|_| init_std * normal()).collect();
        let gamma: Vec<f32> = (0..c).map(|_| 1.0 + init_std * normal()).collect();
        let gamma = device.try_tensor_from_vec(gamma, (1, c))?;
        Ok(Self {
            weight: device.try_tensor_from_vec(weight, (rows, cols))?,
            gamma: spec.norm.then_some(gamma),
            beta: device.try_zeros_like(&(1, c))?,
            running: spec.norm.then(|| BatchStats {
                mean: vec![0.0; c],
                var: vec![1.0; c],
            }),
            spec,
        })
    }

    fn forward<T: Tape<f32, D>>(
        &self,
        x: Mat<f32, D, T>,
        wanted: Wanted,
    ) -> Result<(Mat<f32, D, T>, Option<BatchStats<f32>>), D::Err> {
        let w = &self.weight;
        let x = match self.spec.op {
            Op::Dense { c_out, .. } => D::dense(x, w, c_out, wanted)?,
            Op::Conv(conv) => D::conv2d(x, w, conv, wanted)?,
            Op::ConvTranspose(conv) => D::conv_transpose2d(x, w, conv, wanted)?,
        };
        let act = self.spec.activation;
        Ok(match &self.gamma {
            Some(gamma) => {
                let (y, stats) = D::norm_act(x, gamma, &self.beta, act)?;
                (y, Some(stats))
            }
            None => (D::bias_act(x, &self.beta, act)?, None),
        })
    }
}

/// A chain of blocks.
pub struct Network<D: Backend<f32>> {
    /// First to last.
    pub blocks: Vec<Block<D>>,
}

/// The batch statistics of each block of a pass, where it normalizes.
pub type PassStats = Vec<Option<BatchStats<f32>>>;

impl<D: Backend<f32>> Network<D> {
    /// A network with normally distributed weights.
    pub fn new(
        specs: Vec<BlockSpec>,
        init_std: f32,
        mut normal: impl FnMut() -> f32,
        device: &D,
    ) -> Result<Self, D::Err> {
        let block = |spec| Block::new(spec, init_std, &mut normal, device);
        let blocks = specs.into_iter().map(block).collect::<Result<_, _>>()?;
        Ok(Self { blocks })
    }

    /// Runs a batch through the chain with the batch's own statistics. `wanted` says
    /// which gradients the caller will ask the tape for.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        mut x: Mat<f32, D, T>,
        wanted: Wanted,
    ) -> Result<(Mat<f32, D, T>, PassStats), D::Err> {
        let mut pass_stats = Vec::with_capacity(self.blocks.len());
        for (i, block) in self.blocks.iter().enumerate() {
            let wanted = Wanted {
                input: wanted.input || i > 0,
                ..wanted
            };
            let stats;
            (x, stats) = block.forward(x, wanted)?;
            pass_stats.push(stats);
        }
        Ok((x, pass_stats))
    }

    /// Moves the running statistics towards those of a pass over `n` images; the
    /// variance is made unbiased first.
    pub fn update_running(&mut self, pass_stats: PassStats, n: usize) {
        for (block, stats) in self.blocks.iter_mut().zip(pass_stats) {
            if let (Some(running), Some(stats)) = (&mut block.running, stats) {
                let c = block.spec.op.c_out();
                let count = (n * block.spec.op.output_len() / c) as f32;
                let unbias = count / (count - 1.0).max(1.0);
                let towards = |old: &mut f32, new: f32| *old += RUNNING_MOMENTUM * (new - *old);
                running
                    .mean
                    .iter_mut()
                    .zip(stats.mean)
                    .for_each(|(old, new)| towards(old, new));
                let vars = running.var.iter_mut().zip(stats.var);
                vars.for_each(|(old, new)| towards(old, new * unbias));
            }
        }
    }

    /// The trained tensors with their names, in a fixed order.
    pub fn params(&self) -> Vec<(String, &Mat<f32, D>)> {
        let mut params = Vec::new();
        for block in &self.blocks {
            let name = &block.spec.name;
            params.push((format!("{name}.weight"), &block.weight));
            if let Some(gamma) = &block.gamma {
                params.push((format!("{name}.gamma"), gamma));
            }
            params.push((format!("{name}.beta"), &block.beta));
        }
        params
    }

    /// As [`params`](Self::params), to change.
    pub fn params_mut(&mut self) -> Vec<&mut Mat<f32, D>> {
        let mut params = Vec::new();
        for block in &mut self.blocks {
            params.push(&mut block.weight);
            params.extend(&mut block.gamma);
            params.push(&mut block.beta);
        }
        params
    }

    /// The running statistics with their names, in a fixed order.
    pub fn running_mut(&mut self) -> Vec<(String, &mut Vec<f32>)> {
        let mut stats = Vec::new();
        for block in &mut self.blocks {
            if let Some(running) = &mut block.running {
                stats.push((format!("{}.mean", block.spec.name), &mut running.mean));
                stats.push((format!("{}.var", block.spec.name), &mut running.var));
            }
        }
        stats
    }
}
