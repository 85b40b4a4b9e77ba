//! The application on an emulated board.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use defmt_decoder::{DecodeError, StreamDecoder, Table};
use serde_json::{Value, json};

use crate::boards::{self, Board};

/// Runs the application in QEMU, presses keys and saves what its display shows.
///
/// The log goes to standard output. The clock runs by executed instructions, 32 ns each:
/// 1.6 cycles at 50 MHz, so that times are the same on every run.
#[derive(clap::Args)]
pub struct Qemu {
    /// Only lm3s6965evb can be emulated with its display.
    #[arg(long, value_parser = boards::parse, default_value = "lm3s6965evb")]
    board: Board,
    /// Keys to press, one after the other's picture: up (next class), down (previous
    /// class), left (palette), right (new seed), select (walk).
    #[arg(long, value_delimiter = ',', value_parser = KEYS.map(|(name, _)| name))]
    keys: Vec<String>,
    /// Where the display goes at the end: a PNG, four pixels a display pixel.
    #[arg(long, default_value = "screen.png")]
    screenshot: PathBuf,
    /// Run this program, do not build.
    #[arg(long)]
    elf: Option<PathBuf>,
}

/// Names of the board's buttons and QEMU's keys for them.
const KEYS: [(&str, &str); 5] = [
    ("up", "up"),
    ("down", "down"),
    ("left", "left"),
    ("right", "right"),
    ("select", "ctrl"),
];

/// What the emulator is given to answer, and the application to draw.
const PATIENCE: Duration = Duration::from_secs(60);

impl Qemu {
    pub fn run(self) -> anyhow::Result<()> {
        let name = self.board.name;
        ensure!(name == "lm3s6965evb", "QEMU emulates no {name} with a display: use lm3s6965evb");
        let elf = match self.elf {
            Some(elf) => elf,
            None => self.board.build()?,
        };
        let mut machine = Machine::start(name, &elf)?;
        for (_, key) in KEYS {
            // The emulator takes a key that was never touched for pressed.
            machine.press(key, true)?;
            machine.press(key, false)?;
        }
        let mut outcome = machine.wait_for("Frame");
        for key in &self.keys {
            if outcome.is_err() {
                break;
            }
            let code = KEYS.iter().find(|(name, _)| name == key).map_or("", |&(_, code)| code);
            machine.press(code, true)?;
            machine.wait_for("Button")?;
            machine.press(code, false)?;
            outcome = machine.wait_for("Frame");
        }
        let path = std::path::absolute(&self.screenshot)?;
        machine.ask("screendump", json!({"filename": path, "format": "png"}))?;
        eprintln!("{}", self.screenshot.display());
        outcome
    }
}

/// A running emulator; dropping it ends it.
struct Machine {
    process: Child,
    /// QEMU's machine protocol: a JSON object a line.
    protocol: BufReader<TcpStream>,
    log: Log,
}

impl Machine {
    fn start(machine: &str, elf: &Path) -> anyhow::Result<Self> {
        let program = std::fs::read(elf);
        let program = program.with_context(|| format!("cannot read {}", elf.display()))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let protocol = format!("tcp:{}", listener.local_addr()?);
        let mut command = Command::new("qemu-system-arm");
        command.args(["-machine", machine, "-display", "none", "-serial", "none"]);
        command.args(["-icount", "shift=5", "-qmp", &protocol]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.arg("-kernel").arg(elf);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn();
        let mut process = process.context("cannot start qemu-system-arm: see `cargo tools setup`")?;
        let output = process.stdout.take().context("no pipe from the emulator")?;
        let mut machine = Self {
            protocol: BufReader::new(listener.accept()?.0),
            log: Log::new(&program, output)?,
            process,
        };
        machine.ask("qmp_capabilities", json!({}))?;
        Ok(machine)
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: &str, arguments: Value) -> anyhow::Result<()> {
        let line = json!({"execute": request, "arguments": arguments});
        let mut line = format!("{line}\n");
        let sent = self.protocol.get_mut().write_all(line.as_bytes());
        while sent.is_ok() {
            line.clear();
            if self.protocol.read_line(&mut line)? == 0 {
                break;
            }
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {request}: {error}");
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
        Err(self.end())
    }

    fn press(&mut self, key: &str, is_down: bool) -> anyhow::Result<()> {
        let key = json!({"type": "qcode", "data": key});
        let event = json!({"type": "key", "data": {"down": is_down, "key": key}});
        self.ask("input-send-event", json!({"events": [event]}))
    }

    /// Prints the log until an event of this name; one that ends the application is an
    /// error.
    fn wait_for(&mut self, event: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for line in self.log.lines()? {
                println!("{line}");
                ensure!(!line.starts_with("ERROR"), "the application ended: {line}");
                if line.contains(event) {
                    return Ok(());
                }
            }
            if self.process.try_wait()?.is_some() {
                return Err(self.end());
            }
            ensure!(Instant::now() < deadline, "no {event} in {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What is to be said when the emulator has ended by itself.
    fn end(&mut self) -> anyhow::Error {
        let mut errors = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.read_to_string(&mut errors);
        }
        let last = errors.lines().find(|line| line.contains("qemu")).unwrap_or_default();
        anyhow::anyhow!("QEMU ended: {last}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The defmt log of a running program.
struct Log {
    bytes: Receiver<Vec<u8>>,
    decoder: Box<dyn StreamDecoder>,
}

impl Log {
    fn new(elf: &[u8], mut output: ChildStdout) -> anyhow::Result<Self> {
        let table = Table::parse(elf)?.context("the program has no defmt log")?;
        // It lives as long as the process, which runs one program.
        let table: &'static Table = Box::leak(Box::new(table));
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let decoder = table.new_stream_decoder();
        Ok(Self { bytes, decoder })
    }

    /// The lines that have come since the last call.
    fn lines(&mut self) -> anyhow::Result<Vec<String>> {
        for bytes in self.bytes.try_iter() {
            self.decoder.received(&bytes);
        }
        let mut lines = Vec::new();
        loop {
            match self.decoder.decode() {
                Ok(frame) => {
                    let level = frame.level().map_or("", |level| level.as_str());
                    let level = level.to_uppercase();
                    lines.push(format!("{level:5} {}", frame.display_message()));
                }
                Err(DecodeError::UnexpectedEof) => return Ok(lines),
                Err(DecodeError::Malformed) => bail!("the log cannot be decoded"),
            }
        }
    }
}
