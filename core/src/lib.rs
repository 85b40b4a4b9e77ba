//! Integer-only runtime.
#![no_std]
