//! A Pico in rp2040js, by tests/rp2040/run.mjs.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, Command, Stdio};

use anyhow::{Context, ensure};

use super::{Emulator, Key, Running, wait_for};

pub struct Pico {
    running: Running,
    /// A command a line, and its answer.
    commands: ChildStdin,
    answers: BufReader<ChildStderr>,
}

impl Pico {
    pub fn start(elf: &Path) -> anyhow::Result<Self> {
        let folder = crate::root().join("tests/rp2040");
        if !folder.join("node_modules").is_dir() {
            let install = ["ci", "--no-audit", "--no-fund"];
            eprintln!("npm {}", install.join(" "));
            let status = Command::new("npm")
                .args(install)
                .current_dir(&folder)
                .status();
            let status = status.context("cannot start npm: see `cargo tools setup`")?;
            ensure!(status.success(), "npm failed in {}", folder.display());
        }
        let mut command = Command::new("node");
        command
            .arg(folder.join("run.mjs"))
            .arg(elf)
            .stdin(Stdio::piped());
        let mut running = Running::start(&mut command, elf)?;
        let pipes = running
            .process
            .stdin
            .take()
            .zip(running.process.stderr.take());
        let (commands, answers) = pipes.context("no pipes to the emulator")?;
        Ok(Self {
            running,
            commands,
            answers: BufReader::new(answers),
        })
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<()> {
        writeln!(self.commands, "{command}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer == "ok\n", "{command}: {answer}");
        Ok(())
    }
}

impl Emulator for Pico {
    fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    fn complaints(&mut self) -> &mut dyn Read {
        &mut self.answers
    }

    /// Long presses ask for something else, as do both buttons together.
    fn tap(&mut self, key: Key) -> anyhow::Result<()> {
        let (buttons, ms) = match key {
            Key::Up => ("A", 100),
            Key::Down => ("A", 700),
            Key::Left => ("AB", 100),
            Key::Right => ("B", 100),
            Key::Select => ("B", 700),
        };
        self.ask(&format!("tap\t{buttons}\t{ms}"))?;
        wait_for(self, "Button")
    }

    fn hang(&mut self) -> anyhow::Result<()> {
        self.ask("hang")
    }

    fn screenshot(&mut self, path: &Path) -> anyhow::Result<()> {
        self.ask(&format!("screenshot\t{}", path.display()))
    }
}
