//! The boards and how to build for them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

#[path = "../../firmware/boards.rs"]
mod table;

pub use table::{BOARDS, Board};

/// The board of a name, for the command line.
pub fn parse(name: &str) -> Result<Board, String> {
    let board = BOARDS.into_iter().find(|board| board.name == name);
    board.ok_or_else(|| format!("the boards are {}", BOARDS.map(|board| board.name).join(", ")))
}

impl Board {
    /// Builds the application; the path of its ELF file.
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        build("firmware", self.target, &format!("board-{}", self.name))
    }
}

/// Builds a program of the firmware as it is flashed; the path of its ELF file.
pub fn build(program: &str, target: &str, feature: &str) -> anyhow::Result<PathBuf> {
    let args = format!(
        "build --quiet --package firmware --bin {program} --profile firmware --target {target} \
         --features {feature}"
    );
    eprintln!("cargo {args}");
    let status = Command::new("cargo")
        .args(args.split(' '))
        .current_dir(crate::root())
        .status();
    ensure!(status.context("cannot start cargo")?.success(), "the build failed");
    let folder = std::env::var_os("CARGO_TARGET_DIR");
    let folder = folder.map_or_else(|| crate::root().join("target"), PathBuf::from);
    Ok(folder.join(target).join("firmware").join(program))
}
