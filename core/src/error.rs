//! What can go wrong, in numbers.

use core::fmt;

/// Why bytes are not a model, or a description cannot become one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ModelError {
    /// The file does not begin with the magic number.
    BadMagic,
    /// A version that this code does not read.
    UnsupportedVersion {
        /// In the file.
        found: u16,
        /// The only one read.
        supported: u16,
    },
    /// The file is shorter or longer than its header says.
    WrongLength {
        /// By the header, or the least a header takes.
        need_bytes: usize,
        /// Given.
        have_bytes: usize,
    },
    /// The checksum does not match the content.
    BadCrc {
        /// In the file.
        stored: u32,
        /// Of the content.
        computed: u32,
    },
    /// No layer, or more than [`MAX_LAYERS`](crate::format::MAX_LAYERS).
    LayerCount {
        /// In the file.
        found: usize,
    },
    /// A layer's operator, layout, activation or padding bytes have no meaning.
    UnknownCode {
        /// Counted from 0.
        layer: usize,
    },
    /// A layer's shapes, kernel, stride and crops do not fit each other or the layer before.
    BadShape {
        /// Counted from 0.
        layer: usize,
    },
    /// A section is missing, misaligned or outside the file.
    BadSection {
        /// Counted from 0.
        layer: usize,
    },
    /// A weight, multiplier, shift, scale, bias or clamp is out of range, or an
    /// accumulator could overflow.
    BadValue {
        /// Counted from 0.
        layer: usize,
    },
    /// The vetted seeds or the critic lie outside the file, or do not fit the pictures.
    BadGate,
    /// Name, data set and labels are not the lines of UTF-8 they have to be.
    BadText,
    /// The buffer to write into is too small.
    BufferTooSmall {
        /// Of the file.
        need_bytes: usize,
        /// Given.
        have_bytes: usize,
    },
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadMagic => f.write_str("not a .gan file: the magic number is wrong"),
            Self::UnsupportedVersion { found, supported } => {
                write!(f, "format version {found}; this program reads {supported}")
            }
            Self::WrongLength {
                need_bytes,
                have_bytes,
            } => {
                write!(
                    f,
                    "{have_bytes} bytes where {need_bytes} are needed: cut or damaged"
                )
            }
            Self::BadCrc { stored, computed } => write!(
                f,
                "checksum {stored:#010x}, content {computed:#010x}: the file is damaged"
            ),
            Self::LayerCount { found } => write!(f, "{found} layers"),
            Self::UnknownCode { layer } => write!(f, "layer {layer}: unknown code"),
            Self::BadShape { layer } => write!(f, "layer {layer}: shapes do not fit"),
            Self::BadSection { layer } => write!(f, "layer {layer}: section out of place"),
            Self::BadValue { layer } => write!(f, "layer {layer}: value out of range"),
            Self::BadGate => f.write_str("vetted seeds or critic do not fit the model"),
            Self::BadText => f.write_str("name, data set or labels are not lines of text"),
            Self::BufferTooSmall {
                need_bytes,
                have_bytes,
            } => {
                write!(f, "buffer of {have_bytes} bytes, {need_bytes} needed")
            }
        }
    }
}

impl core::error::Error for ModelError {}

/// Why a picture could not be drawn.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InferError {
    /// The arena is smaller than [`Model::required_bytes`](crate::Model::required_bytes).
    ArenaTooSmall {
        /// By the model.
        need_bytes: usize,
        /// Given.
        have_bytes: usize,
    },
    /// The input has not [`Model::input_len`](crate::Model::input_len) values, or what the
    /// critic sees not [`Critic::input_len`](crate::Critic::input_len).
    InputLength {
        /// By the model.
        need: usize,
        /// Given.
        have: usize,
    },
    /// The class asked for does not exist, is missing, or the model has none.
    Class {
        /// Asked for.
        asked: Option<usize>,
        /// The model's classes.
        class_count: usize,
    },
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ArenaTooSmall {
                need_bytes,
                have_bytes,
            } => {
                write!(f, "arena of {have_bytes} bytes, {need_bytes} needed")
            }
            Self::InputLength { need, have } => write!(f, "input of {have} values, not {need}"),
            Self::Class {
                asked: Some(class),
                class_count,
            } => {
                write!(f, "class {class} of a model with {class_count} classes")
            }
            Self::Class {
                asked: None,
                class_count,
            } => {
                write!(f, "no class given to a model with {class_count} classes")
            }
        }
    }
}

impl core::error::Error for InferError {}
