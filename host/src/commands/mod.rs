//! One file per command.

mod compare;
mod doctor;
mod inspect;
mod quantize;
mod runs;
mod sample;
mod train;

use std::path::Path;

use anyhow::Context;

use crate::cli::Command;

pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor => doctor::run(),
    }
}

/// Reads a `.gan` file; the caller parses it in place.
fn read_gan(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Checks the bytes of a `.gan` file.
fn parse_gan<'a>(bytes: &'a [u8], path: &Path) -> anyhow::Result<gan_core::Model<'a>> {
    gan_core::Model::parse(bytes).with_context(|| format!("{} is not usable", path.display()))
}
