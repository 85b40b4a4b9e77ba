//! SSD0323: a driver of 128x64 displays with 16 grey levels, two pixels a byte.
//!
//! The display cannot be read over SPI, and a byte holds two pixels: the driver keeps what
//! it has sent. Every drawing goes to the display at once, so nothing has to be flushed.
//! *Source*: Solomon Systech, SSD0323 datasheet, tables of commands.

use core::fmt;

use embedded_graphics::pixelcolor::{Gray4, GrayColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;

use super::{Panel, Restored, SSD0323_PX};

const WIDTH_PX: usize = SSD0323_PX.width as usize;
const HEIGHT_PX: usize = SSD0323_PX.height as usize;
/// Two pixels each, the left one in the high nibble.
const ROW_BYTES: usize = WIDTH_PX / 2;

/// Sets a window's columns (of bytes), then its rows.
const SET_COLUMNS: u8 = 0x15;
const SET_ROWS: u8 = 0x75;

/// Nothing, and the end of a command that was cut off: no command has more than two
/// arguments.
const RESYNC: &[u8] = &[0xE3, 0xE3];

/// What a display needs once: off, contrast, full current, rows in order (remap: rows go
/// down, lines of the panel interleaved), no offset, all rows, clocks, on.
const INIT: [&[u8]; 12] = [
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
];

/// An error on the way to the display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<S, P> {
    /// The bus.
    Spi(S),
    /// The pin that tells commands from data.
    Pin(P),
    /// The display was not [started](Ssd0323::start), or not again after a failure.
    Off,
}

impl<S: fmt::Debug, P: fmt::Debug> fmt::Display for Error<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spi(error) => write!(f, "SPI: {error:?}"),
            Self::Pin(error) => write!(f, "data/command pin: {error:?}"),
            Self::Off => f.write_str("not started"),
        }
    }
}

impl<S: fmt::Debug, P: fmt::Debug> core::error::Error for Error<S, P> {}

/// The display.
pub struct Ssd0323<SPI, DC> {
    spi: SPI,
    dc: DC,
    /// Nothing has failed since the start.
    is_on: bool,
    sent: [[u8; ROW_BYTES]; HEIGHT_PX],
}

/// The result of a driver on this bus and pin.
type Outcome<SPI, DC> = Result<
    (),
    Error<
        <SPI as embedded_hal::spi::ErrorType>::Error,
        <DC as embedded_hal::digital::ErrorType>::Error,
    >,
>;

impl<SPI: SpiDevice, DC: OutputPin> Ssd0323<SPI, DC> {
    /// A display that is not [started](Self::start) yet. `dc` is low for commands.
    pub const fn new(spi: SPI, dc: DC) -> Self {
        Self {
            spi,
            dc,
            is_on: false,
            sent: [[0; ROW_BYTES]; HEIGHT_PX],
        }
    }

    /// Turns the display on, black, whatever it was sent before; after an error nothing else
    /// can be sent.
    pub fn start(&mut self) -> Outcome<SPI, DC> {
        self.is_on = false;
        self.sent = [[0; ROW_BYTES]; HEIGHT_PX];
        self.command(RESYNC)?;
        INIT.iter().try_for_each(|command| self.command(command))?;
        self.is_on = true;
        self.send(0..WIDTH_PX, 0..HEIGHT_PX)
    }

    fn command(&mut self, bytes: &[u8]) -> Outcome<SPI, DC> {
        self.dc.set_low().map_err(Error::Pin)?;
        self.spi.write(bytes).map_err(Error::Spi)
    }

    /// Sends the pixels of a window, widened to whole bytes.
    fn send(&mut self, x: core::ops::Range<usize>, y: core::ops::Range<usize>) -> Outcome<SPI, DC> {
        if !self.is_on {
            return Err(Error::Off);
        }
        if x.is_empty() || y.is_empty() {
            return Ok(());
        }
        let sent = self.send_bytes(x, y);
        self.is_on = sent.is_ok();
        sent
    }

    // Once, not in each form of drawing.
    #[inline(never)]
    fn send_bytes(
        &mut self,
        x: core::ops::Range<usize>,
        y: core::ops::Range<usize>,
    ) -> Outcome<SPI, DC> {
        let (first, last) = (x.start / 2, (x.end - 1) / 2);
        self.command(&[SET_COLUMNS, first as u8, last as u8])?;
        self.command(&[SET_ROWS, y.start as u8, (y.end - 1) as u8])?;
        self.dc.set_high().map_err(Error::Pin)?;
        for row in self.sent.get(y).into_iter().flatten() {
            let bytes = row.get(first..=last).unwrap_or(&[]);
            self.spi.write(bytes).map_err(Error::Spi)?;
        }
        Ok(())
    }

    fn set(&mut self, at: Point, color: Gray4) {
        let (x, y) = (at.x as usize, at.y as usize);
        if let Some(byte) = self.sent.get_mut(y).and_then(|row| row.get_mut(x / 2)) {
            let level = color.luma();
            *byte = if x.is_multiple_of(2) {
                (*byte & 0x0F) | level << 4
            } else {
                (*byte & 0xF0) | level
            };
        }
    }
}

impl<SPI: SpiDevice, DC: OutputPin> Panel for Ssd0323<SPI, DC> {
    fn restore(&mut self) -> Restored {
        self.start().map_or(Restored::NotYet, |()| Restored::Yes)
    }
}

impl<SPI, DC> OriginDimensions for Ssd0323<SPI, DC> {
    fn size(&self) -> Size {
        SSD0323_PX
    }
}

impl<SPI: SpiDevice, DC: OutputPin> DrawTarget for Ssd0323<SPI, DC> {
    type Color = Gray4;
    type Error = Error<SPI::Error, DC::Error>;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<Gray4>>,
    {
        let area = self.bounding_box();
        for Pixel(at, color) in pixels {
            if area.contains(at) {
                self.set(at, color);
                let (x, y) = (at.x as usize, at.y as usize);
                self.send(x..x + 1, y..y + 1)?;
            }
        }
        Ok(())
    }

    fn fill_contiguous<I>(&mut self, area: &Rectangle, colors: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Gray4>,
    {
        let visible = area.intersection(&self.bounding_box());
        for (at, color) in area.points().zip(colors) {
            if visible.contains(at) {
                self.set(at, color);
            }
        }
        let (columns, rows) = (visible.columns(), visible.rows());
        let range = |r: core::ops::Range<i32>| r.start as usize..r.end as usize;
        self.send(range(columns), range(rows))
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Gray4) -> Result<(), Self::Error> {
        let area = area.intersection(&self.bounding_box());
        let pixels = area.size.width as usize * area.size.height as usize;
        self.fill_contiguous(&area, core::iter::repeat_n(color, pixels))
    }
}
