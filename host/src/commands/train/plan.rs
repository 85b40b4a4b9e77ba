//! The plan of a run: its configuration, by the command line and by what the images are like.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gan_core::{Mode, Model};
use host::config::{
    Augmentation, Capacity, Config, Data, FEW_IMAGES, Image, PRESETS, default_side_px,
};
use host::console::{check_text, counted};
use host::data::{Dataset, DatasetFingerprint, Images, Likeness, MAX_CLASSES, Survey};
use host::quant;
use host::run_folder::RunFolder;
use host::train::checkpoint;
use host::{note, say};

use crate::cli::Train;
use crate::commands::inspect::mac_count;

/// The configuration and the folder of a run, before its images are read.
pub struct Plan {
    pub config: Config,
    /// Whether the network was made for the size of the images. Such a network is trained for a
    /// time, unless the steps are given.
    pub is_by_size: bool,
    pub folder: RunFolder,
    /// Fingerprint of the data that a resumed run was trained on so far.
    pub began_with: Option<DatasetFingerprint>,
}

impl Plan {
    pub fn of_new(args: &Train) -> anyhow::Result<Self> {
        let (config, is_by_size) = configure(args)?;
        let out = args.out.clone();
        let folder =
            RunFolder::new(out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name)));
        if let Some(data) = &config.data.path {
            ensure_apart(folder.path(), data)?;
        }
        Ok(Self {
            config,
            is_by_size,
            folder,
            began_with: None,
        })
    }

    pub fn of_resumed(run: &Path, args: &Train) -> anyhow::Result<Self> {
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
            is_by_size: false,
            folder,
            began_with: state.data,
        })
    }
}

/// Bytes of the model of a configuration, with so many classes.
pub fn model_bytes(config: &Config, classes: usize) -> anyhow::Result<usize> {
    let mut config = config.clone();
    config.data.class_names = (0..classes).map(|class| format!("group {class}")).collect();
    let blank = quant::blank_model(&config, "").map_err(anyhow::Error::msg)?;
    Ok(blank.len())
}

/// Completes a configuration by what the images are, and checks that a device can draw what
/// will come of it.
pub fn fit_to_data(
    config: &mut Config,
    dataset: &Dataset,
    flash_bytes: Option<usize>,
) -> anyhow::Result<()> {
    config.data.class_names.clone_from(&dataset.class_names);
    check_text("the name of the data", &dataset.name).map_err(anyhow::Error::msg)?;
    config.check("the data")?;
    let blank = quant::blank_model(config, &dataset.name).map_err(anyhow::Error::msg)?;
    say_needs(config, &Model::parse(&blank)?);
    if let Some(flash_bytes) = flash_bytes {
        ensure!(
            blank.len() <= flash_bytes,
            "--flash is {flash_bytes} bytes: with {} the network takes {}; a smaller --size or \
             fewer classes take less",
            counted(config.data.class_names.len(), "class"),
            blank.len()
        );
    }
    let training = &config.training;
    say!(
        "recipe: batch {}, learning rate {}",
        training.batch,
        training.learning_rate
    );
    if let Some(expected) = expected_of(dataset.train.len()) {
        say!("expect {expected}");
    }
    Ok(())
}

/// The result to expect of few images, by the runs in `docs/benchmarks.md`.
const fn expected_of(images: usize) -> Option<&'static str> {
    match images {
        0..60 => Some("variations of these images; 300 or more bring new ones"),
        60..200 => Some("less variety than 300 images or more bring"),
        _ => None,
    }
}

/// Chooses the augmentation by the images, which have the classes of their folders only.
pub fn augment(config: &mut Config, dataset: &Dataset) {
    if config.training.augment.is_none() && dataset.train.len() <= FEW_IMAGES {
        config.training.augment = Some(augmentations(&dataset.train));
    }
}

/// The augmentations for few images.
fn augmentations(images: &Images) -> Vec<Augmentation> {
    let likeness = Likeness::of(images);
    if likeness.near_duplicates > 0 {
        let count = counted(likeness.near_duplicates, "image");
        say!("near-duplicates: {count} to train on; what they show is drawn more often");
    }
    say!(
        "few images: the better the discriminator knows them, the more of what it sees is shifted \
         and recoloured; training.augment = [] in --config turns it off"
    );
    if likeness.bears_mirroring() {
        say!("mirrored images look like the others: \"flip\" in training.augment adds them");
    }
    Augmentation::DEFAULT.to_vec()
}

