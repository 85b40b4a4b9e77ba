//! ONNX files, of floats or of the integers of a `.gan` file.
//!
//! Operator set [`OPSET`], `ir_version` [`IR_VERSION`]. One input, `input`
//! `[n, latent + classes]`, and one output, `picture` `[n, c, h, w]` from -1 to 1, both `f32`;
//! `n` is open. Where the model comes from is in `metadata_props`: `name`, `data_set`, `steps`,
//! `seed` and `labels`, one a line.

mod chain;
mod float;
mod proto;
mod qdq;

pub use float::float;
pub use qdq::qdq;

/// The first one whose `DequantizeLinear` has a scale for each channel.
pub const OPSET: i64 = 13;
/// The one that came with operator set 13 (ONNX 1.8).
pub const IR_VERSION: i64 = 7;

/// Why a model has no ONNX form. Layers are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OnnxError {
    /// A weight or a bias is infinite or not a number.
    #[error("layer {layer} has values that are not numbers: the training has diverged")]
    NotANumber {
        /// Which.
        layer: usize,
    },
    /// A multiplier has no scale in `f32`.
    #[error("layer {layer}, {kind}, has a multiplier that `f32` cannot hold")]
    Scale {
        /// Which.
        layer: usize,
        /// Its operator.
        kind: &'static str,
    },
    /// A clamp that is neither ReLU nor the whole range.
    #[error(
        "layer {layer}, {kind}, clamps to {min}..={max}; QDQ has words for the zero point..=127 \
         (ReLU) and -128..=127 (none)"
    )]
    Clamp {
        /// Which.
        layer: usize,
        /// Its operator.
        kind: &'static str,
        /// Smallest output.
        min: i8,
        /// Largest output.
        max: i8,
    },
    /// A table of a function that is not known.
    #[error(
        "layer {layer}, {kind}, has a table that is no function known here; there are tanh, sigmoid \
         and leaky ReLU"
    )]
    Table {
        /// Which.
        layer: usize,
        /// Its operator.
        kind: &'static str,
    },
}
