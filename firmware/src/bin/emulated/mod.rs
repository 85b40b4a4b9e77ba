//! A fault on an emulated machine ends the run instead of hanging it.
#![allow(
    unsafe_code,
    reason = "the handlers' names; an attribute copies this one"
)]

use semihosting::{io::Write as _, process};

fn faulted() -> ! {
    if let Ok(mut out) = semihosting::io::stdout() {
        let _ = out.write(b"{\"faulted\":\"1\"}\n");
    }
    process::exit(1)
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    faulted()
}

/// riscv-rt calls it for unhandled exceptions.
#[cfg(target_arch = "riscv32")]
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    faulted()
}
