//! From images to a checkpoint.

pub mod augment;
pub mod checkpoint;
pub mod divergence;
mod log;
pub mod loss;
mod report;
pub mod run;
pub mod trainer;
pub mod transfer;
