//! Code that boards with the same chip or core share.

#[cfg(target_arch = "arm")]
mod fault;
#[cfg(feature = "lm3s6965")]
pub mod lm3s6965;
#[cfg(feature = "stm32")]
pub mod stm32;
#[cfg(target_arch = "arm")]
pub mod systick;
