//! Errors of parsing, encoding and drawing, in numbers.

use core::fmt;

/// Why bytes are not a model, or a description cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelError {
    /// The header, the text, or the file as a whole.
    File(FileError),
    /// A layer of the generator.
    Layer {
        /// Index of the layer, counted from 0.
        index: usize,
        /// The problem.
        error: LayerError,
    },
    /// The critic.
    Critic(CriticError),
    /// The vetted seeds.
    Seeds(SeedsError),
}

/// An error of a file's header, its text, or the file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum FileError {
    /// The file does not begin with the magic number.
    BadMagic,
    /// A version that this code does not read; `newest` is the last that it does.
    UnsupportedVersion { found: u16, newest: u16 },
    /// The file is shorter or longer than its header or its sections say.
    WrongLength {
        need_bytes: usize,
        have_bytes: usize,
    },
    /// The checksum does not match the content.
    BadCrc { stored: u32, computed: u32 },
    /// No layer, or more than [`MAX_LAYERS`](crate::types::MAX_LAYERS).
    LayerCount { found: usize },
    /// The header's length is not that of so many layers.
    HeaderLength { found: usize, need: usize },
    /// The text does not end within the file.
    TextLength {
        need_bytes: usize,
        left_bytes: usize,
    },
    /// The text is not UTF-8.
    NotUtf8,
    /// Name, data set and labels are not as many lines.
    LineCount { found: usize, need: usize },
    /// A name or label holds a character that [`is_control`](crate::format::is_control) names;
    /// `at` counts the bytes of the text.
    ControlCharacter { at: usize },
    /// A byte behind the last section is not zero; `at` counts the file's bytes.
    NotZero { at: usize },
    /// A number is too large for its field.
    TooLarge { value: usize },
    /// The buffer to write into is too small.
    BufferTooSmall {
        need_bytes: usize,
        have_bytes: usize,
    },
}

/// An error of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum LayerError {
    /// One of its sections, or its entry's zeros.
    Section(SectionError),
    /// A byte of the entry has no meaning there.
    UnknownCode { at: usize, found: u8 },
    /// A map has no values, or more than [`MAX_MAP_LEN`](crate::types::MAX_MAP_LEN).
    MapSize,
    /// Kernel or stride is 0.
    Window,
    /// The crops leave nothing of the map.
    Crops,
    /// It does not read what the layer before, or the generator, writes.
    InputShape,
    /// It does not write what follows from its input and operator.
    OutputShape,
    /// The number of weights, biases or multipliers is not that of the shapes.
    NumberCount,
    /// Drawing would take more memory than 32 bits address.
    ArenaSize,
    /// A scale is not above zero and finite.
    Scale,
    /// The output does not mean what the sum does, although there is no table.
    OutputQuant,
    /// The clamp is empty, or not the whole range although there is a table.
    Clamp,
    /// The activation's clamp or table cannot hold its function.
    Function,
    /// The slope of leaky ReLU is not from 0 to below 1.
    Slope,
    /// The sum before a 16-bit table has a zero point.
    ZeroPoint { found: i8 },
    /// A multiplier's mantissa or shift is out of range.
    Multiplier { channel: usize },
    /// A sum could leave the range that arithmetic relies on.
    Overflow { channel: usize },
    /// A weight is out of range, or a padding weight is not 0; `index` counts the section's bytes,
    /// or what is to be encoded.
    Weight { index: usize },
    /// A zero-point correction is not what the weights and the input's zero point say.
    ZeroPointCorrection { index: usize },
    /// A number is too large for its field.
    TooLarge { value: usize },
}

/// An error of the critic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum CriticError {
    /// Its section, or the section's zeros.
    Section(SectionError),
    /// The field that says whether it sees the image halved is neither 0 nor 1.
    UnknownCode { found: u8 },
    /// One of its two layers, counted from 0.
    Layer { index: usize, error: LayerError },
}

