//! The golden vectors, by their own generator.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Regenerates tests/golden/kernels.json with python3.
#[derive(clap::Args)]
pub struct Golden {
    /// Fail if the committed file was not what the generator makes.
    #[arg(long)]
    check: bool,
}

impl Golden {
    pub fn run(self) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        let vectors = folder.join("kernels.json");
        let before = std::fs::read(&vectors).unwrap_or_default();
        println!("python3 tests/golden/generate.py");
        let status = Command::new("python3")
            .arg(folder.join("generate.py"))
            .status();
        ensure!(
            status.context("cannot start python3")?.success(),
            "the generator failed"
        );
        let same = before == std::fs::read(&vectors)?;
        println!(
            "tests/golden/kernels.json: {}",
            if same { "unchanged" } else { "changed" }
        );
        ensure!(
            same || !self.check,
            "the committed golden vectors differ from their generator's"
        );
        Ok(())
    }
}
