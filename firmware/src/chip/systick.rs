//! A millisecond clock from the `SysTick` timer of Arm's cores.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

static NOW_MS: AtomicU32 = AtomicU32::new(0);

defmt::timestamp!("{=u32:ms}", now_ms());

/// Starts it on a core clock of `core_hz`.
pub fn start(mut timer: SYST, core_hz: u32) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(core_hz / 1000 - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

#[cortex_m_rt::exception]
fn SysTick() {
    // Cortex-M0+ has no atomic addition; only this handler writes.
    NOW_MS.store(now_ms().wrapping_add(1), Ordering::Relaxed);
}

/// Milliseconds since the start; wraps after 49 days.
pub fn now_ms() -> u32 {
    NOW_MS.load(Ordering::Relaxed)
}