/// An error of the vetted seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum SeedsError {
    /// Their section.
    Section(SectionError),
    /// So many are none for each class, or not as many for each.
    Count { found: usize, class_count: usize },
    /// One is not above the one before it of its class.
    Order { index: usize },
}

/// An error of a section's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum SectionError {
    /// It does not begin at the first place behind what is before it.
    Offset { found: usize, need: usize },
    /// It does not end within the file. Lengths beyond 32 bits are given as the most that
    /// these hold.
    Length {
        need_bytes: usize,
        left_bytes: usize,
    },
    /// A reserved byte, an unused field or a byte of the gap before the section is not zero;
    /// `at` counts the file's bytes.
    NotZero { at: usize },
}

/// A number that is too large for its field.
pub(crate) struct TooLarge(pub usize);

impl From<TooLarge> for FileError {
    fn from(TooLarge(value): TooLarge) -> Self {
        Self::TooLarge { value }
    }
}

impl From<TooLarge> for LayerError {
    fn from(TooLarge(value): TooLarge) -> Self {
        Self::TooLarge { value }
    }
}

impl From<TooLarge> for ModelError {
    fn from(error: TooLarge) -> Self {
        Self::File(error.into())
    }
}

impl From<FileError> for ModelError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<CriticError> for ModelError {
    fn from(error: CriticError) -> Self {
        Self::Critic(error)
    }
}

impl From<SeedsError> for ModelError {
    fn from(error: SeedsError) -> Self {
        Self::Seeds(error)
    }
}

impl From<SectionError> for LayerError {
    fn from(error: SectionError) -> Self {
        Self::Section(error)
    }
}

impl From<SectionError> for CriticError {
    fn from(error: SectionError) -> Self {
        Self::Section(error)
    }
}

impl From<SectionError> for SeedsError {
    fn from(error: SectionError) -> Self {
        Self::Section(error)
    }
}

const NOT_ZERO: &str = "not zero: byte";
const TOO_LARGE: &str = "too large for its field:";

/// Writes what is not as it has to be, how it is, and how it has to be.
fn differs(f: &mut fmt::Formatter<'_>, what: &str, found: usize, need: usize) -> fmt::Result {
    write!(f, "{what}: {found}, not {need}")
}

