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
//!
//! ```
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/rich.gan"));
//! let model = gan_core::Model::parse(file)?;
//! let mut input = vec![0; model.input_len()];
//! model.fill_input(3, Some(1), &mut input)?;
//! let mut arena = vec![0; model.required_words(gan_core::Mode::Streamed)];
//! let mut rows = 0;
//! model.run(&input, &mut arena, |_, values| rows += usize::from(values.len() == 8 * 3))?;
//! assert_eq!(rows, 8);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(test), no_std)]
#![deny(missing_docs)]
// The kernels, each for a reason of its own, are the exceptions.
#![deny(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

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
pub use model::{Activation, Layer, Model, Op, Quant, Shape, WeightBits, Window};
pub use plan::Mode;
