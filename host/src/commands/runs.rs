//! `gan runs`: what is in the runs folder.

use std::path::Path;

use anyhow::{Context, ensure};
use host::files::{MOST_BYTES, read_regular};
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint;
use serde_json::Value;

use crate::cli::Runs;

pub fn run(args: &Runs) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(&args.folder);
    let entries = entries.with_context(|| format!("cannot read {}", args.folder.display()))?;
    let folders: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut folders: Vec<_> = folders?
        .into_iter()
        .filter(|path| RunFolder::new(path).holds_run())
        .collect();
    ensure!(
        !folders.is_empty(),
        "{} holds no runs; `{} train` makes one",
        args.folder.display(),
        super::program()
    );
    folders.sort();
    let found: Vec<Entry> = folders.iter().map(|folder| Entry::read(folder)).collect();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    say!(
        "{:<28} {:<10} {:<18} {:>13} {:>9} {:>7} {:>7} {:>8} {:>8}",
        "run",
        "preset",
        "data",
        "steps",
        "rollbacks",
        "loss D",
        "loss G",
        "PSNR",
        "int8"
    );
    for entry in &found {
        match entry {
            Entry::Run(run) => run.print(),
            Entry::Damaged { run, error } => say!("{run:<28} {error}"),
        }
    }
    Ok(())
}

/// A line of the list.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Entry {
    Run(Run),
    /// Its checkpoint or generator cannot be read.
    Damaged {
        run: String,
        error: String,
    },
}

impl Entry {
    fn read(path: &Path) -> Self {
        match Run::read(path) {
            Ok(run) => Self::Run(run),
            Err(error) => Self::Damaged {
                run: path.display().to_string(),
                error: error.to_string(),
            },
        }
    }
}

/// A row of the list of runs.
#[derive(serde::Serialize)]
struct Run {
    run: String,
    preset: String,
    dataset: String,
    step: u64,
    steps: u64,
    rollbacks: u32,
    /// Loss of the last step, like the next one.
    discriminator_loss: Option<f64>,
    generator_loss: Option<f64>,
    /// PSNR of the int8 generator against the float one.
    psnr_db: Option<f64>,
    model_bytes: Option<u64>,
}

impl Run {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let folder = RunFolder::new(path);
        // An imported run has a generator only.
        let file = Some(folder.checkpoint()).filter(|path| path.exists());
        let state = checkpoint::load_state(&file.unwrap_or_else(|| folder.generator()))?;
        let metrics = read_regular(&folder.metrics(), MOST_BYTES).unwrap_or_default();
        let metrics = String::from_utf8_lossy(&metrics);
        let last = metrics.lines().next_back().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap_or_default();
        let compared = read_regular(&folder.comparison(), MOST_BYTES);
        let compared = compared.unwrap_or_default();
        let compared: Value = serde_json::from_slice(&compared).unwrap_or_default();
        let model = std::fs::metadata(folder.int8_generator());
        let steps = state.end_step();
        Ok(Self {
            run: path.display().to_string(),
            preset: state.config.name,
            dataset: state.dataset,
            step: state.step,
            steps,
            rollbacks: state.rollbacks,
            discriminator_loss: last["discriminator_loss"].as_f64(),
            generator_loss: last["generator_loss"].as_f64(),
            psnr_db: compared["psnr_db"].as_f64(),
            model_bytes: model.ok().map(|m| m.len()),
        })
    }

    fn print(&self) {
        let loss = |loss: Option<f64>| loss.map_or("-".into(), |v| format!("{v:.3}"));
        say!(
            "{:<28} {:<10} {:<18} {:>13} {:>9} {:>7} {:>7} {:>8} {:>8}",
            self.run,
            self.preset,
            self.dataset,
            format!("{}/{}", self.step, self.steps),
            self.rollbacks,
            loss(self.discriminator_loss),
            loss(self.generator_loss),
            self.psnr_db.map_or("-".into(), |v| format!("{v:.1} dB")),
            self.model_bytes
                .map_or("-".into(), |v| format!("{:.0} KB", v as f64 / 1000.0)),
        );
    }
}
