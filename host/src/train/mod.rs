//! From pictures to a checkpoint.

pub mod adam;
pub mod checkpoint;
pub mod random;
pub mod run;
pub mod trainer;
pub mod watch;
