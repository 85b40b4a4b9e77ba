//! `gan train`: from images to a float and an int8 generator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use dfdx::prelude::Cpu;
use host::config::{Augmentation, Config};
use host::console::{self, check_text, counted};
use host::data::{Dataset, DatasetFingerprint};
use host::files::{MOST_BYTES, read_regular, remedy, write_atomic};
use host::nn::Backend;
use host::risk::features::Extractor;
use host::risk::judge::Judge;
use host::risk::monitor::{self, Reading, RiskMonitor, WATCHED};
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint;
use host::train::run::{self, Ending, Event, grid_columns};
use host::train::trainer::{Budget, StepReport, Trainer};
use host::{picture, quant};
use indicatif::{FormattedDuration, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::{Device, Train};
use crate::device;

pub fn run(args: Train) -> anyhow::Result<()> {
    let Plan {
        mut config,
        folder,
        began_with,
    } = match &args.resume {
        Some(run) => Plan::of_resumed(run, &args)?,
        None => Plan::of_new(&args)?,
    };
    config.data.skip_invalid |= args.reading.skip_invalid;
    let dataset = super::load_data(&config.data, config.image)?;
    say!(
        "data: {}, {} to train on, {} held out, {}, {} left out",
        dataset.name,
        counted(dataset.train.len(), "image"),
        dataset.held_out.len(),
        counted(dataset.class_names.len(), "class"),
        counted(dataset.left_out.len(), "file")
    );
    if args.resume.is_some() {
        let names = &config.data.class_names;
        ensure!(
            *names == dataset.class_names,
            "the data's classes have changed since the run began"
        );
    }
    let fingerprint = DatasetFingerprint::of(&dataset);
    if let Some(began_with) = began_with.filter(|old| !old.has_same_pictures(&fingerprint)) {
        let change = format!("it began with {began_with}; there are {fingerprint} now");
        ensure!(
            args.accept_changed_data,
            "the images have changed since the run began: {change}. Put the old ones back, or \
             go on with --accept-changed-data"
        );
        say!("going on with changed images: {change}");
    }
    fit_to_data(&mut config, &dataset)?;
    train_on_device(config, (&dataset, fingerprint), &folder, &args)
}

/// The configuration and the folder of a run, before its images are read.
struct Plan {
    config: Config,
    folder: RunFolder,
    /// Fingerprint of the data that a resumed run was trained on so far.
    began_with: Option<DatasetFingerprint>,
}

impl Plan {
    fn of_new(args: &Train) -> anyhow::Result<Self> {
        let config = configure(args)?;
        let out = args.out.clone();
        let folder =
            RunFolder::new(out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name)));
        if let Some(data) = &config.data.path {
            ensure_apart(folder.path(), data)?;
        }
        Ok(Self {
            config,
            folder,
            began_with: None,
        })
    }

    fn of_resumed(run: &Path, args: &Train) -> anyhow::Result<Self> {
        let folder = RunFolder::new(run);
        let state = checkpoint::load_state(&folder.checkpoint());
        let state = state.context("nothing to go on from")?;
        let mut config = state.config;
        if let Some(path) = &args.data {
            config.data.path = Some(noted_path(path)?);
        }
        if let Some(steps) = args.steps {
            let done = state.step;
            ensure!(
                steps > done,
                "{} has {done} steps behind it: --steps {steps} asks for no more",
                run.display()
            );
            config.training.steps = steps;
        }
        Ok(Self {
            config,
            folder,
            began_with: state.data,
        })
    }
}

/// Completes a configuration by what the images are, and checks that a device can draw what
/// will come of it.
fn fit_to_data(config: &mut Config, dataset: &Dataset) -> anyhow::Result<()> {
    config.data.class_names.clone_from(&dataset.class_names);
    check_text("the name of the data", &dataset.name).map_err(anyhow::Error::msg)?;
    config.check("the data")?;
    quant::check(config, &dataset.name).map_err(anyhow::Error::msg)?;
    if config.training.augment.is_none() && dataset.train.len() <= FEW_PICTURES {
        say!(
            "few images: DiffAugment is on (translation, color, cutout); \
             training.augment = [] in --config turns it off"
        );
        config.training.augment = Some(Augmentation::ALL.to_vec());
    }
    Ok(())
}

