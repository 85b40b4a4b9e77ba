//! Every check of the workspace, in one binary.

mod cli;
mod data;
mod display;
mod export;
mod firmware;
mod format;
mod gate;
mod golden;
mod kernels;
mod layers;
#[cfg(feature = "onnx")]
mod onnx;
mod programs;
mod quantization;
mod risk;
mod training;
mod unplugged;
