//! Generators for other runtimes.

pub mod c;
pub mod pytorch;