/// Trains on the device of `--device`, and says which it is.
fn train_on_device(
    config: Config,
    data: (&Dataset, DatasetFingerprint),
    folder: &RunFolder,
    args: &Train,
) -> anyhow::Result<()> {
    let threads = rayon::current_num_threads();
    #[cfg(feature = "cuda")]
    if args.device != Device::Cpu {
        match device::cuda() {
            Ok(device) => {
                say!("device: the first NVIDIA GPU");
                return train_on(device, config, data, folder, args);
            }
            Err(reason) if args.device == Device::Auto => {
                say!("device: cpu, {threads} threads ({reason})");
                return train_on(Cpu::default(), config, data, folder, args);
            }
            Err(reason) => bail!(
                "{reason}; `{} doctor` says more, --device cpu needs none",
                super::program()
            ),
        }
    }
    #[cfg(not(feature = "cuda"))]
    if let (Device::Cuda, Err(reason)) = (args.device, device::cuda()) {
        bail!("{reason}");
    }
    let why = if args.device == Device::Auto {
        " (built without CUDA)"
    } else {
        ""
    };
    say!("device: cpu, {threads} threads{why}");
    train_on(Cpu::default(), config, data, folder, args)
}

/// Images up to which the discriminator would learn them by heart.
const FEW_PICTURES: usize = 1000;

/// The resolved configuration, without the classes, which come from the data.
fn configure(args: &Train) -> anyhow::Result<Config> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::preset(&args.preset)?,
    };
    if let Some(path) = &args.data {
        let data = &mut config.data;
        data.path = Some(noted_path(path)?);
        data.tile = args.tile.or(data.tile);
        data.class_names.clear();
        if !args.labels.is_empty() {
            data.labels.clone_from(&args.labels);
        }
    }
    args.reading.change(&mut config.data);
    if let Some(channels) = args.channels {
        config.image.channels = channels;
        match config.generator.conv_transpose.last_mut() {
            Some(last) => last.channels = channels,
            None => config.generator.dense.channels = channels,
        }
    }
    let training = &mut config.training;
    training.steps = args.steps.unwrap_or(training.steps);
    training.batch = args.batch.unwrap_or(training.batch);
    training.seed = args.seed.unwrap_or(training.seed);
    training.watch_risk = args.watch_risk.unwrap_or(training.watch_risk);
    if let Some(teacher) = &args.teacher {
        training.teacher = Some(std::path::absolute(teacher).context("--teacher")?);
    }
    config.check("the command line")?;
    Ok(config)
}

/// The path of `--data` as a run notes it down: absolute, so that the run can be resumed from
/// anywhere.
fn noted_path(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path).context("--data")?;
    ensure!(
        path.to_str().is_some(),
        "--data {}: its name is not UTF-8, so a run cannot note it down: rename it",
        path.display()
    );
    Ok(path)
}

fn train_on<D: Backend<f32>>(
    device: D,
    config: Config,
    (dataset, fingerprint): (&Dataset, DatasetFingerprint),
    folder: &RunFolder,
    args: &Train,
) -> anyhow::Result<()> {
    let path = folder.path();
    std::fs::create_dir_all(path)
        .map_err(|e| anyhow!("cannot make {}: {e}{}", path.display(), remedy(&e)))?;
    let _lock = folder.lock()?;
    folder.make_samples()?;
    let mut trainer = trainer(device, config, folder, args)?;
    trainer.data = Some(fingerprint);
    let begun_at = trainer.step();
    let extractor = judge_of(&trainer.config, dataset)?;
    let risk = match &extractor {
        Some(extractor) => Some(watch_risk(&trainer, dataset, folder, extractor)?),
        None => None,
    };
    let mut progress = Progress::new(&trainer, args)?;
    let stop = stop_signals()?;
    let notify = |event: Event<'_>| progress.show(&event);
    let ending = run::train(&mut trainer, dataset, folder, risk, &stop, notify);
    progress.finish();
    if let Ending::Interrupted { step } = ending? {
        say!(
            "saved at step {step}; go on with: {} train --resume {}",
            super::program(),
            folder.path().display()
        );
        return Ok(());
    }
    // The steps that were done, where a budget or the risk set their number.
    let mut config = trainer.config.clone();
    config.training.steps = trainer.end_step;
    write_config(folder, &config)?;
    let generator = folder.final_generator();
    if folder.best().exists() {
        let best = read_regular(&folder.best(), MOST_BYTES);
        let copied = best.and_then(|best| write_atomic(&generator, &best));
        copied.with_context(|| format!("cannot write {}", generator.display()))?;
    } else {
        checkpoint::save_generator(&mut trainer, &dataset.name, &generator)?;
    }
    // A run that had ended keeps its int8 model: it may have been quantized with other options.
    if trainer.step() > begun_at || !super::quantize::is_of_step(folder, trainer.step()) {
        super::quantize::write_gan(folder)?;
    }
    super::quantize::write_pages(folder)
}

