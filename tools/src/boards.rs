//! The boards and how to build for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

#[path = "../../firmware/boards.rs"]
mod table;

pub use table::{BOARDS, Board, Loader};

/// The board of a name, for the command line.
pub fn parse(name: &str) -> Result<Board, String> {
    let board = BOARDS.into_iter().find(|board| board.name == name);
    board.ok_or_else(|| {
        format!(
            "the boards are {}",
            BOARDS.map(|board| board.name).join(", ")
        )
    })
}

impl Board {
    /// Builds the application with the default model or another; the path of its ELF file.
    pub fn build(&self, model: Option<&Path>) -> anyhow::Result<PathBuf> {
        let model = model.map(std::path::absolute).transpose()?;
        if let Some(model) = &model {
            ensure!(model.is_file(), "there is no {}", model.display());
        }
        build(
            "firmware",
            self.target,
            &format!("board-{}", self.name),
            model,
        )
    }
}

/// Builds a program of the firmware as it is flashed; the path of its ELF file.
pub fn build(
    program: &str,
    target: &str,
    feature: &str,
    model: Option<PathBuf>,
) -> anyhow::Result<PathBuf> {
    let args = format!(
        "build --quiet --package firmware --bin {program} --profile firmware --target {target} \
         --features {feature}"
    );
    let mut command = Command::new("cargo");
    command.args(args.split(' ')).current_dir(crate::root());
    if let Some(model) = model {
        eprint!("GAN_MODEL={} ", model.display());
        command.env("GAN_MODEL", model);
    }
    eprintln!("cargo {args}");
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");
    let folder = std::env::var_os("CARGO_TARGET_DIR");
    let folder = folder.map_or_else(|| crate::root().join("target"), PathBuf::from);
    Ok(folder.join(target).join("firmware").join(program))
}
