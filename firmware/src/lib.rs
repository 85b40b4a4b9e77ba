//! The application that draws a generator's pictures, and what it needs of a board.
//!
//! Following the data: [`app`] asks `gan-core` for rows, [`screen`] puts them and the text
//! on a display, [`buttons`] turns pins into actions, [`event`] is what it logs. A board (see `board/`) brings the
//! display, the pins, a clock and a log; [`ssd0323`] is the one display driver of our own.
#![cfg_attr(target_os = "none", no_std)]

pub mod app;
pub mod buttons;
pub mod event;
pub mod screen;
pub mod ssd0323;