/// Writes what is wrong, and its number.
fn numbered(f: &mut fmt::Formatter<'_>, what: &str, number: usize) -> fmt::Result {
    write!(f, "{what} {number}")
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Layer { index, error } => write!(f, "layer {index}: {error}"),
            Self::Critic(error) => write!(f, "critic: {error}"),
            Self::Seeds(error) => write!(f, "vetted seeds: {error}"),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, found, need) = match *self {
            Self::BadMagic => return f.write_str("not a .gan file: the magic number is wrong"),
            Self::UnsupportedVersion { found, newest } => {
                // Of a type that other texts write, too.
                let [found, newest] = [found, newest].map(usize::from);
                return write!(
                    f,
                    "format version {found}; this program reads 3 to {newest}"
                );
            }
            Self::WrongLength {
                need_bytes,
                have_bytes,
            } => ("cut or damaged: length of the file", have_bytes, need_bytes),
            Self::BadCrc { stored, computed } => {
                return write!(
                    f,
                    "checksum {stored:#010x}, content {computed:#010x}: the file is damaged"
                );
            }
            Self::LayerCount { found } => return numbered(f, "too few or too many layers:", found),
            Self::HeaderLength { found, need } => ("length of the header", found, need),
            Self::TextLength {
                need_bytes,
                left_bytes,
            } => ("bytes left for the text", left_bytes, need_bytes),
            Self::NotUtf8 => return f.write_str("the text is not UTF-8"),
            Self::LineCount { found, need } => ("lines of text", found, need),
            Self::ControlCharacter { at } => {
                return numbered(f, "control character in the text, byte", at);
            }
            Self::NotZero { at } => return numbered(f, NOT_ZERO, at),
            Self::TooLarge { value } => return numbered(f, TOO_LARGE, value),
            Self::BufferTooSmall {
                need_bytes,
                have_bytes,
            } => ("bytes of the buffer", have_bytes, need_bytes),
        };
        differs(f, what, found, need)
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number) = match *self {
            Self::Section(error) => return error.fmt(f),
            Self::UnknownCode { at, found } => {
                return write!(f, "unknown code {found} in byte {at}");
            }
            Self::MapSize => ("a map has no values or too many", None),
            Self::Window => ("kernel or stride is 0", None),
            Self::Crops => ("nothing is left by the crops", None),
            Self::InputShape => ("does not read what is before it", None),
            Self::OutputShape => ("the output shape does not follow", None),
            Self::NumberCount => ("weights or channels are missing", None),
            Self::ArenaSize => ("takes too much memory", None),
            Self::Scale => ("a scale is not above 0 and finite", None),
            Self::OutputQuant => ("output scale is not the sum's", None),
            Self::Clamp => ("the clamp is out of order", None),
            Self::Function => ("the clamp or table is of another function", None),
            Self::Slope => ("the slope is not from 0 to below 1", None),
            Self::ZeroPoint { found } => return write!(f, "zero point {found}, not 0"),
            Self::Multiplier { channel } => ("multiplier out of range, channel", Some(channel)),
            Self::Overflow { channel } => ("sums can overflow, channel", Some(channel)),
            Self::Weight { index } => ("weight out of range, byte", Some(index)),
            Self::ZeroPointCorrection { index } => ("wrong zero-point correction", Some(index)),
            Self::TooLarge { value } => (TOO_LARGE, Some(value)),
        };
        match number {
            Some(number) => numbered(f, what, number),
            None => f.write_str(what),
        }
    }
}

impl fmt::Display for CriticError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Section(error) => error.fmt(f),
            Self::UnknownCode { found } => write!(f, "unknown code {found}"),
            Self::Layer { index, error } => write!(f, "layer {index}: {error}"),
        }
    }
}

impl fmt::Display for SeedsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Section(error) => error.fmt(f),
            Self::Count { found, class_count } => {
                write!(f, "{found} for {class_count} classes")
            }
            Self::Order { index } => numbered(f, "out of order: number", index),
        }
    }
}

impl fmt::Display for SectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Offset { found, need } => differs(f, "place of the section", found, need),
            Self::Length {
                need_bytes,
                left_bytes,
            } => differs(f, "bytes left for the section", left_bytes, need_bytes),
            Self::NotZero { at } => numbered(f, NOT_ZERO, at),
        }
    }
}

