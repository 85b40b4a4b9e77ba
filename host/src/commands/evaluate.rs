//! `host evaluate`: how far pictures are from real ones.

use std::path::Path;

use anyhow::{Context, ensure};
use gan_core::Model;
use host::config::Data;
use host::data::{self, Dataset, Images};
use host::files::write_atomic;
use host::generator::FloatGenerator;
use host::risk::card::{Card, Difference, differences, side_by_side};
use host::risk::features::Extractor;
use host::risk::judge::Judge;
use host::risk::observers::LADDER;
use host::risk::page::{Exhibit, page};
use host::sample::{self, Order};
use host::train::checkpoint::load_generator;
use host::train::run::RunFolder;
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::Evaluate;

/// What is to be judged.
enum Subject {
    Float(Box<FloatGenerator>),
    /// The bytes of a `.gan` file that has been checked.
    Int8(Vec<u8>),
    Pictures(Images),
}

pub fn run(args: &Evaluate) -> anyhow::Result<()> {
    ensure!(args.count > 0, "--count must be 1 or more");
    let subjects = subjects(&args.subject)?;
    let dataset = real_pictures(args, &subjects)?;
    let mut progress = super::stages()?;
    let extractor = match &args.features_onnx {
        Some(path) => read_onnx(path)?,
        None => super::find_features(args.features.as_deref(), &dataset, &mut progress)?,
    };
    let mut count = args.count;
    for (_, subject) in &subjects {
        count = count.min(subject.most()?);
    }
    let judge = Judge::new(&extractor, &LADDER, &dataset, count, &mut progress)?;
    let mut judged = Vec::new();
    for (name, subject) in &subjects {
        let images = draw(subject, &judge, args)?;
        judged.push((judge.judge(name, &images, &mut progress)?, images));
    }
    drop(progress);
    let differences = match judged.as_slice() {
        [(float, _), (int8, _)] => differences(float, int8),
        _ => Vec::new(),
    };
    if let Some(path) = &args.html {
        let page = exhibit(&judge, &judged, &differences, &dataset.train)?;
        let name = path.display();
        write_atomic(path, page.as_bytes()).with_context(|| format!("cannot write {name}"))?;
        eprintln!("{name}: the cards, with pictures");
    }
    let cards = judged.into_iter().map(|(card, _)| card);
    let report = Report {
        cards: cards.collect(),
        differences,
    };
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

fn exhibit(
    judge: &Judge<'_>,
    judged: &[(Card, Images)],
    differences: &[Difference],
    train: &Images,
) -> anyhow::Result<String> {
    let each = judged.iter().map(|(_, images)| judge.each(images));
    let each: Vec<_> = each.collect::<Result<_, _>>()?;
    let exhibits = judged.iter().zip(&each);
    let exhibits = exhibits.map(|((card, images), each)| Exhibit { card, images, each });
    Ok(page(&exhibits.collect::<Vec<_>>(), differences, train)?)
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    cards: Vec<Card>,
    /// Of a run: the integers' figures less the floats'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
}

impl Report {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        for card in &self.cards {
            println!("{card}");
        }
        if !self.differences.is_empty() {
            println!("what int8 changes\n{}", side_by_side(&self.differences));
        }
        Ok(())
    }
}

/// The subjects of a path, with their names: a run has two.
fn subjects(path: &Path) -> anyhow::Result<Vec<(String, Subject)>> {
    let name = path.display();
    let ending = path.extension().and_then(|ending| ending.to_str());
    let run = RunFolder::new(path);
    if run.generator().exists() {
        let generator = load_generator(&run.generator())?;
        let mut subjects = vec![(format!("{name} (float)"), Subject::Float(generator.into()))];
        let gan = run.file("generator.gan");
        if gan.exists() {
            subjects.push((format!("{name} (int8)"), Subject::Int8(read_gan(&gan)?)));
        }
        return Ok(subjects);
    }
    let subject = match ending {
        Some("gan") => Subject::Int8(read_gan(path)?),
        Some("safetensors") => Subject::Float(load_generator(path)?.into()),
        _ => Subject::Pictures(data::load_all(path)?),
    };
    Ok(vec![(name.to_string(), subject)])
}

fn read_gan(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = super::read_gan(path)?;
    super::parse_gan(&bytes, path)?;
    Ok(bytes)
}

impl Subject {
    /// The most pictures that it can show.
    fn most(&self) -> anyhow::Result<usize> {
        Ok(match self {
            Self::Pictures(images) => images.len(),
            Self::Float(_) => usize::MAX,
            Self::Int8(bytes) => {
                let model = Model::parse(bytes)?;
                match model.vetted_count() {
                    0 => usize::MAX,
                    each => each * model.class_count().max(1),
                }
            }
        })
    }
}

fn real_pictures(args: &Evaluate, subjects: &[(String, Subject)]) -> anyhow::Result<Dataset> {
    let (_, subject) = subjects.first().context("nothing to judge")?;
    let mut source = Data::default();
    let image = match subject {
        Subject::Float(generator) => {
            source = generator.config.data.clone();
            generator.config.image
        }
        Subject::Int8(bytes) => super::image_of(&Model::parse(bytes)?),
        Subject::Pictures(images) => host::risk::features::format(images),
    };
    if args.data.is_some() {
        source = Data {
            path: args.data.clone(),
            ..Data::default()
        };
    }
    super::load_data(&source, image)
}

/// As many pictures as the judge wants, of each class as many as there are real ones; of a
/// vetted model, those that it shows.
fn draw(subject: &Subject, judge: &Judge<'_>, args: &Evaluate) -> anyhow::Result<Images> {
    match subject {
        Subject::Pictures(images) => Ok(images.clone()),
        Subject::Float(generator) => {
            let classes = generator.config.data.class_names.len();
            let orders = judge.orders(classes, args.seed);
            Ok(sample::float_all(generator, &orders))
        }
        Subject::Int8(bytes) => {
            let model = Model::parse(bytes)?;
            let classes = model.class_count();
            let orders = match model.vetted_count() {
                0 => judge.orders(classes, args.seed),
                count => (0..classes.max(1))
                    .map(|class| Order {
                        count,
                        seed: 0,
                        class: (classes > 0).then_some(class),
                    })
                    .collect(),
            };
            let shown = orders
                .par_iter()
                .map(|order| sample::shown(&model, order, args.gate));
            let shown: Vec<_> = shown.collect::<Result<_, _>>()?;
            Ok(sample::int8_of(&model, &shown.concat())?)
        }
    }
}
