//! Notices when a run has gone wrong.

use super::trainer::StepReport;

/// What went wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// A loss is no longer a number.
    #[error("a loss is not a number at step {step}")]
    NotANumber {
        /// Where.
        step: u64,
    },
    /// All pictures look alike.
    #[error(
        "the generator has collapsed at step {step}: its pictures vary {percent:.2} % as much as the data"
    )]
    Collapsed {
        /// Where.
        step: u64,
        /// Variance of the fakes, in percent of the data's.
        percent: f32,
    },
}

/// Steps before the variance counts: an untrained generator draws grey.
const GRACE_STEPS: u64 = 200;
/// Steps in a row that have to be flat.
const FLAT_STEPS: u32 = 50;
/// Share of the data's variance below which a step is flat.
const FLAT_SHARE: f32 = 0.02;

/// Follows a run's reports.
pub struct Watch {
    data_variance: f32,
    flat_steps: u32,
}

impl Watch {
    /// `data_variance`: mean over pixels of the data's variance, pixels from -1 to 1.
    pub fn new(data_variance: f32) -> Self {
        Self {
            data_variance,
            flat_steps: 0,
        }
    }

    /// Looks at one step.
    pub fn check(&mut self, report: &StepReport) -> Result<(), Trouble> {
        let step = report.step;
        if !(report.discriminator_loss.is_finite() && report.generator_loss.is_finite()) {
            return Err(Trouble::NotANumber { step });
        }
        let share = report.fake_variance / self.data_variance;
        let flat = step > GRACE_STEPS && self.data_variance > 0.0 && share < FLAT_SHARE;
        self.flat_steps = if flat { self.flat_steps + 1 } else { 0 };
        if self.flat_steps >= FLAT_STEPS {
            let percent = 100.0 * share;
            return Err(Trouble::Collapsed { step, percent });
        }
        Ok(())
    }
}
