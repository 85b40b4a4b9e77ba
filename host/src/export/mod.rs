//! Generators for other runtimes: one module for each, and a row of [`FORMATS`] for each format.

pub mod c;
mod graph;
pub mod onnx;
pub mod pytorch;
pub mod tflite;

use gan_core::Model;

pub use self::graph::ExportError;
use crate::generator::FloatGenerator;

/// Every format, in the order of `gan export --help`.
pub const FORMATS: &[Format] = &[
    c::FORMAT,
    onnx::FLOAT,
    onnx::QDQ,
    tflite::FORMAT,
    pytorch::FORMAT,
];

/// A format that a generator can be exported to.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its description in `--help`.
    pub about: &'static str,
    /// The function that writes it.
    pub writer: Writer,
}

/// The function that writes a format, by what it is written from.
#[derive(Clone, Copy, Debug)]
pub enum Writer {
    /// Writes the bytes of the file from the floats of a run.
    Generator(fn(&FloatGenerator) -> Result<Vec<u8>, ExportError>),
    /// Writes the file from an int8 model.
    Model(fn(&Model<'_>) -> Result<Exported, ExportError>),
    /// Writes the bytes of the file from an int8 model and the prefix of the names in it.
    Code(fn(&Model<'_>, &str) -> Result<Vec<u8>, ExportError>),
}

/// The files of an exported int8 model.
pub struct Exported {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// The model that the file computes, where that is not the given one.
    pub rewritten: Option<Rewritten>,
}

/// A model with what a format can express.
pub struct Rewritten {
    /// Its `.gan` file.
    pub gan: Vec<u8>,
    /// The differences from the given model.
    pub changes: Vec<&'static str>,
}
