//! `gan evaluate`: how far images are from real ones.

use std::path::Path;

use anyhow::{Context, ensure};
use gan_core::Model;
use host::config::{Data, Image};
use host::data::{self, Dataset, Images};
use host::files::write_atomic;
use host::generator::FloatGenerator;
use host::risk::card::{Card, Difference, differences, rule_text, side_by_side};
use host::risk::features::Extractor;
use host::risk::judge::{Each, Judge};
use host::risk::monitor::WATCHED;
use host::risk::page::{Exhibit, page};
use host::risk::two_sample::TESTS;
use host::run_folder::RunFolder;
use host::sample::{self, Order, SampleKey};
use host::train::checkpoint::load_generator;
use host::{note, say};
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::Evaluate;

/// The subject of an evaluation.
enum Subject {
    Float(Box<FloatGenerator>),
    /// The bytes of a `.gan` file that has been checked, and what it shows of its vetted
    /// seeds, if it has any.
    Int8(Vec<u8>, Vec<SampleKey>),
    Pictures(Images),
}

pub fn run(args: &Evaluate) -> anyhow::Result<()> {
    ensure!(args.count > 0, "--count must be 1 or more");
    let mut subjects = subjects(args)?;
    let dataset = real_pictures(args, &subjects)?;
    for (name, subject) in &mut subjects {
        if let Subject::Pictures(images) = subject {
            number_classes(images, &dataset).context(name.clone())?;
        }
    }
    let mut progress = super::stages()?;
    let extractor = match &args.features_onnx {
        Some(path) => read_onnx(path)?,
        None => super::find_features(args.judge.features.as_deref(), &dataset, &mut progress)?,
    };
    let mut count = args.count;
    for (_, subject) in &subjects {
        count = count.min(subject.most());
    }
    let judge = Judge::new(&extractor, &TESTS, &dataset, count, &mut progress)?;
    if let Some((name, Subject::Int8(bytes, _))) = subjects.last() {
        super::note_other_data(name, &Model::parse(bytes)?, &dataset);
    }
    let latents = latents(&subjects, &judge, args)?;
    let (mut cards, mut drawn) = (Vec::new(), Vec::new());
    for (name, subject) in &subjects {
        let images = draw(subject, &latents)?;
        let mut card = judge.judge(name, &images, &mut progress)?;
        card.warnings.extend(chosen_by(subject, &dataset, &judge));
        cards.push(card);
        drawn.push(images);
    }
    drop(progress);
    let differences = match cards.as_slice() {
        [float, int8] => differences(float, int8),
        _ => Vec::new(),
    };
    // Compares with all training images again, which the printed card does not need.
    let listed = if args.json || args.html.is_some() {
        drawn.as_slice()
    } else {
        &[]
    };
    let pictures: Result<Vec<_>, _> = listed.iter().map(|images| judge.each(images)).collect();
    let report = Report {
        rule: rule_text(),
        texts: cards.iter().map(ToString::to_string).collect(),
        cards,
        pictures: pictures?,
        differences,
    };
    if let Some(path) = &args.html {
        let _lock = super::lock_run_of(path)?;
        let page = report.page(&drawn, &dataset.train)?;
        let name = path.display();
        write_atomic(path, page.as_bytes()).with_context(|| format!("cannot write {name}"))?;
        note!("{name}: the cards, with images");
    }
    report.print(args.json)
}

#[cfg(feature = "onnx")]
fn read_onnx(path: &Path) -> anyhow::Result<Extractor> {
    Ok(Extractor::read_onnx(path)?)
}

#[cfg(not(feature = "onnx"))]
fn read_onnx(_: &Path) -> anyhow::Result<Extractor> {
    anyhow::bail!(
        "this program was built without ONNX: cargo run -p host --features onnx -- evaluate ..."
    )
}

/// The printed report.
#[derive(Serialize)]
struct Report {
    rule: String,
    cards: Vec<Card>,
    /// Of each card what is printed without `--json`.
    texts: Vec<String>,
    /// Of each card the images, one by one; in JSON and on the page only.
    pictures: Vec<Vec<Each>>,
    /// Of a run: the integers' figures less the floats'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
}

