//! `gan train`: from images to a float and an int8 generator.

mod groups;
mod plan;
mod progress;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow, bail, ensure};
use dfdx::prelude::Cpu;
use host::config::{Config, default_budget};
use host::console::counted;
use host::data::{Dataset, DatasetFingerprint};
use host::files::{MOST_BYTES, read_regular, remedy, write_atomic};
use host::nn::Backend;
use host::risk::features::Extractor;
use host::risk::judge::Judge;
use host::risk::monitor::{self, RiskMonitor, WATCHED};
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint;
use host::train::run::{self, Ending, Event};
use host::train::trainer::{Budget, Trainer};
use host::train::transfer;
use indicatif::FormattedDuration;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use self::groups::group;
use self::plan::{Plan, augment, fit_to_data};
use self::progress::Progress;
use crate::cli::{Device, Train};
use crate::device;

pub fn run(mut args: Train) -> anyhow::Result<()> {
    let Plan {
        mut config,
        is_by_size,
        folder,
        began_with,
    } = match &args.resume {
        Some(run) => Plan::of_resumed(run, &args)?,
        None => Plan::of_new(&args)?,
    };
    // Before the images are read, which may take a while. The lock's error names the process
    // of a run that is under way.
    if args.resume.is_none() && folder.holds_run() {
        let _lock = folder.lock()?;
        ensure_empty(&folder)?;
    }
    config.data.skip_invalid |= args.reading.skip_invalid;
    let mut dataset = super::load_data(&config.data, config.image)?;
    say!(
        "data: {}, {} to train on, {} held out, {}, {} left out",
        dataset.name,
        counted(dataset.train.len(), "image"),
        dataset.held_out.len(),
        classes(&dataset.class_names),
        counted(dataset.left_out.len(), "file")
    );
    let fingerprint = DatasetFingerprint::of(&dataset);
    augment(&mut config, &dataset);
    group(&mut config, &mut dataset, &args, is_by_size)?;
    if args.resume.is_some() {
        let names = &config.data.class_names;
        ensure!(
            *names == dataset.class_names,
            "the data's classes have changed since the run began: it has {}, there are {} now. \
             Begin a new run; --from {} begins it with the networks of this one",
            classes(names),
            classes(&dataset.class_names),
            folder.path().display()
        );
    }
    if let Some(began_with) = began_with.filter(|old| !old.has_same_pictures(&fingerprint)) {
        let change = format!("it began with {began_with}; there are {fingerprint} now");
        ensure!(
            args.accept_changed_data,
            "the images have changed since the run began: {change}. Put the old ones back, or \
             go on with --accept-changed-data"
        );
        say!("going on with changed images: {change}");
        if config.data.groups.is_some() {
            say!("groups of alike images were found anew: they may show something else now");
        }
    }
    fit_to_data(&mut config, &dataset, args.flash)?;
    if is_by_size && args.steps.is_none() && args.budget.is_none() {
        args.budget = Some(default_budget(config.image.height, dataset.train.len()));
    }
    if let Some(budget) = args.budget {
        let time = FormattedDuration(budget);
        say!("time: {time}, then quantization");
    }
    train_on_device(config, (&dataset, fingerprint), &folder, &args)
}

/// The number of classes, and what they are called.
fn classes(names: &[String]) -> String {
    if names.is_empty() {
        return "no classes".into();
    }
    let count = counted(names.len(), "class");
    format!("{count} ({})", super::some_of(names))
}

/// Trains on the device of `--device`, and says which it is.
fn train_on_device(
    config: Config,
    data: (&Dataset, DatasetFingerprint),
    folder: &RunFolder,
    args: &Train,
) -> anyhow::Result<()> {
    let threads = counted(rayon::current_num_threads(), "thread");
    #[cfg(feature = "cuda")]
    if args.device != Device::Cpu {
        match device::cuda() {
            Ok(device) => {
                say!("device: the first NVIDIA GPU");
                return train_on(device, config, data, folder, args);
            }
            Err(reason) if args.device == Device::Auto => {
                say!("device: cpu, {threads} ({reason})");
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
    say!("device: cpu, {threads}{why}");
    train_on(Cpu::default(), config, data, folder, args)
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
    // Groups that the program made itself say nothing of the images.
    let has_groups = trainer.config.data.groups.is_some();
    let is_judged = trainer.config.training.watch_risk > 0;
    let without = (has_groups && is_judged).then(|| dataset.without_classes());
    let judged = without.as_ref().unwrap_or(dataset);
    let extractor = judge_of(&trainer.config, judged)?;
    let risk = match &extractor {
        Some(extractor) => Some(watch_risk(&trainer, judged, folder, extractor)?),
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
        if let Some(run) = &args.from {
            let from = transfer::begin_from(&mut trainer, &RunFolder::new(run).checkpoint())?;
            let name = from.name;
            say!("begun with the networks of {}, {name}", run.display());
        }
        trainer.budget = args.budget.map(|budget| Budget {
            total_s: budget.as_secs_f64(),
            spent_s: 0.0,
            is_planned: false,
        });
        trainer
    };
    if let Some(path) = &trainer.config.training.teacher {
        let teacher = checkpoint::load_generator(&super::generator_of(path))?;
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
