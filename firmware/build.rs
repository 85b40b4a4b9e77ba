//! Memory map and link arguments of the machine that a feature names.
use std::env::var;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let has = |feature: &str| var(format!("CARGO_FEATURE_{feature}")).is_ok();
    let (flash, ram) = if has("BENCH_MPS2") {
        (("0x00000000", "512K"), ("0x20000000", "1M"))
    } else if has("BENCH_AN505") {
        (("0x10000000", "512K"), ("0x38000000", "1M"))
    } else if has("BENCH_VIRT") {
        (("0x80000000", "1M"), ("0x80100000", "1M"))
    } else {
        panic!("choose a machine: --features bench-mps2, bench-an505 or bench-virt");
    };
    let riscv = "REGION_ALIAS(\"REGION_TEXT\", FLASH); REGION_ALIAS(\"REGION_RODATA\", FLASH);
        REGION_ALIAS(\"REGION_DATA\", RAM); REGION_ALIAS(\"REGION_BSS\", RAM);
        REGION_ALIAS(\"REGION_HEAP\", RAM); REGION_ALIAS(\"REGION_STACK\", RAM);";
    let map = format!(
        "MEMORY {{ FLASH : ORIGIN = {}, LENGTH = {} RAM : ORIGIN = {}, LENGTH = {} }} {}",
        flash.0,
        flash.1,
        ram.0,
        ram.1,
        if has("BENCH_VIRT") { riscv } else { "" }
    );
    let out = var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("memory.x"), map).expect("a writable OUT_DIR");
    println!("cargo:rustc-link-search={out}");
    if has("BENCH_VIRT") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
