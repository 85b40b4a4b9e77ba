//! What has to hold for those who trust a model or a run, as one table.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::root;

/// Runs the checks of trust and prints what each found: mutated model files, killed runs,
/// hostile inputs, a soak in QEMU, what gan-core can reach.
///
/// Without --full in a short form, as `.ci/run` does; with it in some ten minutes.
#[derive(clap::Args)]
pub struct Ci {
    /// 200 kills, a folder of 100,000 files, 2,000 pictures.
    #[arg(long)]
    full: bool,
}

/// Tests that print what they found, and how the line begins.
const TESTS: [(&str, &str); 3] = [
    ("mutations", "mutations: "),
    ("killed_at_any", "kills survived "),
    ("hostile", "hostile inputs "),
];
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
        let printed = printed_by(&mut cargo)?;
        let mut table = Vec::new();
        for (test, beginning) in TESTS {
            let line = printed.lines().find_map(|line| {
                let at = line.find(beginning)?;
                Some(line[at..].trim().to_owned())
            });
            table
                .push(line.with_context(|| format!("the test {test} has not said what it found"))?);
        }
        let images = if self.full { "2000" } else { "100" };
        let soak = printed_by(own().args(["soak", "--images", images]))?;
        table.push(soak.lines().last().unwrap_or_default().to_owned());
        // It fails if there is one.
        let symbols = printed_by(own().arg("symbols"))?;
        let boards = symbols
            .lines()
            .filter(|line| line.contains("0 reach a panic"));
        let boards = boards.count();
        ensure!(boards > 0, "no board's program was read:\n{symbols}");
        table.push(format!(
            "forbidden symbols 0 in the programs of {boards} boards"
        ));
        println!("\n| found |\n|---|");
        table.iter().for_each(|line| println!("| {line} |"));
        Ok(())
    }
}

/// This program.
fn own() -> Command {
    Command::new(std::env::current_exe().unwrap_or_else(|_| "tools".into()))
}

/// What a command prints on both its outputs, if it succeeds.
fn printed_by(command: &mut Command) -> anyhow::Result<String> {
    println!("{command:?}");
    let output = command.current_dir(root()).output();
    let output = output.with_context(|| format!("cannot start {command:?}"))?;
    let [errors, text] = [&output.stderr, &output.stdout].map(|b| String::from_utf8_lossy(b));
    let printed = format!("{errors}{text}");
    ensure!(output.status.success(), "{command:?} failed:\n{printed}");
    Ok(printed)
}
