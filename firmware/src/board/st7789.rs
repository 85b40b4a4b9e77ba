//! A 240x240 ST7789 display and two buttons: what all boards but one have.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{InputPin, OutputPin};
use embedded_hal::spi::SpiDevice;
use firmware::app::Board;
use firmware::buttons::{Action, TwoButtons};
use firmware::event::{Event, Fault};
use mipidsi::interface::SpiInterface;
use mipidsi::models::ST7789;
use mipidsi::options::ColorInversion;
use mipidsi::{Builder, Display};
use static_cell::ConstStaticCell;

use super::device;

/// Most that the display takes; the HALs of Raspberry Pi and Espressif choose the next lower
/// rate that they can.
pub const SPI_HZ: u32 = 40_000_000;

/// Pixels go to the bus in pieces of this many bytes.
static BUFFER: ConstStaticCell<[u8; 512]> = ConstStaticCell::new([0; 512]);

/// The pins of a board, its clock and its watchdog.
pub struct Parts<SPI, DC, RST, LIGHT, A, B, F> {
    /// Bus and select: mode 3, which displays without a select pin need.
    pub spi: SPI,
    /// Low for commands.
    pub dc: DC,
    /// Low for reset.
    pub reset: RST,
    /// High for light.
    pub light: LIGHT,
    /// Low when pressed.
    pub a: A,
    /// Low when pressed.
    pub b: B,
    /// Milliseconds since some moment.
    pub now_ms: fn() -> u32,
    /// Puts off the watchdog, which runs already, by [`device::WATCHDOG_MS`].
    pub feed_watchdog: F,
}

/// Turns the display on and runs the application.
pub fn run<SPI, DC, RST, LIGHT, A, B, F>(
    parts: Parts<SPI, DC, RST, LIGHT, A, B, F>,
    idle: impl Fn(),
) -> !
where
    SPI: SpiDevice + 'static,
    DC: OutputPin + 'static,
    RST: OutputPin,
    LIGHT: OutputPin,
    A: InputPin,
    B: InputPin,
    F: FnMut(),
{
    let interface = SpiInterface::new(parts.spi, parts.dc, BUFFER.take());
    let display = Builder::new(ST7789, interface)
        .display_size(240, 240)
        .invert_colors(ColorInversion::Inverted)
        .reset_pin(parts.reset)
        .init(&mut Delay(parts.now_ms));
    let mut light = parts.light;
    let (Ok(display), Ok(())) = (display, light.set_high()) else {
        // Nothing to show it on. The watchdog is not fed: it starts the board again.
        device::log(Event::Failed(Fault::Display));
        loop {
            idle();
        }
    };
    let mut board = St7789Board {
        display,
        a: parts.a,
        b: parts.b,
        now_ms: parts.now_ms,
        feed_watchdog: parts.feed_watchdog,
        buttons: TwoButtons::new(),
    };
    device::run(&mut board, idle)
}

/// Waits; at least what is asked for, rounded up to the next millisecond but one.
struct Delay(fn() -> u32);

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        let begun_ms = (self.0)();
        while (self.0)().wrapping_sub(begun_ms) <= ns.div_ceil(1_000_000) {}
    }
}

struct St7789Board<SPI, DC, RST, A, B, F>
where
    SPI: SpiDevice + 'static,
    DC: OutputPin + 'static,
    RST: OutputPin,
{
    display: Display<SpiInterface<'static, SPI, DC>, ST7789, RST>,
    a: A,
    b: B,
    now_ms: fn() -> u32,
    feed_watchdog: F,
    buttons: TwoButtons,
}

impl<SPI, DC, RST, A, B, F> Board for St7789Board<SPI, DC, RST, A, B, F>
where
    SPI: SpiDevice,
    DC: OutputPin,
    RST: OutputPin,
    A: InputPin,
    B: InputPin,
    F: FnMut(),
{
    type Color = Rgb565;
    type Display = Display<SpiInterface<'static, SPI, DC>, ST7789, RST>;

    fn display(&mut self) -> &mut Self::Display {
        &mut self.display
    }

    fn now_ms(&mut self) -> u32 {
        (self.now_ms)()
    }

    fn action(&mut self) -> Option<Action> {
        // A pin that cannot be read is not pressed.
        let a = self.a.is_low().unwrap_or(false);
        let b = self.b.is_low().unwrap_or(false);
        self.buttons.poll(a, b, (self.now_ms)())
    }

    fn feed_watchdog(&mut self) {
        (self.feed_watchdog)();
    }

    fn log(&mut self, event: Event<'_>) {
        device::log(event);
    }
}
