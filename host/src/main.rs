//! The `host` command line.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod device;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use host::{console, note};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = commands::dispatch(cli.command);
    let printed = console::finish().context("cannot write to standard output");
    match done.and(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
