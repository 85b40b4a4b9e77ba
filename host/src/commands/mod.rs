//! One file per command.

mod compare;
mod critic;
mod doctor;
mod evaluate;
mod export;
mod features;
mod import;
mod inspect;
mod quantize;
mod runs;
mod sample;
mod train;
mod vet;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use host::config::{Data, Image, check_names};
use host::console::counted;
use host::data::{self, DataRequest, Dataset, Framing};
use host::files::read_regular;
use host::memory::reserved;
use host::note;
use host::risk::Progress;
use host::risk::features::Extractor;
use host::run_folder::{RunFolder, RunLock};
use host::train::checkpoint::load_state;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Command, JudgeArgs};

pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Vet(args) => vet::run(&args),
        Command::Critic(args) => critic::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor(args) => doctor::run(args.json),
    }
}

/// How the user started this program, for hints that can be copied.
fn program() -> &'static str {
    // Cargo sets it for the programs that it runs.
    match std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == "host") {
        true => "cargo run -p host --",
        false => "gan",
    }
}

/// The most bytes of a `.gan` file that are read; its sections are found by 32 bits.
const GAN_BYTES: u64 = 1 << 32;

/// Checks that there is memory for drawing with a model on all threads.
fn ensure_drawable(model: &gan_core::Model<'_>, path: &Path) -> anyhow::Result<()> {
    let words = model.required_words(gan_core::Mode::Streamed);
    let what = format!("the arena of {}", path.display());
    reserved::<u32>(what, &[rayon::current_num_threads(), words])?;
    Ok(())
}

/// Locks a run that a command writes into.
fn lock_run(folder: &RunFolder) -> anyhow::Result<RunLock> {
    let path = folder.path();
    std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(folder.holds_run(), "{} holds no run", path.display());
    Ok(folder.lock()?)
}

/// The `.gan` file that a path names: a run folder stands for its own.
fn gan_of(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => RunFolder::new(path).int8_generator(),
        false => path.to_owned(),
    }
}

/// The float generator that a path names: a run folder stands for its own.
fn generator_of(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => RunFolder::new(path).generator(),
        false => path.to_owned(),
    }
}

/// Names of a list that are shown.
const NAMED: usize = 16;

/// The first names of a list, with dots where there are more.
fn some_of(names: &[String]) -> String {
    let more = if names.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

/// Locks the run that a file belongs to, if it belongs to one.
fn lock_run_of(file: &Path) -> anyhow::Result<Option<RunLock>> {
    let folder = RunFolder::new(file.parent().unwrap_or(Path::new(".")));
    Ok(match folder.holds_run() {
        true => Some(folder.lock()?),
        false => None,
    })
}

/// Reads a `.gan` file; the caller parses it in place.
fn read_gan(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_regular(path, GAN_BYTES).with_context(|| {
        let folder = path.parent().unwrap_or(Path::new("."));
        let hint = match RunFolder::new(folder).holds_run() {
            true => format!("; `{} quantize {}` makes one", program(), folder.display()),
            false if folder.is_dir() && !path.exists() => {
                format!("; {} holds no run", folder.display())
            }
            false => String::new(),
        };
        format!("cannot read {}{hint}", path.display())
    })
}

/// Checks the bytes of a `.gan` file.
fn parse_gan<'a>(bytes: &'a [u8], path: &Path) -> anyhow::Result<gan_core::Model<'a>> {
    gan_core::Model::parse(bytes).with_context(|| format!("{} is not usable", path.display()))
}

/// The request to load a source of images in a format.
fn request(data: &Data, image: Image) -> DataRequest {
    DataRequest {
        path: data.path.clone(),
        tile: data.tile,
        height: image.height,
        width: image.width,
        channels: image.channels,
        skip_invalid: data.skip_invalid,
        framing: Framing {
            fit: data.fit,
            background: data.background,
        },
        transpose: data.transpose,
    }
}

