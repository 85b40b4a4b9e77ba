//! Counts the instructions that the runtime executes, on an emulated machine.
//!
//! `cargo tools bench` builds it, puts a model into the machine's memory behind the
//! program, and reads what it prints through semihosting: a JSON object a line, of one value in
//! hexadecimal digits.
#![no_std]
#![no_main]

mod emulated;

use core::panic::PanicInfo;

use gan_core::Model;
use gan_core::format::crc32;
use semihosting::{io::Write, process};

/// Address at which the emulator puts the model.
const MODEL_AT: usize = if cfg!(feature = "bench-an505") {
    0x1008_0000
} else if cfg!(feature = "bench-virt") {
    0x8040_0000
} else {
    0x0008_0000
};

/// Room for the largest model's whole layers.
const ARENA_WORDS: usize = 48 * 1024;

/// Room for what the largest critic sees.
const SEEN_LEN: usize = 4 * 1024;

/// Seed of the image that is drawn.
const SEED: u64 = 1;

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    let done = model().and_then(measure);
    if done.is_none() {
        line("failed", 1);
    }
    process::exit(i32::from(done.is_none()));
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    line("panicked", 1);
    process::exit(1);
}

#[expect(unsafe_code, reason = "memory that no linker knows")]
fn model() -> Option<Model<'static>> {
    let at = MODEL_AT as *const u8;
    // SAFETY: the emulator has put a model there, whose length is its third word; nothing
    // else uses the memory, and nothing writes to it.
    let bytes = unsafe {
        let len = at.add(8).cast::<u32>().read();
        core::slice::from_raw_parts(at, usize::try_from(len).ok()?)
    };
    Model::parse(bytes).ok()
}

fn measure(model: Model<'static>) -> Option<()> {
    let mut arena = [0u32; ARENA_WORDS];
    let mut input = [0i8; 256];
    let input = input.get_mut(..model.input_len())?;
    let class = (model.class_count() > 0).then_some(0);
    model.fill_input(SEED, class, input).ok()?;
    counter::start();

    let mut crc = !0u32;
    let run = model.run(input, &mut arena, |_, row| crc = row_crc(crc, row));
    run.ok()?;
    line("crc", !crc);
    // The checksum is not the runtime's: the same again with a sink that does nothing.
    let mut before = counter::ticks();
    model.run(input, &mut arena, |_, _| ()).ok()?;
    line("image", counter::ticks().wrapping_sub(before));

    if let Some(critic) = model.critic() {
        let mut seen = [0i8; SEEN_LEN];
        let seen = seen.get_mut(..critic.input_len())?;
        let look = |row, values: &[i8]| critic.take_row(row, values, seen);
        before = counter::ticks();
        model.run(input, &mut arena, look).ok()?;
        let score = critic.score(seen, &mut arena).ok()?;
        line("judged", counter::ticks().wrapping_sub(before));
        line("score", u32::from(score as u8));
    }

    before = counter::ticks();
    let layers = model.run_observed(input, &mut arena, |_, values| {
        line("layer", counter::ticks().wrapping_sub(before));
        line("layer_crc", !row_crc(!0, values));
        before = counter::ticks();
    });
    layers.ok()
}

/// Continues a CRC-32 over a row.
fn row_crc(crc: u32, values: &[i8]) -> u32 {
    crc32(crc, values.iter().map(|value| value.cast_unsigned()))
}

/// Prints without `core::fmt`, which would bring panics of its own.
fn line(name: &str, value: u32) {
    let digit = |i: u32| b"0123456789abcdef"[(value >> (28 - 4 * i) & 15) as usize];
    let digits: [u8; 8] = core::array::from_fn(|i| digit(i as u32));
    if let Ok(mut out) = semihosting::io::stdout() {
        for part in [b"{\"", name.as_bytes(), b"\":\"", &digits, b"\"}\n"] {
            let _ = out.write(part);
        }
    }
}

/// Virtual time, which the emulator derives from executed instructions: CMSDK's timer
/// on the Arm boards.
#[cfg(target_arch = "arm")]
mod counter {
    const CONTROL: *mut u32 = base(0);
    const VALUE: *mut u32 = base(4);
    const RELOAD: *mut u32 = base(8);

    const fn base(offset: usize) -> *mut u32 {
        let timer0 = if cfg!(feature = "bench-an505") {
            0x5000_0000
        } else {
            0x4000_0000
        };
        (timer0 + offset) as *mut u32
    }

    #[expect(unsafe_code, reason = "registers")]
    pub fn start() {
        // SAFETY: registers of a timer that nothing else uses.
        unsafe {
            RELOAD.write_volatile(u32::MAX);
            VALUE.write_volatile(u32::MAX);
            CONTROL.write_volatile(1);
        }
    }

    #[expect(unsafe_code, reason = "a register")]
    pub fn ticks() -> u32 {
        // SAFETY: as above; it counts down.
        u32::MAX - unsafe { VALUE.read_volatile() }
    }
}

/// Executed instructions.
#[cfg(target_arch = "riscv32")]
mod counter {
    pub fn start() {}

    #[expect(unsafe_code, reason = "a register")]
    pub fn ticks() -> u32 {
        let count;
        // SAFETY: reading the counter changes nothing.
        unsafe { core::arch::asm!("csrr {}, minstret", out(reg) count, options(nomem)) };
        count
    }
}
