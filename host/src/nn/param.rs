//! A trained tensor, as it is kept and as the layers see it.

use std::sync::Arc;

use super::gemm::{Matrix, matmul_parallel};
use super::{Backend, Float, Mat};

/// Values that training moves.
#[derive(Clone)]
pub struct Param<E: Float, D: Backend<E>> {
    /// The values that layers compute with, `[rows, cols]`.
    pub values: Arc<Vec<E>>,
    /// Rows and columns.
    pub shape: (usize, usize),
    /// The tensor that the tape and the device know; see [`Backend::param_tensor`].
    pub tensor: Mat<E, D>,
    spectral: Option<Spectral<E>>,
}

impl<E: Float, D: Backend<E>> Param<E, D> {
    /// A parameter on a device. *Shapes*: `values` `[rows, cols]`.
    pub fn new(values: Vec<E>, shape: (usize, usize), device: &D) -> Result<Self, D::Err> {
        Ok(Self {
            tensor: device.param_tensor(&values, shape)?,
            values: Arc::new(values),
            shape,
            spectral: None,
        })
    }

    /// Lets the layers see the values over their largest singular value, from here on.
    pub fn normalize_spectrum(&mut self) {
        let kept = self.values.to_vec();
        // Any start but zero will do; power iterations turn it to where it has to be.
        let rows = self.shape.0;
        let left = vec![E::of((rows as f64).sqrt().recip()); rows];
        let mut spectral = Spectral::of(kept, left);
        (1..FIRST_ITERATIONS).for_each(|_| spectral.iterate());
        self.spectral = Some(spectral);
        self.normalize();
    }

    /// The trained values, before any normalization.
    pub fn trained(&self) -> &[E] {
        match &self.spectral {
            Some(spectral) => &spectral.kept,
            None => &self.values,
        }
    }

    /// Replaces the trained values, and the singular vector where there is one.
    pub fn restore(&mut self, trained: Vec<E>, left: Option<Vec<E>>) {
        match (&mut self.spectral, left) {
            (Some(spectral), Some(left)) => {
                *spectral = Spectral::of(trained, left);
                self.normalize();
            }
            _ => {
                self.values = Arc::new(trained);
                D::refresh(&mut self.tensor, &self.values);
            }
        }
    }

    /// The left singular vector that the next power iteration starts from, if the spectrum
    /// is normalized.
    pub fn singular_vector(&self) -> Option<&[E]> {
        self.spectral
            .as_ref()
            .map(|spectral| spectral.left_before.as_slice())
    }

    /// Changes the trained values by `change`, which gets them and their gradient; `grad` is
    /// that of the values the layers saw.
    pub fn step(&mut self, mut grad: Vec<E>, change: impl FnOnce(&mut [E], &[E])) -> Vec<E> {
        if let Some(spectral) = &mut self.spectral {
            spectral.pull_back(&self.values, &mut grad);
            change(&mut spectral.kept, &grad);
            spectral.iterate();
            self.normalize();
        } else {
            change(
                Arc::<Vec<E>>::make_mut(&mut self.values).as_mut_slice(),
                &grad,
            );
            D::refresh(&mut self.tensor, &self.values);
        }
        grad
    }

    fn normalize(&mut self) {
        if let Some(spectral) = &self.spectral {
            let scale = spectral.sigma.recip();
            let values = Arc::<Vec<E>>::make_mut(&mut self.values);
            let pairs = values.iter_mut().zip(&spectral.kept);
            pairs.for_each(|(value, &kept)| *value = kept * scale);
            D::refresh(&mut self.tensor, &self.values);
        }
    }
}

/// Spectral normalization (Miyato et al. 2018): `w = kept / sigma`, where `sigma` is the
/// largest singular value of `kept` `[rows, cols]`, followed by one power iteration a step.
#[derive(Clone)]
struct Spectral<E> {
    kept: Vec<E>,
    /// `[rows]`, before and after the last iteration.
    left_before: Vec<E>,
    left: Vec<E>,
    /// `[cols]`
    right: Vec<E>,
    sigma: E,
}

impl<E: Float> Spectral<E> {
    fn of(kept: Vec<E>, left: Vec<E>) -> Self {
        let right = vec![E::zero(); kept.len() / left.len()];
        let mut spectral = Self {
            kept,
            left_before: left.clone(),
            left,
            right,
            sigma: E::one(),
        };
        spectral.iterate();
        spectral
    }

    /// `right = w^T left`, `left = w right`, both to length one; `sigma = left^T w right`.
    fn iterate(&mut self) {
        let (rows, cols) = (self.left.len(), self.right.len());
        let w = Matrix::new(&self.kept, rows, cols);
        self.left_before.clone_from(&self.left);
        matmul_parallel(
            w.t(),
            Matrix::new(&self.left_before, rows, 1),
            &mut self.right,
            false,
        );
        to_length_one(&mut self.right);
        matmul_parallel(w, Matrix::new(&self.right, cols, 1), &mut self.left, false);
        // left^T w right, where left is w right over its length.
        self.sigma = to_length_one(&mut self.left).max(E::of(1e-12));
    }

    /// The gradient of `kept` from that of `w = kept / sigma`, the singular vectors held
    /// fixed: `(g - <g, w> left right^T) / sigma`.
    fn pull_back(&self, w: &[E], g: &mut [E]) {
        let dot = g.iter().zip(w).fold(E::zero(), |sum, (&g, &w)| sum + g * w);
        let scale = self.sigma.recip();
        for (g, &left) in g.chunks_exact_mut(self.right.len()).zip(&self.left) {
            let pairs = g.iter_mut().zip(&self.right);
            pairs.for_each(|(g, &right)| *g = (*g - dot * left * right) * scale);
        }
    }
}

/// Power iterations before the first step.
const FIRST_ITERATIONS: usize = 10;

/// Scales a vector to length one, unless it is zero; returns its length before.
fn to_length_one<E: Float>(v: &mut [E]) -> E {
    let length = v.iter().fold(E::zero(), |sum, &v| sum + v * v).sqrt();
    if length > E::zero() {
        v.iter_mut().for_each(|v| *v /= length);
    }
    length
}