impl Report {
    fn page(&self, drawn: &[Images], train: &Images) -> anyhow::Result<String> {
        let exhibits = self.cards.iter().zip(drawn).zip(&self.pictures);
        let exhibits = exhibits.map(|((card, images), each)| Exhibit { card, images, each });
        Ok(page(
            &exhibits.collect::<Vec<_>>(),
            &self.differences,
            train,
        )?)
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            say!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        for card in &self.cards {
            say!("{card}");
        }
        if !self.differences.is_empty() {
            say!("what int8 changes\n{}", side_by_side(&self.differences));
        }
        Ok(())
    }
}

/// The subjects of a path, with their names: a run has two.
fn subjects(args: &Evaluate) -> anyhow::Result<Vec<(String, Subject)>> {
    let path = args.subject.as_path();
    let name = path.display();
    let ending = path.extension().and_then(|ending| ending.to_str());
    let run = RunFolder::new(path);
    let is_model = run.generator().exists() || matches!(ending, Some("gan" | "safetensors"));
    ensure!(
        args.format.is_none() || !is_model,
        "--format is for a folder or a file of images; {name} draws in a format of its own"
    );
    if run.generator().exists() {
        let generator = load_generator(&run.generator())?;
        let mut subjects = vec![(format!("{name} (float)"), Subject::Float(generator.into()))];
        let gan = run.int8_generator();
        if gan.exists() {
            subjects.push((format!("{name} (int8)"), read_gan(&gan, args.gate)?));
        }
        return Ok(subjects);
    }
    let subject = match ending {
        Some("gan") => read_gan(path, args.gate)?,
        Some("safetensors") => Subject::Float(load_generator(path)?.into()),
        _ => {
            let image = format_of(args)?;
            let data = args.judge.reading.data(None);
            Subject::Pictures(data::load_all(&super::request(&data, image), path)?)
        }
    };
    Ok(vec![(name.to_string(), subject)])
}

/// Largest side of an image, in pixels, whose format is taken for that of all.
const LARGEST_SIDE_PX: usize = 256;

/// The format in which images are judged: the one asked for, or that of the features, or
/// that of the real images, or, where these are the embedded ones, their own.
fn format_of(args: &Evaluate) -> anyhow::Result<Image> {
    let (image, origin) = if let Some(image) = args.format {
        (image, "--format".to_owned())
    } else if let Some(image) = features_format(args)? {
        (image, "that of --features".to_owned())
    } else {
        let of = args.judge.data.as_ref().unwrap_or(&args.subject);
        let shape = data::format(of)?;
        let (height, width) = (shape.h, shape.w);
        let name = of.display();
        ensure!(
            height.max(width) <= LARGEST_SIDE_PX,
            "the images of {name} have {height}x{width} pixels: say in which format they are to \
             be judged, with --format 64x64x3 for instance"
        );
        let image = Image {
            height,
            width,
            channels: shape.c,
        };
        (image, format!("that of {name}"))
    };
    let Image {
        height,
        width,
        channels,
    } = image;
    note!("format: {height}x{width}x{channels}, {origin}");
    Ok(image)
}

fn features_format(args: &Evaluate) -> anyhow::Result<Option<Image>> {
    let features = args.judge.features.as_deref().map(super::read_features);
    Ok(features.transpose()?.and_then(|features| features.image()))
}

fn read_gan(path: &Path, gate: u32) -> anyhow::Result<Subject> {
    let bytes = super::read_gan(path)?;
    let shown = {
        let model = super::parse_gan(&bytes, path)?;
        super::ensure_drawable(&model, path)?;
        ensure!(
            gate == 0 || model.critic().is_some(),
            "--gate: {} has no critic: `{} critic` adds one",
            path.display(),
            super::program()
        );
        vetted(&model, gate)?
    };
    Ok(Subject::Int8(bytes, shown))
}

fn vetted(model: &Model<'_>, gate: u32) -> anyhow::Result<Vec<SampleKey>> {
    let classes = model.class_count();
    let orders = (0..classes.max(1)).map(|class| Order {
        count: model.vetted_count(),
        seed: 0,
        class: (classes > 0).then_some(class),
    });
    shown(model, &orders.collect::<Vec<_>>(), gate)
}

