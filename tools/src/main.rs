//! Developer commands: `cargo tools COMMAND`.

mod bench;
mod boards;
mod data;
mod golden;
mod qemu;

use std::path::Path;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo tools", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts the runtime's instructions on emulated microcontrollers.
    Bench(bench::Bench),
    /// Makes the embedded data set in host/data/fashion from Fashion-MNIST's own files.
    Data(data::Data),
    /// Regenerates the golden vectors of the integer kernels.
    Golden(golden::Golden),
    Qemu(qemu::Qemu),
}

/// The repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bench(bench) => bench.run(),
        Command::Data(data) => data.run(),
        Command::Golden(golden) => golden.run(),
        Command::Qemu(qemu) => qemu.run(),
    }
}
