//! Generators for other runtimes.

pub mod c;
pub mod function;
pub mod tflite;
