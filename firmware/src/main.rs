//! The firmware's host build: there is no board support yet, so it says what to run instead.
fn main() {
    println!("firmware: no board is supported yet; see a model with `cargo run -p host -- sample`");
}
