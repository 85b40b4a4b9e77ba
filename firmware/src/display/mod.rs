//! Displays: their drivers, their sizes, and what a board asks of one.

#[cfg(feature = "mipi")]
pub mod mipi;
pub mod ssd0323;

use embedded_graphics::geometry::Size;
use embedded_graphics::prelude::DrawTarget;

/// Pixels of the widest display that is drawn on.
pub const MAX_WIDTH_PX: usize = 320;

/// Pixels of the panels that the SSD0323 drives here: 16 levels of grey.
pub const SSD0323_PX: Size = Size::new(128, 64);

/// Pixels of the panels that the ST7789 drives here: 16-bit colour.
pub const ST7789_PX: Size = Size::new(240, 240);

/// A display that a board drives.
pub trait Panel: DrawTarget {
    /// Sets the display up anew after it did not take what was sent.
    fn restore(&mut self) -> Restored;
}

/// The result of setting a display up anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It takes what is sent, and holds nothing of what was drawn.
    Yes,
    /// It is worth another try.
    NotYet,
    /// There is no way to do it.
    Never,
}
