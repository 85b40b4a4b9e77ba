//! One training step, and the state that it moves.

use dfdx::prelude::{
    Axis, Backward, GatherTo, HasShape, OwnedTape, PutTape, SumTo, Tape, TryAdd, TryMul,
};
use gan_core::latent::fill_latent;
use serde::{Deserialize, Deserializer, Serialize};

use super::augment::{Strength, draw_change};
use super::checkpoint::RollbackPoint;
use super::loss::{self, Anchors, Scores};
use crate::config::{Augmentation, Config, Image, Training};
use crate::data::{DatasetFingerprint, Images};
use crate::generator::{FloatGenerator, input_row, pixel_value};
use crate::nn::backend::values;
use crate::nn::network::{BlockSpec, Network};
use crate::nn::optim::{Adam, Moments, update};
use crate::nn::{Backend, DeviceError, GradMask, Mat};
use crate::random::{self, Purpose};

/// The report of one step; a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps done so far, this one included.
    pub step: u64,
    /// Loss of the discriminator, the sum of its terms.
    #[serde(deserialize_with = "number_or_null")]
    pub discriminator_loss: f32,
    /// Loss of the generator.
    #[serde(deserialize_with = "number_or_null")]
    pub generator_loss: f32,
    /// Mean error of the discriminator's predictions, from 0 (never in doubt) to 1: its
    /// probability of "generated" for real images, of "real" for generated ones.
    #[serde(deserialize_with = "number_or_null")]
    pub discriminator_error: f32,
    /// The generator's rate in this step.
    #[serde(deserialize_with = "number_or_null")]
    pub learning_rate: f32,
    /// Probability of each change to what the discriminator saw.
    #[serde(default, deserialize_with = "number_or_null")]
    pub augment_probability: f32,
    /// Mean over pixels of the fakes' variance, where pixels go from -1 to 1.
    #[serde(deserialize_with = "number_or_null")]
    pub fake_variance: f32,
}

/// A number; JSON has `null` for those that are not finite.
fn number_or_null<'de, D: Deserializer<'de>>(value: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f32::NAN))
}

/// Both networks, their optimizers and the averaged generator.
pub struct Trainer<D: Backend<f32>> {
    /// The run's configuration.
    pub config: Config,
    /// Fingerprint of the training data, for checkpoints.
    pub data: Option<DatasetFingerprint>,
    pub(super) device: D,
    pub(super) generator: Network<f32, D>,
    pub(super) discriminator: Network<f32, D>,
    pub(super) generator_moments: Moments,
    pub(super) discriminator_moments: Moments,
    /// Moving averages of the generator's parameters, then of its running statistics.
    pub(super) ema: Vec<Vec<f32>>,
    /// Steps done.
    pub(super) step: u64,
    /// Times that the run went back to a checkpoint at half the rate.
    pub(super) rollbacks: u32,
    /// Moving averages for the `LeCam` regularizer.
    pub(super) anchors: Anchors,
    /// Strength of the augmentation.
    pub(super) strength: Strength,
    /// The time that the run is to fill, if its steps are not given.
    pub budget: Option<Budget>,
    /// The step that the run ends at: `training.steps`, unless a budget or the risk set another.
    pub end_step: u64,
    /// The step at which a finished run was last given more steps.
    pub extended_at: u64,
    /// The state that the run goes back to when it goes wrong.
    pub(super) rollback: Option<RollbackPoint>,
    pub(super) teacher: Option<FloatGenerator>,
    /// The current epoch's number and order.
    order: (u64, Vec<u32>),
}

/// Time that a run is to fill.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The whole time, in seconds.
    pub total_s: f64,
    /// Seconds of training behind the run, in all its processes.
    pub spent_s: f64,
    /// Whether the number of steps was set from the time of the first ones.
    pub is_planned: bool,
}

const WEIGHTS_ONLY: GradMask = GradMask {
    input: false,
    weights: true,
};
const INPUT_ONLY: GradMask = GradMask {
    input: true,
    weights: false,
};

type TapedPair<D> = (Scores<D, OwnedTape<f32, D>>, Scores<D, OwnedTape<f32, D>>);

