//! What every microcontroller does the same: memory, log, watchdog, the end.

use core::convert::Infallible;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use embedded_graphics::pixelcolor::{Gray8, Rgb888};
use firmware::app::{App, CANDIDATES, Memory, Platform};
use firmware::display::{Panel, Restored};
use firmware::event::{Event, Fault};
use firmware::input::Action;
use firmware::screen::show_fault;
use gan_core::Model;
use static_cell::ConstStaticCell;

use crate::model::{self, ARENA_WORDS, INPUT_LEN, SEEN_LEN};

/// What drawing takes of RAM, exactly as much as the built-in model needs, with a canary
/// before, between and after.
#[repr(C)]
struct Guarded {
    first: Canary,
    arena: [u32; ARENA_WORDS],
    second: Canary,
    input: [i8; INPUT_LEN],
    third: Canary,
    target: [i8; INPUT_LEN],
    fourth: Canary,
    seen: [i8; SEEN_LEN],
    fifth: Canary,
}

static GUARDED: ConstStaticCell<Guarded> = ConstStaticCell::new(Guarded {
    first: Canary::new(),
    arena: [0; ARENA_WORDS],
    second: Canary::new(),
    input: [0; INPUT_LEN],
    third: Canary::new(),
    target: [0; INPUT_LEN],
    fourth: Canary::new(),
    seen: [0; SEEN_LEN],
    fifth: Canary::new(),
});

/// Words that nobody writes after the start. Atomic, so that they are really read.
struct Canary([AtomicU32; 2]);

impl Canary {
    /// Not zero, and no four values that an image is likely to have.
    const ALIVE: u32 = 0xC0DE_5AFE;

    /// Zero until [`hatch`](Self::hatch): the memory is cleared, not copied from flash.
    const fn new() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(0)])
    }

    fn hatch(&self) {
        self.0
            .iter()
            .for_each(|word| word.store(Self::ALIVE, Ordering::Relaxed));
    }

    fn is_whole(&self) -> bool {
        let mut words = self.0.iter();
        words.all(|word| word.load(Ordering::Relaxed) == Self::ALIVE)
    }
}

/// Class and seed of the first image.
const FIRST: (usize, u64) = (0, 1);

/// A board that has made no progress for so long is started again by its watchdog. A row of
/// an image takes far less, and the RP2040's watchdog counts no further than 8.3 s.
pub const WATCHDOG_MS: u32 = 8000;

/// The parts of a board.
pub struct Device<D, I, W> {
    /// The display, started.
    pub display: D,
    /// The buttons' action since the last call, by the time in milliseconds.
    pub input: I,
    /// Milliseconds since some moment.
    pub now_ms: fn() -> u32,
    /// Puts off the watchdog, which runs already, by [`WATCHDOG_MS`].
    pub feed_watchdog: W,
}

impl<D, I, W> Platform for Device<D, I, W>
where
    D: Panel<Color: From<Gray8> + From<Rgb888>>,
    I: FnMut(u32) -> Option<Action>,
    W: FnMut(),
{
    type Color = D::Color;
    type Display = D;

    fn display(&mut self) -> &mut D {
        &mut self.display
    }

    fn restore_display(&mut self) -> Restored {
        self.display.restore()
    }

    fn now_ms(&mut self) -> u32 {
        (self.now_ms)()
    }

    fn action(&mut self) -> Option<Action> {
        (self.input)((self.now_ms)())
    }

    fn feed_watchdog(&mut self) {
        (self.feed_watchdog)();
    }

    fn log(&mut self, event: Event<'_>) {
        log(event);
    }
}

/// Runs the application; a fault is shown, logged, and the end: the watchdog is fed, so that
/// it stays on the display.
pub fn run<P: Platform>(platform: &mut P, idle: impl Fn()) -> ! {
    let Err(fault) = draw(platform, &idle);
    let shown = show_fault(platform.display(), &fault);
    platform.log(Event::Failed(fault));
    if let Err(second) = shown {
        platform.log(Event::Failed(second));
    }
    loop {
        platform.feed_watchdog();
        idle();
    }
}

