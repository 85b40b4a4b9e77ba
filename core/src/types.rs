//! Shapes, scales, operators and limits: the words that all other modules use.

/// Height, width and channels of a map, NHWC without the N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Height in pixels.
    pub h: usize,
    /// Width in pixels.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// Values of the map.
    pub const fn len(self) -> usize {
        self.h * self.w * self.c
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Quantization of an int8 tensor: `q` stands for `(q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Above 0; for information, inference does not read it.
    pub scale: f32,
    /// The value that means 0.
    pub zero_point: i8,
}

/// The activation behind the requantized sum, as the device computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation<'a> {
    /// `min..=max`: the whole range for none, from the zero point for ReLU.
    Clamp {
        /// Smallest output.
        min: i8,
        /// Largest output.
        max: i8,
    },
    /// Output for each clamped sum from -128 to 127, as `i8` bits.
    Lut8(&'a [u8; 256]),
    /// Ends of 512 straight lines over sums from -32768 to 32767, little-endian `i16`, of
    /// which the high byte is the output. The sum has 16 bits and the zero point 0.
    Lut16(&'a [[u8; 2]; LUT16_LEN]),
}

/// Entries of a [16-bit table](Activation::Lut16).
pub const LUT16_LEN: usize = 513;

/// The function that an activation's clamp or table holds: other formats have operators for
/// it. Drawing does not read it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Not named by the file, as in version 3.
    Unnamed,
    /// The identity: a clamp to the whole range.
    Linear,
    /// `max(x, 0)`: a clamp from the zero point on.
    Relu,
    /// `x` from 0 on, `slope * x` below; a table.
    LeakyRelu {
        /// Slope below 0, from 0 to below 1.
        slope: f32,
    },
    /// A table.
    Tanh,
    /// `1 / (1 + exp(-x))`; a table.
    Sigmoid,
}

impl Function {
    /// Its code in a `.gan` file, and its slope, 0 where it has none.
    pub(crate) const fn to_code(self) -> (u8, f32) {
        match self {
            Self::Unnamed => (0, 0.0),
            Self::Linear => (1, 0.0),
            Self::Relu => (2, 0.0),
            Self::LeakyRelu { slope } => (3, slope),
            Self::Tanh => (4, 0.0),
            Self::Sigmoid => (5, 0.0),
        }
    }

    /// The function of a code; `None` for an unknown one.
    pub(crate) const fn from_code(code: u8, slope: f32) -> Option<Self> {
        Some(match code {
            0 => Self::Unnamed,
            1 => Self::Linear,
            2 => Self::Relu,
            3 => Self::LeakyRelu { slope },
            4 => Self::Tanh,
            5 => Self::Sigmoid,
            _ => return None,
        })
    }

    /// The clamp that computes it, given the output's zero point; `None` for a table.
    pub const fn clamp(self, zero_point: i8) -> Option<(i8, i8)> {
        match self {
            Self::Linear => Some((i8::MIN, i8::MAX)),
            Self::Relu => Some((zero_point, i8::MAX)),
            Self::Unnamed | Self::LeakyRelu { .. } | Self::Tanh | Self::Sigmoid => None,
        }
    }
}

/// Bits of a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightBits {
    /// Weights from -127 to 127.
    Eight,
    /// Weights from -7 to 7, two in a byte; dense layers only.
    Four,
}

impl Activation<'_> {
    /// Bytes of the table, if there is one.
    pub(crate) const fn table_bytes(&self) -> usize {
        match self {
            Self::Clamp { .. } => 0,
            Self::Lut8(table) => table.len(),
            Self::Lut16(table) => table.as_flattened().len(),
        }
    }
}

/// Kernel, stride and crops of a transposed convolution, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the kernel.
    pub kernel: usize,
    /// Output pixels per input pixel.
    pub stride: usize,
    /// Rows cut off above.
    pub crop_top: usize,
    /// Columns cut off on the left.
    pub crop_left: usize,
    /// Rows cut off below.
    pub crop_bottom: usize,
    /// Columns cut off on the right.
    pub crop_right: usize,
}

/// A layer's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fully connected.
    Dense,
    /// Transposed convolution.
    ConvTranspose(Window),
}

impl Op {
    /// Its name, as in a configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::ConvTranspose(_) => "conv_transpose",
        }
    }

    /// Its window, if it has one.
    pub const fn window(&self) -> Option<Window> {
        match *self {
            Self::Dense => None,
            Self::ConvTranspose(window) => Some(window),
        }
    }
}

/// The most layers of a generator.
pub const MAX_LAYERS: usize = 16;

/// The most values of a layer's input or output, so that sizes of working memory stay far below
/// 32 bits.
pub const MAX_MAP_LEN: usize = 1 << 24;
