//! Trains, quantizes, samples and compares.
