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
    let of_target = if target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main") {
        "dsp"
    } else if target.starts_with("thumb") || target.starts_with("riscv32") {
        "packed"
    } else {
        "portable"
    };
    let kernels = var("GAN_CORE_KERNELS").unwrap_or_else(|_| of_target.to_owned());
    println!(r#"cargo:rustc-cfg=gan_kernels="{kernels}""#);
    if target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo:rustc-cfg=thumb1");
    }
    if target.starts_with("thumbv8m.main") {
        println!("cargo:rustc-cfg=thumb8");
    }
}
