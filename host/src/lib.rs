//! Trains, quantizes, samples and compares.

pub mod compare;
pub mod config;
pub mod data;
pub mod files;
pub mod generator;
pub mod nn;
pub mod picture;
pub mod quant;
pub mod sample;
pub mod train;
