//! What a machine lacks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::boards::BOARDS;

/// Says what is missing for the emulators, the boards and flashing, and how to get it.
///
/// Fails if something is missing that the tests of the firmware need.
#[derive(clap::Args)]
pub struct Setup {
    /// Run the commands that are printed.
    #[arg(long)]
    install: bool,
}

/// A program, what it is for, and where it comes from: Debian's and Homebrew's names, or a
/// crate.
struct Program {
    name: &'static str,
    purpose: &'static str,
    source: Source,
}

enum Source {
    Package {
        debian: &'static str,
        brew: &'static str,
    },
    Crate(&'static str),
}

const PROGRAMS: [Program; 6] = [
    Program {
        name: "qemu-system-arm",
        purpose: "emulates the LM3S6965 board and Arm's cores",
        source: Source::Package {
            debian: "qemu-system-arm",
            brew: "qemu",
        },
    },
    Program {
        name: "qemu-system-riscv32",
        purpose: "emulates the RISC-V core",
        source: Source::Package {
            debian: "qemu-system-misc",
            brew: "qemu",
        },
    },
    Program {
        name: "node",
        purpose: "runs the emulator of the Pico",
        source: Source::Package {
            debian: "nodejs",
            brew: "node",
        },
    },
    Program {
        name: "npm",
        purpose: "gets the emulator of the Pico",
        source: Source::Package {
            debian: "npm",
            brew: "node",
        },
    },
    Program {
        name: "probe-rs",
        purpose: "flashes by a debug probe",
        source: Source::Crate("probe-rs-tools"),
    },
    Program {
        name: "espflash",
        purpose: "flashes an ESP32-C3",
        source: Source::Crate("espflash"),
    },
];

impl Setup {
    pub fn run(self) -> anyhow::Result<()> {
        let mut missing_for_tests = Vec::new();
        let mut targets: Vec<&str> = BOARDS.iter().map(|board| board.target).collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let is_there = has_target(target)?;
            let command = ["rustup", "target", "add", target].map(String::from);
            if !self.report(target, "builds for boards", is_there, &command)? {
                missing_for_tests.push(target);
            }
        }
        for program in PROGRAMS {
            let is_there = Command::new(program.name).arg("--version").output().is_ok();
            let command = program.source.command();
            let is_there = self.report(program.name, program.purpose, is_there, &command)?;
            if !is_there && matches!(program.source, Source::Package { .. }) {
                missing_for_tests.push(program.name);
            }
        }
        let list = missing_for_tests.join(", ");
        ensure!(
            missing_for_tests.is_empty(),
            "the firmware's tests need {list}"
        );
        Ok(())
    }

    /// One line; installs what is not there, if that is allowed. Whether it is there now.
    fn report(
        &self,
        name: &str,
        purpose: &str,
        is_there: bool,
        command: &[String],
    ) -> anyhow::Result<bool> {
        if is_there {
            println!("ok       {name:28} {purpose}");
            return Ok(true);
        }
        println!("missing  {name:28} {purpose}: {}", command.join(" "));
        if self.install
            && let Some((program, args)) = command.split_first()
        {
            let status = Command::new(program).args(args).status();
            let status = status.with_context(|| format!("cannot start {program}"))?;
            ensure!(status.success(), "{} failed", command.join(" "));
        }
        Ok(self.install)
    }
}

impl Source {
    fn command(&self) -> Vec<String> {
        let command = match *self {
            Self::Crate(name) => format!("cargo install --locked {name}"),
            Self::Package { brew, .. } if cfg!(target_os = "macos") => {
                format!("brew install {brew}")
            }
            Self::Package { debian, .. } => {
                format!("sudo apt-get install --no-install-recommends {debian}")
            }
        };
        command.split(' ').map(String::from).collect()
    }
}

/// Whether the standard library is there for a target.
pub fn has_target(target: &str) -> anyhow::Result<bool> {
    let args = ["--print", "target-libdir", "--target", target];
    let output = Command::new("rustc")
        .args(args)
        .output()
        .context("cannot start rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
