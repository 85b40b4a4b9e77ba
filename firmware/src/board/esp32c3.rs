//! Espressif's ESP32-C3-DevKitM-1: one RISC-V core.

use core::panic::PanicInfo;

use defmt_rtt as _;
use embedded_hal_bus::spi::ExclusiveDevice;
use esp_hal::clock::CpuClock;
use esp_hal::delay::Delay;
use esp_hal::gpio::{Input, InputConfig, Level, Output, OutputConfig, Pull};
use esp_hal::main;
use esp_hal::rtc_cntl::{Rtc, RwdtStage};
use esp_hal::spi::Mode;
use esp_hal::spi::master::{Config, Spi};
use esp_hal::time::{Duration, Instant, Rate};
use firmware::display::mipi::{self, SPI_HZ, Wires};
use firmware::input::buttons::two_pins;

use crate::device::{self, Device};

esp_bootloader_esp_idf::esp_app_desc!();

defmt::timestamp!("{=u32:ms}", now_ms());

#[main]
fn main() -> ! {
    device::paint_stack();
    let pins = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let mut watchdog = Rtc::new(pins.RTC_TIMER).rwdt;
    let patience = Duration::from_millis(u64::from(device::WATCHDOG_MS));
    watchdog.set_timeout(RwdtStage::Stage0, patience);
    watchdog.enable();
    let config = Config::default()
        .with_frequency(Rate::from_hz(SPI_HZ))
        .with_mode(Mode::_3);
    let Ok(bus) = Spi::new(pins.SPI2, config) else {
        device::end_without_display();
    };
    let bus = bus.with_sck(pins.GPIO6).with_mosi(pins.GPIO7);
    let output = OutputConfig::default();
    let Ok(spi) = ExclusiveDevice::new_no_delay(bus, Output::new(pins.GPIO10, Level::High, output));
    let pull_up = InputConfig::default().with_pull(Pull::Up);
    let wires = Wires {
        spi,
        dc: Output::new(pins.GPIO4, Level::Low, output),
        reset: Output::new(pins.GPIO5, Level::High, output),
        light: Output::new(pins.GPIO3, Level::Low, output),
    };
    let Some(display) = mipi::start(wires, now_ms) else {
        device::end_without_display();
    };
    // The board's own button.
    let a = Input::new(pins.GPIO9, pull_up);
    let b = Input::new(pins.GPIO1, pull_up);
    let mut device = Device {
        display,
        input: two_pins(a, b),
        now_ms,
        feed_watchdog: move || watchdog.feed(),
    };
    device::run(&mut device, || Delay::new().delay_millis(1))
}

/// Milliseconds since boot; wraps.
fn now_ms() -> u32 {
    Instant::now().duration_since_epoch().as_millis() as u32
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    loop {
        core::hint::spin_loop();
    }
}
