//! The display driver and the buttons, against a display and hands of our own.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use embedded_graphics::pixelcolor::{Gray4, GrayColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::spi::{self, Operation, SpiDevice};
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::{Mock as Pin, State, Transaction as Level};
use embedded_hal_mock::eh1::spi::{Mock as Spi, Transaction};
use firmware::display::ssd0323::{Error, Ssd0323};
use firmware::input::Action;
use firmware::input::buttons::{FiveButtons, TwoButtons};
use proptest::collection::vec;
use proptest::prelude::*;

const WIDTH: i32 = 128;
const HEIGHT: i32 = 64;

/// An SSD0323 as its data sheet describes it: 64 bytes a row, two pixels a byte, a window
/// that data fill row by row.
#[derive(Default)]
pub struct Panel {
    pub is_data: bool,
    pub is_on: bool,
    command: Vec<u8>,
    window: [u8; 4],
    at: [u8; 2],
    pub bytes: Vec<[u8; 64]>,
}

impl Panel {
    /// Turned off, its memory full of something.
    pub fn new() -> Self {
        Self {
            bytes: vec![[0x5A; 64]; 64],
            ..Self::default()
        }
    }

    pub fn receive(&mut self, byte: u8) {
        if self.is_data {
            let [column, row] = self.at;
            self.bytes[usize::from(row)][usize::from(column)] = byte;
            let [left, right, top, bottom] = self.window;
            self.at = match (column == right, row == bottom) {
                (false, _) => [column + 1, row],
                (true, false) => [left, row + 1],
                (true, true) => [left, top],
            };
            return;
        }
        self.command.push(byte);
        let argument_count = match self.command[0] {
            0x15 | 0x75 => 2,
            0x81 | 0xA0 | 0xA1 | 0xA2 | 0xA8 | 0xB1 | 0xB2 | 0xB3 => 1,
            _ => 0,
        };
        if self.command.len() > argument_count {
            match self.command[..] {
                [0x15, first, last] => (self.window[0], self.window[1]) = (first, last),
                [0x75, first, last] => (self.window[2], self.window[3]) = (first, last),
                [0xAF] => self.is_on = true,
                [0xAE] => self.is_on = false,
                _ => {}
            }
            self.at = [self.window[0], self.window[2]];
            self.command.clear();
        }
    }

    fn pixel(&self, x: usize, y: usize) -> u8 {
        let byte = self.bytes[y][x / 2];
        if x.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 15
        }
    }
}

/// One end of the wires to the panel: bus or pin.
#[derive(Clone)]
struct Wire(Rc<RefCell<Panel>>);

impl spi::ErrorType for Wire {
    type Error = Infallible;
}

