//! Who can panic in the firmware.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

use crate::boards::{self, Board};
use crate::elf::{Elf, Lines, Symbol};

/// Lists every call in a board's program that can end in a panic, with the functions that
/// it is inlined into.
///
/// Fails if one of them is gan-core's, which promises that there is none, or if one is in
/// nobody's list of reasons. It reads the calls from the machine code of a Thumb program.
#[derive(clap::Args)]
pub struct Panics {
    /// A board with an Arm core.
    #[arg(long, value_parser = boards::parse, default_value = "lm3s6965evb")]
    board: Board,
}

/// Functions that may call a panic, by how their names begin, and why that is accepted.
const ACCEPTED: [(&str, &str); 3] = [
    (
        "defmt_semihosting::",
        "a log within a log, or a log never begun: the macros do neither",
    ),
    (
        "semihosting::",
        "standard output's handle is negative: the emulator's is not",
    ),
    (
        "static_cell::ConstStaticCell",
        "memory taken twice: its caller never returns, so it takes it once",
    ),
];

/// Libraries that do what their caller asks for: a panic in them is the caller's.
const LIBRARIES: [&str; 6] = [
    "core",
    "alloc",
    "bytemuck",
    "compiler_builtins",
    "heapless",
    "libm",
];

/// A call from one place to a function.
struct Call {
    site: u32,
    /// Index of the function that calls.
    caller: usize,
    /// Index of the function that is called.
    callee: usize,
}

impl Panics {
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.board.target.starts_with("thumb"),
            "{}: not an Arm core",
            self.board.name
        );
        let path = self.board.build(None)?;
        let data = std::fs::read(&path).context("cannot read the program")?;
        let elf = Elf::parse(&data, &path)?;
        let functions = functions(&elf);
        let calls = calls(&elf, &functions);
        let panicking = panicking(&functions, &calls);
        let lines = elf.lines()?;
        let mut users = BTreeMap::<String, BTreeSet<&str>>::new();
        for call in calls.iter().filter(|call| panicking.contains(&call.callee)) {
            let (caller, callee) = (&functions[call.caller].name, &functions[call.callee].name);
            let owner = owner(&lines, call.site, caller)?;
            // The app's own closures are called by gan-core, and are not its own.
            let is_cores = owner.contains("gan_core::") && !callee.contains("firmware::");
            ensure!(!is_cores, "gan-core can panic: {owner} calls {callee}");
            if crate_of(callee) == "core" && crate_of(caller) != "core" {
                users.entry(owner).or_default().insert(callee);
            }
        }
        for (name, _) in ACCEPTED {
            let is_used = users.keys().any(|owner| owner.starts_with(name));
            ensure!(
                is_used,
                "{name} cannot panic any more: strike it from the list"
            );
        }
        for (owner, callees) in users {
            let reason = ACCEPTED.iter().find(|(name, _)| owner.starts_with(name));
            let callees = callees.into_iter().collect::<Vec<_>>().join(", ");
            let (_, reason) = reason.with_context(|| format!("{owner} can panic: {callees}"))?;
            println!("{owner}: {callees}\n    accepted: {reason}");
        }
        println!(
            "no panic can be reached from gan-core in {}",
            path.display()
        );
        Ok(())
    }
}

/// The function that is to answer for a call: the innermost that is no library's.
fn owner(lines: &Lines<'_>, site: u32, caller: &str) -> anyhow::Result<String> {
    let functions = lines.functions(site)?;
    let mut own = functions
        .into_iter()
        .filter(|name| !LIBRARIES.contains(&crate_of(name)));
    Ok(own.next().unwrap_or_else(|| caller.to_owned()))
}

/// The crate of a function's name: of the type, where it is a trait's.
fn crate_of(name: &str) -> &str {
    let path = name
        .trim_start_matches(['<', '&', '[', '('])
        .trim_start_matches("mut ");
    path.split("::").next().unwrap_or(path)
}

