//! The simulator: the application on the host, into PNG, GIF, the terminal or a window.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use embedded_graphics::pixelcolor::{Gray4, Gray8, PixelColor, Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics_simulator::{OutputSettings, OutputSettingsBuilder, SimulatorDisplay};
use firmware::app::{App, CANDIDATES, INTERPOLATION_FRAME_MS, Memory, Platform};
use firmware::display::{SSD0323_PX, ST7789_PX};
use firmware::event::{Event, Fault};
use firmware::input::Action;
use firmware::screen::show_fault;
use gan_core::image::write_half_blocks;
use gan_core::{Critic, Mode, Model};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbImage};

/// Draws a generator's images as a board would, and saves what its display shows.
#[derive(Parser)]
#[command(name = "firmware")]
struct Cli {
    /// Display to simulate.
    #[arg(long, value_enum, default_value_t = Panel::Tft)]
    panel: Panel,
    /// A .gan file, or a run folder with one, in place of the model that is built in.
    #[arg(long)]
    model: Option<PathBuf>,
    /// First class, by name or number.
    #[arg(long)]
    class: Option<String>,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Images that the model's critic may score for each one that is shown; 0 for none.
    #[arg(long, default_value_t = CANDIDATES)]
    candidates: u32,
    /// Keys to press, one after the other's image: up (next class), down (previous
    /// class), left (palette), right (new seed), select (interpolation).
    #[arg(long, value_enum, value_delimiter = ',')]
    keys: Vec<Key>,
    /// Stop after this many images: an interpolation does not end by itself.
    #[arg(long)]
    frames: Option<usize>,
    /// File for the display at the end, a PNG [default: screen.png, unless there is a --record].
    #[arg(long)]
    out: Option<PathBuf>,
    /// File for the images after the last key, an animated GIF.
    #[arg(long)]
    record: Option<PathBuf>,
    /// PNG and GIF pixels a display pixel; by default 4 for oled, 1 for tft.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: Option<u32>,
    /// Time of an image by the simulated clock; without it the clock is real.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    frame_ms: Option<u32>,
    /// Draw the display in the terminal, too: 24-bit colour, a column a pixel.
    #[arg(long)]
    terminal: bool,
    /// Open a window: arrow keys and space.
    #[cfg(feature = "sdl")]
    #[arg(long)]
    window: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Panel {
    /// 128x64, 16 greys: the lm3s6965evb's.
    Oled,
    /// 240x240, colour: the other boards' ST7789.
    Tft,
}

#[derive(Clone, Copy, ValueEnum)]
enum Key {
    Up,
    Down,
    Left,
    Right,
    Select,
}

impl Key {
    const fn action(self) -> Action {
        match self {
            Self::Up => Action::NextClass,
            Self::Down => Action::PreviousClass,
            Self::Left => Action::NextPalette,
            Self::Right => Action::NewSeed,
            Self::Select => Action::Interpolate,
        }
    }
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) if usage.use_stderr() => {
            say(usage.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let outcome = match cli.panel {
        Panel::Oled => simulate::<Gray4>(&cli, SSD0323_PX, cli.scale.unwrap_or(4)),
        Panel::Tft => simulate::<Rgb565>(&cli, ST7789_PX, cli.scale.unwrap_or(1)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on standard error, whose own errors have no place to go.
fn say(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Colours that the simulator can show.
trait Color: PixelColor + From<Gray8> + From<Rgb888> + Into<Rgb888> {}
impl<C: PixelColor + From<Gray8> + From<Rgb888> + Into<Rgb888>> Color for C {}

fn simulate<C: Color>(cli: &Cli, size: Size, scale: u32) -> anyhow::Result<()> {
    let file = cli.model.as_deref().map(read).transpose()?;
    let bytes = file.as_deref().unwrap_or(crate::model::bytes());
    let mut simulator = Simulator::<C>::new(cli, size, scale);
    let fault = match run(cli, bytes, &mut simulator) {
        Ok(()) => None,
        Err(Failure::Fault(fault)) => {
            let _ = show_fault(&mut simulator.display, &fault);
            simulator.log(Event::Failed(fault));
            Some(fault)
        }
        Err(Failure::Other(error)) => return Err(error),
    };
    let default = cli.record.is_none().then(|| PathBuf::from("screen.png"));
    if let Some(path) = cli.out.clone().or(default) {
        let (name, picture) = (path.display(), simulator.picture(&simulator.settings));
        let saved = picture.save(&path);
        saved.with_context(|| format!("cannot write {name}"))?;
        say(&format!("{name}: {}x{}", picture.width(), picture.height()));
    }
    if let Some(path) = &cli.record {
        record(path, &simulator.recorded)?;
        let count = simulator.recorded.len();
        say(&format!("{}: {count} pictures", path.display()));
    }
    if cli.terminal {
        let picture = simulator.picture(&OutputSettings::default());
        let (width, height) = picture.dimensions();
        let mut text = String::new();
        let pixel = |x, y| picture.get_pixel(x, y).0;
        // Writing to a string cannot fail.
        let _ = write_half_blocks(&mut text, width, height, [0; 3], pixel);
        // A reader that has gone away wants no image.
        let _ = stdout().lock().write_all(text.as_bytes());
    }
    fault.map_or(Ok(()), |fault| bail!("{fault}"))
}

/// The reason why a simulation ends early.
enum Failure {
    /// The display shows it, as a board's would.
    Fault(Fault),
    Other(anyhow::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a model; a run folder stands for its own.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let of_run = path.join("generator.gan");
    let path = if path.is_dir() { &of_run } else { path };
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn run<C: Color>(cli: &Cli, bytes: &[u8], simulator: &mut Simulator<C>) -> Result<(), Failure> {
    let model = Model::parse(bytes).map_err(Fault::Model)?;
    let class = class(cli, &model).map_err(Failure::Other)?;
    let memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        target: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
    };
    let first = (class, cli.seed);
    let mut app = App::boot(simulator, &model, memory, first, cli.candidates)?;
    #[cfg(feature = "sdl")]
    if cli.window {
        return window::run(&mut app, simulator).map_err(Failure::Fault);
    }
    loop {
        app.step(simulator)?;
        let is_over = cli.frames.is_some_and(|frames| simulator.frames >= frames);
        if is_over || (app.is_idle() && simulator.keys.is_empty()) {
            return Ok(());
        }
        if simulator.frame_ms.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn class(cli: &Cli, model: &Model<'_>) -> anyhow::Result<usize> {
    let Some(asked) = &cli.class else {
        return Ok(0);
    };
    model.find_class(asked).with_context(|| {
        let labels: Vec<&str> = model.labels().collect();
        format!(
            "there is no class `{asked}`; there are {}",
            labels.join(", ")
        )
    })
}

struct Simulator<C> {
    display: SimulatorDisplay<C>,
    settings: OutputSettings,
    keys: VecDeque<Key>,
    started: Instant,
    frame_ms: Option<u32>,
    clock_ms: u32,
    frames: usize,
    /// The key before has been answered.
    is_ready: bool,
    is_recording: bool,
    recorded: Vec<RgbImage>,
}

impl<C: Color> Simulator<C> {
    fn new(cli: &Cli, size: Size, scale: u32) -> Self {
        Self {
            display: SimulatorDisplay::with_default_color(size, Gray8::BLACK.into()),
            settings: OutputSettingsBuilder::new().scale(scale).build(),
            keys: cli.keys.iter().copied().collect(),
            started: Instant::now(),
            frame_ms: cli.frame_ms,
            clock_ms: 0,
            frames: 0,
            is_ready: false,
            is_recording: cli.record.is_some(),
            recorded: Vec::new(),
        }
    }

    /// The content of the display.
    fn picture(&self, settings: &OutputSettings) -> RgbImage {
        let output = self.display.to_rgb_output_image(settings);
        let size = output.size();
        let bytes = output.as_image_buffer().to_vec();
        RgbImage::from_raw(size.width, size.height, bytes).unwrap_or_default()
    }
}

impl<C: Color> Platform for Simulator<C> {
    type Color = C;
    type Display = SimulatorDisplay<C>;

    fn display(&mut self) -> &mut Self::Display {
        &mut self.display
    }

    /// With a simulated clock, every reading is as much later than the one before: an
    /// image lies between two.
    fn now_ms(&mut self) -> u32 {
        let Some(frame_ms) = self.frame_ms else {
            return self.started.elapsed().as_millis() as u32;
        };
        self.clock_ms = self.clock_ms.wrapping_add(frame_ms);
        self.clock_ms
    }

    fn action(&mut self) -> Option<Action> {
        if !std::mem::take(&mut self.is_ready) {
            return None;
        }
        self.keys.pop_front().map(Key::action)
    }

    fn log(&mut self, event: Event<'_>) {
        say(&format!("{event:?}"));
        if matches!(event, Event::Frame { .. }) {
            self.frames += 1;
            self.is_ready = true;
            if self.is_recording && self.keys.is_empty() {
                self.recorded.push(self.picture(&self.settings));
            }
        }
    }
}

fn record(path: &Path, pictures: &[RgbImage]) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut encoder = GifEncoder::new_with_speed(file, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    let delay = Delay::from_numer_denom_ms(INTERPOLATION_FRAME_MS, 1);
    for picture in pictures {
        let picture = DynamicImage::ImageRgb8(picture.clone()).into_rgba8();
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
    }
    Ok(())
}

/// The window, where SDL is.
#[cfg(feature = "sdl")]
mod window {
    use embedded_graphics_simulator::sdl2::Keycode;
    use embedded_graphics_simulator::{SimulatorEvent, Window};

    use super::{App, Color, Fault, Key, Simulator};

    pub fn run<C: Color>(app: &mut App<'_>, simulator: &mut Simulator<C>) -> Result<(), Fault> {
        let mut window = Window::new("gan", &simulator.settings);
        loop {
            app.step(simulator)?;
            window.update(&simulator.display);
            for event in window.events() {
                let key = match event {
                    SimulatorEvent::Quit => return Ok(()),
                    SimulatorEvent::KeyDown { keycode, .. } => keycode,
                    _ => continue,
                };
                let key = match key {
                    Keycode::Up => Key::Up,
                    Keycode::Down => Key::Down,
                    Keycode::Left => Key::Left,
                    Keycode::Right => Key::Right,
                    Keycode::Space => Key::Select,
                    _ => continue,
                };
                simulator.keys.push_back(key);
                simulator.is_ready = true;
            }
        }
    }
}
