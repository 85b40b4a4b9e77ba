//! The one matrix product under every layer.

use gemm::Parallelism;

use super::Float;

/// A row-major matrix, or its transpose, in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a, E> {
    data: &'a [E],
    rows: usize,
    cols: usize,
    transposed: bool,
}

impl<'a, E> Matrix<'a, E> {
    /// `data` as `[rows, cols]`, row-major.
    pub fn new(data: &'a [E], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "matrix data does not fit its shape"
        );
        Self {
            data,
            rows,
            cols,
            transposed: false,
        }
    }

    /// The same data read as `[cols, rows]`.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }

    /// Distances of neighbours in a column and in a row, in elements.
    fn strides(&self) -> (isize, isize) {
        if self.transposed {
            (1, self.rows as isize)
        } else {
            (self.cols as isize, 1)
        }
    }
}

/// `out = a * b`, or `out += a * b`, on the calling thread.
///
/// *Shapes*: `a` `[m, k]`, `b` `[k, n]`, `out` `[m, n]` row-major.
pub fn matmul<E: Float>(a: Matrix<E>, b: Matrix<E>, out: &mut [E], accumulate: bool) {
    product(a, b, out, accumulate, Parallelism::None);
}

/// [`matmul`] on all threads. They share out the elements of `out`, never a sum, so
/// the result does not depend on their number.
pub fn matmul_parallel<E: Float>(a: Matrix<E>, b: Matrix<E>, out: &mut [E], accumulate: bool) {
    product(a, b, out, accumulate, Parallelism::Rayon(0));
}

#[expect(unsafe_code, reason = "gemm's only interface takes pointers")]
fn product<E: Float>(
    a: Matrix<E>,
    b: Matrix<E>,
    out: &mut [E],
    accumulate: bool,
    parallelism: Parallelism,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    assert_eq!(out.len(), m * n, "output does not fit its shape");
    let ((a_rs, a_cs), (b_rs, b_cs)) = (a.strides(), b.strides());
    // SAFETY: `Matrix::new` and the assertions above tie every pointer to a slice of
    // exactly rows * cols elements, the strides address inside them, `out` is exclusive,
    // and E is f32 or f64, types that gemm knows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            a.data.as_ptr(),
            a_cs,
            a_rs,
            b.data.as_ptr(),
            b_cs,
            b_rs,
            E::one(),
            E::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}
