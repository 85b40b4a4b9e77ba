//! Raspberry Pi Pico and Pico 2, whose pins are the same.

use cortex_m_rt::entry;
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::spi::{Config, Phase, Polarity, Spi};
use embassy_rp::watchdog::Watchdog;
use embassy_time::Duration;
use embedded_hal_bus::spi::ExclusiveDevice;
use firmware::display::mipi::{self, SPI_HZ, Wires};
use firmware::input::buttons::two_pins;
use {defmt_rtt as _, panic_probe as _};

use crate::chip::systick;
use crate::device::{self, Device, WATCHDOG_MS};

#[entry]
fn main() -> ! {
    // The watchdog counts a clock that only this starts.
    let pins = embassy_rp::init(embassy_rp::config::Config::default());
    let patience = Duration::from_millis(u64::from(WATCHDOG_MS));
    let mut watchdog = Watchdog::new(pins.WATCHDOG);
    watchdog.pause_on_debug(true);
    watchdog.start(patience);
    // Only a second call gives `None`.
    if let Some(core) = cortex_m::Peripherals::take() {
        systick::start(core.SYST, embassy_rp::clocks::clk_sys_freq());
    }
    let mut config = Config::default();
    config.frequency = SPI_HZ;
    config.polarity = Polarity::IdleHigh;
    config.phase = Phase::CaptureOnSecondTransition;
    let bus = Spi::new_blocking_txonly(pins.SPI0, pins.PIN_18, pins.PIN_19, config);
    let Ok(spi) = ExclusiveDevice::new_no_delay(bus, Output::new(pins.PIN_17, Level::High));
    let wires = Wires {
        spi,
        dc: Output::new(pins.PIN_16, Level::Low),
        reset: Output::new(pins.PIN_20, Level::High),
        light: Output::new(pins.PIN_21, Level::Low),
    };
    let Some(display) = mipi::start(wires, systick::now_ms) else {
        device::end_without_display();
    };
    let (a, b) = (
        Input::new(pins.PIN_14, Pull::Up),
        Input::new(pins.PIN_15, Pull::Up),
    );
    let mut device = Device {
        display,
        input: two_pins(a, b),
        now_ms: systick::now_ms,
        feed_watchdog: move || watchdog.feed(patience),
    };
    device::run(&mut device, cortex_m::asm::wfi)
}
