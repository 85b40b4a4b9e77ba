//! The float networks: layers on dfdx tensors, with kernels of our own underneath.
//!
//! Every activation is a matrix `[n * h * w, c]` (NHWC with the pixels in the rows),
//! so a layer is one matrix product. dfdx keeps the tape and the tensors;
//! [`Backend`] is what its devices have to offer: a whole pass by fast kernels on `Cpu`,
//! by dfdx's own ops elsewhere.

pub mod activation;
pub mod augment;
pub mod backend;
pub mod buffers;
pub mod conv;
pub mod cpu;
pub mod gemm;
pub mod generic;
pub mod geometry;
pub mod network;
pub mod norm;
pub mod op;
pub mod optim;
pub mod param;
pub mod unfold;

pub use activation::Activation;
pub use backend::{Backend, DeviceError, GradMask, Mat};
pub use conv::Conv;
pub use geometry::{Geometry, Margins};
pub use norm::BatchStats;
pub use param::Param;

/// Element types that every kernel takes: `f32` to train, `f64` to check gradients.
pub trait Float: dfdx::shapes::Dtype + num_traits::Float {
    /// The nearest value to `v`.
    fn of(v: f64) -> Self;
}

impl Float for f32 {
    fn of(v: f64) -> Self {
        v as Self
    }
}

impl Float for f64 {
    fn of(v: f64) -> Self {
        v
    }
}

/// Parts that a batch is split into. A constant: sums are split alike whatever the
/// number of threads, so training gives the same bytes on any of them.
const GROUPS: usize = 16;

/// Items of one group of `n`.
fn group_len(n: usize) -> usize {
    n.div_ceil(GROUPS).max(1)
}
