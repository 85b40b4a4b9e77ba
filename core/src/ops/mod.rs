//! The operators, one output row at a time, on slices that
//! [`Model::parse`](crate::Model::parse) has measured.

pub mod activation;
pub mod conv_transpose;
pub mod dense;
pub mod kernels;
