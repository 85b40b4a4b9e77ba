//! The command line, installed as `gan`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod device;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches};
use host::files::remedy;
use host::{console, note};

fn main() -> ExitCode {
    // A negative number is a bad value of its option, not an unknown option.
    let mut usage = cli::Cli::command().mut_subcommands(|c| c.allow_negative_numbers(true));
    let parsed = usage.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed.and_then(|matches| cli::Cli::from_arg_matches(&matches));
    let cli = match parsed.map_err(|error| error.format(&mut usage)) {
        Ok(cli) => cli,
        Err(usage) => return show_usage(&usage),
    };
    // The command runs on a thread of the pool, which then need not be woken for every loop.
    let done = rayon::scope(|_| commands::dispatch(cli.command));
    let printed = console::finish().context("cannot write to standard output");
    match done.and(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Shows help, or what is wrong with the arguments, which an error repeats.
fn show_usage(usage: &clap::Error) -> ExitCode {
    if usage.use_stderr() {
        note!("{}", usage.render().to_string().trim_end());
        return ExitCode::from(2);
    }
    match usage.print() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
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
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let full = causes.find(|e: &&io::Error| e.kind() == ErrorKind::StorageFull);
    let remedy = full.map_or("", remedy);
    match text.contains(remedy) {
        true => text,
        false => text + remedy,
    }
}
