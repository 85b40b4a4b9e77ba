//! A whole run: steps, divergence, metrics, samples, checkpoints.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::{self, CheckpointError, RollbackPoint};
use super::divergence::{Divergence, DivergenceMonitor};
use super::log::Logs;
use super::report;
use super::trainer::{StepReport, Trainer, TrainerError, pixel_variance};
use crate::data::{Dataset, Images};
use crate::files::FileError;
use crate::generator::pixel_value;
use crate::nn::Backend;
use crate::picture;
use crate::risk::RiskError;
use crate::risk::monitor::{Reading, RiskMonitor};
use crate::run_folder::RunFolder;
use crate::sample::{self, Order};

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A step failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// A checkpoint failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It went wrong, and going back did not help or was not possible.
    #[error("{0}; a lower training.learning_rate, a larger --batch or more images help")]
    Divergence(Divergence),
    /// A file of the run could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The risk could not be measured.
    #[error("the confidence risk cannot be watched: {0}")]
    Risk(#[from] RiskError),
    /// The averaged generator could not be folded.
    #[error("{0}")]
    Fold(String),
}

/// How the steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All done.
    Finished,
    /// Asked to stop; the checkpoint holds everything up to this step.
    Interrupted {
        /// Steps done.
        step: u64,
    },
}

