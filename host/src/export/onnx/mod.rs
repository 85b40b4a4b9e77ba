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
