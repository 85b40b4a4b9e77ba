//! Integer-only runtime for small quantized GAN generators: no allocation, no floating
//! point in inference, no panic after [`Model::parse`].
//!
//! The modules from the ground up; each imports only from those above it in this list:
//! - `slice`: parts of slices without a panic.
//! - [`error`], [`fixed`] (the one rounding rule), [`image`] (values as pixels), [`types`]
//!   (shapes, scales, operators, limits).
//! - `geometry`: which inputs reach an output of a transposed convolution.
//! - [`layout`]: the order of the weights in a file.
//! - [`layer`]: one layer, in place.
//! - [`latent`]: a seed becomes the generator's input.
//! - [`ops`]: one operator a file, on slices; [`ops::kernels`]: the inner loops.
//! - [`plan`]: where scratch and rows lie in the caller's arena.
//! - [`critic`]: a judge of single images.
//! - [`format`](mod@format): the bytes of a `.gan` file, read in place.
//! - `check`: every value that arithmetic relies on.
//! - [`model`]: a file that has passed every check.
//! - [`infer`]: drawing, row by row. [`choose`]: seeds worth showing. [`encode`](mod@encode):
//!   writing a file.
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

mod check;
pub mod choose;
pub mod critic;
pub mod encode;
pub mod error;
pub mod fixed;
pub mod format;
mod geometry;
pub mod image;
pub mod infer;
pub mod latent;
pub mod layer;
pub mod layout;
pub mod model;
pub mod ops;
pub mod plan;
mod slice;
pub mod types;

pub use critic::Critic;
pub use error::{InferError, ModelError};
pub use fixed::Multiplier;
pub use layer::Layer;
pub use model::Model;
pub use plan::Mode;
pub use types::{Activation, Function, Op, Quant, Shape, WeightBits, Window};
