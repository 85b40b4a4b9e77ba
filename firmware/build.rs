//! Memory map, link arguments and model of the board that a feature names.

use std::env::var;
use std::fs;
use std::path::{Path, PathBuf};

use boards::{BOARDS, BoardSpec, Linker};
use gan_core::{Critic, Mode, Model};

#[path = "boards.rs"]
#[allow(dead_code, reason = "the rest is for `cargo tools`")]
mod boards;

/// Flash that the program takes beside the model, at least.
const PROGRAM_BYTES: usize = 60 << 10;

/// RAM that the program takes beside arena, inputs and stack, at least.
const STATIC_BYTES: usize = 2 << 10;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=boards.rs");
    let is_bare = var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none");
    let chosen = BOARDS.iter().filter(|board| has(board.name));
    let chosen = chosen.collect::<Vec<_>>();
    let name = |board: &BoardSpec| format!("board-{} for {}", board.name, board.target);
    let names = BOARDS.iter().map(name).collect::<Vec<_>>().join(", ");
    match *chosen {
        [] if !is_bare => model(None),
        [] if has("bench") => bench(),
        [board] if var("TARGET").as_deref() == Ok(board.target) => {
            model(Some(board));
            program(board);
        }
        [board] => fail(&format!(
            "board-{} needs --target {}",
            board.name, board.target
        )),
        [] => fail(&format!("choose a board: --features {names}")),
        _ => fail(&format!("choose one board, not {}: {names}", chosen.len())),
    }
}

/// Whether a feature is on: `board-NAME`, or one of the full name.
fn has(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    let is_on = |name: String| var(format!("CARGO_FEATURE_{name}")).is_ok();
    is_on(format!("BOARD_{name}")) || is_on(name)
}

fn out(name: &str) -> PathBuf {
    Path::new(&var("OUT_DIR").expect("cargo sets it")).join(name)
}

/// Ends the build with what has to be done about it.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(0);
}

