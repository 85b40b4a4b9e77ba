//! The application on an emulated board.

mod debugger;
mod event;
mod lm3s6965evb;
mod log;
mod pico;
pub mod soak;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::boards::{self, BoardSpec, Emulator as Kind};
pub use event::Event;
use lm3s6965evb::Lm3s6965Evb;
use log::Log;
use pico::Pico;

/// Runs the application in an emulator, presses keys and saves what its display shows:
/// lm3s6965evb in QEMU, pico in rp2040js (Node.js).
///
/// The log goes to standard output. The boards' clocks run by executed instructions, so
/// that times are the same on every run; they are an emulator's, not a board's.
#[derive(clap::Args)]
pub struct Qemu {
    /// One that `cargo tools boards` has an emulator for; the first of them by default.
    #[arg(long, value_parser = boards::parse)]
    board: Option<BoardSpec>,
    /// Keys to press, one after the other's image: up (next class), down (previous
    /// class), left (palette), right (new seed), select (interpolation).
    #[arg(long, value_enum, value_delimiter = ',')]
    keys: Vec<Key>,
    /// Where the display goes at the end, a PNG; the lm3s6965evb's has four pixels a
    /// display pixel.
    #[arg(long, default_value = "screen.png")]
    screenshot: PathBuf,
    /// A .gan file in place of the default model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// After the last key, bring the program into a loop that does not end. The watchdog has
    /// to start the board again.
    #[arg(long)]
    hang: bool,
    /// Print the log as JSON, an event a line.
    #[arg(long)]
    json: bool,
    /// Run this program, do not build.
    #[arg(long, conflicts_with = "model")]
    elf: Option<PathBuf>,
}

/// What a user can ask for; how it is pressed is the board's affair.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Key {
    Up,
    Down,
    Left,
    Right,
    Select,
}

/// Time in which the application has to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A board that runs.
trait Emulator {
    /// Its process and log.
    fn running(&mut self) -> &mut Running;
    /// Standard error of the emulator.
    fn complaints(&mut self) -> &mut dyn Read;
    /// Presses and lets go; the application has taken note.
    fn tap(&mut self, key: Key) -> anyhow::Result<()>;
    /// Brings the program into a loop that does not end.
    fn hang(&mut self) -> anyhow::Result<()>;
    /// Writes what the display shows to a full path.
    fn screenshot(&mut self, path: &Path) -> anyhow::Result<()>;
}

/// An emulator's process, whose standard output is the log; dropping it ends it.
struct Running {
    process: Child,
    log: Log,
    /// Whether the log is printed as JSON.
    is_json: bool,
}

impl Running {
    fn start(command: &mut Command, elf: &Path) -> anyhow::Result<Self> {
        let program = std::fs::read(elf);
        let program = program.with_context(|| format!("cannot read {}", elf.display()))?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn();
        let mut process =
            process.with_context(|| format!("cannot start {name}: see `cargo tools setup`"))?;
        let output = process.stdout.take().context("no pipe from the emulator")?;
        let log = Log::new(&program, output)?;
        Ok(Self {
            process,
            log,
            is_json: false,
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints the log until an event of this name.
fn wait_for(emulator: &mut dyn Emulator, name: &str) -> anyhow::Result<()> {
    let is_json = emulator.running().is_json;
    let print = |line: &str| match serde_json::to_string(&Event::parse(line)) {
        Ok(json) if is_json => println!("{json}"),
        _ => println!("{line}"),
    };
    while Event::parse(&next_line(emulator, print)?).name != name {}
    Ok(())
}

/// Waits for the next line of the log; one that ends the application is an error. `see` gets
/// that one, too.
fn next_line(emulator: &mut dyn Emulator, see: impl FnOnce(&str)) -> anyhow::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Asked for first: what was written before the end is still in the log.
        let has_ended = emulator.running().has_ended();
        if let Some(line) = emulator.running().log.next_line()? {
            see(&line);
            ensure!(!line.starts_with("ERROR"), "the application ended: {line}");
            return Ok(line);
        }
        if has_ended {
            let mut complaints = String::new();
            emulator.complaints().read_to_string(&mut complaints)?;
            bail!("the emulator ended: {}", complaints.trim());
        }
        let seconds = PATIENCE.as_secs();
        ensure!(Instant::now() < deadline, "no event in {seconds} s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn play(emulator: &mut dyn Emulator, keys: &[Key], hang: bool) -> anyhow::Result<()> {
    wait_for(emulator, "Frame")?;
    for &key in keys {
        emulator.tap(key)?;
        wait_for(emulator, "Frame")?;
    }
    if hang {
        emulator.hang()?;
        wait_for(emulator, "Boot")?;
        wait_for(emulator, "Frame")?;
    }
    Ok(())
}

impl Qemu {
    pub fn run(self) -> anyhow::Result<()> {
        let board = self.board.map_or_else(|| boards::emulated(None), Ok)?;
        let elf = match self.elf {
            Some(elf) => elf,
            None => board.build(self.model.as_deref())?,
        };
        let mut emulator: Box<dyn Emulator> = match board.emulator {
            Some(Kind::QemuLm3s6965) => Box::new(Lm3s6965Evb::start(&elf)?),
            Some(Kind::Rp2040js) => Box::new(Pico::start(&elf)?),
            None => bail!(
                "there is no emulator of a {}: see cargo tools boards",
                board.name
            ),
        };
        emulator.running().is_json = self.json;
        let outcome = play(&mut *emulator, &self.keys, self.hang);
        if !emulator.running().has_ended() {
            // An error is on the display, too.
            emulator.screenshot(&std::path::absolute(&self.screenshot)?)?;
            eprintln!("{}", self.screenshot.display());
        }
        outcome
    }
}
