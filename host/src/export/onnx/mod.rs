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

use super::{Exported, Format, Writer};

pub use float::float;
pub use qdq::qdq;

/// ONNX with floats.
pub const FLOAT: Format = Format {
    name: "onnx-float",
    about: "ONNX with floats, of a run or a generator (.safetensors)",
    writer: Writer::Generator(float),
};

/// ONNX with int8 weights and activations.
pub const QDQ: Format = Format {
    name: "onnx-qdq",
    about: "ONNX with int8 weights and activations (QDQ)",
    writer: Writer::Model(|model| {
        Ok(Exported {
            bytes: qdq(model)?,
            rewritten: None,
        })
    }),
};

/// The first one whose `DequantizeLinear` has a scale for each channel.
pub const OPSET: i64 = 13;
/// The one that came with operator set 13 (ONNX 1.8).
pub const IR_VERSION: i64 = 7;