fn shown(model: &Model<'_>, orders: &[Order], gate: u32) -> anyhow::Result<Vec<SampleKey>> {
    let shown = orders.par_iter();
    let shown = shown.map(|order| sample::shown(model, order, gate));
    Ok(shown.collect::<Result<Vec<_>, _>>()?.concat())
}

impl Subject {
    /// The most images that it can show.
    fn most(&self) -> usize {
        match self {
            Self::Pictures(images) => images.len(),
            Self::Int8(_, vetted) if !vetted.is_empty() => vetted.len(),
            Self::Float(_) | Self::Int8(..) => usize::MAX,
        }
    }
}

/// A warning that a run's figures are too good: it was chosen by some of the images that it is
/// judged by.
fn chosen_by(subject: &Subject, dataset: &Dataset, judge: &Judge<'_>) -> Option<String> {
    let Subject::Float(generator) = subject else {
        return None;
    };
    let is_chosen = generator.config.training.watch_risk > 0;
    let is_shared = 2 * (judge.len() + WATCHED) > dataset.held_out.len();
    (is_chosen && is_shared).then(|| {
        "--watch-risk chose this generator by some of these held-out images: its figures are a \
         little too good"
            .to_owned()
    })
}

fn real_pictures(args: &Evaluate, subjects: &[(String, Subject)]) -> anyhow::Result<Dataset> {
    let (_, subject) = subjects.first().context("nothing to judge")?;
    let mut source = Data::default();
    let image = match subject {
        Subject::Float(generator) => {
            source = generator.config.data.clone();
            generator.config.image
        }
        Subject::Int8(bytes, _) => super::image_of(&Model::parse(bytes)?),
        Subject::Pictures(images) => host::risk::features::format(images),
    };
    if args.judge.data.is_some() {
        source = Data {
            path: args.judge.data.clone(),
            fit: source.fit,
            background: source.background,
            transpose: source.transpose,
            ..Data::default()
        };
    }
    args.judge.reading.change(&mut source);
    super::load_data(&source, image)
}

/// Turns labels of a file into classes of the real images: `gan sample` writes classes, and a
/// data set's own files the numbers that its classes have there.
fn number_classes(images: &mut Images, dataset: &Dataset) -> anyhow::Result<()> {
    let classes = dataset.class_names.len();
    let is_class = |label: &u8| usize::from(*label) < classes;
    if classes == 0 || images.labels.iter().all(is_class) {
        return Ok(());
    }
    for label in &mut images.labels {
        let class = dataset.label_values.iter().position(|value| value == label);
        let class = class.with_context(|| {
            format!(
                "its label {label} is none of the {classes} classes of {}",
                dataset.name
            )
        })?;
        *label = class as u8;
    }
    Ok(())
}

/// Of as many images as the judge wants, of each class as many as there are real ones; of
/// a vetted model those that it shows. Floats draw what the integers beside them draw.
fn latents(
    subjects: &[(String, Subject)],
    judge: &Judge<'_>,
    args: &Evaluate,
) -> anyhow::Result<Vec<SampleKey>> {
    match subjects.last() {
        Some((_, Subject::Int8(bytes, vetted))) if vetted.is_empty() => {
            let model = Model::parse(bytes)?;
            shown(
                &model,
                &judge.orders(model.class_count(), args.seed),
                args.gate,
            )
        }
        Some((_, Subject::Int8(_, vetted))) => Ok(vetted.clone()),
        Some((_, Subject::Float(generator))) => {
            let classes = generator.config.data.class_names.len();
            let orders = judge.orders(classes, args.seed);
            Ok(orders
                .iter()
                .flat_map(|order| order.each(classes))
                .collect())
        }
        Some((_, Subject::Pictures(_))) | None => Ok(Vec::new()),
    }
}

fn draw(subject: &Subject, latents: &[SampleKey]) -> anyhow::Result<Images> {
    Ok(match subject {
        Subject::Pictures(images) => images.clone(),
        Subject::Float(generator) => sample::float_of(generator, latents),
        Subject::Int8(bytes, _) => sample::int8_of(&Model::parse(bytes)?, latents)?,
    })
}