/// Functions by address, one name each.
fn functions(elf: &Elf<'_>) -> Vec<Symbol> {
    let mut functions = elf.symbols();
    functions.retain(|symbol| symbol.is_function && symbol.bytes > 0);
    functions.sort_by_key(|symbol| symbol.address);
    functions.dedup_by_key(|symbol| symbol.address);
    functions
}

/// Every branch from a function to the start of another.
fn calls(elf: &Elf<'_>, functions: &[Symbol]) -> Vec<Call> {
    let is_data = data_map(elf);
    let mut calls = Vec::new();
    for (caller, function) in functions.iter().enumerate() {
        let code = elf
            .bytes_at(function.address, function.bytes)
            .unwrap_or(&[]);
        let words: Vec<u16> = code
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .collect();
        let mut i = 0;
        while i < words.len() {
            let site = function.address + 2 * i as u32;
            // Prefixes of 32-bit instructions (A5.1): their second half is none of its own.
            let is_wide = words[i] >> 11 > 0b11100;
            let at = i;
            if is_data(site) {
                i += 1;
                continue;
            }
            i += 1 + usize::from(is_wide);
            let target = branch(site, words[at], words.get(at + 1).copied());
            let callee = target
                .and_then(|target| functions.binary_search_by_key(&target, |f| f.address).ok());
            calls.extend(
                callee
                    .filter(|&callee| callee != caller)
                    .map(|callee| Call {
                        site,
                        caller,
                        callee,
                    }),
            );
        }
    }
    calls
}

/// Whether an address holds data, by the mapping symbols `$t` and `$d` (ELF for the Arm
/// Architecture, 5.5.5).
fn data_map(elf: &Elf<'_>) -> impl Fn(u32) -> bool {
    let symbols = elf.symbols().into_iter();
    let mut marks: Vec<(u32, bool)> = symbols
        .filter(|symbol| symbol.name.starts_with("$t") || symbol.name.starts_with("$d"))
        .map(|symbol| (symbol.address, symbol.name.starts_with("$d")))
        .collect();
    // Where both are, code counts: then the list is longer than it need be, not shorter.
    marks.sort_unstable_by_key(|&(address, is_data)| (address, !is_data));
    move |address| {
        let after = marks.partition_point(|mark| mark.0 <= address);
        after.checked_sub(1).is_some_and(|last| marks[last].1)
    }
}

/// Where an instruction branches to: `BL`, `B.W` and `B` of the Thumb instruction set (Arm
/// v7-M Architecture Reference Manual, A7.7.12 and A7.7.18).
fn branch(site: u32, first: u16, second: Option<u16>) -> Option<u32> {
    let bits = |word: u16, at: u32, count: u32| u32::from(word) >> at & ((1 << count) - 1);
    let from = site.wrapping_add(4);
    if first >> 11 == 0b11100 {
        let offset = (bits(first, 0, 11) << 21) as i32 >> 20;
        return Some(from.wrapping_add_signed(offset));
    }
    let second = second?;
    // Bit 14 tells BL from B.W, bit 12 both from BLX and conditional branches.
    if first >> 11 != 0b11110 || second & 0x9000 != 0x9000 {
        return None;
    }
    let sign = bits(first, 10, 1);
    let [i1, i2] = [13, 11].map(|at| (bits(second, at, 1) ^ sign ^ 1) & 1);
    let offset =
        sign << 24 | i1 << 23 | i2 << 22 | bits(first, 0, 10) << 12 | bits(second, 0, 11) << 1;
    Some(from.wrapping_add_signed((offset << 7) as i32 >> 7))
}

/// The functions that can end in a panic.
fn panicking(functions: &[Symbol], calls: &[Call]) -> BTreeSet<usize> {
    let is_panic = |&i: &usize| functions[i].name.starts_with("core::panicking::");
    let mut found: BTreeSet<usize> = (0..functions.len()).filter(is_panic).collect();
    loop {
        let before = found.len();
        for call in calls {
            if found.contains(&call.callee) {
                found.insert(call.caller);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
