//! From pictures to a checkpoint.

pub mod adam;
pub mod augment;
pub mod checkpoint;
pub mod divergence;
mod log;
pub mod loss;
pub mod random;
pub mod run;
pub mod trainer;
