//! ST's Nucleo-F411RE: STM32F411, Cortex-M4.

use cortex_m_rt::entry;
use embassy_stm32::Config;
use embassy_stm32::gpio::{Input, Level, Output, Pull, Speed};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Pll, PllMul, PllPDiv, PllPreDiv, PllSource, Sysclk,
};
use embassy_stm32::spi::{self, Spi};
use embassy_stm32::time::Hertz;
use embedded_hal_bus::spi::ExclusiveDevice;
use firmware::display::mipi::{self, SPI_HZ, Wires};
use firmware::input::buttons::two_pins;
use {defmt_rtt as _, panic_probe as _};

use crate::chip::{stm32, systick};
use crate::device::{self, Device};

/// The most that the STM32F411 runs at.
const CORE_HZ: u32 = 100_000_000;
/// The clock of APB2, which the SPI divides.
const BUS_HZ: u32 = 100_000_000;

#[entry]
fn main() -> ! {
    let mut watchdog = stm32::start_watchdog();
    let pins = embassy_stm32::init(clocks());
    // Only a second call gives `None`.
    if let Some(core) = cortex_m::Peripherals::take() {
        systick::start(core.SYST, CORE_HZ);
    }
    let mut config = spi::Config::default();
    config.frequency = Hertz(stm32::spi_hz(BUS_HZ, SPI_HZ));
    config.mode = spi::MODE_3;
    let bus = Spi::new_blocking_txonly(pins.SPI1, pins.PA5, pins.PA7, config);
    let select = Output::new(pins.PB6, Level::High, Speed::VeryHigh);
    let Ok(spi) = ExclusiveDevice::new_no_delay(bus, select);
    let wires = Wires {
        spi,
        dc: Output::new(pins.PC7, Level::Low, Speed::VeryHigh),
        reset: Output::new(pins.PA9, Level::High, Speed::Low),
        light: Output::new(pins.PA8, Level::Low, Speed::Low),
    };
    let Some(display) = mipi::start(wires, systick::now_ms) else {
        device::end_without_display();
    };
    let (a, b) = (
        Input::new(pins.PC13, Pull::Up),
        Input::new(pins.PB10, Pull::Up),
    );
    let mut device = Device {
        display,
        input: two_pins(a, b),
        now_ms: systick::now_ms,
        feed_watchdog: move || watchdog.pet(),
    };
    device::run(&mut device, cortex_m::asm::wfi)
}

/// 100 MHz from the internal 16 MHz oscillator.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.pll_src = PllSource::HSI;
    config.rcc.pll = Some(Pll {
        prediv: PllPreDiv::DIV8,
        mul: PllMul::MUL100,
        divp: Some(PllPDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV1;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV1;
    config
}