/// Which of a step's uses of the discriminator an augmentation is drawn for.
#[derive(Clone, Copy)]
enum Seen {
    Real,
    Fake,
    FakeAgain,
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
            Network::new(blocks, config.training.init_std, normal, &device)
                .map_err(DeviceError::new)
        };
        let g_blocks = g_blocks.into_iter().map(BlockSpec::from).collect();
        let generator = network(g_blocks, Purpose::GeneratorInit)?;
        let discriminator = network(d_blocks, Purpose::DiscriminatorInit)?;
        let mut trainer = Self {
            generator_moments: Moments::zeros(&generator),
            discriminator_moments: Moments::zeros(&discriminator),
            ema: Vec::new(),
            step: 0,
            rollbacks: 0,
            data: None,
            anchors: Anchors::default(),
            strength: Strength::start(config.training.augment_target),
            budget: None,
            end_step: config.training.steps,
            extended_at: 0,
            rollback: None,
            teacher: None,
            order: (u64::MAX, Vec::new()),
            config,
            device,
            generator,
            discriminator,
        };
        trainer.begin_ema();
        Ok(trainer)
    }

    /// Makes the generator as it is the first value of the average.
    pub(super) fn begin_ema(&mut self) {
        self.ema = self.generator_state();
    }

    /// Lets the generator learn what `teacher` draws, too, from here on; an error says why it
    /// cannot.
    pub fn learn_from(&mut self, teacher: FloatGenerator) -> Result<(), TrainerError> {
        let format = |config: &Config| {
            let Image {
                height,
                width,
                channels,
            } = config.image;
            let (latent, classes) = (config.generator.latent, config.data.class_names.len());
            format!("{height}x{width}x{channels}, a latent of {latent} and {classes} classes")
        };
        let (asked, given) = (format(&self.config), format(&teacher.config));
        if asked != given {
            return Err(TrainerError::Config(format!(
                "the teacher draws images of {given}; this run draws {asked}"
            )));
        }
        self.teacher = Some(teacher);
        Ok(())
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The generator's parameters, then its running statistics.
    fn generator_state(&mut self) -> Vec<Vec<f32>> {
        let params = self.generator.params().into_iter();
        let mut state: Vec<_> = params.map(|(_, param)| param.trained().to_vec()).collect();
        let running = self.generator.running_mut();
        state.extend(running.into_iter().map(|(_, stats)| stats.clone()));
        state
    }

    /// Puts the averaged generator in the place of the trained one, at half the rate. Its
    /// optimizer begins anew.
    pub(super) fn go_on_from_ema(&mut self) {
        self.rollbacks += 1;
        self.generator_moments = Moments::zeros(&self.generator);
        let mut ema = self.ema.iter();
        for (param, ema) in self.generator.params_mut().into_iter().zip(&mut ema) {
            param.restore(ema.clone(), None);
        }
        for ((_, stats), ema) in self.generator.running_mut().into_iter().zip(ema) {
            stats.clone_from(ema);
        }
    }

    /// One update of each network on the next batch of `images`.
    pub fn train_step(&mut self, images: &Images) -> Result<StepReport, TrainerError> {
        let batch = self.config.training.batch;
        let (real, real_labels) = self.next_batch(images);
        let (input, fake_labels) = self.draw_inputs(batch);
        let teacher_output = self.teacher.as_ref().map(|teacher| teacher.draw(&input));
        let input = self.mat(input, batch)?.put_tape(OwnedTape::default());
        let (fake, stats) =
            D::forward_pass(&self.generator, input, WEIGHTS_ONLY).map_err(DeviceError::new)?;
        self.generator.update_running(stats, batch);
        let fake_values = values(&fake);
        let fake_variance = pixel_variance(&fake_values, batch);

        let judged = [
            (&*real, &*real_labels, Seen::Real),
            (&*fake_values, &*fake_labels, Seen::Fake),
        ];
        let augment_probability = match self.augmentations() {
            [] => 0.0,
            _ => self.strength.probability,
        };
        let (discriminator_loss, discriminator_error) = self.discriminator_step(judged)?;
        let real = (&*real, &*real_labels);
        let generator_loss = self.generator_step(fake, &fake_labels, real, teacher_output)?;
        let learning_rate = self.learning_rate();
        self.step += 1;
        self.update_ema();
        Ok(StepReport {
            step: self.step,
            discriminator_loss,
            generator_loss,
            discriminator_error,
            learning_rate,
            augment_probability,
            fake_variance,
        })
    }

    /// Updates the discriminator; its loss and the mean error of its predictions.
    fn discriminator_step(
        &mut self,
        judged: [(&[f32], &[usize], Seen); 2],
    ) -> Result<(f32, f32), TrainerError> {
        let (real, fake) = self.judge_both(judged)?;
        let scores = [real.as_vec(), fake.as_vec()];
        let training = &self.config.training;
        let loss =
            loss::discriminator(training, self.anchors, real, fake).map_err(DeviceError::new)?;
        self.anchors.follow(&scores[0], &scores[1]);
        // A relativistic discriminator scores images against one another only.
        let neutral = match training.loss.needs_real_scores() {
            true => scores[1].iter().sum::<f32>() / scores[1].len() as f32,
            false => 0.0,
        };
        self.strength
            .follow(&scores[0], neutral, training.augment_target);
        let value = loss.as_vec()[0];
        let mut grads = loss.try_backward().map_err(DeviceError::new)?;
        let rate = training.discriminator_learning_rate;
        let rate = rate.unwrap_or(training.learning_rate) * self.rate_share();
        let adam = self.adam(&self.discriminator_moments, rate);
        update(
            &mut self.discriminator,
            &mut self.discriminator_moments,
            &mut grads,
            adam,
        )
        .map_err(DeviceError::new)?;
        Ok((value, prediction_error(&scores[0], &scores[1])))
    }

    /// Updates the generator by what the discriminator now says; its loss.
    fn generator_step(
        &mut self,
        fake: Mat<f32, D, OwnedTape<f32, D>>,
        labels: &[usize],
        (real, real_labels): (&[f32], &[usize]),
        teacher_output: Option<Vec<f32>>,
    ) -> Result<f32, TrainerError> {
        let training = &self.config.training;
        let real_scores = if training.loss.needs_real_scores() {
            let real = self.seen(self.mat(real.to_vec(), labels.len())?, Seen::Real)?;
            Some(self.judge(real, real_labels, INPUT_ONLY)?)
        } else {
            None
        };
        let fake_again = fake.retaped::<OwnedTape<f32, D>>();
        let fake = self.seen(fake, Seen::FakeAgain)?;
        let scores = self.judge(fake, labels, INPUT_ONLY)?;
        let mut loss =
            loss::generator(training.loss, scores, real_scores).map_err(DeviceError::new)?;
        if let Some(teacher_output) = teacher_output {
            let teacher_output = self.mat(teacher_output, fake_again.shape().0)?;
            let weight = training.teacher_weight;
            let distance =
                loss::distance(fake_again, teacher_output, weight).map_err(DeviceError::new)?;
            loss = loss.try_add(distance).map_err(DeviceError::new)?;
        }
        let value = loss.as_vec()[0];
        let mut grads = loss.try_backward().map_err(DeviceError::new)?;
        let adam = self.adam(&self.generator_moments, self.learning_rate());
        update(
            &mut self.generator,
            &mut self.generator_moments,
            &mut grads,
            adam,
        )
        .map_err(DeviceError::new)?;
        Ok(value)
    }

    fn mat(&self, data: Vec<f32>, rows: usize) -> Result<Mat<f32, D>, DeviceError> {
        let shape = (rows, data.len() / rows);
        self.device
            .try_tensor_from_vec(data, shape)
            .map_err(DeviceError::new)
    }

    /// Kinds of change to what the discriminator sees, none where images are not augmented.
    fn augmentations(&self) -> &[Augmentation] {
        self.config.training.augment.as_deref().unwrap_or_default()
    }

    /// A batch as the discriminator sees it.
    fn seen<T: Tape<f32, D>>(
        &self,
        x: Mat<f32, D, T>,
        seen: Seen,
    ) -> Result<Mat<f32, D, T>, DeviceError> {
        let kinds = self.augmentations();
        if kinds.is_empty() {
            return Ok(x);
        }
        let seed = self.config.training.seed;
        let probability = self.strength.probability;
        let mut rng = random::stream(seed, Purpose::Augment, 3 * self.step + seen as u64);
        let shape = self.config.image.shape();
        let count = x.shape().0 * x.shape().1 / shape.len();
        let changes = (0..count).map(|_| draw_change(shape, kinds, probability, &mut rng));
        D::augment(x, shape, changes.collect()).map_err(DeviceError::new)
    }

    /// Scores of both batches. A discriminator that normalizes has to see them apart, for
    /// each has statistics of its own; any other goes through its weights but once.
    fn judge_both(
        &self,
        [real, fake]: [(&[f32], &[usize], Seen); 2],
    ) -> Result<TapedPair<D>, TrainerError> {
        let batch = self.config.training.batch;
        let seen =
            |(pixels, _, seen): (&[f32], _, _)| self.seen(self.mat(pixels.to_vec(), batch)?, seen);
        let (real_seen, fake_seen) = (seen(real)?, seen(fake)?);
        if self
            .discriminator
            .blocks
            .iter()
            .any(|block| block.spec.norm)
        {
            let judge = |x: Mat<f32, D>, labels| {
                self.judge(x.put_tape(OwnedTape::default()), labels, WEIGHTS_ONLY)
            };
            return Ok((judge(real_seen, real.1)?, judge(fake_seen, fake.1)?));
        }
        let both = self.mat([values(&real_seen), values(&fake_seen)].concat(), 2 * batch)?;
        let labels = [real.1, fake.1].concat();
        let scores = self.judge(both.put_tape(OwnedTape::default()), &labels, WEIGHTS_ONLY)?;
        let half = |scores: Scores<D, OwnedTape<f32, D>>, from: usize| {
            let index = (from..from + batch).collect();
            let index = self
                .device
                .try_tensor_from_vec(index, (batch,))
                .map_err(DeviceError::new)?;
            scores
                .try_gather::<(usize,), (usize,)>(index)
                .map_err(DeviceError::new)
        };
        let again = scores.retaped::<OwnedTape<f32, D>>();
        Ok((half(scores, 0)?, half(again, batch)?))
    }

    /// The discriminator's scores of `x`, which come from the classes in `labels`.
    fn judge<T: Tape<f32, D>>(
        &self,
        x: Mat<f32, D, T>,
        labels: &[usize],
        mask: GradMask,
    ) -> Result<Scores<D, T>, DeviceError> {
        let (judgement, _) =
            D::forward_pass(&self.discriminator, x, mask).map_err(DeviceError::new)?;
        let (batch, units) = *judgement.shape();
        let mut counts = vec![0.0; batch * units];
        for (i, row) in counts.chunks_exact_mut(units).enumerate() {
            row[0] = 1.0;
            if let Some(unit) = labels.get(i).and_then(|label| row.get_mut(1 + label)) {
                *unit = 1.0;
            }
        }
        let counts = self.mat(counts, batch)?;
        let scores = judgement.try_mul(counts).map_err(DeviceError::new)?;
        scores
            .try_sum::<(usize,), Axis<1>>()
            .map_err(DeviceError::new)
    }

    /// The next images `[batch, h * w * c]` from -1 to 1, and their classes.
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

    /// Constants of the next update of the network with these moments.
    fn adam(&self, moments: &Moments, rate: f32) -> Adam {
        let Training { beta1, beta2, .. } = self.config.training;
        Adam::at(moments.updates + 1, rate, beta1, beta2)
    }

    fn learning_rate(&self) -> f32 {
        self.config.training.learning_rate * self.rate_share()
    }

    /// Constant at first, then falling linearly; halved by each rollback.
    fn rate_share(&self) -> f32 {
        let t = &self.config.training;
        let progress = self.step as f32 / self.end_step as f32;
        let fall = (progress - t.decay_from) / (1.0 - t.decay_from).max(f32::EPSILON);
        let share = 1.0 + (t.decay_to - 1.0) * fall.clamp(0.0, 1.0);
        share * 0.5f32.powi(self.rollbacks as i32)
    }

    /// Moves the averaged generator; faster at first, so that a short run has one too.
    fn update_ema(&mut self) {
        let t = self.step as f32;
        let share = 1.0 - self.config.training.ema.min((1.0 + t) / (10.0 + t));
        let mut ema = self.ema.iter_mut();
        let mut follow = |new: &[f32]| {
            let pairs = ema.next().into_iter().flatten().zip(new);
            pairs.for_each(|(ema, new)| *ema += share * (new - *ema));
        };
        for (_, param) in self.generator.params() {
            follow(param.trained());
        }
        for (_, stats) in self.generator.running_mut() {
            follow(stats);
        }
    }
}

/// Mean probability of the wrong prediction.
fn prediction_error(real: &[f32], fake: &[f32]) -> f32 {
    let sigmoid = |score: f32| 1.0 / (1.0 + (-score).exp());
    let errors = real
        .iter()
        .map(|&s| sigmoid(-s))
        .chain(fake.iter().map(|&s| sigmoid(s)));
    errors.sum::<f32>() / (real.len() + fake.len()) as f32
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
    /// The device failed.
    #[error("{0}; a smaller --batch needs less memory")]
    Device(#[from] DeviceError),
}
