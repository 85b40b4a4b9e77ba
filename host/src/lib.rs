//! Trains, quantizes, samples and compares.

// `console` prints: its lines survive a closed pipe.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod compare;
pub mod config;
pub mod console;
pub mod data;
pub mod export;
pub mod files;
pub mod finetune;
pub mod generator;
pub mod html;
pub mod import;
pub mod memory;
pub mod nn;
pub mod npy;
pub mod picture;
pub mod quant;
pub mod random;
pub mod risk;
pub mod run_folder;
pub mod sample;
pub mod seeds;
pub mod train;

/// Each training step allocates what the one before has freed. The system's allocator gives
/// large blocks back in between, and clearing them anew took up to two fifths of a step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
