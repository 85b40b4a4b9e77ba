//! Thousands of images on the emulated LM3S6965, each checked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use gan_core::latent::Pcg32;
use gan_core::{Critic, Mode, Model};

use super::event::Event;
use super::lm3s6965evb::Lm3s6965Evb;
use super::{Emulator, Key, next_line};
use crate::boards;

/// Presses random keys on the lm3s6965evb in QEMU until so many images have been drawn, and
/// checks what its log says of each.
///
/// The image's checksum is the one that gan-core draws on this machine for the class and
/// seed, and, on the way between two seeds, the same whenever the same step is drawn again.
/// The stack's high-water mark stays where it was after the first tenth, the canaries around
/// the arena stay whole, nothing ends the application. After ten images, each hundred more
/// and the last the display's bus is stopped in the middle of an image, by QEMU's debugger
/// port: the application has to say so, to set the display up again when that succeeds, and to
/// draw the image that was cut off.
#[derive(clap::Args)]
pub struct Soak {
    /// Images.
    #[arg(long, default_value_t = 2000)]
    images: u32,
    /// Seed of the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the display goes at the end, a PNG: the plain image of a seed.
    #[arg(long)]
    screenshot: Option<PathBuf>,
    /// A .gan file in place of the default model.
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Images before the display is first unplugged, and from one time to the next.
const FIRST_UNPLUGGED: u32 = 10;
const UNPLUGGED_EVERY: u32 = 100;
/// Bytes that the rows of an image take at least, commands included; there are 1,736 for the
/// default model's 28 rows.
const PICTURE_BYTES: u32 = 1700;
/// Images in which the stack's mark may rise, at least.
const SETTLED: u32 = 20;
/// Time for an answer to a key, before it is pressed again.
const PRESSED: Duration = Duration::from_secs(5);
/// Shows every scene and palette.
const FIRST_KEYS: [Key; 6] = [
    Key::Up,
    Key::Down,
    Key::Left,
    Key::Right,
    Key::Select,
    Key::Select,
];

impl Soak {
    pub fn run(self) -> anyhow::Result<()> {
        println!("{}", self.found()?);
        Ok(())
    }

    /// A soak of the default model, and so many images.
    pub const fn of(images: u32) -> Self {
        Self {
            images,
            seed: 1,
            screenshot: None,
            model: None,
        }
    }

    /// One line of what was found.
    pub fn found(self) -> anyhow::Result<String> {
        let default = crate::root().join("models/fashion.gan");
        let file = self.model.as_deref().unwrap_or(&default);
        let bytes = std::fs::read(file);
        let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
        let board = boards::emulated(Some(boards::Emulator::QemuLm3s6965))?;
        let elf = board.build(self.model.as_deref())?;
        let mut session = Session {
            board: Lm3s6965Evb::start(&elf)?,
            record: Record::new(Model::parse(&bytes)?, SETTLED.max(self.images / 10)),
            random: Pcg32::new(self.seed),
            begun: Instant::now(),
        };
        session.soak(self.images)?;
        println!("{}", session.record.last);
        if let Some(path) = &self.screenshot {
            session.board.screenshot(&std::path::absolute(path)?)?;
        }
        session.record.finish()
    }
}

/// A board under test.
struct Session<'m> {
    board: Lm3s6965Evb,
    record: Record<'m>,
    random: Pcg32,
    begun: Instant,
}

impl Session<'_> {
    fn soak(&mut self, images: u32) -> anyhow::Result<()> {
        self.wait_for_picture()?;
        for key in FIRST_KEYS {
            self.tap(key)?;
            self.wait_for_picture()?;
        }
        let mut next_unplugged = FIRST_UNPLUGGED;
        while self.record.images + 1 < images {
            if self.record.images >= next_unplugged {
                next_unplugged += UNPLUGGED_EVERY;
                self.unplug(Key::Left)?;
                continue;
            }
            if !self.record.is_interpolating || self.random(8) == 0 {
                let keys = [Key::Up, Key::Down, Key::Left, Key::Right, Key::Select];
                let key = keys[self.random(5) as usize];
                self.tap(key)?;
            }
            self.wait_for_picture()?;
        }
        while !self.record.is_plain() {
            self.tap(Key::Left)?;
            self.wait_for_picture()?;
        }
        self.unplug(Key::Right)
    }

    /// Below `end`.
    fn random(&mut self, end: u32) -> u32 {
        self.random.next_u32() % end
    }

    /// The next line of the log, checked.
    fn line(&mut self) -> anyhow::Result<String> {
        let line = next_line(&mut self.board, |_| ())?;
        if self.record.take(&line)? && self.record.images.is_multiple_of(100) {
            let (images, seconds) = (self.record.images, self.begun.elapsed().as_secs());
            println!("{images} images in {seconds} s: {line}");
        }
        Ok(line)
    }

    fn wait_for_picture(&mut self) -> anyhow::Result<()> {
        while Event::parse(&self.line()?).name != "Frame" {}
        Ok(())
    }

    /// Presses and lets go. A key that was let go and pressed between two looks at it is not
    /// answered: it is pressed again.
    fn tap(&mut self, key: Key) -> anyhow::Result<()> {
        let answered = self.record.buttons;
        for _ in 0..3 {
            self.board.press(key, true)?;
            let pressed = Instant::now();
            while self.record.buttons == answered && pressed.elapsed() < PRESSED {
                self.line()?;
            }
            self.board.press(key, false)?;
            if self.record.buttons > answered {
                return Ok(());
            }
        }
        bail!("no answer to {key:?}");
    }

    /// Unplugs the display in the middle of the image that a key asks for, for some of the
    /// application's tries to set it up.
    fn unplug(&mut self, key: Key) -> anyhow::Result<()> {
        if self.record.is_interpolating {
            self.tap(Key::Select)?;
            self.wait_for_picture()?;
        }
        let (after_bytes, failing) = (1 + self.random(PICTURE_BYTES), self.random(4));
        self.board.unplug(key, after_bytes, failing)?;
        let mut events = Vec::<Event>::new();
        while events.last().is_none_or(|event| event.name != "Frame") {
            let event = Event::parse(&self.line()?);
            events.extend((event.name != "Stack").then_some(event));
        }
        let names: Vec<&str> = events.iter().map(|event| &*event.name).collect();
        let is_expected = names == ["Button", "DisplayLost", "DisplayBack", "Frame"]
            && events[2].field::<u32>("tries")? == failing + 1;
        ensure!(
            is_expected,
            "unplugged after {after_bytes} bytes, for {failing} tries: {events:#?}"
        );
        self.record.unplugged += 1;
        Ok(())
    }
}

