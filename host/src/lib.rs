//! Trains, quantizes, samples and compares.

pub mod config;
pub mod data;
pub mod files;
pub mod generator;
pub mod nn;
pub mod picture;
pub mod train;