/// The end without a display to show it on. The watchdog is not fed: it starts the board
/// again.
#[cfg(feature = "mipi")]
pub fn end_without_display() -> ! {
    log(Event::Failed(Fault::Display));
    loop {
        core::hint::spin_loop();
    }
}

fn draw<P: Platform>(platform: &mut P, idle: &impl Fn()) -> Result<Infallible, Fault> {
    let Guarded {
        first,
        arena,
        second,
        input,
        third,
        target,
        fourth,
        seen,
        fifth,
    } = GUARDED.take();
    let canaries: [&Canary; 5] = [first, second, third, fourth, fifth];
    canaries.iter().for_each(|canary| canary.hatch());
    let memory = Memory {
        arena,
        input,
        target,
        seen,
    };
    let model = Model::parse(model::bytes())?;
    let mut app = App::boot(platform, &model, memory, FIRST, CANDIDATES)?;
    loop {
        app.step(platform)?;
        if !canaries.iter().all(|canary| canary.is_whole()) {
            return Err(Fault::Overwritten);
        }
        idle();
    }
}

/// Sends an event to the debugger, and the stack's high-water mark when it has risen.
pub fn log(event: Event<'_>) {
    match event {
        Event::Failed(_) => defmt::error!("{}", event),
        Event::DisplayLost => defmt::warn!("{}", event),
        _ => defmt::info!("{}", event),
    }
    static HIGHEST: AtomicUsize = AtomicUsize::new(0);
    let (used_bytes, of_bytes) = stack_bytes();
    if used_bytes > HIGHEST.load(Ordering::Relaxed) {
        HIGHEST.store(used_bytes, Ordering::Relaxed);
        defmt::info!(
            "{}",
            Event::Stack {
                used_bytes,
                of_bytes
            }
        );
    }
}

/// The pattern of unused stack; on Arm the start-up code writes it.
const PAINT: u32 = 0xCCCC_CCCC;

/// The lowest words of the stack are the HAL's guard on the ESP32-C3.
const GUARD_WORDS: usize = if cfg!(target_arch = "riscv32") { 16 } else { 0 };

#[expect(unsafe_code, reason = "symbols of the linker")]
mod linker {
    unsafe extern "C" {
        pub static mut _stack_end: u32;
        pub static _stack_start: u32;
    }
}

/// The end of the stack, which grows down to it.
#[cfg(target_arch = "arm")]
pub fn stack_end() -> usize {
    (&raw const linker::_stack_end) as usize
}

/// How much of the stack was ever used, and how much there is: what is no longer painted
/// has been used.
#[expect(unsafe_code, reason = "memory that the linker names")]
fn stack_bytes() -> (usize, usize) {
    let start = &raw const linker::_stack_start;
    let end = (&raw const linker::_stack_end).wrapping_add(GUARD_WORDS);
    let mut lowest = end;
    // SAFETY: whole words between the two ends of the stack, read only.
    while lowest < start && unsafe { lowest.read_volatile() } == PAINT {
        lowest = lowest.wrapping_add(1);
    }
    (
        start as usize - lowest as usize,
        start as usize - end as usize,
    )
}

/// Paints the stack below the caller, where no start-up code does.
#[cfg(target_arch = "riscv32")]
#[expect(unsafe_code, reason = "memory that the linker names")]
pub fn paint_stack() {
    /// Stack that this function itself may use.
    const OWN_BYTES: usize = 512;
    let here = 0u32;
    let top = (&raw const here as usize) - OWN_BYTES;
    let mut word = (&raw mut linker::_stack_end).wrapping_add(GUARD_WORDS);
    while (word as usize) < top {
        // SAFETY: whole words of the stack, well below all that is in use.
        unsafe { word.write_volatile(PAINT) };
        word = word.wrapping_add(1);
    }
}
