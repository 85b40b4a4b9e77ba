//! TI's LM3S6965 evaluation board, as QEMU emulates it: Cortex-M3, SSD0323 128x64 display
//! on SSI0, five buttons. The log goes through semihosting: a debugger has to be there.

use cortex_m_rt::entry;
use embedded_hal::digital::OutputPin;
use embedded_hal_bus::spi::ExclusiveDevice;
use firmware::display::Panel;
use firmware::display::ssd0323::Ssd0323;
use firmware::input::buttons::FiveButtons;
use {defmt_semihosting as _, panic_probe as _};

use crate::chip::lm3s6965::{
    Output, PORT_A, PORT_C, PORT_D, PORT_E, PORT_F, SYSTEM, Ssi0, WATCHDOG, input, read, set_bits,
    write,
};
use crate::chip::systick;
use crate::device::{self, Device, WATCHDOG_MS};

/// The rate that [`set_clock`] sets.
const CORE_HZ: u32 = 50_000_000;

#[entry]
fn main() -> ! {
    start_watchdog();
    set_clock();
    // Only a second call gives `None`.
    if let Some(core) = cortex_m::Peripherals::take() {
        systick::start(core.SYST, CORE_HZ);
    }
    // The memory card on the same bus is deselected by a high level on PD0.
    let Ok(()) = Output::new(PORT_D, 0).set_high();
    for pin in 0..4 {
        input(PORT_E, pin);
    }
    input(PORT_F, 1);
    let dc = Output::new(PORT_C, 7);
    let select = Output::new(PORT_A, 3);
    let Ok(spi) = ExclusiveDevice::new_no_delay(Ssi0::new(), select);
    let mut buttons = FiveButtons::new();
    let mut device = Device {
        display: Ssd0323::new(spi, dc),
        input: move |now_ms| buttons.poll(pressed(), now_ms),
        now_ms: systick::now_ms,
        feed_watchdog: || write(WATCHDOG + 0x00C, 0),
    };
    // If it fails, so does the first drawing.
    device.display.restore();
    device::run(&mut device, cortex_m::asm::wfi)
}

/// The buttons that are down, a bit each: up, down, left, right are PE0 to PE3, select is PF1;
/// low when pressed.
fn pressed() -> u8 {
    let levels = read(PORT_E + (0b1111 << 2)) | read(PORT_F + (0b10 << 2)) << 3;
    !(levels as u8) & 0b1_1111
}

/// Counts down from half of [`WATCHDOG_MS`] at the core's clock, and once more; the second
/// end resets. Anything written to its interrupt register begins it again.
fn start_watchdog() {
    const LOAD: u32 = WATCHDOG_MS / 2 * (CORE_HZ / 1000);
    const ENABLE_AND_RESET: u32 = 0b11;
    /// The counter stands still while a debugger halts the core.
    const STALL: u32 = 1 << 8;
    set_bits(SYSTEM + 0x100, 1 << 3);
    write(WATCHDOG, LOAD);
    write(WATCHDOG + 0x418, STALL);
    write(WATCHDOG + 0x008, ENABLE_AND_RESET);
}

/// 50 MHz: the PLL's 200 MHz, from the 8 MHz crystal, by 4.
fn set_clock() {
    const RCC: usize = SYSTEM + 0x60;
    const INTERRUPTS: usize = SYSTEM + 0x50;
    const BYPASS: u32 = 1 << 11;
    const DIVIDE_BY_4: u32 = 1 << 22 | 3 << 23;
    const CRYSTAL_8_MHZ: u32 = 0xE << 6;
    /// Oscillator's and PLL's power and output, crystal, source, divider.
    const CHANGED: u32 = 1 | 1 << 13 | 1 << 12 | 0xF << 6 | 0b11 << 4 | 0x1F << 22;
    set_bits(RCC, BYPASS);
    write(RCC, read(RCC) & !CHANGED | CRYSTAL_8_MHZ | DIVIDE_BY_4);
    while read(INTERRUPTS) & 1 << 6 == 0 {}
    write(RCC, read(RCC) & !BYPASS);
}