impl SpiDevice for Wire {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        for operation in operations {
            if let Operation::Write(bytes) = operation {
                bytes
                    .iter()
                    .for_each(|&byte| self.0.borrow_mut().receive(byte));
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
        self.0.borrow_mut().is_data = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().is_data = true;
        Ok(())
    }
}

/// A drawing: corner, size, kind and a number for its colours.
type Drawing = (i32, i32, u32, u32, u8, u32);

fn color(seed: u32, i: u32) -> u8 {
    (seed.wrapping_mul(31).wrapping_add(i.wrapping_mul(7)) >> 1) as u8 & 15
}

proptest! {
    #[test]
    fn the_panel_holds_what_was_drawn_wherever_it_was_drawn(
        drawings in vec(
            (-20..140, -10..70, 0u32..60, 0u32..30, 0u8..3, any::<u32>()), 1..12),
    ) {
        let wire = Wire(Rc::new(RefCell::new(Panel::new())));
        let mut display = Ssd0323::new(wire.clone(), wire.clone());
        prop_assert_eq!(display.fill_solid(&display.bounding_box(), Gray4::WHITE), Err(Error::Off));
        prop_assert!(display.start().is_ok());
        let mut expected = vec![[0u8; WIDTH as usize]; HEIGHT as usize];
        for &(left, top, width, height, kind, seed) in &drawings as &[Drawing] {
            let area = Rectangle::new(Point::new(left, top), Size::new(width, height));
            let colors = (0..width * height).map(|i| Gray4::new(color(seed, i)));
            let drawn = match kind {
                0 => display.fill_contiguous(&area, colors),
                1 => display.fill_solid(&area, Gray4::new(color(seed, 0))),
                _ => display.draw_iter(area.points().zip(colors).map(|(at, c)| Pixel(at, c))),
            };
            prop_assert!(drawn.is_ok());
            for (i, at) in (0..).zip(area.points()) {
                if (0..WIDTH).contains(&at.x) && (0..HEIGHT).contains(&at.y) {
                    let i = if kind == 1 { 0 } else { i };
                    expected[at.y as usize][at.x as usize] = color(seed, i);
                }
            }
        }
        let panel = wire.0.borrow();
        prop_assert!(panel.is_on);
        for (y, row) in expected.iter().enumerate() {
            for (x, &level) in row.iter().enumerate() {
                prop_assert_eq!(panel.pixel(x, y), level, "{} {}", x, y);
            }
        }
    }
}

/// What the driver sends before it draws, for the mocks: bytes and levels.
fn start() -> (Vec<Transaction<u8>>, Vec<Level>) {
    let commands: [&[u8]; 15] = [
        &[0xE3, 0xE3],
        &[0xAE],
        &[0x81, 0x60],
        &[0x86],
        &[0xA0, 0x42],
        &[0xA1, 0x00],
        &[0xA2, 0x40],
        &[0xA4],
        &[0xA8, 0x3F],
        &[0xB1, 0x53],
        &[0xB2, 0x46],
        &[0xB3, 0x41],
        &[0xAF],
        &[0x15, 0, 63],
        &[0x75, 0, 63],
    ];
    let mut levels = vec![Level::set(State::Low); commands.len()];
    levels.push(Level::set(State::High));
    let write = |bytes: &[u8]| {
        let write = Transaction::write_vec(bytes.to_vec());
        [
            Transaction::transaction_start(),
            write,
            Transaction::transaction_end(),
        ]
    };
    let mut bytes: Vec<_> = commands.into_iter().flat_map(write).collect();
    bytes.extend((0..64).flat_map(|_| write(&[0; 64])));
    (bytes, levels)
}

#[test]
fn the_driver_sends_the_data_sheets_commands_and_reports_a_pin_that_fails() {
    let (mut bytes, mut levels) = start();
    // Three pixels from (3, 10) on touch the bytes 1 and 2 of one row.
    for write in [&[0x15, 1, 2][..], &[0x75, 10, 10], &[0x01, 0x23]] {
        bytes.push(Transaction::transaction_start());
        bytes.push(Transaction::write_vec(write.to_vec()));
        bytes.push(Transaction::transaction_end());
    }
    levels.extend([State::Low, State::Low, State::High].map(Level::set));
    let failure = MockError::Io(std::io::ErrorKind::NotConnected);
    levels.push(Level::set(State::Low).with_error(failure.clone()));

    let (mut spi, mut pin) = (Spi::new(&bytes), Pin::new(&levels));
    let mut display = Ssd0323::new(spi.clone(), pin.clone());
    display.start().unwrap();
    let area = Rectangle::new(Point::new(3, 10), Size::new(3, 1));
    let colors = [1, 2, 3].map(Gray4::new);
    display.fill_contiguous(&area, colors).unwrap();
    assert_eq!(
        display.fill_contiguous(&area, colors),
        Err(Error::Pin(failure))
    );
    assert_eq!(display.fill_contiguous(&area, colors), Err(Error::Off));
    assert_eq!(Gray4::new(3).luma(), 3);
    spi.done();
    pin.done();
}

/// What two buttons ask for, held down as listed: A, B, until when in milliseconds.
fn asked(presses: &[(bool, bool, u32)]) -> Vec<Action> {
    let mut buttons = TwoButtons::new();
    let mut actions = Vec::new();
    // The clock wraps on the way.
    let begun_ms = u32::MAX - 300;
    let mut ms = 0;
    for &(a, b, until_ms) in presses {
        while ms < until_ms {
            actions.extend(buttons.poll(a, b, begun_ms.wrapping_add(ms)));
            ms += 3;
        }
    }
    actions
}

#[test]
fn two_buttons_ask_for_five_things() {
    use Action::{Interpolate, NewSeed, NextClass, NextPalette, PreviousClass};
    let (a, b, both, none) = ((true, false), (false, true), (true, true), (false, false));
    let press = |button: (bool, bool), ms: u32| {
        asked(&[
            (false, false, 50),
            (button.0, button.1, 50 + ms),
            (none.0, none.1, 2000),
        ])
    };
    assert_eq!(press(a, 100), [NextClass]);
    assert_eq!(press(b, 100), [NewSeed]);
    assert_eq!(press(a, 900), [PreviousClass]);
    assert_eq!(press(b, 900), [Interpolate]);
    assert_eq!(press(both, 900), [NextPalette]);
    let one_after_the_other = [
        (true, false, 60),
        (true, true, 90),
        (false, true, 120),
        (false, false, 300),
    ];
    assert_eq!(asked(&one_after_the_other), [NextPalette]);
    let twice = [
        (true, false, 60),
        (false, false, 100),
        (true, false, 160),
        (false, false, 300),
    ];
    assert_eq!(asked(&twice), [NextClass, NextClass]);
}

#[test]
fn five_buttons_ask_once_a_press_and_not_for_what_is_down_at_the_start() {
    let mut buttons = FiveButtons::new();
    let mut polled = |down, ms| buttons.poll(down, ms);
    assert_eq!(polled(0b1_1111, 100), None);
    assert_eq!(polled(0, 200), None);
    assert_eq!(polled(0b0_1000, 300), Some(Action::NewSeed));
    assert_eq!(polled(0b0_1000, 400), None);
    assert_eq!(polled(0, 500), None);
    assert_eq!(polled(0b1_0000, 505), None, "the bouncing of a contact");
    assert_eq!(polled(0b1_0000, 525), Some(Action::Interpolate));
}

/// A contact that bounces for 19 ms whenever it closes or opens, and the moments at which the
/// application reads it: at most `longest_ms` apart, as between two rows.
#[derive(Debug)]
struct Contact {
    /// From when to when each press lasts.
    presses_ms: Vec<(u32, u32)>,
    polled_ms: Vec<u32>,
    longest_ms: u32,
    noise: u64,
}

impl Contact {
    /// Presses and pauses last as long as it takes to read them once when they do not bounce.
    fn new(longest_ms: u32, extra_ms: &[(u32, u32)], gaps: &[u32], noise: u64) -> Self {
        let (mut presses_ms, mut now_ms) = (Vec::new(), 100);
        for &(pause_ms, hold_ms) in extra_ms {
            let from_ms = now_ms + longest_ms + 20 + pause_ms;
            now_ms = from_ms + longest_ms + 20 + hold_ms;
            presses_ms.push((from_ms, now_ms));
        }
        let mut polled_ms = vec![50];
        for gap in gaps.iter().cycle() {
            let last_ms = polled_ms[polled_ms.len() - 1];
            if last_ms > now_ms + longest_ms + 20 {
                break;
            }
            polled_ms.push(last_ms + 1 + gap % longest_ms);
        }
        Self {
            presses_ms,
            polled_ms,
            longest_ms,
            noise,
        }
    }