/// Loads images and names their classes.
fn load_data(data: &Data, image: Image) -> anyhow::Result<Dataset> {
    let request = request(data, image);
    let bar = ProgressBar::new(0).with_prefix("images");
    bar.set_style(ProgressStyle::with_template(
        "{prefix} {wide_bar} {pos}/{len}",
    )?);
    let dataset = data::load(&request, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let mut dataset = dataset?;
    let left_out = &dataset.left_out;
    if !left_out.is_empty() {
        let (count, list) = (left_out.len(), data::list(left_out));
        note!(
            "{count} files of {} left out:\n{}",
            dataset.name,
            list.trim_end()
        );
    }
    if !dataset.odd.is_empty() {
        let (count, list) = (dataset.odd.len(), data::list(&dataset.odd));
        note!(
            "{count} files of {} are used, but look odd:\n{}",
            dataset.name,
            list.trim_end()
        );
    }
    for text in &dataset.notes {
        note!("{}: {text}", dataset.name);
    }
    if !data.labels.is_empty() {
        let (given, classes) = (data.labels.len(), dataset.class_names.len());
        ensure!(
            given == classes,
            "--labels names {}, the data has {classes}",
            counted(given, "class")
        );
        dataset.class_names.clone_from(&data.labels);
    }
    let names = check_names(&dataset.name, &dataset.class_names);
    names.map_err(anyhow::Error::msg)?;
    Ok(dataset)
}

/// Says so where a model is judged by other images than those that it learned from.
fn note_other_data(name: impl Display, model: &gan_core::Model<'_>, dataset: &Dataset) {
    let (learned, given) = (model.dataset(), &dataset.name);
    if learned != given {
        note!("{name} was trained on {learned}; it is compared with {given} (--data)");
    }
}

/// The real images and the features by which the model of `subject`, a file or a run, is judged.
fn judging(
    args: &JudgeArgs,
    model: &gan_core::Model<'_>,
    subject: &Path,
    progress: &mut Progress<'_>,
) -> anyhow::Result<(Dataset, Extractor)> {
    let mut data = args.reading.data(args.data.clone());
    let generator = RunFolder::new(subject).generator();
    if args.data.is_none() && generator.exists() {
        data = load_state(&generator)?.config.data;
        args.reading.change(&mut data);
    }
    let dataset = load_data(&data, image_of(model))?;
    note_other_data(subject.display(), model, &dataset);
    let extractor = find_features(args.features.as_deref(), &dataset, progress)?;
    Ok((dataset, extractor))
}

/// Format of a model's images.
fn image_of(model: &gan_core::Model<'_>) -> Image {
    let shape = model.output_shape();
    Image {
        height: shape.h,
        width: shape.w,
        channels: shape.c,
    }
}

/// Folder of the features that were trained for a set.
const CACHE: &str = "runs/features";

/// The features of a file, or those for a set.
fn find_features(
    file: Option<&Path>,
    dataset: &Dataset,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Extractor> {
    let Some(path) = file else {
        return Ok(Extractor::find(dataset, Path::new(CACHE), progress)?);
    };
    read_features(path)
}

/// The most bytes of a file of features: those of 256x256 pixels have some 25 MB.
const FEATURES_BYTES: u64 = 1 << 30;

/// The features of a file.
fn read_features(path: &Path) -> anyhow::Result<Extractor> {
    let name = path.display();
    let bytes = read_regular(path, FEATURES_BYTES);
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    let extractor = Extractor::parse(&bytes).map_err(anyhow::Error::msg);
    extractor.with_context(|| format!("{name} holds no usable features"))
}

/// A bar that shows what is being done; on standard error, and on a terminal only.
fn stages() -> anyhow::Result<impl FnMut(&str, usize, usize)> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{msg} {wide_bar} {pos}/{len} {elapsed}",
    )?);
    Ok(move |stage: &str, done: usize, all: usize| {
        bar.set_message(stage.to_owned());
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.tick();
        if done == all {
            bar.reset();
        }
    })
}
