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

/// Evaluates the shipped models, the article's recipe and the gate, and writes the cards and
/// tables of docs/evaluation.md again. It takes some 20 minutes.
///
/// Each card or table stands between markers `<!-- cards:NAME -->` and `<!-- /cards:NAME -->`. The
/// runs that are trained for it stay in target/cards and are not trained again; an interrupted
/// run is resumed.
#[derive(clap::Args)]
pub struct Cards {
    /// Folder of Fashion-MNIST's four gzipped IDX files.
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    from: PathBuf,
    /// Folder of the portraits that docs/training.md has commands for. `article` is trained on
    /// them, which takes 40 minutes, and the row and the card of the portraits are written too.
    #[arg(long)]
    portraits: Option<PathBuf>,
}

const OUT: &str = "target/cards";
/// The document that holds the generated blocks.
const DOCUMENT: &str = "docs/evaluation.md";
/// The names in the blocks' markers.
const BLOCKS: [&str; 4] = ["fashion", "models", "article", "gate"];
/// Head of the table of models.
const MODELS_HEAD: &str = "\
| against held-out images of the same set | images | 1-NN accuracy | small CNN | precision \
| coverage | flagged | rating |
|---|---|---|---|---|---|---|---|
";
/// First cell of the row that needs the portraits.
const PORTRAIT_ROW: &str = "`article`, its network at 64x64, on the portraits";
/// Head of the table of what the gate does.
const GATE_HEAD: &str = "\
| | flagged | coverage | flagged by the other judge | coverage \
| command: `gan evaluate ... --count 1000` |
|---|---|---|---|---|---|
";
/// Added to the `article` preset, which ends in `[training]`: the run trains to its last step, without
/// augmentation, as the article's does.
const ARTICLE_GOES_ON: &str = "watch = false\naugment = []\n";

impl Cards {
    pub fn run(self) -> anyhow::Result<()> {
        let from = absolute(&self.from)?;
        let portraits = self.portraits.as_deref().map(absolute).transpose()?;
        std::env::set_current_dir(root())?;
        fs::create_dir_all(OUT)?;
        let mut document = Document::read(DOCUMENT)?;
        // A marker that is missing is reported now, not after 20 minutes.
        for name in BLOCKS {
            document.block(name)?;
        }

        let fashion = card("models/fashion.gan", Some(&from))?;
        document.replace("fashion", &fenced(&fashion))?;
        let mut rows = MODELS_HEAD.to_owned();
        rows += &fashion.floor_row("real images, the other half")?;
        rows += &fashion.row("models/fashion.gan")?;
        rows += &article(&from)?;
        if let Some(portraits) = portraits {
            let article = portrait_article(&portraits)?;
            document.replace("article", &fenced(&article))?;
            rows += &article.row(PORTRAIT_ROW)?;
        } else {
            println!("no --portraits: the card and the row of the portraits stay as they are");
            let kept = document.block("models")?.lines();
            let kept = kept.filter(|line| line.starts_with(&format!("| {PORTRAIT_ROW} |")));
            rows.extend(kept.map(|line| format!("{line}\n")));
        }
        document.replace("models", &rows)?;
        document.replace("gate", &format!("{GATE_HEAD}{}", gate(&from)?))?;
        document.write()?;
        println!("{DOCUMENT}: the cards and tables of the confidence risk");
        Ok(())
    }
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

/// The card of the int8 model of `article`, trained on the portraits.
fn portrait_article(portraits: &Path) -> anyhow::Result<Card> {
    let config = format!("{OUT}/article-portraits.toml");
    let preset = fs::read_to_string("host/presets/article.toml")?;
    fs::write(&config, preset + ARTICLE_GOES_ON)?;
    train("article-portraits", &config, portraits)?;
    card("target/cards/article-portraits", Some(portraits))
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
