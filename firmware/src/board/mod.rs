//! The boards, a thin file each; `boards.rs` in this package's folder has their memories.

#[cfg(not(target_os = "none"))]
pub mod simulator;

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod clock;
#[cfg(target_os = "none")]
mod device;
#[cfg(feature = "board-lm3s6965evb")]
mod lm3s6965evb;
