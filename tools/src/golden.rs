//! The golden vectors, by their own generator.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::root;

/// Regenerates tests/golden/kernels.json with python3.
#[derive(clap::Args)]
pub struct Golden {
    /// Fail if the committed file is not what the generator makes; write nothing.
    #[arg(long)]
    check: bool,
}

impl Golden {
    pub fn run(self) -> anyhow::Result<()> {
        let folder = root().join("tests/golden");
        let vectors = folder.join("kernels.json");
        println!("python3 tests/golden/generate.py");
        let generator = folder.join("generate.py");
        let output = Command::new("python3").arg(generator).output();
        let output = output.context("cannot start python3")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the generator failed:\n{errors}");
        let is_same = std::fs::read(&vectors).is_ok_and(|committed| committed == output.stdout);
        println!(
            "tests/golden/kernels.json: {}",
            if is_same { "unchanged" } else { "changed" }
        );
        if self.check {
            let stale = "the committed golden vectors differ from their generator's";
            ensure!(is_same, "{stale}: cargo tools golden");
        } else if !is_same {
            std::fs::write(&vectors, output.stdout).context("cannot write the vectors")?;
        }
        Ok(())
    }
}
