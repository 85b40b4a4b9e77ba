//! Generators for other runtimes.

pub mod c;