/// Class, seed and step of an image.
type Shown = (Option<usize>, u64, u8);

/// The events of the log so far.
struct Record<'m> {
    model: Model<'m>,
    /// Checksum and score: of the first time, or of gan-core's own drawing.
    known: HashMap<Shown, (u32, Option<i8>)>,
    images: u32,
    differences: u32,
    buttons: u32,
    palette: u32,
    is_interpolating: bool,
    unplugged: u32,
    /// Used and reserved.
    stack_bytes: (u32, u32),
    /// Images after which the stack's mark may not rise.
    settled: u32,
    boots: u32,
    /// Seed of the last image.
    last: String,
}

impl<'m> Record<'m> {
    fn new(model: Model<'m>, settled: u32) -> Self {
        Self {
            model,
            known: HashMap::new(),
            images: 0,
            differences: 0,
            buttons: 0,
            palette: 0,
            is_interpolating: false,
            unplugged: 0,
            stack_bytes: (0, 0),
            settled,
            boots: 0,
            last: String::new(),
        }
    }

    /// Whether the palette is the first again: of three for grey, of two for colour.
    fn is_plain(&self) -> bool {
        let palettes = if self.model.output_shape().c == 1 {
            3
        } else {
            2
        };
        self.palette.is_multiple_of(palettes)
    }

    /// Checks a line; whether it is an image's.
    fn take(&mut self, line: &str) -> anyhow::Result<bool> {
        let event = Event::parse(line);
        match &*event.name {
            "Boot" => {
                self.boots += 1;
                ensure!(self.boots == 1, "the board has started again: {line}");
            }
            "Stack" => {
                let bytes = (event.field("used_bytes")?, event.field("of_bytes")?);
                let images = self.images;
                ensure!(images <= self.settled, "after {images} images: {line}");
                self.stack_bytes = bytes;
            }
            "Button" => {
                let action = event.argument.as_deref();
                self.buttons += 1;
                self.palette += u32::from(action == Some("NextPalette"));
                self.is_interpolating ^= action == Some("Interpolate");
            }
            "Frame" => {
                self.images += 1;
                self.check_picture(&event)?;
                line.clone_into(&mut self.last);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn check_picture(&mut self, event: &Event) -> anyhow::Result<()> {
        let class = event.optional("class")?;
        let (seed, step) = (event.field("seed")?, event.field("step")?);
        let drawn = (event.field("crc32")?, event.optional("score")?);
        let key = (class, seed, step);
        let expected = match self.known.get(&key) {
            Some(&known) => known,
            None if step == 0 => draw(&self.model, class, seed)?,
            None => drawn,
        };
        self.known.insert(key, expected);
        if drawn != expected {
            self.differences += 1;
            println!("{event:?}: not checksum and score {expected:?}");
        }
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<String> {
        let Self {
            images,
            differences,
            stack_bytes: (used, of),
            unplugged,
            ..
        } = self;
        let different = self.known.len();
        let found = format!(
            "images drawn {images}, {different} of them different, differences {differences}, \
             stack {used} of {of} bytes, canaries whole, display unplugged {unplugged} times"
        );
        ensure!(*differences == 0, "{differences} differences: {found}");
        ensure!(used < of, "the stack is full: {found}");
        Ok(found)
    }
}

/// Checksum and score of what gan-core draws here.
fn draw(model: &Model<'_>, class: Option<usize>, seed: u64) -> anyhow::Result<(u32, Option<i8>)> {
    let mut arena = vec![0; model.required_words(Mode::Streamed)];
    let mut input = vec![0; model.input_len()];
    let mut seen = vec![0; model.critic().map_or(0, Critic::input_len)];
    let mut checksum = crc32fast::Hasher::new();
    model.fill_input(seed, class, &mut input)?;
    model.run(&input, &mut arena, |row, values| {
        let bytes: Vec<u8> = values.iter().map(|value| value.cast_unsigned()).collect();
        checksum.update(&bytes);
        if let Some(critic) = model.critic() {
            critic.take_row(row, values, &mut seen);
        }
    })?;
    let score = model.critic().map(|critic| critic.score(&seen, &mut arena));
    Ok((checksum.finalize(), score.transpose()?))
}
