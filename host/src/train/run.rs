//! A whole run: steps, watch, metrics, samples, checkpoints, and what is left at the end.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::{self, CheckpointError, RollbackPoint};
use super::divergence::{Divergence, DivergenceMonitor};
use super::log::Logs;
use super::trainer::{StepReport, Trainer, TrainerError, pixel_variance};
use crate::data::{Dataset, Images};
use crate::files::{MOST_BYTES, holds_run, open_own, read_regular, remedy, remove_parts};
use crate::generator::pixel_value;
use crate::nn::Backend;
use crate::picture;
use crate::report;
use crate::risk::RiskError;
use crate::risk::monitor::{Reading, RiskMonitor};
use crate::sample::{self, Order};

/// The most bytes that are read of who holds a run's lock.
const HOLDER_BYTES: u64 = 100;

/// The files of a run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the run this process's own until the file is dropped: no other command writes into
    /// the folder meanwhile. What a killed process locked is free again, and what it left half
    /// written is removed.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.file("lock");
        let mut file = open_own(&path).map_err(RunError::io(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let holder = read_regular(&path, HOLDER_BYTES).unwrap_or_default();
                let holder = String::from_utf8_lossy(&holder).into_owned();
                let folder = self.0.clone();
                return Err(RunError::InUse { folder, holder });
            }
            // A file system without locks has to be trusted.
            Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => {
                return Err(RunError::io(&path)(e));
            }
            _ => {}
        }
        let note = file.set_len(0).and_then(|()| file.rewind());
        let note = note.and_then(|()| write!(file, "process {}", std::process::id()));
        note.map_err(RunError::io(&path))?;
        remove_parts(&self.0, &FILES);
        remove_parts(&self.file("samples"), &["step-"]);
        Ok(file)
    }

    /// Makes the folder for samples; a link in its place is refused, for what it leads to is
    /// not the run's own.
    pub fn make_samples(&self) -> Result<(), RunError> {
        let path = self.file("samples");
        let refuse = |()| match std::fs::symlink_metadata(&path)?.is_dir() {
            true => Ok(()),
            false => Err(std::io::Error::new(
                ErrorKind::NotADirectory,
                "is a link: remove it",
            )),
        };
        let made = std::fs::create_dir_all(&path).and_then(refuse);
        made.map_err(RunError::io(&path))
    }

    /// Everything needed to go on.
    pub fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// One line of JSON for each step.
    pub fn metrics(&self) -> PathBuf {
        self.file("metrics.jsonl")
    }

    /// What the confidence risk was, one line of JSON for each evaluation.
    pub fn risk(&self) -> PathBuf {
        self.file("risk.jsonl")
    }

    /// The least risky generator, where the risk is watched.
    pub fn best(&self) -> PathBuf {
        self.file("best.safetensors")
    }

    /// What the run has come to: the least risky generator, or else the checkpoint's, or else,
    /// in a run that was imported, the only one.
    pub fn generator(&self) -> PathBuf {
        let trained = [self.best(), self.checkpoint()];
        let found = trained.into_iter().find(|path| path.exists());
        found.unwrap_or_else(|| self.file("generator.safetensors"))
    }

    /// Whether there is a run, finished or not, trained or imported.
    pub fn is_taken(&self) -> bool {
        holds_run(&self.0)
    }

    /// Readings of the risk up to `step`.
    pub fn readings(&self, step: u64) -> Vec<Reading> {
        let text = read_regular(&self.risk(), MOST_BYTES).unwrap_or_default();
        let lines = text.split(|&byte| byte == b'\n');
        let readings = lines.filter_map(|line| serde_json::from_slice(line).ok());
        readings.filter(|r: &Reading| r.step <= step).collect()
    }

    /// What the averaged generator drew after `step` steps.
    pub fn sample(&self, step: u64) -> PathBuf {
        self.file(&format!("samples/step-{step:06}.png"))
    }
}

