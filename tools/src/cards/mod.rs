//! The figures of the confidence risk in docs/evaluation.md.

mod card;
mod document;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::root;
use card::Card;
use document::Document;

/// Evaluates the shipped models on the sets whose folders are given, and writes their cards and
/// tables in docs/evaluation.md again.
///
/// Each card or table stands between markers `<!-- cards:NAME -->` and `<!-- /cards:NAME -->`. The
/// runs that are trained for it stay in target/cards and are not trained again; an interrupted
/// run is resumed.
#[derive(clap::Args)]
pub struct Cards {
    /// Folder of Fashion-MNIST's four gzipped IDX files. The article's recipe and the gate are
    /// evaluated too, in some 20 minutes.
    #[arg(long)]
    fashion: Option<PathBuf>,
    /// Folder of the photographs of models/hands.gan.
    #[arg(long)]
    hands: Option<PathBuf>,
    /// Folder of the images of models/portraits.gan; models/README.md has its commands.
    #[arg(long)]
    portraits: Option<PathBuf>,
}

const OUT: &str = "target/cards";
/// The document that holds the generated blocks.
const DOCUMENT: &str = "docs/evaluation.md";
/// The names in the blocks' markers.
const BLOCKS: [&str; 6] = ["fashion", "models", "own", "hands", "portraits", "gate"];
/// Head of the tables of models.
const MODELS_HEAD: &str = "\
| against held-out images of the same set | images | 1-NN accuracy | small CNN | precision \
| coverage | flagged | rating |
|---|---|---|---|---|---|---|---|
";
/// Head of the table of what the gate does.
const GATE_HEAD: &str = "\
| | flagged | coverage | flagged by the other judge | coverage \
| command: `gan evaluate ... --count 1000` |
|---|---|---|---|---|---|
";

impl Cards {
    pub fn run(self) -> anyhow::Result<()> {
        let fashion = self.fashion.as_deref().map(absolute).transpose()?;
        let hands = self.hands.as_deref().map(absolute).transpose()?;
        let portraits = self.portraits.as_deref().map(absolute).transpose()?;
        let is_given = fashion.is_some() || hands.is_some() || portraits.is_some();
        ensure!(is_given, "name a set: --fashion, --hands or --portraits");
        std::env::set_current_dir(root())?;
        fs::create_dir_all(OUT)?;
        let mut document = Document::read(DOCUMENT)?;
        // A marker that is missing is reported now, not after 20 minutes.
        for name in BLOCKS {
            document.block(name)?;
        }
        if let Some(fashion) = fashion {
            write_fashion(&mut document, &fashion)?;
        }
        let mut rows = MODELS_HEAD.to_owned();
        for (name, folder) in [("hands", hands), ("portraits", portraits)] {
            let model = format!("models/{name}.gan");
            if let Some(folder) = folder {
                let card = card(&model, Some(&folder))?;
                document.replace(name, &fenced(&card))?;
                rows += &card.row(&model)?;
            } else {
                let mut old = document.block("own")?.lines();
                let old = old.find(|line| line.starts_with(&format!("| {model} |")));
                rows.extend(old.map(|line| format!("{line}\n")));
            }
        }
        document.replace("own", &rows)?;
        document.write()?;
        println!("{DOCUMENT}: the cards and tables of the confidence risk");
        Ok(())
    }
}

/// Writes the figures that are taken on Fashion-MNIST.
fn write_fashion(document: &mut Document, from: &Path) -> anyhow::Result<()> {
    let fashion = card("models/fashion.gan", Some(from))?;
    document.replace("fashion", &fenced(&fashion))?;
    let mut rows = MODELS_HEAD.to_owned();
    rows += &fashion.floor_row("real images, the other half")?;
    rows += &fashion.row("models/fashion.gan")?;
    rows += &article(from)?;
    document.replace("models", &rows)?;
    document.replace("gate", &format!("{GATE_HEAD}{}", gate(from)?))
}

/// A card as a block of Markdown.
fn fenced(card: &Card) -> String {
    format!("```text\n{}\n```\n", card.text.trim_end())
}

/// The article's recipe at 28x28: one row with classes and one without.
fn article(from: &Path) -> anyhow::Result<String> {
    let unlabelled = Path::new(OUT).join("unlabelled");
    fs::create_dir_all(&unlabelled)?;
    for name in ["train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"] {
        fs::copy(from.join(name), unlabelled.join(name))?;
    }
    let mut rows = String::new();
    for (run, data, name) in [
        (
            "article",
            from,
            "the article's recipe on Fashion-MNIST, 2,000 steps \
             ([article.toml](../tools/bench/article.toml))",
        ),
        (
            "article-unlabelled",
            &unlabelled,
            "the same without classes, as the article has it",
        ),
    ] {
        train(run, "tools/bench/article.toml", data)?;
        rows += &card(&format!("{OUT}/{run}/generator.gan"), Some(from))?.row(name)?;
    }
    Ok(rows)
}

/// Rows of the table of the gate, against the embedded held-out images: by the classifier that
/// trained the critic, and by a second one that the critic has never seen.
fn gate(from: &Path) -> anyhow::Result<String> {
    let other = format!("{OUT}/other.safetensors");
    if !Path::new(&other).exists() {
        host(&format!("features --seed 2 --out {other}"), Some(from))?;
    }
    let vetted = format!("{OUT}/vetted.gan");
    host(
        &format!("vet models/fashion.gan --count 1000 --out {vetted}"),
        None,
    )?;
    let (mut rows, mut floors) = (String::new(), String::new());
    for (name, subject) in [
        ("gate off", "models/fashion.gan"),
        ("critic, up to 4 candidates", "models/fashion.gan --gate 4"),
        ("vetted seeds (`gan vet --count 1000`)", &vetted),
    ] {
        let asked = format!("{subject} --count 1000");
        let judged = [
            card(&asked, None)?,
            card(&format!("{asked} --features {other}"), None)?,
        ];
        let subject = subject
            .rsplit_once("cards/")
            .map_or(subject, |(_, file)| file);
        let [first, second] = [judged[0].gate_cells()?, judged[1].gate_cells()?];
        rows += &format!("| {name} | {first} | {second} | `{subject}` |\n");
        let [first, second] = [judged[0].gate_floors()?, judged[1].gate_floors()?];
        floors = format!("| real images | {first} | {second} | |\n");
    }
    Ok(rows + &floors)
}

/// Trains 2,000 steps into target/cards, unless a finished run is there.
fn train(name: &str, config: &str, data: &Path) -> anyhow::Result<()> {
    let run = Path::new(OUT).join(name);
    if run.join("generator.gan").exists() {
        return Ok(());
    }
    let out = format!("{OUT}/{name}");
    if run.join("checkpoint.safetensors").exists() {
        host(&format!("train --resume {out}"), None)?;
    } else {
        host(
            &format!("train --steps 2000 --config {config} --out {out}"),
            Some(data),
        )?;
    }
    Ok(())
}

fn card(subject: &str, data: Option<&Path>) -> anyhow::Result<Card> {
    Card::read(&host(&format!("evaluate {subject} --json"), data)?)
}

/// Runs the program on `data`, its progress on the terminal, and returns what it printed.
fn host(words: &str, data: Option<&Path>) -> anyhow::Result<String> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "-p", "host", "--"]);
    command.args(words.split_whitespace());
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    println!("{command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "host {words} failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = path.canonicalize();
    absolute.with_context(|| format!("cannot read {}", path.display()))
}
