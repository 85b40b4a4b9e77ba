//! One training step, and the state that it moves.

use dfdx::prelude::{
    Backward, Gradients, HasShape, NoneTape, OwnedTape, PutTape, SumTo, Tape, TryAdd, TryMul,
    binary_cross_entropy_with_logits_loss,
};
use gan_core::latent::fill_latent;
use serde::Serialize;

use super::adam::{Adam, Moments};
use super::random::{self, Purpose};
use crate::config::{Config, Training};
use crate::data::Images;
use crate::generator::{input_row, pixel_value};
use crate::nn::backend::values;
use crate::nn::network::Network;
use crate::nn::{Backend, Mat, Wanted};

/// What one step did; a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done so far, this one included.
    pub step: u64,
    /// Mean binary cross-entropy of the discriminator, real and fake added by their weights.
    pub discriminator_loss: f32,
    /// Mean binary cross-entropy of the generator.
    pub generator_loss: f32,
    /// Adam's rate in this step.
    pub learning_rate: f32,
    /// Mean over pixels of the fakes' variance, where pixels go from -1 to 1.
    pub fake_variance: f32,
}

/// Both networks, their optimizers and the averaged generator.
pub struct Trainer<D: Backend<f32>> {
    /// The run's configuration.
    pub config: Config,
    pub(super) device: D,
    pub(super) generator: Network<D>,
    pub(super) discriminator: Network<D>,
    pub(super) generator_moments: Moments,
    pub(super) discriminator_moments: Moments,
    /// Moving average of the generator's parameters, then of its running statistics.
    pub(super) average: Vec<Vec<f32>>,
    /// Steps done.
    pub(super) step: u64,
    /// Times that the run went back to a checkpoint at half the rate.
    pub(super) rollbacks: u32,
    /// The current epoch's number and order.
    order: (u64, Vec<u32>),
}

fn lens<D: Backend<f32>>(network: &Network<D>) -> Vec<usize> {
    let len = |(_, t): (String, &Mat<f32, D>)| t.shape().0 * t.shape().1;
    network.params().into_iter().map(len).collect()
}

