//! What every microcontroller does the same: memory, log, the end.

use core::convert::Infallible;
use core::sync::atomic::{AtomicUsize, Ordering};

use firmware::app::{App, Board, Event, Fault, Memory};
use firmware::screen::show_fault;
use static_cell::ConstStaticCell;

use crate::model::{self, ARENA_WORDS, INPUT_LEN};

/// Exactly what the built-in model takes.
static ARENA: ConstStaticCell<[u32; ARENA_WORDS]> = ConstStaticCell::new([0; ARENA_WORDS]);
static INPUT: ConstStaticCell<[i8; INPUT_LEN]> = ConstStaticCell::new([0; INPUT_LEN]);
static TARGET: ConstStaticCell<[i8; INPUT_LEN]> = ConstStaticCell::new([0; INPUT_LEN]);

/// Class and seed of the first picture.
const FIRST: (usize, u64) = (0, 1);

/// Runs the application; a fault is shown, logged, and the end.
pub fn run<B: Board>(mut board: B, idle: impl Fn()) -> ! {
    let Err(fault) = draw(&mut board, &idle);
    board.log(Event::Failed(fault));
    if let Err(second) = show_fault(board.display(), &fault) {
        board.log(Event::Failed(second));
    }
    loop {
        idle();
    }
}

fn draw<B: Board>(board: &mut B, idle: &impl Fn()) -> Result<Infallible, Fault> {
    let memory = Memory {
        arena: ARENA.take(),
        input: INPUT.take(),
        target: TARGET.take(),
    };
    let mut app = App::boot(board, model::bytes(), memory, FIRST.0, FIRST.1)?;
    loop {
        app.step(board)?;
        idle();
    }
}

/// Sends an event to the debugger, and the stack's high-water mark when it has risen.
pub fn log(event: Event<'_>) {
    match event {
        Event::Failed(_) => defmt::error!("{}", event),
        _ => defmt::info!("{}", event),
    }
    static HIGHEST: AtomicUsize = AtomicUsize::new(0);
    let (used_bytes, of_bytes) = stack_bytes();
    if used_bytes > HIGHEST.load(Ordering::Relaxed) {
        HIGHEST.store(used_bytes, Ordering::Relaxed);
        defmt::info!("{}", Event::Stack { used_bytes, of_bytes });
    }
}

/// How much of the stack was ever used, and how much there is: the start-up code paints
/// it, and what is no longer painted has been used.
#[cfg(target_arch = "arm")]
#[expect(unsafe_code, reason = "memory that the linker names")]
fn stack_bytes() -> (usize, usize) {
    const PAINT: u32 = 0xCCCC_CCCC;
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    let mut lowest = end;
    // SAFETY: whole words between the two ends of the stack, read only.
    while lowest < start && unsafe { lowest.read_volatile() } == PAINT {
        lowest = lowest.wrapping_add(1);
    }
    (start as usize - lowest as usize, start as usize - end as usize)
}
