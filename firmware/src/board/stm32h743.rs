//! ST's Nucleo-H743ZI: STM32H743, Cortex-M7.

use cortex_m_rt::entry;
use embassy_stm32::Config;
use embassy_stm32::gpio::{Input, Level, Output, Pull, Speed};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, HSIPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk,
    VoltageScale,
};
use embassy_stm32::spi::{self, Spi};
use embassy_stm32::time::Hertz;
use embedded_hal_bus::spi::ExclusiveDevice;
use firmware::display::mipi::{self, SPI_HZ, Wires};
use firmware::input::buttons::two_pins;
use {defmt_rtt as _, panic_probe as _};

use crate::chip::{stm32, systick};
use crate::device::{self, Device};

/// The rate that every revision of the STM32H743 reaches.
const CORE_HZ: u32 = 400_000_000;
/// The clock that the SPI divides: output Q of the first PLL.
const BUS_HZ: u32 = 100_000_000;

#[entry]
fn main() -> ! {
    let mut watchdog = stm32::start_watchdog();
    let pins = embassy_stm32::init(clocks());
    // Only a second call gives `None`.
    if let Some(mut core) = cortex_m::Peripherals::take() {
        // The model is read from flash, which is slower than the core.
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
        systick::start(core.SYST, CORE_HZ);
    }
    let mut config = spi::Config::default();
    config.frequency = Hertz(stm32::spi_hz(BUS_HZ, SPI_HZ));
    config.mode = spi::MODE_3;
    let bus = Spi::new_blocking_txonly(pins.SPI1, pins.PA5, pins.PB5, config);
    let select = Output::new(pins.PD14, Level::High, Speed::VeryHigh);
    let Ok(spi) = ExclusiveDevice::new_no_delay(bus, select);
    let wires = Wires {
        spi,
        dc: Output::new(pins.PD15, Level::Low, Speed::VeryHigh),
        reset: Output::new(pins.PF12, Level::High, Speed::Low),
        light: Output::new(pins.PF13, Level::Low, Speed::Low),
    };
    let Some(display) = mipi::start(wires, systick::now_ms) else {
        device::end_without_display();
    };
    let (a, b) = (
        Input::new(pins.PE9, Pull::Up),
        Input::new(pins.PE11, Pull::Up),
    );
    let mut device = Device {
        display,
        input: two_pins(a, b),
        now_ms: systick::now_ms,
        feed_watchdog: move || watchdog.pet(),
    };
    device::run(&mut device, cortex_m::asm::wfi)
}

/// 400 MHz from the internal 64 MHz oscillator, buses at 200 and 100 MHz.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config.rcc.hsi = Some(HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: Some(PllDiv::DIV8),
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config
}
