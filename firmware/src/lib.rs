//! The application that draws a generator's images, and what it needs of a board.
//!
//! Modules import only from those above them in this list: [`input`] turns pins into
//! actions, [`display`] has the drivers of displays, [`event`] is what is logged, [`screen`]
//! puts images and text on a display, [`app`] asks `gan-core` for rows and shows them. The
//! program adds `device`, what every microcontroller does the same, `chip`, what boards with
//! the same chip share, and `board`, a file for each board.
#![cfg_attr(target_os = "none", no_std)]

pub mod app;
pub mod display;
pub mod event;
pub mod input;
pub mod screen;
