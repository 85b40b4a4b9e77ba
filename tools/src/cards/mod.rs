//! The README's figures of the confidence risk.

mod card;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::root;
use card::Card;

/// Judges the shipped models, the article's recipe and what the gate does, and writes the
/// cards and tables of the README's "The confidence risk" anew, in some 20 minutes.
///
/// What is trained for it is left in target/cards and not trained again; a run that was
/// interrupted goes on.
#[derive(clap::Args)]
pub struct Cards {
    /// Folder of Fashion-MNIST's four gzipped IDX files.
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    from: PathBuf,
    /// Folder of the portraits that models/README.md has commands for: train `seed` on them,
    /// 40 minutes, and write what is said of portraits, too.
    #[arg(long)]
    portraits: Option<PathBuf>,
}

const OUT: &str = "target/cards";
/// Added to the `seed` preset, which ends in `[training]`: as the article has it, to the end.
const SEED_GOES_ON: &str = "watch = false\naugment = []\n";

impl Cards {
    pub fn run(self) -> anyhow::Result<()> {
        let from = absolute(&self.from)?;
        let portraits = self.portraits.as_deref().map(absolute).transpose()?;
        std::env::set_current_dir(root())?;
        fs::create_dir_all(OUT)?;
        let mut readme = fs::read_to_string("README.md")?;

        let fashion = card("models/fashion.gan", Some(&from))?;
        replace(&mut readme, "models/fashion.gan: ", "\n```", &fashion.0)?;
        let mut rows = fashion.floor_row("real pictures, the other half")?;
        rows += &fashion.row("models/fashion.gan")?;
        rows += &article(&from)?;
        if let Some(portraits) = portraits {
            let seed = seed(&portraits)?;
            replace(&mut readme, "target/cards/seed ", "\n```", &seed.0)?;
            rows += &seed.row("`seed`, its network at 64x64, on the portraits")?;
            let relu = card("models/seed.gan", Some(&portraits))?;
            rows += &relu.row("`seed-relu` on the portraits: models/seed.gan")?;
        } else {
            println!("no --portraits: what the README says of them stays as it is");
            let kept = readme.lines().filter(|line| line.starts_with("| `seed"));
            let kept = kept.filter(|line| line.contains("on the portraits"));
            rows.extend(kept.map(|line| format!("{line}\n")));
        }
        replace(&mut readme, "| real pictures, the", "\n\n", rows.trim_end())?;
        let rows = gate(&from)?;
        replace(&mut readme, "| gate off |", "\n\n", rows.trim_end())?;
        fs::write("README.md", readme)?;
        println!("README.md: the cards and tables of the confidence risk");
        Ok(())
    }
}

/// The article's recipe at 28x28: rows with its classes and without.
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
             ([article.toml](tools/bench/article.toml))",
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

/// The card of `seed` on the portraits, of its integers.
fn seed(portraits: &Path) -> anyhow::Result<Card> {
    let config = format!("{OUT}/seed.toml");
    let preset = fs::read_to_string("host/presets/seed.toml")?;
    fs::write(&config, preset + SEED_GOES_ON)?;
    train("seed", &config, portraits)?;
    let Card(both) = card("target/cards/seed", Some(portraits))?;
    let from = both.find("target/cards/seed (int8)");
    let to = both.find("\nwhat int8 changes");
    let (from, to) = from.zip(to).context("no card of the integers")?;
    Ok(Card(both[from..to].trim_end().to_owned()))
}

/// What the gate does, by the judge that taught the critic and by one that it never met:
/// rows against the embedded held-out pictures.
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
        ("vetted seeds (`host vet --count 1000`)", &vetted),
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
        floors = format!("| real pictures | {first} | {second} | |\n");
    }
    Ok(rows + &floors)
}

/// Leaves a finished run of 2,000 steps in target/cards.
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
    let printed = host(&format!("evaluate {subject}"), data)?;
    Ok(Card(printed.trim_end().to_owned()))
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

/// Puts `new` in the place of what begins with the line that `begins` begins, and ends before
/// `ends`.
fn replace(readme: &mut String, begins: &str, ends: &str, new: &str) -> anyhow::Result<()> {
    let start = readme.find(&format!("\n{begins}")).map(|at| at + 1);
    let start = start.with_context(|| format!("README.md has no line that begins {begins}"))?;
    let len = readme[start..].find(ends).context("README.md ends early")?;
    readme.replace_range(start..start + len, new);
    Ok(())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = path.canonicalize();
    absolute.with_context(|| format!("cannot read {}", path.display()))
}