/// A new trainer, or that of the run's checkpoint; with its teacher.
fn trainer<D: Backend<f32>>(
    device: D,
    config: Config,
    folder: &RunFolder,
    args: &Train,
) -> anyhow::Result<Trainer<D>> {
    let mut trainer = if args.resume.is_some() {
        let best = read_regular(&folder.best(), MOST_BYTES).ok();
        let mut trainer = checkpoint::restore(&folder.checkpoint(), best, device)?;
        say!(
            "run: {}, from step {}",
            folder.path().display(),
            trainer.step()
        );
        trainer.config = config;
        if args.steps.is_some() {
            trainer.end_step = trainer.config.training.steps;
            (trainer.extended_at, trainer.budget) = (trainer.step(), None);
        }
        trainer
    } else {
        ensure_empty(folder)?;
        write_config(folder, &config)?;
        say!("run: {}", folder.path().display());
        let mut trainer = Trainer::new(config, device)?;
        trainer.budget = args.budget.map(|budget| Budget {
            total_s: budget.as_secs_f64(),
            spent_s: 0.0,
            is_planned: false,
        });
        trainer
    };
    if let Some(path) = &trainer.config.training.teacher {
        let file = RunFolder::new(path).generator();
        let teacher = checkpoint::load_generator(if path.is_dir() { &file } else { path })?;
        say!(
            "teacher: {}, {} after {} steps",
            path.display(),
            teacher.config.name,
            teacher.step
        );
        trainer.learn_from(teacher)?;
    }
    Ok(trainer)
}

/// The features to judge by, if the risk is to be watched.
fn judge_of(config: &Config, dataset: &Dataset) -> anyhow::Result<Option<Extractor>> {
    if config.training.watch_risk == 0 {
        return Ok(None);
    }
    let found = super::find_features(None, dataset, &mut super::stages()?);
    Ok(Some(found.context("--watch-risk")?))
}

fn watch_risk<'a, D: Backend<f32>>(
    trainer: &Trainer<D>,
    dataset: &Dataset,
    folder: &RunFolder,
    extractor: &'a Extractor,
) -> anyhow::Result<RiskMonitor<'a>> {
    let judge = Judge::to_choose_by(extractor, dataset, WATCHED, &mut super::stages()?);
    let judge = judge.context("--watch-risk")?;
    for warning in judge.warnings() {
        say!("risk: {warning}");
    }
    let every = trainer.config.training.watch_risk;
    say!(
        "risk: evaluated every {every} steps, {} images against as many held-out ones",
        judge.len()
    );
    Ok(RiskMonitor::new(
        judge,
        every,
        monitor::readings(folder, trainer.step()),
        trainer.extended_at,
    ))
}

/// A run in the folder of its images would be a part of them.
fn ensure_apart(run: &Path, data: &Path) -> anyhow::Result<()> {
    if !data.is_dir() {
        return Ok(());
    }
    let real = |path: &Path| -> std::io::Result<PathBuf> {
        let path = std::path::absolute(path)?;
        // The run's folder, and some above it, may not be there yet.
        let there = path.ancestors().find(|folder| folder.exists());
        let there = there.unwrap_or(Path::new("/"));
        let mut real = there.canonicalize()?;
        for part in path.strip_prefix(there).unwrap_or(Path::new("")) {
            // A missing folder is not a link: `..` leads to its parent.
            match part == ".." {
                true => drop(real.pop()),
                false => real.push(part),
            }
        }
        Ok(real)
    };
    let (run_path, data_path) = (real(run)?, real(data)?);
    ensure!(
        !run_path.starts_with(&data_path),
        "the run's folder {} lies in the folder of the images, {}: name another one with --out, \
         or move the images into a folder of their own and name it with --data",
        run.display(),
        data.display()
    );
    Ok(())
}

/// An older run is never overwritten.
fn ensure_empty(folder: &RunFolder) -> anyhow::Result<()> {
    let path = folder.path().display();
    if folder.holds_run() {
        bail!("{path} holds a run: go on with --resume {path}, or name another folder with --out");
    }
    Ok(())
}

