//! Fuzzing the reader of `.gan` files.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Feeds `Model::parse`, and the drawing of what passes it, with files that libFuzzer makes
/// (core/fuzz); with `AddressSanitizer` where nightly Rust is installed.
///
/// Needs a C++ compiler and cargo-fuzz; installs neither. What it finds that is worth keeping
/// goes to core/fuzz/corpus, what crashes to core/fuzz/artifacts.
#[derive(clap::Args)]
pub struct Fuzz {
    /// Minutes to run.
    #[arg(long, default_value_t = 2)]
    minutes: u32,
}

const TARGET: &str = "parse_and_run";

impl Fuzz {
    pub fn run(self) -> anyhow::Result<()> {
        let starts = |args: &[&str]| {
            let output = Command::new("cargo").args(args).output();
            output.is_ok_and(|output| output.status.success())
        };
        ensure!(
            starts(&["fuzz", "--version"]),
            "there is no cargo-fuzz: cargo install cargo-fuzz --locked"
        );
        let build: &[&str] = match starts(&["+nightly", "--version"]) {
            true => &["+nightly", "fuzz", "run"],
            false => {
                println!("no nightly Rust, so no AddressSanitizer: panics and hangs are found");
                &["fuzz", "run", "--sanitizer", "none"]
            }
        };
        let folder = crate::root().join("core/fuzz");
        // New inputs go to the first of the two.
        std::fs::create_dir_all(folder.join("corpus").join(TARGET))?;
        let mut command = Command::new("cargo");
        command.args(build).args(["--fuzz-dir", ".", TARGET]);
        command
            .arg(format!("corpus/{TARGET}"))
            .args(["seeds", "--"]);
        let seconds = 60 * self.minutes;
        command.arg(format!("-max_total_time={seconds}"));
        // Seconds for a file, megabytes in all, bytes of a file.
        command.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=8192"]);
        command.args(["-print_final_stats=1", "-close_fd_mask=1"]);
        command.current_dir(&folder).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start cargo")?;
        let errors = process.stderr.take().context("no pipe from cargo")?;
        let mut executions = None;
        let mut log = Vec::new();
        for line in BufReader::new(errors).lines() {
            let line = line?;
            if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                executions = number.trim().parse::<u64>().ok();
            }
            log.push(line);
        }
        let status = process.wait()?;
        if !status.success() {
            let last = log.len().saturating_sub(60);
            log[last..].iter().for_each(|line| eprintln!("{line}"));
        }
        let executions = executions.context("the fuzzer has not run")?;
        let crashes = u8::from(!status.success());
        println!("{TARGET}: {executions} executions in {seconds} s, crashes {crashes}");
        ensure!(
            status.success(),
            "what crashes it lies in core/fuzz/artifacts/{TARGET}"
        );
        Ok(())
    }
}
