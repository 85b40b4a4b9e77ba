//! What ST's boards share.

// Most chips have one, and call it IWDG.
#[cfg(not(feature = "board-stm32h743"))]
use embassy_stm32::peripherals::IWDG;
#[cfg(feature = "board-stm32h743")]
use embassy_stm32::peripherals::IWDG1 as IWDG;
use embassy_stm32::wdg::IndependentWatchdog;

use crate::device::WATCHDOG_MS;

/// The highest rate up to `most_hz` that a bus divided by a power of two has. ST's HAL takes
/// the nearest one, which may be higher.
pub const fn spi_hz(bus_hz: u32, most_hz: u32) -> u32 {
    bus_hz / bus_hz.div_ceil(most_hz).next_power_of_two()
}

/// Starts the independent watchdog. It has an oscillator of its own, so it can be started
/// before the clocks are set up: the HAL waits for supply, oscillators and PLL without a
/// limit, and a wait that does not end is ended by a reset. The oscillator is not exact: a
/// reset comes after 5 to 15 s. A debugger that halts the core does not stop it.
#[expect(
    unsafe_code,
    reason = "the HAL hands it out only after it has set the clocks up"
)]
pub fn start_watchdog() -> IndependentWatchdog<'static, IWDG> {
    // SAFETY: the HAL's own handle of it is not used.
    let peripheral = unsafe { IWDG::steal() };
    let mut watchdog = IndependentWatchdog::new(peripheral, 1000 * WATCHDOG_MS);
    watchdog.unleash();
    watchdog
}