    fn is_closed(&self, now_ms: u32) -> bool {
        let edges = self.presses_ms.iter().flat_map(|&(from, to)| [from, to]);
        if edges
            .clone()
            .any(|edge| (edge..edge + 19).contains(&now_ms))
        {
            return self.noise >> (now_ms % 64) & 1 == 1;
        }
        edges.filter(|&edge| edge <= now_ms).count() % 2 == 1
    }
}

proptest! {
    #[test]
    fn a_bouncing_press_is_answered_once_however_slow_the_rows_are(
        longest_ms in 1u32..=300,
        extra_ms in vec((0u32..400, 0u32..900), 1..6),
        gaps in vec(0u32..300, 1..50),
        noise: u64,
    ) {
        let contact = Contact::new(longest_ms, &extra_ms, &gaps, noise);
        let (mut two, mut five) = (TwoButtons::new(), FiveButtons::new());
        let (mut of_two, mut of_five) = (Vec::new(), Vec::new());
        for &now_ms in &contact.polled_ms {
            let is_down = contact.is_closed(now_ms);
            of_two.extend(two.poll(is_down, false, now_ms));
            of_five.extend(five.poll(u8::from(is_down), now_ms));
        }
        prop_assert_eq!(of_five, vec![Action::NextClass; extra_ms.len()]);
        prop_assert_eq!(of_two.len(), extra_ms.len());
        for (&(from_ms, to_ms), action) in contact.presses_ms.iter().zip(of_two) {
            let (held_ms, unsure_ms) = (to_ms - from_ms, contact.longest_ms + 20);
            if held_ms + unsure_ms < 500 {
                prop_assert_eq!(action, Action::NextClass);
            } else if held_ms >= 500 + 2 * unsure_ms {
                prop_assert_eq!(action, Action::PreviousClass);
            }
        }
    }
}
