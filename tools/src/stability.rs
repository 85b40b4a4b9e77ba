//! Does the default recipe hold? Ten seeds, a thousand steps each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::data;
use crate::root;

/// Trains the default recipe on the embedded data with several seeds and prints a table.
///
/// A run has collapsed if it gave up, or if the images of a class vary less than a fifth
/// as much as the data's.
#[derive(clap::Args)]
pub struct Stability {
    /// Seeds, from 1 on.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Preset.
    #[arg(long, default_value = "fashion")]
    preset: String,
    /// Where the runs are left.
    #[arg(long, default_value = "target/stability")]
    out: PathBuf,
}

/// Share of the data's variance below which a class has collapsed.
const LEAST_VARIETY: f64 = 0.2;
/// Images that are drawn of each class.
const PER_CLASS: usize = 100;

impl Stability {
    pub fn run(self) -> anyhow::Result<()> {
        let out = root().join(&self.out);
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        println!(
            "| seed | loss D | loss G | error of D | rollbacks | variety | least of a class |"
        );
        println!("|---|---|---|---|---|---|---|");
        let mut stable = 0;
        for seed in 1..=self.seeds {
            let run = out.join(format!("seed-{seed}"));
            stable += u64::from(self.train(seed, &run)?);
        }
        println!("{stable} of {} finished without collapse", self.seeds);
        ensure!(stable == self.seeds, "the recipe is not stable");
        Ok(())
    }

    /// One run; whether it is sound.
    fn train(&self, seed: u64, run: &Path) -> anyhow::Result<bool> {
        let (steps, seed) = (self.steps.to_string(), seed.to_string());
        let trained = host(&["train", "--preset", &self.preset], |command| {
            command
                .args(["--steps", &steps, "--seed", &seed])
                .arg("--out")
                .arg(run);
        });
        if let Err(error) = trained {
            println!("| {seed} | {error:#} | | | | | |");
            return Ok(false);
        }
        let metrics = fs::read_to_string(run.join("metrics.jsonl"))?;
        let lines: Vec<Value> = metrics
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        // Single steps scatter: the mean of the last tenth.
        let last = &lines[lines.len() - lines.len().div_ceil(10)..];
        let mean = |key: &str| {
            let values = last.iter().filter_map(|line| line[key].as_f64());
            values.sum::<f64>() / last.len() as f64
        };
        let drawn = run.join("drawn.idx");
        let count = (PER_CLASS * data::CLASSES).to_string();
        host(&["sample", "--count", &count], |command| {
            command
                .arg(run.join("generator.gan"))
                .arg("--out")
                .arg(&drawn);
        })?;
        let fakes = data::by_class(&drawn, &run.join("drawn.labels.idx"))?;
        let reals = data::embedded_by_class()?;
        let shares = fakes
            .iter()
            .zip(&reals)
            .map(|(f, r)| variance(f) / variance(r));
        let least = shares.fold(f64::MAX, f64::min);
        let all = variance(&fakes.concat()) / variance(&reals.concat());
        println!(
            "| {seed} | {:.3} | {:.3} | {:.3} | {} | {:.0} % | {:.0} % |",
            mean("discriminator_loss"),
            mean("generator_loss"),
            mean("discriminator_error"),
            rollbacks(run)?,
            100.0 * all,
            100.0 * least
        );
        Ok(least >= LEAST_VARIETY)
    }
}

/// Runs the program and returns what it printed.
fn host(args: &[&str], more: impl FnOnce(&mut Command)) -> anyhow::Result<String> {
    let mut command = Command::new("cargo");
    command
        .args(["run", "--quiet", "-p", "host", "--"])
        .args(args);
    more(&mut command);
    let output = command
        .current_dir(root())
        .output()
        .context("cannot start cargo")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}",
        error.lines().next().unwrap_or("failed")
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn rollbacks(run: &Path) -> anyhow::Result<u64> {
    let folder = run.parent().context("a run is in a folder")?;
    let list = host(&["runs", "--json"], |command| {
        command.arg(folder);
    })?;
    let list: Vec<Value> = serde_json::from_str(&list)?;
    let path = run.display().to_string();
    let found = list.iter().find(|found| found["run"] == path.as_str());
    found
        .and_then(|found| found["rollbacks"].as_u64())
        .with_context(|| format!("{path} is not in the list of runs"))
}

/// Mean over pixels of the variance of images.
fn variance(pictures: &[Vec<u8>]) -> f64 {
    let n = pictures.len() as f64;
    let pixels = pictures.first().map_or(0, Vec::len);
    let of_pixel = |at: usize| {
        let values = pictures.iter().map(|picture| f64::from(picture[at]));
        let (sum, squares) = values.fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        squares / n - (sum / n).powi(2)
    };
    (0..pixels).map(of_pixel).sum::<f64>() / pixels as f64
}
