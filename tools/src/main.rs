//! Developer commands: `cargo tools COMMAND`.

mod bench;
mod boards;
mod cards;
mod ci;
mod code;
mod cuda_check;
mod data;
mod docs;
mod elf;
mod flash;
mod fuzz;
mod golden;
mod interop;
mod qemu;
mod setup;
mod size;
mod stability;
mod symbols;

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
    Bench(bench::Bench),
    Boards(boards::Boards),
    Cards(cards::Cards),
    Ci(ci::Ci),
    CudaCheck(cuda_check::CudaCheck),
    Data(data::Data),
    Docs(docs::Docs),
    Flash(flash::Flash),
    Fuzz(fuzz::Fuzz),
    Golden(golden::Golden),
    Interop(interop::Interop),
    Qemu(qemu::Qemu),
    Setup(setup::Setup),
    Size(size::Size),
    Soak(qemu::soak::Soak),
    Stability(stability::Stability),
    Symbols(symbols::Symbols),
}

/// The repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> anyhow::Result<()> {
    // A reader that goes away ends a developer's command, as it ends other programs.
    sigpipe::reset();
    match Cli::parse().command {
        Command::Bench(bench) => bench.run(),
        Command::Boards(boards) => boards.run(),
        Command::Cards(cards) => cards.run(),
        Command::Ci(ci) => ci.run(),
        Command::CudaCheck(check) => check.run(),
        Command::Data(data) => data.run(),
        Command::Docs(docs) => docs.run(),
        Command::Flash(flash) => flash.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Golden(golden) => golden.run(),
        Command::Interop(interop) => interop.run(),
        Command::Qemu(qemu) => qemu.run(),
        Command::Setup(setup) => setup.run(),
        Command::Size(size) => size.run(),
        Command::Soak(soak) => soak.run(),
        Command::Stability(stability) => stability.run(),
        Command::Symbols(symbols) => symbols.run(),
    }
}
