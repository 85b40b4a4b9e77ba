//! Malformed files: each is refused for what is wrong with it, in the same words on
//! a 32-bit core.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use gan_core::{Mode, Model, ModelError as E};
use tempfile::tempdir;

use crate::files::{plain, rich, stretched};
use crate::firmware::has;
use crate::malformed::{Malformed, malformed_files};
use crate::programs::build;

#[test]
fn every_lie_is_refused_for_what_it_is() {
    assert!(Model::parse(rich()).is_ok());
    for Malformed {
        name,
        bytes,
        expected,
    } in malformed_files()
    {
        let found = Model::parse(&bytes).err();
        assert_eq!(found, Some(expected), "{name}");
        assert!(expected.to_string().len() > 7, "{expected:?} has no words");
    }
    let names: BTreeSet<_> = malformed_files()
        .iter()
        .map(|file| variant(file.expected))
        .collect();
    assert_eq!(names.len(), 41, "{names:?}");
}

/// The error's names, from the part of the file to what is wrong with it, without numbers.
pub fn variant(error: E) -> String {
    let text = format!("{error:?}");
    let words = text.split(|c: char| !c.is_alphanumeric());
    let names = words.filter(|word| word.starts_with(char::is_uppercase));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_largest_arenas_can_be_counted_in_32_bits() {
    // Below what is refused: by its plane, and by a wide layer's sums.
    let (bytes, error) = stretched(200, 220);
    assert_eq!(error, None);
    let model = Model::parse(&bytes).unwrap();
    assert!(bytes.len() < 10_000 && model.required_words(Mode::Streamed) > 100 << 20);
    for mode in [Mode::Streamed, Mode::WholeLayers] {
        assert!(model.required_words(mode) < 1 << 29, "{mode:?}");
    }
}

/// A 32-bit machine: target, feature, emulator and its arguments, where files go.
const CORES: [(&str, &str, &[&str], &str); 2] = [
    (
        "thumbv7m-none-eabi",
        "bench-mps2",
        &["qemu-system-arm", "-machine", "mps2-an385"],
        "0x80000",
    ),
    (
        "riscv32imc-unknown-none-elf",
        "bench-virt",
        &["qemu-system-riscv32", "-machine", "virt", "-bios", "none"],
        "0x80400000",
    ),
];

/// What `firmware/src/bin/reject.rs` has to print of a file.
fn verdict(bytes: &[u8]) -> String {
    match Model::parse(bytes) {
        Err(error) => error.to_string(),
        Ok(model) => {
            let words = |mode| model.required_words(mode);
            let (streamed, whole) = (words(Mode::Streamed), words(Mode::WholeLayers));
            let macs: u64 = model.layers().iter().map(|layer| layer.mac_count()).sum();
            format!("{streamed} and {whole} words, {macs} MACs")
        }
    }
}

#[test]
fn a_32_bit_core_refuses_the_same_lies_in_the_same_words() {
    let mut files: Vec<Vec<u8>> = malformed_files()
        .into_iter()
        .map(|file| file.bytes)
        .collect();
    files.extend([rich().to_vec(), plain().to_vec(), stretched(200, 220).0]);
    // How many; then each one's length and bytes, at multiples of 16.
    let mut batch = (files.len() as u32).to_le_bytes().to_vec();
    for file in &files {
        batch.resize(batch.len().next_multiple_of(16), 0);
        batch.extend((file.len() as u32).to_le_bytes());
        batch.resize(batch.len().next_multiple_of(16), 0);
        batch.extend(file);
    }
    let dir = tempdir().unwrap();
    let path = dir.path().join("batch");
    fs::write(&path, &batch).unwrap();
    for (target, feature, qemu, at) in CORES {
        if !has("malformed files on 32 bits", &qemu[..1], &[target]) {
            continue;
        }
        let args = [
            "--package",
            "firmware",
            "--bin",
            "reject",
            "--profile",
            "firmware",
        ];
        let elf = build(&[&args[..], &["--features", feature, "--target", target]].concat());
        let loader = format!("loader,file={},addr={at},force-raw=on", path.display());
        let run = Command::new(qemu[0])
            .args(&qemu[1..])
            .args(["-nographic", "-monitor", "none", "-serial", "none"])
            .args(["-semihosting-config", "enable=on,target=native"])
            .args(["-device", &loader, "-kernel"])
            .arg(elf)
            .output()
            .expect("the emulator starts");
        let printed = String::from_utf8_lossy(&run.stdout).into_owned();
        let expected: Vec<String> = files.iter().map(|file| verdict(file)).collect();
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{target}");
        assert!(run.status.success(), "{target}: {printed}");
    }
}

/// What fuzzing starts from; `WRITE_SEEDS=1 cargo test hostile` writes it.
#[test]
fn the_fuzzers_seeds_are_small_files_with_everything_that_the_format_has() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/fuzz/seeds"));
    let seeds = [
        ("rich", rich()),
        ("plain", plain()),
        ("tiny", crate::format::file()),
    ];
    for (name, bytes) in seeds {
        let path = folder.join(name).with_extension("gan");
        if std::env::var_os("WRITE_SEEDS").is_some() {
            fs::create_dir_all(folder).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let written = fs::read(&path);
        assert!(
            written.is_ok_and(|written| written == bytes),
            "WRITE_SEEDS=1 cargo test hostile"
        );
    }
}
