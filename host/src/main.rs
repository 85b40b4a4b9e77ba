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
            note!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, but for those that the text before names already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
