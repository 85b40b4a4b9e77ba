//! Generators for other runtimes.

pub mod c;
pub mod function;
pub mod onnx;
pub mod pytorch;
pub mod tflite;
