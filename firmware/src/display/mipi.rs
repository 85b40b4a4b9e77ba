//! Displays with MIPI's command set, by mipidsi: an ST7789 of 240x240 pixels.

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;
use mipidsi::interface::SpiInterface;
use mipidsi::models::ST7789;
use mipidsi::options::ColorInversion;
use mipidsi::{Builder, Display};
use static_cell::ConstStaticCell;

use super::{Panel, Restored, ST7789_PX};

/// The highest SPI clock of the display; the HALs of Raspberry Pi and Espressif choose the next lower
/// rate that they can.
pub const SPI_HZ: u32 = 40_000_000;

/// Pixels go to the bus in pieces of this many bytes.
static BUFFER: ConstStaticCell<[u8; 512]> = ConstStaticCell::new([0; 512]);

/// The wires to a display.
pub struct Wires<SPI, DC, RST, LIGHT> {
    /// Bus and select: mode 3, which displays without a select pin need.
    pub spi: SPI,
    /// Low for commands.
    pub dc: DC,
    /// Low for reset.
    pub reset: RST,
    /// High for light.
    pub light: LIGHT,
}

/// The display, once it is started.
pub type Mipi<SPI, DC, RST> = Display<SpiInterface<'static, SPI, DC>, ST7789, RST>;

/// Turns the display and its light on; `None` if a wire fails. It is called once. `now_ms` is
/// a clock in milliseconds.
pub fn start<SPI, DC, RST, LIGHT>(
    wires: Wires<SPI, DC, RST, LIGHT>,
    now_ms: fn() -> u32,
) -> Option<Mipi<SPI, DC, RST>>
where
    SPI: SpiDevice,
    DC: OutputPin,
    RST: OutputPin,
    LIGHT: OutputPin,
{
    let interface = SpiInterface::new(wires.spi, wires.dc, BUFFER.take());
    let display = Builder::new(ST7789, interface)
        .display_size(ST7789_PX.width as u16, ST7789_PX.height as u16)
        .invert_colors(ColorInversion::Inverted)
        .reset_pin(wires.reset)
        .init(&mut Delay(now_ms));
    let display = display.ok()?;
    let mut light = wires.light;
    light.set_high().ok()?;
    // The HALs disconnect a pin that is dropped, and the light would go out.
    core::mem::forget(light);
    Some(display)
}

/// Waits for at least the time asked for, one or two milliseconds longer at most.
struct Delay(fn() -> u32);

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        let begun_ms = (self.0)();
        while (self.0)().wrapping_sub(begun_ms) <= ns.div_ceil(1_000_000) {}
    }
}

impl<SPI: SpiDevice, DC: OutputPin, RST: OutputPin> Panel for Mipi<SPI, DC, RST> {
    fn restore(&mut self) -> Restored {
        Restored::Never
    }
}
