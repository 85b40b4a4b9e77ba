//! What can go wrong, in numbers.

use core::fmt;

/// Why bytes are not a model, or a description cannot become one.
///
/// Layers are counted from 0; a critic's two are counted on behind the generator's.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    missing_docs,
    reason = "the fields say what they are; the variants say the rest"
)]
pub enum ModelError {
    /// The file does not begin with the magic number.
    BadMagic,
    /// A version that this code does not read.
    UnsupportedVersion { found: u16, supported: u16 },
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
    /// A reserved byte, an unused field or a gap between sections is not zero.
    NotZero { at: usize },
    /// A byte of a layer's entry has no meaning there.
    UnknownCode { layer: usize, at: usize, found: u8 },
    /// A map has no values, or more than [`MAX_MAP_LEN`](crate::types::MAX_MAP_LEN).
    MapSize { layer: usize },
    /// Kernel or stride is 0.
    Window { layer: usize },
    /// The crops leave nothing of the map.
    Crops { layer: usize },
    /// The layer does not read what the one before, or the generator, writes.
    InputShape { layer: usize },
    /// The layer does not write what follows from its input and operator.
    OutputShape { layer: usize },
    /// As many weights, biases or multipliers were not given as the shapes take.
    NumberCount { layer: usize },
    /// Drawing would take more memory than 32 bits address.
    ArenaSize { layer: usize },
    /// A section does not begin at the first place behind the one before.
    SectionOffset {
        layer: usize,
        found: usize,
        need: usize,
    },
    /// A section does not end within the file. Lengths beyond 32 bits are given as the most
    /// that these hold.
    SectionLength {
        layer: usize,
        need_bytes: usize,
        left_bytes: usize,
    },
    /// A scale is not above zero and finite.
    Scale { layer: usize },
    /// The output does not mean what the sum does, although there is no table.
    OutputQuant { layer: usize },
    /// The clamp is empty, or not the whole range although there is a table.
    Clamp { layer: usize },
    /// The sum before a 16-bit table has a zero point.
    ZeroPoint { layer: usize, found: i8 },
    /// A multiplier's mantissa or shift is out of range.
    Multiplier { layer: usize, channel: usize },
    /// A sum could leave the range that arithmetic relies on.
    Overflow { layer: usize, channel: usize },
    /// A weight is out of range, or fills up and is not 0; `index` counts the section's bytes,
    /// or what is to be encoded.
    Weight { layer: usize, index: usize },
    /// A zero-point correction is not what the weights and the input's zero point say.
    ZeroPointCorrection { layer: usize, index: usize },
    /// Critic or vetted seeds do not begin at the first place behind what is before them.
    GateOffset { found: usize, need: usize },
    /// Critic or vetted seeds do not end within the file.
    GateLength {
        need_bytes: usize,
        left_bytes: usize,
    },
    /// Whether the critic sees the picture halved is neither 0 nor 1.
    CriticCode { found: u8 },
    /// So many vetted seeds are none for each class.
    SeedCount { found: usize, class_count: usize },
    /// A vetted seed is not above the one before it of its class.
    SeedOrder { index: usize },
    /// A number is too large for its field.
    TooLarge { value: usize },
    /// The buffer to write into is too small.
    BufferTooSmall {
        need_bytes: usize,
        have_bytes: usize,
    },
}

impl ModelError {
    /// What is wrong with a layer, and where in it.
    const fn of_layer(&self) -> Option<(usize, &'static str, Option<usize>)> {
        Some(match *self {
            Self::MapSize { layer } => (layer, "a map has no values or too many", None),
            Self::Window { layer } => (layer, "kernel or stride is 0", None),
            Self::Crops { layer } => (layer, "nothing is left by the crops", None),
            Self::InputShape { layer } => (layer, "does not read what is before it", None),
            Self::OutputShape { layer } => (layer, "the output shape does not follow", None),
            Self::NumberCount { layer } => (layer, "weights or channels are missing", None),
            Self::ArenaSize { layer } => (layer, "takes too much memory", None),
            Self::Scale { layer } => (layer, "a scale is not above 0 and finite", None),
            Self::OutputQuant { layer } => (layer, "the output is not the sum", None),
            Self::Clamp { layer } => (layer, "the clamp is out of order", None),
            Self::Multiplier { layer, channel } => {
                (layer, "multiplier out of range, channel", Some(channel))
            }
            Self::Overflow { layer, channel } => {
                (layer, "sums can overflow, channel", Some(channel))
            }
            Self::Weight { layer, index } => (layer, "weight out of range, byte", Some(index)),
            Self::ZeroPointCorrection { layer, index } => {
                (layer, "wrong zero-point correction", Some(index))
            }
            _ => return None,
        })
    }

    /// What is not as it has to be, and how it is and has to be.
    const fn of_numbers(&self) -> Option<(&'static str, usize, usize)> {
        Some(match *self {
            Self::WrongLength {
                need_bytes,
                have_bytes,
            } => ("cut or damaged: length of the file", have_bytes, need_bytes),
            Self::HeaderLength { found, need } => ("length of the header", found, need),
            Self::LineCount { found, need } => ("lines of text", found, need),
            Self::GateOffset { found, need } => ("place of critic or seeds", found, need),
            Self::TextLength {
                need_bytes,
                left_bytes,
            } => ("bytes left for the text", left_bytes, need_bytes),
            Self::GateLength {
                need_bytes,
                left_bytes,
            } => ("bytes left for critic or seeds", left_bytes, need_bytes),
            Self::BufferTooSmall {
                need_bytes,
                have_bytes,
            } => ("bytes of the buffer", have_bytes, need_bytes),
            _ => return None,
        })
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((layer, what, place)) = self.of_layer() {
            write!(f, "layer {layer}: {what}")?;
            return place.map_or(Ok(()), |place| write!(f, " {place}"));
        }
        if let Some((what, found, need)) = self.of_numbers() {
            return write!(f, "{what}: {found}, not {need}");
        }
        match *self {
            Self::BadMagic => f.write_str("not a .gan file: the magic number is wrong"),
            Self::UnsupportedVersion { found, supported } => {
                write!(f, "format version {found}; this program reads {supported}")
            }
            Self::BadCrc { stored, computed } => write!(
                f,
                "checksum {stored:#010x}, content {computed:#010x}: the file is damaged"
            ),
            Self::LayerCount { found } => write!(f, "{found} layers"),
            Self::NotUtf8 => f.write_str("the text is not UTF-8"),
            Self::ControlCharacter { at } => {
                write!(f, "byte {at} of the text is a control character")
            }
            Self::NotZero { at } => write!(f, "byte {at} has to be 0"),
            Self::UnknownCode { layer, at, found } => {
                write!(f, "layer {layer}: unknown code {found} in byte {at}")
            }
            Self::SectionOffset { layer, found, need } => {
                write!(f, "layer {layer}: section at {found}, not {need}")
            }
            Self::SectionLength {
                layer,
                need_bytes,
                left_bytes,
            } => {
                write!(
                    f,
                    "layer {layer}: section of {need_bytes} bytes, {left_bytes} left"
                )
            }
            Self::ZeroPoint { layer, found } => {
                write!(f, "layer {layer}: zero point {found}, not 0")
            }
            Self::CriticCode { found } => write!(f, "critic: unknown code {found}"),
            Self::SeedCount { found, class_count } => {
                write!(f, "{found} vetted seeds of {class_count} classes")
            }
            Self::SeedOrder { index } => write!(f, "vetted seed {index} is out of order"),
            Self::TooLarge { value } => write!(f, "{value} is too large for its field"),
            // Above.
            _ => Ok(()),
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
