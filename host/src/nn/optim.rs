//! Adam (Kingma and Ba 2015) with its moments in plain sight, so that a checkpoint can
//! hold them: dfdx keeps its own private.

use dfdx::prelude::Gradients;
use rayon::prelude::*;

use super::Backend;
use super::network::Network;

/// Both moments of every trained tensor of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Updates that they are the means of: the bias correction's count.
    pub updates: u64,
    /// Moving averages of the gradient.
    pub first: Vec<Vec<f32>>,
    /// Moving averages of its square.
    pub second: Vec<Vec<f32>>,
}

impl Moments {
    /// Zeros for each parameter of a network.
    pub fn zeros<D: Backend<f32>>(network: &Network<f32, D>) -> Self {
        let params = network.params().into_iter();
        let zeros: Vec<_> = params.map(|(_, p)| vec![0.0; p.values.len()]).collect();
        Self {
            updates: 0,
            first: zeros.clone(),
            second: zeros,
        }
    }
}

/// Values that one thread updates at a time.
const CHUNK: usize = 32 * 1024;

/// One update's constants.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    beta1: f32,
    beta2: f32,
    /// Learning rate over the first moment's bias correction.
    rate: f32,
    /// One over the square root of the second moment's bias correction.
    root: f32,
}

/// Keeps the division finite, as in PyTorch.
const EPSILON: f32 = 1e-8;

impl Adam {
    /// Constants of update `number`, counted from 1.
    pub fn at(number: u64, learning_rate: f32, beta1: f32, beta2: f32) -> Self {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(number as f64);
        Self {
            beta1,
            beta2,
            rate: (f64::from(learning_rate) / correction(beta1)) as f32,
            root: correction(beta2).sqrt().recip() as f32,
        }
    }

    /// Updates one tensor and its moments, on all threads.
    pub fn update(&self, value: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        let moments = first
            .par_chunks_mut(CHUNK)
            .zip(second.par_chunks_mut(CHUNK));
        let chunks = value.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
        chunks
            .zip(moments)
            .for_each(|((value, grad), (first, second))| {
                self.update_chunk(value, grad, first, second);
            });
    }

    fn update_chunk(&self, value: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        let moments = first.iter_mut().zip(second);
        for ((value, &g), (m, v)) in value.iter_mut().zip(grad).zip(moments) {
            *m += (1.0 - self.beta1) * (g - *m);
            *v += (1.0 - self.beta2) * (g * g - *v);
            *value -= self.rate * *m / (v.sqrt() * self.root + EPSILON);
        }
    }
}

/// Updates the parameters of `network` by their gradients, which it takes out of `grads`.
pub fn update<D: Backend<f32>>(
    network: &mut Network<f32, D>,
    moments: &mut Moments,
    grads: &mut Gradients<f32, D>,
    adam: Adam,
) -> Result<(), D::Err> {
    let buffers = network.buffers.clone();
    moments.updates += 1;
    let moments = moments.first.iter_mut().zip(&mut moments.second);
    for (param, (first, second)) in network.params_mut().into_iter().zip(moments) {
        let grad = D::last_gradient(grads, param)?;
        let grad = param.step(grad, |value, grad| adam.update(value, grad, first, second));
        buffers.give(grad);
    }
    Ok(())
}
