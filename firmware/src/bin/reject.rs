//! Says on an emulated 32-bit machine what it thinks of `.gan` files, a line each.
//!
//! A test of the workspace builds it, puts the files into the machine's memory behind the
//! program, and compares what it prints through semihosting with what the host says.
#![no_std]
#![no_main]

mod emulated;

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;

use gan_core::{Mode, Model};
use semihosting::{io::Write as _, process};

/// Where the emulator puts the files: how many, then each one's length and bytes, at
/// multiples of [`ALIGN`].
const FILES_AT: usize = if cfg!(feature = "bench-virt") {
    0x8040_0000
} else {
    0x0008_0000
};

/// Of the files and their lengths.
const ALIGN: usize = 16;

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    let (mut at, mut left) = (FILES_AT, word(FILES_AT));
    at += ALIGN;
    while left > 0 {
        let len = word(at);
        let said = say(file(at + ALIGN, len));
        if said.is_err() {
            process::exit(1);
        }
        at += ALIGN + len.next_multiple_of(ALIGN);
        left -= 1;
    }
    process::exit(0);
}

fn say(bytes: &[u8]) -> fmt::Result {
    let model = match Model::parse(bytes) {
        Ok(model) => model,
        Err(error) => return writeln!(Line, "{error}"),
    };
    let words = |mode| model.required_words(mode);
    let (streamed, whole) = (words(Mode::Streamed), words(Mode::WholeLayers));
    let macs: u64 = model.layers().iter().map(|layer| layer.mac_count()).sum();
    writeln!(Line, "{streamed} and {whole} words, {macs} MACs")
}

/// Standard output.
struct Line;

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut out = semihosting::io::stdout().map_err(|_| fmt::Error)?;
        out.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Line, "{info}");
    process::exit(1);
}

#[expect(unsafe_code, reason = "memory that no linker knows")]
fn word(at: usize) -> usize {
    // SAFETY: the emulator has put a word there.
    unsafe { (at as *const u32).read() as usize }
}

#[expect(unsafe_code, reason = "memory that no linker knows")]
fn file(at: usize, len: usize) -> &'static [u8] {
    // SAFETY: the emulator has put as many bytes there; nothing writes to them.
    unsafe { core::slice::from_raw_parts(at as *const u8, len) }
}
