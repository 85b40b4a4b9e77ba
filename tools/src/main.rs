//! Developer commands: `cargo tools COMMAND`.

mod data;
mod golden;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo tools", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the embedded data set in host/data/fashion from Fashion-MNIST's own files.
    Data(data::Data),
    /// Regenerates the golden vectors of the integer kernels.
    Golden(golden::Golden),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Data(data) => data.run(),
        Command::Golden(golden) => golden.run(),
    }
}
