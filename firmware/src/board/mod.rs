//! The boards, a file each with its pins, clocks and watchdog; `boards.rs` in this package's
//! folder has their memories, and the build script ends a build for none or for two of them.

#[cfg(feature = "board-esp32c3")]
mod esp32c3;
#[cfg(feature = "board-lm3s6965evb")]
mod lm3s6965evb;
#[cfg(feature = "board-nucleo-f411")]
mod nucleo_f411;
#[cfg(any(feature = "board-pico", feature = "board-pico2"))]
mod pico;
#[cfg(not(target_os = "none"))]
pub mod simulator;
#[cfg(feature = "board-stm32h743")]
mod stm32h743;
