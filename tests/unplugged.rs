//! A display whose bus fails somewhere in the middle, for a while, through the application.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use embedded_graphics::pixelcolor::Gray4;
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::spi::{self, Operation, SpiDevice};
use firmware::app::{App, Memory, Platform, RETRY_MS};
use firmware::display::Restored;
use firmware::display::ssd0323::Ssd0323;
use firmware::event::{Event, Fault};
use firmware::input::Action;
use gan_core::{Mode, Model};

use crate::display::Panel;

/// A panel, and the bytes that still reach it; then none does.
struct Wires {
    panel: Panel,
    bytes_left: usize,
    bytes_sent: usize,
}

/// One end of the wires.
#[derive(Clone)]
struct Wire(Rc<RefCell<Wires>>);

#[derive(Debug)]
struct Unplugged;

impl spi::Error for Unplugged {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl spi::ErrorType for Wire {
    type Error = Unplugged;
}

impl SpiDevice for Wire {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Unplugged> {
        let mut wires = self.0.borrow_mut();
        for operation in operations {
            let Operation::Write(bytes) = operation else {
                continue;
            };
            for &byte in *bytes {
                wires.bytes_left = wires.bytes_left.checked_sub(1).ok_or(Unplugged)?;
                wires.bytes_sent += 1;
                wires.panel.receive(byte);
            }
        }
        Ok(())
    }
}

impl digital::ErrorType for Wire {
    type Error = Infallible;
}

impl OutputPin for Wire {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().panel.is_data = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().panel.is_data = true;
        Ok(())
    }
}

/// A board on which a reading of the clock takes 60 ms and a key is pressed after each
/// picture.
struct Bench {
    wires: Rc<RefCell<Wires>>,
    display: Ssd0323<Wire, Wire>,
    keys: &'static [Action],
    now_ms: u32,
    /// Tries to set the display up that fail; none if the board cannot.
    failing: Option<u32>,
    tried_ms: Vec<u32>,
    is_ready: bool,
    frames: Vec<String>,
    others: Vec<String>,
}

impl Platform for Bench {
    type Color = Gray4;
    type Display = Ssd0323<Wire, Wire>;

    fn display(&mut self) -> &mut Self::Display {
        &mut self.display
    }

    fn restore_display(&mut self) -> Restored {
        let Some(failing) = self.failing else {
            return Restored::Never;
        };
        self.tried_ms.push(self.now_ms);
        // A try that fails gets a little further than the one before.
        let tries = self.tried_ms.len();
        let is_plugged = tries > failing as usize;
        self.wires.borrow_mut().bytes_left = if is_plugged { usize::MAX } else { 7 * tries };
        match self.display.start() {
            Ok(()) => Restored::Yes,
            Err(_) => Restored::NotYet,
        }
    }

    fn now_ms(&mut self) -> u32 {
        self.now_ms += 60;
        self.now_ms
    }

    fn action(&mut self) -> Option<Action> {
        let (&key, rest) = self.keys.split_first().filter(|_| self.is_ready)?;
        (self.keys, self.is_ready) = (rest, false);
        Some(key)
    }

    fn log(&mut self, event: Event<'_>) {
        match event {
            Event::Frame { .. } => {
                self.is_ready = true;
                self.frames.push(format!("{event:?}"));
            }
            Event::Boot { .. } | Event::Button(_) => {}
            _ => self.others.push(format!("{event:?}")),
        }
    }
}

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/fashion.gan");

/// Runs until every key was answered by a picture, four of them in an interpolation, on a
/// bus that
/// fails after so many bytes.
fn run(bytes: usize, failing: Option<u32>) -> (Bench, Result<(), Fault>) {
    let file = std::fs::read(MODEL).unwrap();
    let model = Model::parse(&file).unwrap();
    let wires = Rc::new(RefCell::new(Wires {
        panel: Panel::new(),
        bytes_left: usize::MAX,
        bytes_sent: 0,
    }));
    let mut bench = Bench {
        display: Ssd0323::new(Wire(wires.clone()), Wire(wires.clone())),
        wires: wires.clone(),
        keys: &[Action::NextClass, Action::NextPalette, Action::Interpolate],
        now_ms: 0,
        failing,
        tried_ms: Vec::new(),
        is_ready: false,
        frames: Vec::new(),
        others: Vec::new(),
    };
    bench.display.start().unwrap();
    wires.borrow_mut().bytes_left = bytes;
    let memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        target: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().unwrap().input_len()],
    };
    let mut app = App::boot(&mut bench, &model, memory, (0, 1), 0).unwrap();
    while bench.frames.len() < 8 {
        if let Err(fault) = app.step(&mut bench) {
            return (bench, Err(fault));
        }
    }
    (bench, Ok(()))
}

#[test]
fn a_display_that_was_unplugged_anywhere_shows_in_the_end_what_it_would_have_shown() {
    let (whole, outcome) = run(usize::MAX, Some(0));
    assert_eq!((outcome, whole.others.len()), (Ok(()), 0));
    let expected = whole.wires.borrow();
    // The display's start is not among the bytes that may fail.
    let until = expected.bytes_sent - 4096 - 40;
    let mut seen = 0;
    for bytes in (0..until).step_by(487).chain([1, 2, 3, 4, 5, 6]) {
        let failing = (bytes % 4) as u32;
        let (bench, outcome) = run(bytes, Some(failing));
        assert_eq!(outcome, Ok(()), "{bytes}");
        let back = format!("DisplayBack {{ tries: {} }}", failing + 1);
        assert_eq!(bench.others, ["DisplayLost", &back], "{bytes}");
        let waits = bench.tried_ms.windows(2);
        let waits: Vec<u32> = waits.map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|&ms| ms >= RETRY_MS), "{bytes}: {waits:?}");
        // With class, seed, step, time and checksum of each.
        assert_eq!(bench.frames, whole.frames, "{bytes}");
        let panel = &bench.wires.borrow().panel;
        assert!(
            panel.is_on && panel.bytes == expected.panel.bytes,
            "{bytes}"
        );
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_display_that_cannot_be_set_up_again_ends_the_application() {
    let (bench, outcome) = run(9000, None);
    assert_eq!(outcome, Err(Fault::Display));
    assert_eq!(bench.others, ["DisplayLost"]);
}

#[test]
fn a_pictures_checksum_is_the_crc_of_what_is_drawn() {
    let (bench, _) = run(usize::MAX, Some(0));
    let file = std::fs::read(MODEL).unwrap();
    let model = Model::parse(&file).unwrap();
    let mut input = vec![0; model.input_len()];
    model.fill_input(1, Some(0), &mut input).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let mut arena = vec![0; model.required_words(Mode::Streamed)];
    model
        .run(&input, &mut arena, |_, values| {
            let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
            std::io::Write::write_all(&mut gzip, &bytes).unwrap();
        })
        .unwrap();
    let zipped = gzip.finish().unwrap();
    // A gzip file ends with the checksum and the length of what it holds.
    let end = zipped.len() - 8;
    let crc32 = u32::from_le_bytes(zipped[end..end + 4].try_into().unwrap());
    assert!(bench.frames[0].contains(&format!("crc32: {crc32} ")));
}