/// In the words of [`Display`](fmt::Display), which a device has for its screen anyway: a format
/// of each variant's own would take more flash.
#[cfg(feature = "defmt")]
impl defmt::Format for ModelError {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

impl core::error::Error for ModelError {}
impl core::error::Error for FileError {}
impl core::error::Error for LayerError {}
impl core::error::Error for CriticError {}
impl core::error::Error for SeedsError {}
impl core::error::Error for SectionError {}

/// Why an image could not be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InferError {
    /// The arena is smaller than [`Model::required_bytes`](crate::Model::required_bytes).
    ArenaTooSmall {
        /// Bytes that the model needs.
        need_bytes: usize,
        /// Bytes that were given.
        have_bytes: usize,
    },
    /// The input has not [`Model::input_len`](crate::Model::input_len) values, or what the
    /// critic sees not [`Critic::input_len`](crate::Critic::input_len).
    InputLength {
        /// Values that the model needs.
        need: usize,
        /// Values that were given.
        have: usize,
    },
    /// The class asked for does not exist, is missing, or the model has none.
    Class {
        /// The class that was asked for.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Display;

    use super::{
        CriticError, FileError, InferError, LayerError, ModelError, SectionError, SeedsError,
    };

    const NOT_ZERO: SectionError = SectionError::NotZero { at: 77 };

    /// Texts that are words, each another one.
    fn ensure_words(errors: &[impl Display]) {
        let texts: BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), errors.len(), "{texts:?}");
        assert!(texts.iter().all(|text| text.len() > 7), "{texts:?}");
    }

    #[test]
    fn every_error_of_a_file_has_words() {
        let (found, need, need_bytes, have_bytes, left_bytes) = (1, 2, 3, 4, 5);
        ensure_words(&[
            FileError::BadMagic,
            FileError::UnsupportedVersion {
                found: 9,
                newest: 4,
            },
            FileError::WrongLength {
                need_bytes,
                have_bytes,
            },
            FileError::BadCrc {
                stored: 1,
                computed: 2,
            },
            FileError::LayerCount { found },
            FileError::HeaderLength { found, need },
            FileError::TextLength {
                need_bytes,
                left_bytes,
            },
            FileError::NotUtf8,
            FileError::LineCount { found, need },
            FileError::ControlCharacter { at: 6 },
            FileError::NotZero { at: 7 },
            FileError::TooLarge { value: 8 },
            FileError::BufferTooSmall {
                need_bytes,
                have_bytes,
            },
        ]);
        let offset = SectionError::Offset { found, need };
        let length = SectionError::Length {
            need_bytes,
            left_bytes,
        };
        ensure_words(&[offset, length, NOT_ZERO]);
    }

    #[test]
    fn every_error_of_a_layer_has_words() {
        ensure_words(&[
            LayerError::Section(NOT_ZERO),
            LayerError::UnknownCode { at: 1, found: 2 },
            LayerError::MapSize,
            LayerError::Window,
            LayerError::Crops,
            LayerError::InputShape,
            LayerError::OutputShape,
            LayerError::NumberCount,
            LayerError::ArenaSize,
            LayerError::Scale,
            LayerError::OutputQuant,
            LayerError::Clamp,
            LayerError::Function,
            LayerError::Slope,
            LayerError::ZeroPoint { found: -3 },
            LayerError::Multiplier { channel: 4 },
            LayerError::Overflow { channel: 5 },
            LayerError::Weight { index: 6 },
            LayerError::ZeroPointCorrection { index: 7 },
            LayerError::TooLarge { value: 8 },
        ]);
    }

    #[test]
    fn every_other_error_has_words() {
        let (index, error) = (2, LayerError::Scale);
        ensure_words(&[
            CriticError::Section(NOT_ZERO),
            CriticError::UnknownCode { found: 3 },
            CriticError::Layer { index, error },
        ]);
        let (found, class_count) = (5, 2);
        ensure_words(&[
            SeedsError::Section(NOT_ZERO),
            SeedsError::Count { found, class_count },
            SeedsError::Order { index },
        ]);
        ensure_words(&[
            InferError::ArenaTooSmall {
                need_bytes: 1,
                have_bytes: 2,
            },
            InferError::InputLength { need: 1, have: 2 },
            InferError::Class {
                asked: Some(9),
                class_count,
            },
            InferError::Class {
                asked: None,
                class_count,
            },
        ]);
    }

    #[test]
    fn an_error_says_first_where_it_is() {
        let (index, error) = (2, LayerError::Weight { index: 7 });
        let said = ModelError::Layer { index, error }.to_string();
        assert_eq!(said, "layer 2: weight out of range, byte 7");
        let said = ModelError::Critic(CriticError::Layer { index: 1, error }).to_string();
        assert_eq!(said, "critic: layer 1: weight out of range, byte 7");
        let said = ModelError::Seeds(SeedsError::Order { index }).to_string();
        assert!(said.starts_with("vetted seeds: "), "{said}");
        let said = ModelError::from(FileError::NotUtf8).to_string();
        assert_eq!(said, FileError::NotUtf8.to_string());
    }
}