/// Copies the model and writes what the program has to know of it as constants.
fn model(board: Option<&BoardSpec>) {
    println!("cargo:rerun-if-env-changed=GAN_MODEL");
    let default =
        Path::new(&var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../models/fashion.gan");
    let asked = var("GAN_MODEL").ok().filter(|path| !path.is_empty());
    let path = asked.map_or(default, |path| Path::new(&path).to_path_buf());
    println!("cargo:rerun-if-changed={}", path.display());
    let shown = path.display();
    let bytes = fs::read(&path).unwrap_or_else(|error| {
        fail(&format!(
            "GAN_MODEL: cannot read {shown}: {error} (give the full path)"
        ))
    });
    let model =
        Model::parse(&bytes).unwrap_or_else(|error| fail(&format!("GAN_MODEL: {shown}: {error}")));
    let (arena_words, input_len) = (model.required_words(Mode::Streamed), model.input_len());
    let seen_len = model.critic().map_or(0, Critic::input_len);
    if let Some(board) = board {
        ensure_fits(
            board,
            bytes.len(),
            4 * arena_words + 2 * input_len + seen_len,
        );
    }
    fs::write(out("model.gan"), &bytes).expect("a writable OUT_DIR");
    let constants = format!(
        "/// Bytes of the file.\npub const MODEL_BYTES: usize = {};\n\
         /// Words of the arena.\n#[cfg(target_os = \"none\")]\n\
         pub const ARENA_WORDS: usize = {arena_words};\n\
         /// Values of the input.\n#[cfg(target_os = \"none\")]\n\
         pub const INPUT_LEN: usize = {input_len};\n\
         /// Values that the critic sees.\n#[cfg(target_os = \"none\")]\n\
         pub const SEEN_LEN: usize = {seen_len};\n",
        bytes.len()
    );
    fs::write(out("model.rs"), constants).expect("a writable OUT_DIR");
}

/// A clear word before the linker has its own.
fn ensure_fits(board: &BoardSpec, model_bytes: usize, arena_bytes: usize) {
    let (name, flash, ram) = (board.name, board.flash.1 as usize, board.ram.1 as usize);
    if model_bytes + PROGRAM_BYTES > flash {
        fail(&format!(
            "{name}: the model's {model_bytes} bytes and {PROGRAM_BYTES} or more bytes of program do not fit \
             into {flash} bytes of flash: train with fewer channels"
        ));
    }
    let stack_bytes = board.stack_bytes as usize;
    if arena_bytes + stack_bytes + STATIC_BYTES > ram {
        fail(&format!(
            "{name}: {arena_bytes} bytes for arena and input, {stack_bytes} of stack and {STATIC_BYTES} \
             or more beside do not fit into {ram} bytes of RAM: train with fewer channels"
        ));
    }
}

/// Memory map and link arguments of the application on a board.
fn program(board: &BoardSpec) {
    let scripts = match board.linker {
        Linker::Hal { scripts } => scripts,
        Linker::Map {
            boot2_bytes,
            sections,
            scripts,
        } => {
            map(&(memory(board, boot2_bytes) + sections));
            arguments(&["-Tlink.x", "--nmagic"]);
            scripts
        }
    };
    arguments(&["-Tdefmt.x"]);
    for script in scripts {
        arguments(&[&format!("-T{script}")]);
    }
}

/// The linker's memory map of a board.
fn memory(board: &BoardSpec, boot2_bytes: u32) -> String {
    let (flash, ram, stack) = (board.flash, board.ram, board.stack_bytes);
    let boot = match boot2_bytes {
        0 => String::new(),
        // The second stage of the boot ROM's loader comes first.
        bytes => format!("BOOT2 : ORIGIN = {:#x}, LENGTH = {bytes:#x}\n", flash.0),
    };
    // The stack lies below everything else: an overflow leaves the memory and faults,
    // where above it would run into the arena.
    format!(
        "MEMORY {{\n{boot}FLASH : ORIGIN = {:#x}, LENGTH = {:#x}\n\
         STACK : ORIGIN = {:#x}, LENGTH = {stack:#x}\nRAM : ORIGIN = {:#x}, LENGTH = {:#x}\n}}\n\
         _stack_end = ORIGIN(STACK);\n_stack_start = ORIGIN(STACK) + LENGTH(STACK);\n",
        flash.0 + boot2_bytes,
        flash.1 - boot2_bytes,
        ram.0,
        ram.0 + stack,
        ram.1 - stack,
    )
}

/// The program of `cargo tools bench`, whose model the emulator loads.
fn bench() {
    let (flash, ram) = if has("bench-mps2") {
        (("0x00000000", "512K"), ("0x20000000", "1M"))
    } else if has("bench-an505") {
        (("0x10000000", "512K"), ("0x38000000", "1M"))
    } else {
        (("0x80000000", "1M"), ("0x80100000", "1M"))
    };
    let riscv = "REGION_ALIAS(\"REGION_TEXT\", FLASH); REGION_ALIAS(\"REGION_RODATA\", FLASH);
        REGION_ALIAS(\"REGION_DATA\", RAM); REGION_ALIAS(\"REGION_BSS\", RAM);
        REGION_ALIAS(\"REGION_HEAP\", RAM); REGION_ALIAS(\"REGION_STACK\", RAM);";
    map(&format!(
        "MEMORY {{ FLASH : ORIGIN = {}, LENGTH = {} RAM : ORIGIN = {}, LENGTH = {} }} {}",
        flash.0,
        flash.1,
        ram.0,
        ram.1,
        if has("bench-virt") { riscv } else { "" }
    ));
    if has("bench-virt") {
        arguments(&["-Tmemory.x"]);
    }
    arguments(&["-Tlink.x", "--nmagic"]);
}

fn map(text: &str) {
    let file = out("memory.x");
    fs::write(&file, text).expect("a writable OUT_DIR");
    let folder = file.parent().map(Path::display);
    println!(
        "cargo:rustc-link-search={}",
        folder.expect("OUT_DIR is a folder")
    );
}

fn arguments(arguments: &[&str]) {
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