/// An event of a run, for progress displays.
pub enum Event<'a> {
    /// A step is done.
    Step {
        /// The step's report.
        report: &'a StepReport,
        /// Variance of its fakes as a share of the data's.
        diversity: f32,
    },
    /// The averaged generator has drawn its grid.
    Sampled(&'a Images),
    /// The discriminator is likely to know the real images one by one.
    Memorized {
        /// Mean error of its predictions, from 0 to 1.
        error: f32,
    },
    /// The run fits its budget with this many steps.
    Planned {
        /// All steps of the run.
        steps: u64,
    },
    /// The risk was evaluated.
    Risk {
        /// The result of an evaluation.
        reading: Reading,
        /// The least risky so far.
        best: Reading,
        /// Whether the run stops here, for it gets no better.
        is_over: bool,
    },
    /// Files could not be written. Nothing is lost yet: the run goes on and tries again.
    NotSaved(&'a RunError),
    /// The run went back to this step's averaged generator at half the rate.
    RolledBack {
        /// The fault.
        divergence: Divergence,
        /// The step that it went back to.
        step: u64,
    },
}

/// Steps timed before a budget is turned into a number of steps.
const TIMED_STEPS: u64 = 20;

/// Trains to the end of the run or until `stop`. A run with a budget times its first steps and
/// sets their number to fill it; with a `risk` to watch, the least risky generator is kept, and
/// the run may end early.
pub fn train<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    mut risk: Option<RiskMonitor<'_>>,
    stop: &AtomicBool,
    mut notify: impl FnMut(Event<'_>),
) -> Result<Ending, RunError> {
    let mut clock = Clock::start(trainer);
    let mut logs = Logs::open(folder, trainer.step)?;
    let data_variance = data_variance(&dataset.train);
    let mut watch = DivergenceMonitor::new(data_variance);
    let watched = trainer.config.training.watch;
    if !folder.checkpoint().exists() || trainer.extended_at == trainer.step {
        // From here on a killed run can go on, to as many steps as it was given.
        save_point(trainer, dataset, folder, &mut logs)?;
    }
    while trainer.step < trainer.end_step {
        if stop.load(Ordering::Relaxed) {
            clock.note(trainer);
            let healthy = watch.healthy() || !watched;
            let step = save_between(trainer, dataset, folder, &mut logs, healthy)?;
            return Ok(Ending::Interrupted { step });
        }
        let report = trainer.train_step(&dataset.train)?;
        let checked = watch.check(&report);
        if let Some(divergence) = checked.err().filter(|_| watched) {
            roll_back(trainer, folder, divergence, &mut logs)?;
            let step = trainer.step;
            notify(Event::RolledBack { divergence, step });
            if let Some(risk) = &mut risk {
                risk.go_back(step);
            }
            watch = DivergenceMonitor::new(data_variance);
            continue;
        }
        logs.metrics.push(report);
        notify(Event::Step {
            report: &report,
            diversity: watch.diversity(&report),
        });
        if let Some(error) = watch.memorized() {
            notify(Event::Memorized { error });
        }
        if let Some(steps) = clock.plan(trainer) {
            notify(Event::Planned { steps });
        }
        let every = |steps: u64| report.step.is_multiple_of(steps);
        let ends = report.step == trainer.end_step;
        if let Some(risk) = risk.as_mut().filter(|risk| every(risk.every) || ends) {
            observe(trainer, dataset, risk, &mut logs, &mut notify)?;
        }
        let last = report.step == trainer.end_step;
        let mut saved = Ok(());
        if every(trainer.config.training.sample_every) || last {
            saved = save_samples(trainer, dataset, folder, &mut notify);
        }
        if last {
            save_at_last(trainer, dataset, folder, &mut logs, stop, &mut notify)?;
        } else if every(trainer.config.training.checkpoint_every) && (watch.healthy() || !watched) {
            saved = saved.and(save_point(trainer, dataset, folder, &mut logs));
        }
        saved.unwrap_or_else(|error| notify(Event::NotSaved(&error)));
    }
    Ok(Ending::Finished)
}

/// The time of a run with a budget.
struct Clock {
    begin: Instant,
    first_step: u64,
    /// Seconds that earlier processes spent.
    spent_s: f64,
}

impl Clock {
    fn start<D: Backend<f32>>(trainer: &Trainer<D>) -> Self {
        Self {
            begin: Instant::now(),
            first_step: trainer.step,
            spent_s: trainer.budget.map_or(0.0, |budget| budget.spent_s),
        }
    }

    /// Writes the time down in the run's budget.
    fn note<D: Backend<f32>>(&self, trainer: &mut Trainer<D>) {
        if let Some(budget) = &mut trainer.budget {
            budget.spent_s = self.spent_s + self.begin.elapsed().as_secs_f64();
        }
    }

    /// Fits the run's steps to its budget; the number, when it is first set.
    fn plan<D: Backend<f32>>(&mut self, trainer: &mut Trainer<D>) -> Option<u64> {
        self.note(trainer);
        let (step, first_step) = (trainer.step, self.first_step);
        let budget = trainer.budget.as_mut()?;
        let end_step = &mut trainer.end_step;
        let mut planned = None;
        if !budget.is_planned && step == first_step + TIMED_STEPS {
            budget.is_planned = true;
            let step_s = self.begin.elapsed().as_secs_f64() / TIMED_STEPS as f64;
            // A tenth of the budget is kept for what comes after.
            let left_s = 0.9 * budget.total_s - budget.spent_s;
            *end_step = step + (left_s / step_s).max(1.0) as u64;
            planned = Some(*end_step);
        }
        if budget.spent_s > 0.95 * budget.total_s {
            // The machine has become slower than the plan: what there is has to do.
            *end_step = step;
        }
        planned
    }
}

/// Makes this step the place to go back to, and saves it.
fn save_point<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    logs: &mut Logs,
) -> Result<(), RunError> {
    let checkpoint = checkpoint::encode_trainer(trainer, &dataset.name, None)?;
    let best = logs.best().cloned();
    // It stays so where it cannot be written now.
    let point = trainer.rollback.insert(RollbackPoint { checkpoint, best });
    save(&point.checkpoint, folder, logs)
}

/// Saves a run that is interrupted, and returns the step that it goes on from: this one, or in
/// the middle of divergence the one that it would go back to.
fn save_between<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    logs: &mut Logs,
    healthy: bool,
) -> Result<u64, RunError> {
    let rollback = trainer.rollback.take();
    if healthy {
        let checkpoint = checkpoint::encode_trainer(trainer, &dataset.name, rollback.as_ref())?;
        trainer.rollback = rollback;
        save(&checkpoint, folder, logs)?;
    } else if let Some(point) = rollback {
        let step = checkpoint::state_in(&point.checkpoint, &folder.checkpoint())?.step;
        logs.go_back(step, point.best);
        save(&point.checkpoint, folder, logs)?;
        return Ok(step);
    }
    Ok(trainer.step)
}

/// Writes the logs, then the checkpoint that covers them, then the run's page.
fn save(checkpoint: &[u8], folder: &RunFolder, logs: &mut Logs) -> Result<(), RunError> {
    logs.flush()?;
    checkpoint::write(&folder.checkpoint(), checkpoint)?;
    report::write(folder, &logs.history())?;
    Ok(())
}

