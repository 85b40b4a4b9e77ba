//! The `host` command line.
fn main() {}