impl<D: Backend<f32>> Trainer<D> {
    /// Networks with random weights; `config` has to have passed its own check.
    pub fn new(config: Config, device: D) -> Result<Self, TrainerError> {
        let blocks = (config.generator_blocks(), config.discriminator_blocks());
        let (g_blocks, d_blocks) = (
            blocks.0.map_err(TrainerError::Config)?,
            blocks.1.map_err(TrainerError::Config)?,
        );
        let network = |blocks, purpose| {
            let mut rng = random::stream(config.training.seed, purpose, 0);
            let normal = move || random::normal(&mut rng);
            Network::new(blocks, config.training.init_std, normal, &device).map_err(failed)
        };
        let generator = network(g_blocks, Purpose::GeneratorInit)?;
        let discriminator = network(d_blocks, Purpose::DiscriminatorInit)?;
        let mut trainer = Self {
            generator_moments: Moments::zeros(lens(&generator).into_iter()),
            discriminator_moments: Moments::zeros(lens(&discriminator).into_iter()),
            average: Vec::new(),
            step: 0,
            rollbacks: 0,
            order: (u64::MAX, Vec::new()),
            config,
            device,
            generator,
            discriminator,
        };
        trainer.average = trainer.generator_state();
        Ok(trainer)
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The generator's parameters, then its running statistics.
    fn generator_state(&mut self) -> Vec<Vec<f32>> {
        let params = self.generator.params();
        let mut state: Vec<_> = params.into_iter().map(|(_, t)| values(t)).collect();
        let running = self.generator.running_mut();
        state.extend(running.into_iter().map(|(_, stats)| stats.clone()));
        state
    }

    /// One update of each network on the next batch of `images`.
    pub fn train_step(&mut self, images: &Images) -> Result<StepReport, TrainerError> {
        let batch = self.config.training.batch;
        let (real, real_labels) = self.next_batch(images);
        let (input, fake_labels) = self.draw_inputs(batch);
        let both = Wanted {
            input: true,
            weights: true,
        };

        let input = self.mat(input, batch)?.put_tape(OwnedTape::default());
        let weights_only = Wanted {
            input: false,
            ..both
        };
        let (fake, stats) = self
            .generator
            .forward(input, weights_only)
            .map_err(failed)?;
        self.generator.update_running(stats, batch);
        let fake_variance = pixel_variance(&values(&fake), batch);

        let real = self.mat(real, fake.shape().0)?;
        let fake_copy = fake.retaped::<NoneTape>();
        let real_loss = self.judge(
            real.put_tape(OwnedTape::default()),
            &real_labels,
            1.0,
            weights_only,
        )?;
        let fake_loss = self.judge(
            fake_copy.put_tape(OwnedTape::default()),
            &fake_labels,
            0.0,
            weights_only,
        )?;
        let Training {
            real_weight,
            fake_weight,
            ..
        } = self.config.training;
        let real_loss = real_loss.try_mul(real_weight).map_err(failed)?;
        let fake_loss = fake_loss.try_mul(fake_weight).map_err(failed)?;
        let loss = real_loss.try_add(fake_loss).map_err(failed)?;
        let discriminator_loss = loss.as_vec()[0];
        let adam = self.adam();
        let grads = loss.try_backward().map_err(failed)?;
        update(
            &mut self.discriminator,
            &mut self.discriminator_moments,
            grads,
            adam,
        )?;

        let input_only = Wanted {
            weights: false,
            ..both
        };
        let loss = self.judge(fake, &fake_labels, 1.0, input_only)?;
        let generator_loss = loss.as_vec()[0];
        let grads = loss.try_backward().map_err(failed)?;
        update(
            &mut self.generator,
            &mut self.generator_moments,
            grads,
            adam,
        )?;

        let learning_rate = self.learning_rate();
        self.step += 1;
        self.update_average();
        Ok(StepReport {
            step: self.step,
            discriminator_loss,
            generator_loss,
            learning_rate,
            fake_variance,
        })
    }

    fn mat(&self, data: Vec<f32>, rows: usize) -> Result<Mat<f32, D>, TrainerError> {
        let shape = (rows, data.len() / rows);
        self.device.try_tensor_from_vec(data, shape).map_err(failed)
    }

    /// Mean loss of the discriminator's judgement of `x` against `target`.
    fn judge<T: Tape<f32, D>>(
        &self,
        x: Mat<f32, D, T>,
        labels: &[usize],
        target: f32,
        wanted: Wanted,
    ) -> Result<dfdx::prelude::Tensor<(), f32, D, T>, TrainerError> {
        let (judgement, _) = self.discriminator.forward(x, wanted).map_err(failed)?;
        let (batch, units) = *judgement.shape();
        let mut counts = vec![0.0; batch * units];
        for (i, row) in counts.chunks_exact_mut(units).enumerate() {
            row[0] = 1.0;
            if let Some(unit) = labels.get(i).and_then(|label| row.get_mut(1 + label)) {
                *unit = 1.0;
            }
        }
        let counts = self.mat(counts, batch)?;
        let logits = judgement.try_mul(counts).map_err(failed)?;
        let logits = logits
            .try_sum::<(usize,), dfdx::shapes::Axis<1>>()
            .map_err(failed)?;
        let targets = self
            .device
            .try_tensor_from_vec(vec![target; batch], (batch,));
        let targets = targets.map_err(failed)?;
        Ok(binary_cross_entropy_with_logits_loss(logits, targets))
    }

    /// The next pictures `[batch, h * w * c]` from -1 to 1, and their classes.
    fn next_batch(&mut self, images: &Images) -> (Vec<f32>, Vec<usize>) {
        let Training { batch, seed, .. } = self.config.training;
        let n = images.len() as u64;
        let mut pixels = Vec::new();
        let mut labels = Vec::new();
        for position in self.step * batch as u64..(self.step + 1) * batch as u64 {
            let epoch = position / n;
            if self.order.0 != epoch {
                let mut rng = random::stream(seed, Purpose::Epoch, epoch);
                self.order = (epoch, random::permutation(&mut rng, images.len()));
            }
            let index = self.order.1[(position % n) as usize] as usize;
            let image = images.image(index).iter();
            pixels.extend(image.map(|&p| pixel_value(p)));
            labels.extend(images.labels.get(index).map(|&label| usize::from(label)));
        }
        (pixels, labels)
    }

    /// Latents and one-hot classes `[batch, latent + classes]`, and the classes.
    fn draw_inputs(&self, batch: usize) -> (Vec<f32>, Vec<usize>) {
        let classes = self.config.data.class_names.len();
        let mut rng = random::stream(self.config.training.seed, Purpose::Latents, self.step);
        let mut latent = vec![0; self.config.generator.latent];
        let (mut input, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..batch {
            fill_latent(random::next_u64(&mut rng), &mut latent);
            let class = (classes > 0).then(|| random::below(&mut rng, classes));
            input.extend(input_row(&latent, class, classes));
            labels.extend(class);
        }
        (input, labels)
    }

    fn adam(&self) -> Adam {
        let Training { beta1, beta2, .. } = self.config.training;
        Adam::at(self.step + 1, self.learning_rate(), beta1, beta2)
    }

    /// Constant at first, then falling linearly; halved by each rollback.
    fn learning_rate(&self) -> f32 {
        let t = &self.config.training;
        let progress = self.step as f32 / t.steps as f32;
        let fall = (progress - t.decay_from) / (1.0 - t.decay_from).max(f32::EPSILON);
        let share = 1.0 + (t.decay_to - 1.0) * fall.clamp(0.0, 1.0);
        t.learning_rate * share * 0.5f32.powi(self.rollbacks as i32)
    }

    /// Moves the averaged generator; faster at first, so that a short run has one too.
    fn update_average(&mut self) {
        let t = self.step as f32;
        let keep = self.config.training.ema.min((1.0 + t) / (10.0 + t));
        let state = self.generator_state();
        for (average, new) in self.average.iter_mut().zip(state) {
            let pairs = average.iter_mut().zip(new);
            pairs.for_each(|(average, new)| *average += (1.0 - keep) * (new - *average));
        }
    }
}

fn update<D: Backend<f32>>(
    network: &mut Network<D>,
    moments: &mut Moments,
    mut grads: Gradients<f32, D>,
    adam: Adam,
) -> Result<(), TrainerError> {
    let moments = moments.first.iter_mut().zip(&mut moments.second);
    for (param, (first, second)) in network.params_mut().into_iter().zip(moments) {
        let mut value = values(param);
        let grad = D::last_gradient(&mut grads, param).map_err(failed)?;
        adam.update(&mut value, &grad, first, second);
        param.copy_from(&value);
    }
    Ok(())
}

/// Mean over pixels of the variance over a batch `[n, pixels]`.
pub fn pixel_variance(batch: &[f32], n: usize) -> f32 {
    let len = batch.len() / n;
    let (mut sums, mut squares) = (vec![0f64; len], vec![0f64; len]);
    for image in batch.chunks_exact(len) {
        for (i, &v) in image.iter().enumerate() {
            sums[i] += f64::from(v);
            squares[i] += f64::from(v) * f64::from(v);
        }
    }
    let n = n as f64;
    let variances = sums
        .iter()
        .zip(squares)
        .map(|(s, q)| q / n - (s / n) * (s / n));
    (variances.sum::<f64>() / len as f64) as f32
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The configuration does not describe a network.
    #[error("{0}")]
    Config(String),
    /// dfdx's device refused, for want of memory as a rule.
    #[error("the device failed: {0}; a smaller --batch needs less memory")]
    Device(String),
}

fn failed<E: std::fmt::Debug>(error: E) -> TrainerError {
    TrainerError::Device(format!("{error:?}"))
}
