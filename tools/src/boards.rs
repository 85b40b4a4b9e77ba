//! The boards and how to build for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

#[path = "../../firmware/boards.rs"]
#[allow(dead_code, reason = "the rest is for the build script")]
mod table;

pub use table::{BOARDS, BoardSpec, Emulator, Loader};

/// Lists the boards: name, target, display and emulator.
#[derive(clap::Args)]
pub struct Boards {
    /// One line a board, name and target first, without a head.
    #[arg(long)]
    list: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "list")]
    json: bool,
}

impl Boards {
    pub fn run(self) -> anyhow::Result<()> {
        if self.json {
            let boards = BOARDS.iter().map(|board| {
                serde_json::json!({
                    "name": board.name,
                    "target": board.target,
                    "display": board.display,
                    "flash_bytes": board.flash.1,
                    "ram_bytes": board.ram.1,
                    "emulator": board.emulator.map(|emulator| format!("{emulator:?}")),
                })
            });
            let boards: Vec<_> = boards.collect();
            println!("{}", serde_json::to_string_pretty(&boards)?);
            return Ok(());
        }
        if !self.list {
            println!("name         target                       display         emulator");
        }
        for board in BOARDS {
            let emulator = board.emulator.map(|emulator| format!("{emulator:?}"));
            let emulator = emulator.unwrap_or_else(|| "-".into());
            let (name, target, display) = (board.name, board.target, board.display);
            println!("{name:12} {target:28} {display:15} {emulator}");
        }
        Ok(())
    }
}

/// The first board that an emulator runs.
pub fn emulated(wanted: Option<Emulator>) -> anyhow::Result<BoardSpec> {
    let is_wanted = |emulator| wanted.is_none_or(|wanted| wanted == emulator);
    let mut boards = BOARDS.iter().copied();
    let board = boards.find(|board| board.emulator.is_some_and(is_wanted));
    board.with_context(|| format!("no board is emulated by {wanted:?}"))
}

/// The board of a name, for the command line.
pub fn parse(name: &str) -> Result<BoardSpec, String> {
    let board = BOARDS.iter().copied().find(|board| board.name == name);
    board.ok_or_else(|| {
        let names: Vec<&str> = BOARDS.iter().map(|board| board.name).collect();
        format!("the boards are {}", names.join(", "))
    })
}

impl BoardSpec {
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
    let folder = std::env::var_os("CARGO_TARGET_DIR");
    let mut folder = folder.map_or_else(|| crate::root().join("target"), PathBuf::from);
    if model.is_some() {
        // Another program must not take the place of the default one while that is in use.
        folder.push("other-model");
        command.env("CARGO_TARGET_DIR", &folder);
    }
    if let Some(model) = model {
        eprint!("GAN_MODEL={} ", model.display());
        command.env("GAN_MODEL", model);
    }
    eprintln!("cargo {args}");
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");
    Ok(folder.join(target).join("firmware").join(program))
}
