//! The generator on the display of the board that a feature names; without one, on the
//! host, the simulator.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod board;
#[cfg(target_os = "none")]
mod chip;
#[cfg(target_os = "none")]
mod device;

/// The model that is built in: `GAN_MODEL`, or the default.
mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));

    /// The kernels read whole words where the file is aligned.
    #[repr(C, align(16))]
    struct Aligned<T: ?Sized>(T);

    static FILE: &Aligned<[u8; MODEL_BYTES]> =
        &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/model.gan")));

    /// The file.
    pub fn bytes() -> &'static [u8] {
        &FILE.0
    }
}

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    board::simulator::main()
}
