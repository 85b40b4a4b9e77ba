//! The robustness checks of models and runs, as one table.

use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::qemu::soak::Soak;
use crate::root;
use crate::symbols::Symbols;

/// Runs the robustness checks and prints a table of their results: mutated model files, killed
/// runs, hostile inputs, a soak test in QEMU, the symbols that gan-core can reach.
///
/// Without --full in a short form; with it in some ten minutes.
#[derive(clap::Args)]
pub struct Ci {
    /// 200 kills, a folder of 100,000 files, 2,000 images.
    #[arg(long)]
    full: bool,
}

/// Tests, and the checks that they tell of: a line of JSON each in the file that `FOUND`
/// names.
const TESTS: [(&str, &str); 3] = [
    ("mutations", "mutations"),
    ("killed_at_any", "kills"),
    ("hostile", "hostile inputs"),
];

/// The result of a check.
#[derive(Deserialize)]
struct Found {
    check: String,
    found: String,
}

/// Of the tests' own size: the count of kills and of files in the largest folder.
const FULL: [(&str, &str); 2] = [("KILLS", "200"), ("FOLDER_FILES", "100000")];

impl Ci {
    pub fn run(self) -> anyhow::Result<()> {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--quiet", "-p", "tests", "--test", "suite", "--"]);
        cargo.args(TESTS.map(|(test, _)| test)).arg("very_many");
        if self.full {
            cargo.envs(FULL);
        }
        let file = tempfile::NamedTempFile::new()?;
        cargo.env("FOUND", file.path()).current_dir(root());
        println!("{cargo:?}");
        let status = cargo.status().context("cannot start cargo")?;
        ensure!(status.success(), "a test failed");
        let lines = std::fs::read_to_string(file.path())?;
        let found: Vec<Found> = lines
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let mut table = Vec::new();
        for (test, check) in TESTS {
            let of_test = found.iter().find(|found| found.check == check);
            let of_test = of_test.with_context(|| format!("{test} has not said what it found"))?;
            table.push(of_test.found.clone());
        }
        table.push(Soak::of(if self.full { 2000 } else { 100 }).found()?);
        let boards = Symbols::of_all().check()?;
        ensure!(boards > 0, "no board's program was read");
        table.push(format!(
            "forbidden symbols 0 in the programs of {boards} boards"
        ));
        println!("\n| found |\n|---|");
        table.iter().for_each(|line| println!("| {line} |"));
        Ok(())
    }
}
