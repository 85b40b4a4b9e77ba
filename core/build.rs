//! Chooses the set of inner loops for the target: `cfg(target_feature = "dsp")` is never
//! set on stable Rust. `GAN_CORE_KERNELS` (`portable`, `packed` or `dsp`) overrides it, for
//! instance for a Cortex-M33 without the DSP extension.
use std::env::var;

fn main() {
    println!("cargo:rerun-if-env-changed=GAN_CORE_KERNELS");
    println!("cargo:rerun-if-changed=build.rs");
    println!(r#"cargo:rustc-check-cfg=cfg(gan_kernels, values("portable", "packed", "dsp"))"#);
    println!("cargo:rustc-check-cfg=cfg(thumb1, thumb8)");
    let target = var("TARGET").unwrap_or_default();
    // The loops for RISC-V multiply, and use all 32 registers.
    let features = var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let multiplies = features.split(',').any(|feature| feature == "m");
    let is_riscv = target.starts_with("riscv32i") && multiplies;
    let of_target = if target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main") {
        "dsp"
    } else if target.starts_with("thumb") || is_riscv {
        "packed"
    } else {
        "portable"
    };
    // A build script that uses this crate runs on the host, which has its own loops.
    let is_device = var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    let kernels = match var("GAN_CORE_KERNELS") {
        Ok(kernels) if is_device => kernels,
        _ => of_target.to_owned(),
    };
    assert!(
        ["portable", "packed", "dsp"].contains(&kernels.as_str()),
        "GAN_CORE_KERNELS is {kernels}: portable, packed or dsp"
    );
    println!(r#"cargo:rustc-cfg=gan_kernels="{kernels}""#);
    if target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo:rustc-cfg=thumb1");
    }
    if target.starts_with("thumbv8m.main") {
        println!("cargo:rustc-cfg=thumb8");
    }
}
