//! Both networks as one thing: a chain of blocks.

use super::buffers::Buffers;
use super::op::{GeneratorOp, Op};
use super::{Activation, Backend, BatchStats, Float, Param};

/// The description of a block, without values.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockSpec<O = Op> {
    /// Prefix of its parameters' names.
    pub name: String,
    /// The linear part.
    pub op: O,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// Weights over their largest singular value.
    pub spectral: bool,
    /// The activation behind the linear part.
    pub activation: Activation,
}

/// A block of a generator.
pub type GeneratorBlock = BlockSpec<GeneratorOp>;

impl From<GeneratorBlock> for BlockSpec {
    fn from(block: GeneratorBlock) -> Self {
        Self {
            name: block.name,
            op: block.op.into(),
            norm: block.norm,
            spectral: block.spectral,
            activation: block.activation,
        }
    }
}

/// Linear part, then batch normalization or a bias, then an activation.
pub struct Block<E: Float, D: Backend<E>> {
    /// Its description.
    pub spec: BlockSpec,
    /// Shape by [`Op::weight_shape`].
    pub weight: Param<E, D>,
    /// `[1, c]`, with batch normalization only.
    pub gamma: Option<Param<E, D>>,
    /// `[1, c]`: what is added, with batch normalization or without.
    pub beta: Param<E, D>,
    /// Moving averages of the batch statistics, with batch normalization only.
    pub running: Option<BatchStats<E>>,
}

/// Share of a new batch in the running statistics, as in PyTorch.
const RUNNING_MOMENTUM: f64 = 0.1;

impl<E: Float, D: Backend<E>> Block<E, D> {
    /// A block with these weights and, for normalization, scales; offsets are zero.
    pub fn new(spec: BlockSpec, weight: Vec<E>, gamma: Vec<E>, device: &D) -> Result<Self, D::Err> {
        let (shape, c) = (spec.op.weight_shape(), spec.op.c_out());
        let mut weight = Param::new(weight, shape, device)?;
        if spec.spectral {
            weight.normalize_spectrum();
        }
        let gamma = spec.norm.then(|| Param::new(gamma, (1, c), device));
        Ok(Self {
            weight,
            gamma: gamma.transpose()?,
            beta: Param::new(vec![E::zero(); c], (1, c), device)?,
            running: spec.norm.then(|| BatchStats {
                mean: vec![E::zero(); c],
                var: vec![E::one(); c],
            }),
            spec,
        })
    }
}

/// A chain of blocks.
pub struct Network<E: Float, D: Backend<E>> {
    /// First to last.
    pub blocks: Vec<Block<E, D>>,
    /// Buffers of its passes.
    pub buffers: Buffers<E>,
}

/// The batch statistics of each block of a pass, where it normalizes.
pub type PassStats<E> = Vec<Option<BatchStats<E>>>;

impl<E: Float, D: Backend<E>> Network<E, D> {
    /// A network with normally distributed weights (times `init_std`), scales near one and
    /// offsets of zero.
    pub fn new(
        specs: Vec<BlockSpec>,
        init_std: E,
        mut normal: impl FnMut() -> E,
        device: &D,
    ) -> Result<Self, D::Err> {
        let block = |spec: BlockSpec| {
            let (rows, cols) = spec.op.weight_shape();
            let weight = (0..rows * cols).map(|_| init_std * normal()).collect();
            let scales = (0..spec.op.c_out()).map(|_| E::one() + init_std * normal());
            let gamma = scales.collect();
            Block::new(spec, weight, gamma, device)
        };
        let blocks = specs.into_iter().map(block).collect::<Result<_, _>>()?;
        let buffers = Buffers::default();
        Ok(Self { blocks, buffers })
    }

    /// Moves the running statistics towards those of a pass over `n` images; the
    /// variance is made unbiased first.
    pub fn update_running(&mut self, pass_stats: PassStats<E>, n: usize) {
        for (block, stats) in self.blocks.iter_mut().zip(pass_stats) {
            if let (Some(running), Some(stats)) = (&mut block.running, stats) {
                let c = block.spec.op.c_out();
                let count = (n * block.spec.op.output_len() / c) as f64;
                let unbias = E::of(count / (count - 1.0).max(1.0));
                let share = E::of(RUNNING_MOMENTUM);
                let towards = |old: &mut E, new: E| *old += share * (new - *old);
                let means = running.mean.iter_mut().zip(stats.mean);
                means.for_each(|(old, new)| towards(old, new));
                let vars = running.var.iter_mut().zip(stats.var);
                vars.for_each(|(old, new)| towards(old, new * unbias));
            }
        }
    }

    /// The trained tensors with their names, in a fixed order.
    pub fn params(&self) -> Vec<(String, &Param<E, D>)> {
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

    /// The same as [`params`](Self::params), to change them.
    pub fn params_mut(&mut self) -> Vec<&mut Param<E, D>> {
        let mut params = Vec::new();
        for block in &mut self.blocks {
            params.push(&mut block.weight);
            params.extend(&mut block.gamma);
            params.push(&mut block.beta);
        }
        params
    }

    /// The running statistics with their names, in a fixed order.
    pub fn running_mut(&mut self) -> Vec<(String, &mut Vec<E>)> {
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
