//! Integer-only runtime for small quantized GAN generators: no allocation, no floating
//! point in inference, no panic after [`Model::parse`].
//!
//! Following the data:
//! - [`latent`]: a seed becomes the generator's input.
//! - [`format`](mod@format): the bytes of a `.gan` file, read in place.
//! - [`Model`]: a file that has passed every check.
//! - [`layout`]: the order of the weights in it.
//! - [`plan`]: what of an arena of the caller's belongs to whom.
//! - [`infer`]: the layers, row by row.
//! - [`ops`]: one operator a file, on slices; [`ops::kernels`]: the inner loops.
//! - [`fixed`]: the one rounding rule.
//! - [`image`]: the last layer's values as pixels.
//! - [`gate`]: which pictures are worth showing.
//!
//! The arithmetic is TensorFlow Lite's int8 specification: per-channel symmetric weights
//! in `[-127, 127]`, asymmetric activations with one scale and zero point per tensor,
//! 32-bit bias and accumulators, double rounding.
#![cfg_attr(not(test), no_std)]
#![deny(missing_docs)]

pub mod error;
pub mod fixed;
pub mod format;
pub mod gate;
mod geometry;
pub mod image;
pub mod infer;
pub mod latent;
pub mod layout;
pub mod model;
pub mod ops;
pub mod plan;

pub use error::{InferError, ModelError};
pub use fixed::Multiplier;
pub use gate::Critic;
pub use model::{Activation, Layer, Model, Op, Quant, Shape, WeightBits};
pub use plan::Mode;
