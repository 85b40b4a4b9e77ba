//! Notices when a run has gone wrong.

use super::trainer::StepReport;

/// The way in which a run has diverged, and the step.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Divergence {
    /// A loss is no longer a number.
    #[error("a loss is not a number at step {step}")]
    NotANumber {
        /// The step at which it was noticed.
        step: u64,
    },
    /// All images look alike.
    #[error(
        "the generator has collapsed at step {step}: its images vary {percent:.0} % as much as the data"
    )]
    Collapsed {
        /// The step at which it was noticed.
        step: u64,
        /// Variance of the fakes, in percent of the data's.
        percent: f32,
    },
    /// The generator has nothing to learn from.
    #[error(
        "the discriminator is saturated at step {step}: its predictions are wrong by {percent:.2} % only"
    )]
    Saturated {
        /// The step at which it was noticed.
        step: u64,
        /// Mean error of its predictions.
        percent: f32,
    },
}

/// Steps before any of it counts: an untrained generator draws grey, and is easily told.
const GRACE_STEPS: u64 = 200;
/// Steps in a row that have to look wrong.
const WRONG_STEPS: u32 = 100;
/// Share of the data's variance below which the fakes are too alike.
const FLAT_SHARE: f32 = 0.2;
/// Mean error of the predictions below which nothing is left to learn from.
const SATURATED_ERROR: f32 = 0.002;

/// Mean error below which the discriminator is likely to know the real images one by one.
const MEMORIZED_ERROR: f32 = 0.1;
/// Share of the old mean error kept at each step.
const ERROR_KEEP: f32 = 0.995;

/// Follows a run's reports.
pub struct DivergenceMonitor {
    data_variance: f32,
    /// Moving average of the discriminator's error, from a half.
    mean_error: f32,
    has_warned: bool,
    flat_steps: u32,
    saturated_steps: u32,
}

impl DivergenceMonitor {
    /// `data_variance`: mean over pixels of the data's variance, pixels from -1 to 1.
    pub fn new(data_variance: f32) -> Self {
        Self {
            data_variance,
            mean_error: 0.5,
            has_warned: false,
            flat_steps: 0,
            saturated_steps: 0,
        }
    }

    /// Looks at one step.
    pub fn check(&mut self, report: &StepReport) -> Result<(), Divergence> {
        let step = report.step;
        if !(report.discriminator_loss.is_finite() && report.generator_loss.is_finite()) {
            return Err(Divergence::NotANumber { step });
        }
        let share = self.diversity(report);
        let error = report.discriminator_error;
        self.mean_error += (1.0 - ERROR_KEEP) * (error - self.mean_error);
        let counts = step > GRACE_STEPS;
        let count = |steps: &mut u32, wrong: bool| {
            *steps = if counts && wrong { *steps + 1 } else { 0 };
            *steps >= WRONG_STEPS
        };
        if count(&mut self.flat_steps, share < FLAT_SHARE) {
            let percent = 100.0 * share;
            return Err(Divergence::Collapsed { step, percent });
        }
        if count(&mut self.saturated_steps, error < SATURATED_ERROR) {
            let percent = 100.0 * error;
            return Err(Divergence::Saturated { step, percent });
        }
        Ok(())
    }

    /// The discriminator's mean error, when it is first so small that the discriminator is likely
    /// to know the real images one by one.
    pub fn memorized(&mut self) -> Option<f32> {
        let is_new = self.mean_error < MEMORIZED_ERROR && !self.has_warned;
        self.has_warned |= is_new;
        is_new.then_some(self.mean_error)
    }

    /// The last steps showed neither collapse nor saturation.
    pub fn healthy(&self) -> bool {
        self.flat_steps == 0 && self.saturated_steps == 0
    }

    /// Variance of a step's fakes as a share of the data's; 1 where the data has none.
    pub fn diversity(&self, report: &StepReport) -> f32 {
        if self.data_variance > 0.0 {
            report.fake_variance / self.data_variance
        } else {
            1.0
        }
    }
}