/// Files that a run writes whole, by a temporary one beside each.
const FILES: [&str; 10] = [
    "best.safetensors",
    "checkpoint.safetensors",
    "compare.json",
    "config.toml",
    "generator.gan",
    "generator.safetensors",
    "grid.png",
    "metrics.jsonl",
    "report.html",
    "risk.jsonl",
];

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
    #[error("{0}; a lower training.learning_rate, a larger --batch or more pictures help")]
    Divergence(Divergence),
    /// A file of the run could not be read or written.
    #[error("cannot {verb} {path}: {error}{}", remedy(.error))]
    Io {
        /// "read" or "write".
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another process trains in this folder.
    #[error(
        "{folder} is in use by another command ({holder}): let it end or stop it, or name \
         another folder with --out"
    )]
    InUse {
        /// The run.
        folder: PathBuf,
        /// What the other one wrote into the lock.
        holder: String,
    },
    /// The risk could not be measured.
    #[error("the confidence risk cannot be watched: {0}")]
    Risk(#[from] RiskError),
    /// The averaged generator could not be folded.
    #[error("{0}")]
    Fold(String),
}

impl RunError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::of_file("write", path)
    }

    pub(crate) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::of_file("read", path)
    }

    fn of_file(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { verb, path, error }
    }
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

/// What happens during a run, for those who watch.
pub enum Event<'a> {
    /// A step is done.
    Step {
        /// What it did.
        report: &'a StepReport,
        /// Variance of its fakes as a share of the data's.
        diversity: f32,
    },
    /// The averaged generator has drawn its grid.
    Sampled(&'a Images),
    /// The run fits its budget with this many steps.
    Planned {
        /// In all.
        steps: u64,
    },
    /// The risk was evaluated.
    Risk {
        /// What was found.
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
        /// Why.
        divergence: Divergence,
        /// Where to.
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
    while trainer.step < trainer.config.training.steps {
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
        if let Some(steps) = clock.plan(trainer) {
            notify(Event::Planned { steps });
        }
        let every = |steps: u64| report.step.is_multiple_of(steps);
        let ends = report.step == trainer.config.training.steps;
        if let Some(risk) = risk.as_mut().filter(|risk| every(risk.every) || ends) {
            observe(trainer, dataset, risk, &mut logs, &mut notify)?;
        }
        let last = report.step == trainer.config.training.steps;
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
        let steps = &mut trainer.config.training.steps;
        let mut planned = None;
        if !budget.is_planned && step == first_step + TIMED_STEPS {
            budget.is_planned = true;
            let step_s = self.begin.elapsed().as_secs_f64() / TIMED_STEPS as f64;
            // A tenth of the budget is kept for what comes after.
            let left_s = 0.9 * budget.total_s - budget.spent_s;
            *steps = step + (left_s / step_s).max(1.0) as u64;
            planned = Some(*steps);
        }
        if budget.spent_s > 0.95 * budget.total_s {
            // The machine has become slower than the plan: what there is has to do.
            *steps = step;
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
    report::write(folder, &logs.history()).map(drop)
}

/// Writes the page of a run that is not being trained, and returns its path.
pub fn write_page(folder: &RunFolder) -> Result<PathBuf, RunError> {
    let logs = Logs::open(folder, u64::MAX)?;
    report::write(folder, &logs.history())
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
        trainer.config.training.steps = trainer.step;
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
    trainer.extended_at = before.extended_at;
    trainer.rollbacks = before.rollbacks;
    trainer.go_on_from_ema();
    logs.go_back(trainer.step, best);
    Ok(())
}

/// Mean over pixels of the variance of up to 1,000 pictures, pixels from -1 to 1.
fn data_variance(images: &Images) -> f32 {
    let n = images.len().min(1000);
    let pixels = &images.pixels[..n * images.image_len()];
    let pixels: Vec<f32> = pixels.iter().map(|&p| pixel_value(p)).collect();
    pixel_variance(&pixels, n)
}

/// Latents of every grid of a run: ten columns, the classes in turn.
pub fn grid_order(classes: usize) -> Order {
    let count = if classes > 0 {
        10 * classes.min(10)
    } else {
        80
    };
    Order {
        count,
        seed: 1,
        class: None,
    }
}

/// Columns of a grid: one per class, up to ten.
pub fn grid_columns(classes: usize) -> usize {
    if classes > 0 { classes.min(10) } else { 10 }
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
    picture::save_png(&path, &grid).map_err(RunError::io(&path))
}
