//! A generator's operators as the device has them: parameters, channels and the order of weights.

use gan_core::latent::{LATENT_SCALE, ONE_HOT};
use gan_core::types::{WeightBits, Window};
use gan_core::{Op as CoreOp, Shape};

use super::Options;
use crate::nn::op::GeneratorOp;

/// The runtime's operator and the map that it writes.
pub(crate) fn runtime_op(
    op: GeneratorOp,
    dense_output: impl Fn(usize) -> Shape,
) -> (CoreOp, Shape) {
    match op {
        GeneratorOp::Dense { n_out, .. } => (CoreOp::Dense, dense_output(n_out)),
        GeneratorOp::ConvTranspose(conv) => {
            let g = conv.geometry;
            let full = |i: usize| (g.small[i] - 1) * g.stride + g.kernel;
            let window = Window {
                kernel: g.kernel,
                stride: g.stride,
                crop_top: g.top,
                crop_left: g.left,
                crop_bottom: full(0) - g.top - g.big[0],
                crop_right: full(1) - g.left - g.big[1],
            };
            let shape = Shape {
                h: g.big[0],
                w: g.big[1],
                c: conv.c_out,
            };
            (CoreOp::ConvTranspose(window), shape)
        }
    }
}

/// Outputs with a bias of their own in the runtime.
pub(super) fn channels(op: GeneratorOp) -> usize {
    match op {
        GeneratorOp::Dense { n_out, .. } => n_out,
        GeneratorOp::ConvTranspose(conv) => conv.c_out,
    }
}

/// Factor of a class's stored weight: the runtime's one-hot input is more than 1.
fn class_unit() -> f32 {
    1.0 / (f32::from(ONE_HOT) * LATENT_SCALE)
}

/// A weight's place in a layer, and what it is multiplied by in the file.
pub(super) type Place = (usize, f32);

/// Number of output channels (dense: values), and the weights of each in the runtime's
/// order; inputs from `latent` on are classes.
pub(crate) fn rows_of(
    op: GeneratorOp,
    latent: usize,
) -> (usize, impl Fn(usize) -> Vec<Place> + Sync) {
    let places = move |o: usize| match op {
        GeneratorOp::Dense { n_in, n_out, .. } => {
            let unit = |i: usize| if i < latent { 1.0 } else { class_unit() };
            (0..n_in).map(|i| (i * n_out + o, unit(i))).collect()
        }
        GeneratorOp::ConvTranspose(conv) => {
            let taps = conv.geometry.taps();
            let at = |tap: usize, i: usize| ((i * taps + tap) * conv.c_out + o, 1.0);
            let taps = 0..taps;
            taps.flat_map(|tap| (0..conv.c_in).map(move |i| at(tap, i)))
                .collect()
        }
    };
    (channels(op), places)
}

/// Bits of a layer's weights.
pub fn weight_bits(op: GeneratorOp, options: &Options) -> WeightBits {
    match op {
        GeneratorOp::Dense { .. } => options.dense_bits,
        GeneratorOp::ConvTranspose(_) => WeightBits::Eight,
    }
}
