//! Generators for other runtimes.

pub mod c;
mod graph;
pub mod onnx;
pub mod pytorch;
pub mod tflite;

pub use graph::ExportError;