/// Writes the page of a run that is not being trained, and returns its path.
pub fn write_page(folder: &RunFolder) -> Result<PathBuf, RunError> {
    let logs = Logs::open(folder, u64::MAX)?;
    Ok(report::write(folder, &logs.history())?)
}

/// Evaluates the risk, keeps the generator if it is the best, and ends the run if the risk no
/// longer falls.
fn observe<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    risk: &mut RiskMonitor<'_>,
    logs: &mut Logs,
    notify: &mut impl FnMut(Event<'_>),
) -> Result<(), RunError> {
    let generator = checkpoint::averaged(trainer, &dataset.name).map_err(RunError::Fold)?;
    let reading = risk.evaluate(&generator, trainer.step)?;
    logs.risk.push(reading);
    let best = risk.best().unwrap_or(reading);
    if best == reading {
        logs.set_best(Some(checkpoint::generator_file(trainer, &dataset.name)?));
    }
    let is_over = risk.is_stalled();
    notify(Event::Risk {
        reading,
        best,
        is_over,
    });
    if is_over {
        trainer.end_step = trainer.step;
    }
    Ok(())
}

/// Pause between attempts to save a finished run.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Attempts before a finished run is given up.
const RETRIES: u32 = 120;

/// Saves a finished run: a full disk has ten minutes to be cleared, or until `stop`.
fn save_at_last<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    logs: &mut Logs,
    stop: &AtomicBool,
    notify: &mut impl FnMut(Event<'_>),
) -> Result<(), RunError> {
    for _ in 0..RETRIES {
        match save_point(trainer, dataset, folder, logs) {
            Err(error) if !stop.load(Ordering::Relaxed) => notify(Event::NotSaved(&error)),
            ended => return ended,
        }
        std::thread::sleep(RETRY_EVERY);
    }
    save_point(trainer, dataset, folder, logs)
}

/// Times that a run may go back.
const MAX_ROLLBACKS: u32 = 3;

/// Goes back to the averaged generator of the last checkpoint, at half the rate.
fn roll_back<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    folder: &RunFolder,
    divergence: Divergence,
    logs: &mut Logs,
) -> Result<(), RunError> {
    let point = trainer.rollback.take();
    let point = point.filter(|_| trainer.rollbacks < MAX_ROLLBACKS);
    let point = point.ok_or(RunError::Divergence(divergence))?;
    let best = point.best.clone();
    let restored = checkpoint::restore_point(point, &folder.checkpoint(), trainer.device.clone());
    let before = std::mem::replace(trainer, restored?);
    trainer.teacher = before.teacher;
    trainer.config = before.config;
    trainer.data = before.data;
    trainer.budget = before.budget;
    trainer.end_step = before.end_step;
    trainer.extended_at = before.extended_at;
    trainer.rollbacks = before.rollbacks;
    trainer.go_on_from_ema();
    logs.go_back(trainer.step, best);
    Ok(())
}

/// Mean over pixels of the variance of up to 1,000 images, pixels from -1 to 1.
fn data_variance(images: &Images) -> f32 {
    let n = images.len().min(1000);
    let pixels = &images.pixels[..n * images.image_len()];
    let pixels: Vec<f32> = pixels.iter().map(|&p| pixel_value(p)).collect();
    pixel_variance(&pixels, n)
}

/// Latents of every grid of a run, the classes in turn.
pub fn grid_order(classes: usize) -> Order {
    let rows = if classes > 0 { 10 } else { 8 };
    Order {
        count: rows * grid_columns(classes),
        seed: 1,
        class: None,
    }
}

/// Columns of a grid: one for each class, up to 16; ten where there are more or none.
pub fn grid_columns(classes: usize) -> usize {
    match classes {
        1..=16 => classes,
        _ => 10,
    }
}

fn save_samples<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    notify: &mut impl FnMut(Event<'_>),
) -> Result<(), RunError> {
    let generator = checkpoint::averaged(trainer, &dataset.name).map_err(RunError::Fold)?;
    let classes = dataset.class_names.len();
    let images = sample::float(&generator, &grid_order(classes));
    notify(Event::Sampled(&images));
    let path = folder.sample(trainer.step);
    let grid = picture::grid(&images, grid_columns(classes), 2);
    Ok(picture::save_png(&path, &grid).map_err(FileError::writing(&path))?)
}
