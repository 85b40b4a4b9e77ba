//! The firmware's host build: there is no board support yet, so it says what to run instead.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("firmware: no board is supported yet; see a model with `cargo run -p host -- sample`");
}

#[cfg(target_os = "none")]
compile_error!("there is no board support yet: build `--bin bench` by `cargo tools bench`");
