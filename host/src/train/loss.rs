//! The losses of both networks: functions of the discriminator's scores.

use dfdx::prelude::{
    Device, HasShape, MeanTo, NoneTape, Tape, Tensor, TryAdd, TryMul, TrySub,
    binary_cross_entropy_with_logits_loss,
};
use serde::{Deserialize, Serialize};

use crate::config::{Loss, Training};
use crate::nn::Mat;

/// Scores of the discriminator, one for each image: above 0 for real.
pub type Scores<D, T = NoneTape> = Tensor<(usize,), f32, D, T>;

/// A loss on its way to be minimized.
pub type Scalar<D, T> = Tensor<(), f32, D, T>;

/// References of the `LeCam` regularizer (Tseng et al. 2021): moving averages of the
/// discriminator's mean scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Anchors {
    /// Mean score of real images.
    pub real: f32,
    /// Mean score of generated images.
    pub fake: f32,
}

/// Share of the old anchors kept at each step.
const ANCHOR_KEEP: f32 = 0.99;

impl Anchors {
    /// Moves the anchors towards a batch's mean scores.
    pub fn follow(&mut self, real: &[f32], fake: &[f32]) {
        let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
        self.real += (1.0 - ANCHOR_KEEP) * (mean(real) - self.real);
        self.fake += (1.0 - ANCHOR_KEEP) * (mean(fake) - self.fake);
    }
}

/// The discriminator's loss, with what `training` weighs and adds.
pub fn discriminator<D: Device<f32>, T: Tape<f32, D>>(
    training: &Training,
    anchors: Anchors,
    real: Scores<D, T>,
    fake: Scores<D, T>,
) -> Result<Scalar<D, T>, D::Err> {
    let (real_again, fake_again) = (real.retaped::<T>(), fake.retaped::<T>());
    let loss = match training.loss {
        Loss::Bce => {
            let real = cross_entropy(real, 1.0 - training.label_smoothing)?;
            let fake = cross_entropy(fake, 0.0)?;
            weighted(training, real, fake)?
        }
        Loss::Hinge => {
            let real = real.try_negate()?.try_add(1.0)?.try_relu()?.try_mean()?;
            let fake = fake.try_add(1.0)?.try_relu()?.try_mean()?;
            weighted(training, real, fake)?
        }
        Loss::Relativistic => cross_entropy(real.try_sub(fake)?, 1.0 - training.label_smoothing)?,
    };
    if training.lecam == 0.0 {
        return Ok(loss);
    }
    let real = real_again.try_sub(anchors.fake)?.try_relu()?.try_square()?;
    let fake = fake_again.try_negate()?.try_add(anchors.real)?;
    let fake = fake.try_relu()?.try_square()?;
    let distance = real.try_mean()?.try_add(fake.try_mean()?)?;
    loss.try_add(distance.try_mul(training.lecam)?)
}

/// The generator's loss; `real` counts for the relativistic one only.
pub fn generator<D: Device<f32>, T: Tape<f32, D>>(
    loss: Loss,
    fake: Scores<D, T>,
    real: Option<Scores<D>>,
) -> Result<Scalar<D, T>, D::Err> {
    match (loss, real) {
        (Loss::Relativistic, Some(real)) => cross_entropy(fake.try_sub(real)?, 1.0),
        (Loss::Hinge, _) => fake.try_negate()?.try_mean(),
        _ => cross_entropy(fake, 1.0),
    }
}

/// Weighted mean squared difference of images.
pub fn distance<D: Device<f32>, T: Tape<f32, D>>(
    drawn: Mat<f32, D, T>,
    target: Mat<f32, D>,
    weight: f32,
) -> Result<Scalar<D, T>, D::Err> {
    let squares = drawn.try_sub(target)?.try_square()?;
    squares.try_mean()?.try_mul(weight)
}

fn weighted<D: Device<f32>, T: Tape<f32, D>>(
    training: &Training,
    real: Scalar<D, T>,
    fake: Scalar<D, T>,
) -> Result<Scalar<D, T>, D::Err> {
    let real = real.try_mul(training.real_weight)?;
    real.try_add(fake.try_mul(training.fake_weight)?)
}

/// Mean binary cross-entropy of scores against one target.
fn cross_entropy<D: Device<f32>, T: Tape<f32, D>>(
    scores: Scores<D, T>,
    target: f32,
) -> Result<Scalar<D, T>, D::Err> {
    let shape = *scores.shape();
    let targets = scores
        .device()
        .try_tensor_from_vec(vec![target; shape.0], shape)?;
    Ok(binary_cross_entropy_with_logits_loss(scores, targets))
}