/// A flag that is set by Ctrl-C or SIGTERM; the second signal ends the process at once. SIGHUP is
/// left alone, so that `nohup` works.
fn stop_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

pub fn write_config(folder: &RunFolder, config: &Config) -> anyhow::Result<()> {
    let path = folder.config();
    let text = toml::to_string(config)?;
    write_atomic(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    batch: usize,
    steps: u64,
    begin: Instant,
    /// Steps done since, those that a rollback undid among them.
    steps_done: u64,
    /// Columns of the grids shown in the terminal, if they are.
    preview: Option<usize>,
}

/// Rows of images in the terminal.
const PREVIEW_ROWS: usize = 2;
/// Steps between lines where there is no terminal.
const LINE_EVERY: u64 = 100;

impl Progress {
    fn new<D: Backend<f32>>(trainer: &Trainer<D>, args: &Train) -> anyhow::Result<Self> {
        let steps = trainer.end_step;
        let bar = ProgressBar::new(steps);
        let template = "step {pos}/{len} {wide_bar} {msg} {eta} left";
        bar.set_style(ProgressStyle::with_template(template)?);
        bar.set_position(trainer.step());
        bar.reset_eta();
        if let Some(budget) = trainer.budget.filter(|budget| !budget.is_planned) {
            let left_s = budget.total_s - budget.spent_s;
            bar.println(format!("timing the first steps to fill {left_s:.0} s"));
        }
        Ok(Self {
            bar,
            batch: trainer.config.training.batch,
            steps,
            begin: Instant::now(),
            steps_done: 0,
            preview: args
                .preview
                .then(|| grid_columns(trainer.config.data.class_names.len())),
        })
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { report, diversity } => self.step(report, *diversity),
            Event::Sampled(images) => {
                if let Some(columns) = self.preview {
                    let some = images.first(columns * PREVIEW_ROWS);
                    self.raw_line(&picture::to_terminal(&picture::grid(&some, columns, 1)));
                }
            }
            Event::NotSaved(error) => {
                self.line(&format!("{error}; nothing is lost yet, trying again later"));
            }
            Event::Risk {
                reading,
                best,
                is_over,
            } => {
                let Reading {
                    step,
                    risk,
                    two_sample_risk,
                    precision,
                    coverage,
                } = reading;
                let rank = if best.step == *step {
                    "the least so far".to_owned()
                } else {
                    format!("the least is {:.3} of step {}", best.risk, best.step)
                };
                self.line(&format!(
                    "risk {risk:.3} at step {step} (R {two_sample_risk:.2}, precision {precision:.2}, \
                     coverage {coverage:.2}), {rank}"
                ));
                if *is_over {
                    self.line(&format!(
                        "it gets no better: stopping, with the generator of step {}",
                        best.step
                    ));
                }
            }
            Event::Planned { steps } => {
                self.steps = *steps;
                self.bar.set_length(*steps);
                self.line(&format!("{steps} steps fit the budget"));
            }
            Event::RolledBack { divergence, step } => {
                self.line(&format!(
                    "{divergence}: back to the averaged generator of step {step}, at half the rate"
                ));
            }
        }
    }

    fn step(&mut self, report: &StepReport, diversity: f32) {
        self.steps_done += 1;
        let steps_per_s = self.steps_done as f64 / self.begin.elapsed().as_secs_f64();
        let text = format!(
            "loss D {:.3} G {:.3}, variety {:.0} %, {:.0} images/s",
            report.discriminator_loss,
            report.generator_loss,
            100.0 * diversity,
            steps_per_s * self.batch as f64
        );
        if self.bar.is_hidden() {
            if report.step.is_multiple_of(LINE_EVERY) || report.step == self.steps {
                let left = self.steps.saturating_sub(report.step) as f64 / steps_per_s;
                let left = FormattedDuration(Duration::from_secs_f64(left));
                self.line(&format!(
                    "step {}/{}: {text}, {left} left",
                    report.step, self.steps
                ));
            }
        } else {
            self.bar.set_message(text);
            self.bar.set_position(report.step);
        }
    }

    fn line(&self, text: &str) {
        self.raw_line(&console::printable(text));
    }

    fn raw_line(&self, text: &str) {
        if self.bar.is_hidden() {
            console::print_raw(&format!("{text}\n"));
        } else {
            self.bar.println(text);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
