//! The trained generator in floats, with batch normalization folded away.

use rayon::prelude::*;

use crate::config::{Config, Image};
use crate::nn::buffers::Buffers;
use crate::nn::network::GeneratorBlock;
use crate::nn::norm::norm_affine;
use crate::nn::op::linear;
use crate::nn::op::{GeneratorOp, Op};
use crate::nn::{Activation, BatchStats};

/// One layer: linear part, bias, activation.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// The linear part.
    pub op: GeneratorOp,
    /// Shape by [`Op::weight_shape`].
    pub weight: Vec<f32>,
    /// `[c]`
    pub bias: Vec<f32>,
    /// The activation after the linear part.
    pub activation: Activation,
}

/// Latent and class to image, in floats.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatGenerator {
    /// The run that it came from.
    pub config: Config,
    /// Name of the data it was trained on.
    pub dataset: String,
    /// Training steps behind it.
    pub step: u64,
    /// First to last.
    pub layers: Vec<FloatLayer>,
}

impl FloatLayer {
    /// Folds normalization with fixed statistics into the weights and the bias:
    /// `w' = w * gamma / std`, `b' = beta - mean * gamma / std`.
    fn fold(
        spec: GeneratorBlock,
        mut weight: Vec<f32>,
        beta: Vec<f32>,
        norm: Option<(Vec<f32>, BatchStats<f32>)>,
    ) -> Self {
        let bias = match norm {
            None => beta,
            Some((gamma, stats)) => {
                let (scale, offset) = norm_affine(&stats, &gamma, &beta);
                for column in weight.chunks_exact_mut(scale.len()) {
                    column.iter_mut().zip(&scale).for_each(|(w, s)| *w *= s);
                }
                offset
            }
        };
        Self {
            op: spec.op,
            weight,
            bias,
            activation: spec.activation,
        }
    }

    /// Values before the activation. *Shapes*: `x` `[n, values in]`, result
    /// `[n, values out]`.
    pub fn pre_activation(&self, x: &[f32]) -> Vec<f32> {
        let op = Op::from(self.op);
        let n = x.len() / op.input_len();
        let mut values = vec![0.0; n * op.output_len()];
        linear(&op, x, &self.weight, &mut values, &Buffers::default());
        for pixel in values.chunks_exact_mut(self.bias.len()) {
            pixel.iter_mut().zip(&self.bias).for_each(|(v, b)| *v += b);
        }
        values
    }

    /// Applies the activation in place.
    pub fn activate(&self, values: &mut [f32]) {
        let act = self.activation;
        values
            .par_chunks_mut(1 << 14)
            .for_each(|chunk| chunk.iter_mut().for_each(|v| *v = act.apply(*v)));
    }
}

impl FloatGenerator {
    /// Folds the tensors that `tensor` finds by name, as
    /// [`Network::params`](crate::nn::network::Network::params) and `running_mut` name
    /// them; an error names one that is missing or of the wrong size.
    pub fn fold(
        config: Config,
        dataset: String,
        step: u64,
        mut tensor: impl FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<Self, String> {
        let mut find = |name: String, len: usize| match tensor(&name) {
            Some(values) if values.len() == len => Ok(values),
            Some(values) => Err(format!(
                "tensor {name} has {} values, not {len}",
                values.len()
            )),
            None => Err(format!("tensor {name} is missing")),
        };
        let mut layers = Vec::new();
        for spec in config.generator_blocks()? {
            let ((rows, cols), c) = (Op::from(spec.op).weight_shape(), Op::from(spec.op).c_out());
            let mut of = |part: &str, len| find(format!("{}.{part}", spec.name), len);
            let weight = of("weight", rows * cols)?;
            let beta = of("beta", c)?;
            let norm = if spec.norm {
                let (mean, var) = (of("mean", c)?, of("var", c)?);
                Some((of("gamma", c)?, BatchStats { mean, var }))
            } else {
                None
            };
            layers.push(FloatLayer::fold(spec, weight, beta, norm));
        }
        Ok(Self {
            config,
            dataset,
            step,
            layers,
        })
    }

    /// Format of its images.
    pub fn image(&self) -> Image {
        self.config.image
    }

    /// Draws images, values from -1 to 1. *Shapes*: `input` `[n, latent + classes]`,
    /// result `[n, h, w, c]`.
    pub fn draw(&self, input: &[f32]) -> Vec<f32> {
        let mut x = input.to_vec();
        for layer in &self.layers {
            x = layer.pre_activation(&x);
            layer.activate(&mut x);
        }
        x
    }
}

/// One row of the generator's input: the latent as real numbers, then the class, one-hot.
pub fn input_row(
    latent: &[i8],
    class: Option<usize>,
    classes: usize,
) -> impl Iterator<Item = f32> + '_ {
    let latent = latent
        .iter()
        .map(|&q| f32::from(q) * gan_core::latent::LATENT_SCALE);
    latent.chain((0..classes).map(move |i| f32::from(u8::from(Some(i) == class))))
}

/// The value, from -1 to 1, of a grey level: what the networks see of an image.
pub fn pixel_value(grey: u8) -> f32 {
    f32::from(grey) / 127.5 - 1.0
}

/// The grey level, 0 to 255, of a value from -1 to 1.
pub fn grey_level(value: f32) -> u8 {
    (value * 127.5 + 127.5).round().clamp(0.0, 255.0) as u8
}
