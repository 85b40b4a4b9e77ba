//! The operations that a dfdx device has to offer.

use dfdx::prelude::{CopySlice, Device, Gradients, NoneTape, Tape, Tensor};
use gan_core::Shape;

use super::augment::Change;
use super::network::{Network, PassStats};
use super::{Float, Param};

/// A matrix on a device: `[pixels, channels]` for activations.
pub type Mat<E, D, T = NoneTape> = Tensor<(usize, usize), E, D, T>;

/// The gradients that a pass has to produce; the others are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GradMask {
    /// The gradient of the input.
    pub input: bool,
    /// The gradients of the parameters.
    pub weights: bool,
}

/// A device refused an operation, as a rule for want of memory.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the device failed: {0}")]
pub struct DeviceError(String);

impl DeviceError {
    /// Keeps the text of dfdx's error.
    pub fn new<E: std::fmt::Debug>(error: E) -> Self {
        Self(format!("{error:?}"))
    }
}

/// A device that can run a network, forward and backward: `Cpu` by kernels of our own
/// (see [`cpu`](super::cpu)), others by dfdx's ops (see [`generic`](super::generic)).
pub trait Backend<E: Float>: Device<E> {
    /// Runs a batch through the network with the batch's own statistics. *Shapes*: `x` any
    /// matrix of `n` inputs, result `[n * h * w, c]`.
    fn forward_pass<T: Tape<E, Self>>(
        network: &Network<E, Self>,
        x: Mat<E, Self, T>,
        mask: GradMask,
    ) -> Result<(Mat<E, Self, T>, PassStats<E>), Self::Err>;

    /// Changes each image of a batch by its own change. *Shapes*: `x` any matrix of
    /// `changes.len()` images `[h, w, c]`, result `[n * h * w, c]`.
    fn augment<T: Tape<E, Self>>(
        x: Mat<E, Self, T>,
        shape: Shape,
        changes: Vec<Change>,
    ) -> Result<Mat<E, Self, T>, Self::Err>;

    /// A parameter's tensor on this device.
    fn param_tensor(&self, values: &[E], shape: (usize, usize)) -> Result<Mat<E, Self>, Self::Err> {
        self.try_tensor_from_vec(values.to_vec(), shape)
    }

    /// Brings a parameter's tensor up to date.
    fn refresh(tensor: &mut Mat<E, Self>, values: &[E]) {
        tensor.copy_from(values);
    }

    /// A parameter's gradient, which may be moved out: nobody asks for it again.
    fn last_gradient(
        grads: &mut Gradients<E, Self>,
        param: &Param<E, Self>,
    ) -> Result<Vec<E>, Self::Err> {
        Ok(values(&grads.get(&param.tensor)))
    }
}

/// A tensor's values.
pub fn values<E: Float, D: CopySlice<E>, T>(t: &Mat<E, D, T>) -> Vec<E> {
    let (rows, cols) = *dfdx::shapes::HasShape::shape(t);
    let mut values = vec![E::zero(); rows * cols];
    t.copy_into(&mut values);
    values
}
