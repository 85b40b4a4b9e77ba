//! `host evaluate`: how far pictures are from real ones.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use gan_core::Model;
use host::config::{Data, Image};
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
use serde::Serialize;

use crate::cli::Evaluate;

/// Folder of the features that were trained for a set.
const CACHE: &str = "runs/features";

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
    let extractor = match &args.features {
        Some(path) => read_features(path)?,
        None => Extractor::find(&dataset, Path::new(CACHE), &mut progress)?,
    };
    let count = subjects.iter().map(|(_, subject)| match subject {
        Subject::Pictures(images) => images.len(),
        _ => args.count,
    });
    let count = count.min().unwrap_or(args.count).min(args.count);
    let judge = Judge::new(&extractor, &LADDER, &dataset, count, &mut progress)?;
    let mut judged = Vec::new();
    for (name, subject) in &subjects {
        let images = draw(subject, &judge, args.seed)?;
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
    if run.checkpoint().exists() {
        let generator = load_generator(&run.checkpoint())?;
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

fn real_pictures(args: &Evaluate, subjects: &[(String, Subject)]) -> anyhow::Result<Dataset> {
    let (_, subject) = subjects.first().context("nothing to judge")?;
    let mut source = Data::default();
    let image = match subject {
        Subject::Float(generator) => {
            source = generator.config.data.clone();
            generator.config.image
        }
        Subject::Int8(bytes) => {
            let shape = super::parse_gan(bytes, &args.subject)?.output_shape();
            Image {
                height: shape.h,
                width: shape.w,
                channels: shape.c,
            }
        }
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

fn read_features(path: &Path) -> anyhow::Result<Extractor> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let extractor = Extractor::parse(&bytes).map_err(anyhow::Error::msg);
    extractor.with_context(|| format!("{name} holds no usable features"))
}

/// As many pictures as the judge wants, of each class as many as there are real ones.
fn draw(subject: &Subject, judge: &Judge<'_>, seed: u64) -> anyhow::Result<Images> {
    let counts = judge.class_counts();
    let orders = |classes: usize| -> Vec<Order> {
        let order = |count, seed, class| Order { count, seed, class };
        if classes == 0 || classes != counts.len() {
            return vec![order(judge.len(), seed, None)];
        }
        let mut next = seed;
        let each = counts.iter().enumerate().map(|(class, &count)| {
            let first = next;
            next += count as u64;
            order(count, first, Some(class))
        });
        each.collect()
    };
    let mut drawn: Option<Images> = None;
    let mut add = |images: Images| match &mut drawn {
        None => drawn = Some(images),
        Some(drawn) => drawn.append(&images),
    };
    match subject {
        Subject::Pictures(images) => return Ok(images.clone()),
        Subject::Float(generator) => {
            let classes = generator.config.data.class_names.len();
            orders(classes)
                .iter()
                .for_each(|order| add(sample::float(generator, order)));
        }
        Subject::Int8(bytes) => {
            let model = Model::parse(bytes)?;
            for order in orders(model.class_count()) {
                add(sample::int8(&model, &order)?);
            }
        }
    }
    match drawn {
        Some(images) => Ok(images),
        None => bail!("nothing was drawn"),
    }
}
