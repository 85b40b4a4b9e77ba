//! What the application tells of itself: lines of its log, and errors.

use core::fmt;

use gan_core::{InferError, ModelError};

use crate::input::Action;

/// An event that is logged.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Event<'a> {
    /// The model has passed every check.
    Boot {
        /// The model's name.
        model: &'a str,
        /// Checksum of its file.
        crc32: u32,
        /// Length of its file.
        flash_bytes: usize,
        /// Memory that drawing takes.
        arena_bytes: usize,
    },
    /// A button asked for something.
    Button(Action),
    /// An image is on the display.
    Frame {
        /// The class, counted from 0; none in a model without classes.
        class: Option<usize>,
        /// Seed of the latent, or of the one that the interpolation starts from.
        seed: u64,
        /// The step, of [`INTERPOLATION_STEPS`](crate::app::INTERPOLATION_STEPS) on the way to
        /// the next seed.
        step: u8,
        /// Score of the seed's image, by the model's critic; more is better.
        score: Option<i8>,
        /// Time from the latent to the last row on the display.
        ms: u32,
        /// Checksum of the image's values, row by row as they went to the display.
        crc32: u32,
    },
    /// The display does not take what is sent; it will be set up anew.
    DisplayLost,
    /// The display was set up anew, and all of it will be drawn again.
    DisplayBack {
        /// Candidates that it took.
        tries: u32,
    },
    /// The most stack that was ever in use.
    Stack {
        /// Touched since boot.
        used_bytes: usize,
        /// Reserved.
        of_bytes: usize,
    },
    /// The end: the error is on the display, and nothing follows.
    Failed(Fault),
}

/// The reason why the application ends.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Fault {
    /// The model is damaged or not a model.
    Model(ModelError),
    /// The memory given does not suit the model.
    Infer(InferError),
    /// The image is larger than the display.
    TooLarge {
        /// Width of the image.
        width_px: usize,
        /// Height of the image.
        height_px: usize,
    },
    /// The display does not take what is sent, and the board cannot set it up anew.
    Display,
    /// The words around the memory that drawing takes are not what they were.
    Overwritten,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => write!(f, "model: {error}"),
            Self::Infer(error) => write!(f, "drawing: {error}"),
            Self::TooLarge {
                width_px,
                height_px,
            } => write!(
                f,
                "a picture of {width_px}x{height_px} is too large for this display"
            ),
            Self::Display => f.write_str("the display does not answer"),
            Self::Overwritten => f.write_str("memory beside the arena was overwritten"),
        }
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<InferError> for Fault {
    fn from(error: InferError) -> Self {
        Self::Infer(error)
    }
}
