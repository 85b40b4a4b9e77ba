//! The boards, a thin file each; `boards.rs` in this package's folder has their memories,
//! and the build script ends a build for none or for two of them.

#[cfg(not(target_os = "none"))]
pub mod simulator;

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod clock;
#[cfg(target_os = "none")]
mod device;
#[cfg(feature = "board-esp32c3")]
mod esp32c3;
#[cfg(all(target_os = "none", target_arch = "arm"))]
mod fault;
#[cfg(feature = "board-lm3s6965evb")]
mod lm3s6965evb;
#[cfg(feature = "board-nucleo-f411")]
mod nucleo_f411;
#[cfg(any(feature = "board-pico", feature = "board-pico2"))]
mod pico;
#[cfg(feature = "st7789")]
mod st7789;
#[cfg(feature = "stm32")]
mod stm32;
#[cfg(feature = "board-stm32h743")]
mod stm32h743;