/// Prints what the generator will need of a device.
fn say_needs(config: &Config, model: &Model<'_>) {
    let Image {
        height,
        width,
        channels,
    } = config.image;
    let kind = if channels == 1 { "grey" } else { "colour" };
    say!(
        "network: {}, {height}x{width} in {kind}: {} KiB of flash, {:.1} KiB of RAM, {:.1} million \
         multiply-adds an image",
        config.name,
        model.file_bytes().div_ceil(1024),
        model.required_bytes(Mode::Streamed) as f64 / 1024.0,
        mac_count(model) as f64 / 1e6
    );
}

/// The network for the images of `--data`, and what they are like.
fn choose_network(data: &Path, args: &Train) -> anyhow::Result<Config> {
    let Some(survey) = Survey::of(data, args.tile)? else {
        return Ok(Config::preset("fashion")?);
    };
    let side_px = args.size.unwrap_or_else(|| default_side_px(&survey));
    say!("images: {survey}");
    let of_images = if survey.in_color { 3 } else { 1 };
    let channels = args.channels.unwrap_or(of_images);
    let network = |capacity| {
        let config = Config::for_images(&survey, side_px, channels, capacity);
        config.with_context(|| format!("there is no network for {side_px} pixels a side"))
    };
    let full = network(Capacity::Full)?;
    let Some(flash_bytes) = args.flash else {
        return Ok(full);
    };
    let classes = match survey.folders {
        0 | 1 => args.groups.unwrap_or(0),
        folders => folders.min(MAX_CLASSES),
    };
    if model_bytes(&full, classes)? <= flash_bytes {
        return Ok(full);
    }
    let tiny = network(Capacity::Tiny)?;
    let bytes = model_bytes(&tiny, classes)?;
    ensure!(
        bytes <= flash_bytes,
        "--flash is {flash_bytes} bytes: the smallest network for {side_px} pixels a side takes \
         {bytes}; a smaller --size takes less"
    );
    Ok(tiny)
}

/// The networks and the recipe of a run, for other images.
fn networks_of(run: &Path, args: &Train) -> anyhow::Result<Config> {
    ensure!(
        run.is_dir(),
        "--from {}: name the folder of a run",
        run.display()
    );
    let state = checkpoint::load_state(&RunFolder::new(run).checkpoint());
    let mut config = state
        .with_context(|| format!("--from {}", run.display()))?
        .config;
    config.data = Data::default();
    // What suits these images is found out anew.
    (config.training.augment, config.training.teacher) = (None, None);
    let survey = match &args.data {
        Some(data) => Survey::of(data, args.tile)?,
        None => None,
    };
    if let Some(survey) = survey {
        say!("images: {survey}");
        if survey.in_color && config.image.channels == 1 {
            note!(
                "the images are in colour; the networks of {} draw grey ones",
                run.display()
            );
        }
    }
    Ok(config)
}

/// The resolved configuration, without the classes, which come from the data, and whether its
/// network is one by the size of the images.
fn configure(args: &Train) -> anyhow::Result<(Config, bool)> {
    let mut config = match (&args.config, &args.preset, &args.from, &args.data) {
        (Some(path), ..) => Config::load(path)?,
        (_, Some(preset), ..) => Config::preset(preset)?,
        (_, _, Some(run), _) => networks_of(run, args)?,
        (.., Some(data)) => choose_network(data, args)?,
        (.., None) => Config::preset("fashion")?,
    };
    let is_by_size = args.config.is_none() && !PRESETS.iter().any(|(name, _)| *name == config.name);
    if let Some(path) = &args.data {
        let data = &mut config.data;
        data.path = Some(noted_path(path)?);
        data.tile = args.tile.or(data.tile);
        data.class_names.clear();
        if !args.labels.is_empty() {
            data.labels.clone_from(&args.labels);
        }
    }
    config.data.groups = args.groups.or(config.data.groups);
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
    let origin = match &args.config {
        Some(path) => format!("{}, with the command line", path.display()),
        None => "the command line".to_owned(),
    };
    config.check(&origin)?;
    Ok((config, is_by_size))
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
