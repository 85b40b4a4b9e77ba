//! Self-distillation: weights that round well.
//!
//! The generator learns to draw what it drew before, through weights rounded as the
//! quantizer will round them; gradients pass the rounding as if it were not there
//! (Bengio et al. 2013).

use dfdx::prelude::{Backward, Cpu, HasErr, MeanTo, OwnedTape, PutTape, TensorFromVec, TrySub};
use gan_core::latent::{Pcg32, fill_latent};

use crate::generator::{FloatGenerator, input_row};
use crate::nn::network::{Block, BlockSpec, Network};
use crate::nn::optim::{Adam, Moments};
use crate::nn::{Backend, GradMask};
use crate::quant::{Options, rounded_weights, weight_bits};
use crate::random;
use crate::seeds;

/// Images a step.
const BATCH: usize = 64;
/// Learning rate of the first step, as a share of a tensor's largest value: a few thousandths of
/// a step of 8 bits. It falls to nothing, linearly.
const LEARNING_RATE: f32 = 0.003 / 127.0;

/// The device failed.
#[derive(Debug, thiserror::Error)]
#[error("fine-tuning failed: {0}")]
pub struct FinetuneError(String);

fn failed(error: <Cpu as HasErr>::Err) -> FinetuneError {
    FinetuneError(format!("{error:?}"))
}

/// A generator whose rounded weights draw more like `generator`; `done` hears each step.
pub fn finetune(
    generator: &FloatGenerator,
    options: &Options,
    steps: u64,
    mut done: impl FnMut(u64),
) -> Result<FloatGenerator, FinetuneError> {
    let device = Cpu::default();
    let mut tuned = generator.clone();
    let mut network = network_of(generator).map_err(failed)?;
    let mut moments = Moments::zeros(&network);
    let latent = generator.config.generator.latent;
    let mut rng = Pcg32::new(seeds::FINETUNING);
    for step in 1..=steps {
        let blocks = network.blocks.iter_mut().zip(&tuned.layers).enumerate();
        for (i, (block, layer)) in blocks {
            let bits = weight_bits(layer.op, options);
            // Classes are inputs of the first layer only.
            let latent = if i == 0 { latent } else { usize::MAX };
            block
                .weight
                .restore(rounded_weights(layer, bits, latent), None);
            block.beta.restore(layer.bias.clone(), None);
        }
        let input = random_input(generator, &mut rng);
        let target = generator.draw(&input);
        let shape = (BATCH, input.len() / BATCH);
        let x = device.try_tensor_from_vec(input, shape).map_err(failed)?;
        let x = x.put_tape(OwnedTape::default());
        let weights_only = GradMask {
            input: false,
            weights: true,
        };
        let (y, _) = Cpu::forward_pass(&network, x, weights_only).map_err(failed)?;
        let shape = *dfdx::shapes::HasShape::shape(&y);
        let target = device.try_tensor_from_vec(target, shape).map_err(failed)?;
        let loss = y
            .try_sub(target)
            .and_then(|d| d.try_square())
            .map_err(failed)?;
        let loss = loss.try_mean().map_err(failed)?;
        let mut grads = loss.try_backward().map_err(failed)?;
        let share = LEARNING_RATE * (1.0 - (step - 1) as f32 / steps as f32);
        let moments = moments.first.iter_mut().zip(&mut moments.second);
        let trained = tuned.layers.iter_mut();
        let trained = trained.flat_map(|layer| [&mut layer.weight, &mut layer.bias]);
        for ((_, param), (values, (first, second))) in
            network.params().into_iter().zip(trained.zip(moments))
        {
            let grad = Cpu::last_gradient(&mut grads, param).map_err(failed)?;
            let adam = Adam::at(step, share * largest(values), 0.9, 0.99);
            adam.update(values, &grad, first, second);
            network.buffers.give(grad);
        }
        done(step);
    }
    Ok(tuned)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

/// The folded generator as a network; its values are set step by step.
fn network_of(generator: &FloatGenerator) -> Result<Network<f32, Cpu>, <Cpu as HasErr>::Err> {
    let device = Cpu::default();
    let blocks = generator.layers.iter().enumerate().map(|(i, layer)| {
        let spec = BlockSpec {
            name: i.to_string(),
            op: layer.op.into(),
            norm: false,
            spectral: false,
            activation: layer.activation,
        };
        Block::new(spec, layer.weight.clone(), Vec::new(), &device)
    });
    Ok(Network {
        blocks: blocks.collect::<Result<_, _>>()?,
        buffers: Default::default(),
    })
}

/// Latents and classes, both at random.
fn random_input(generator: &FloatGenerator, rng: &mut Pcg32) -> Vec<f32> {
    let classes = generator.config.data.class_names.len();
    let mut latent = vec![0; generator.config.generator.latent];
    let mut input = Vec::new();
    for _ in 0..BATCH {
        fill_latent(random::next_u64(rng), &mut latent);
        let class = (classes > 0).then(|| random::below(rng, classes));
        input.extend(input_row(&latent, class, classes));
    }
    input
}
