//! Every check of the workspace, in one binary.

mod choose;
mod cli;
mod data;
mod display;
mod export;
mod few;
mod files;
mod firmware;
mod format;
mod gate;
mod golden;
mod groups;
mod hostile;
mod import;
mod imports;
mod interruption;
mod kernels;
mod layers;
mod limits;
mod malformed;
mod memory;
mod mutations;
#[cfg(feature = "onnx")]
mod onnx;
mod pictures;
mod pipeline;
mod programs;
mod quantization;
mod risk;
mod rollback;
mod sets;
mod text;
mod tflite;
mod training;
mod transfer;
mod unplugged;
