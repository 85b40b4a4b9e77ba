//! The operators, on slices that [`Model::parse`](crate::Model::parse) has measured.

pub mod activation;
pub mod conv_transpose;
pub mod dense;

/// `sum((x - zero_point) * w)`, exact.
#[inline]
pub(crate) fn dot(x: &[i8], w: &[u8], zero_point: i16) -> i32 {
    let products = x
        .iter()
        .zip(w)
        .map(|(&x, &w)| i32::from(i16::from(x) - zero_point) * i32::from(w as i8));
    products.sum()
}
