//! What gan-core's part of the firmware can reach: no panic, no floating point, no allocator.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

use crate::boards::{self, BOARDS, Board};
use crate::elf::{Elf, Lines, Symbol};
use crate::setup::has_target;

/// Proves by the machine code of every board's program that gan-core cannot panic, that it
/// draws without floating point, and that no allocator is linked.
///
/// Every direct call counts for the function that it was inlined from; calls by pointer,
/// which are those of `core::fmt` and of the loops in assembly, are not seen. Only the walk
/// between two latents, `latent::slerp`, may use floats: it makes an input, and the drawing
/// from it is in integers. Of the emulated board every other call that can end in a panic is
/// listed, too, with the reason why it is accepted; the others' hardware libraries have
/// their own.
#[derive(clap::Args)]
pub struct Symbols {
    /// Only this board.
    #[arg(long, value_parser = boards::parse)]
    board: Option<Board>,
}

/// The board whose program has nothing but ours in it.
const LISTED: &str = "lm3s6965evb";

/// Functions of it that may call a panic, by how their names begin, and why that is accepted.
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
        "firmware::board::device::draw",
        "memory taken twice: its caller never returns, so it takes it once",
    ),
];

/// The functions of gan-core that may use floats: outside inference.
const FLOAT: [&str; 2] = ["gan_core::latent::slerp", "gan_core::latent::arc_weights"];

/// What allocates, by what its name has in it.
const ALLOCATORS: [&str; 5] = [
    "__rust_alloc",
    "__rust_realloc",
    "__rdl_",
    "__rg_",
    "malloc",
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
    /// The function of the source that it is to be blamed on.
    owner: String,
}

impl Symbols {
    pub fn run(self) -> anyhow::Result<()> {
        let wanted = |board: &&Board| self.board.is_none_or(|asked| asked.name == board.name);
        for board in BOARDS.iter().filter(wanted) {
            if self.board.is_none() && !has_target(board.target)? {
                println!("skipped: {}: {} is not installed", board.name, board.target);
                continue;
            }
            let path = board.build(None)?;
            let data = std::fs::read(&path).context("cannot read the program")?;
            let elf = Elf::parse(&data, &path)?;
            let program = Program::read(&elf)?;
            if board.name == LISTED {
                program.list_panics()?;
            }
            program.ensure_clean(&elf, board)?;
        }
        Ok(())
    }
}

/// A program's functions and the calls between them.
struct Program {
    functions: Vec<Symbol>,
    calls: Vec<Call>,
}

impl Program {
    fn read(elf: &Elf<'_>) -> anyhow::Result<Self> {
        let functions = functions(elf);
        let lines = elf.lines()?;
        let mut calls = calls(elf, &functions);
        for call in &mut calls {
            call.owner = owner(&lines, call.site, &functions[call.caller].name)?;
        }
        Ok(Self { functions, calls })
    }

    /// Fails where gan-core reaches what it promises not to; else says what was looked at.
    fn ensure_clean(&self, elf: &Elf<'_>, board: &Board) -> anyhow::Result<()> {
        let name = board.name;
        // How an error is logged is the logger's affair: `derive(defmt::Format)` calls it.
        let is_cores = |owner: &str| owner.contains("gan_core::") && !owner.contains("defmt::");
        let cores = || self.calls.iter().filter(|call| is_cores(&call.owner));
        // Its own functions are seen where they are, and what the application hands in, such
        // as where rows go, is not its own.
        let is_elsewhere = |call: &&Call| {
            let callee = crate_of(&self.functions[call.callee].name);
            callee != "gan_core" && callee != "firmware"
        };
        let panicking = self.reaching(|name| name.starts_with("core::panicking::"));
        for call in cores().filter(is_elsewhere) {
            let callee = &self.functions[call.callee].name;
            let owner = &call.owner;
            ensure!(
                !panicking.contains(&call.callee),
                "{name}: gan-core can panic: {owner} calls {callee}"
            );
        }
        let floating = self.reaching(is_float_routine);
        let float_calls = cores().filter(is_elsewhere);
        let float_calls = float_calls.filter(|call| floating.contains(&call.callee));
        let may = |owner: &str| FLOAT.iter().any(|name| owner.starts_with(name));
        let mut allowed = 0;
        for call in float_calls {
            let (owner, callee) = (&call.owner, &self.functions[call.callee].name);
            ensure!(
                may(owner),
                "{name}: floats in gan-core: {owner} calls {callee}"
            );
            allowed += 1;
        }
        let lines = elf.lines()?;
        for (caller, site) in float_instructions(elf, &self.functions) {
            let owner = owner(&lines, site, &self.functions[caller].name)?;
            let is_cores = is_cores(&owner);
            ensure!(
                !is_cores || may(&owner),
                "{name}: floats in gan-core: {owner}"
            );
            allowed += usize::from(is_cores);
        }
        let allocators = self.functions.iter().map(|function| &function.name);
        let mut allocators =
            allocators.filter(|name| ALLOCATORS.iter().any(|part| name.contains(part)));
        if let Some(allocator) = allocators.next() {
            anyhow::bail!("{name}: an allocator is linked: {allocator}");
        }
        println!(
            "{name}: {} functions, {} calls from gan-core: 0 reach a panic, 0 a float outside slerp \
             ({allowed} in it), 0 allocators",
            self.functions.len(),
            cores().count()
        );
        Ok(())
    }

    /// Who else can panic, and why that is accepted.
    fn list_panics(&self) -> anyhow::Result<()> {
        let panicking = self.reaching(|name| name.starts_with("core::panicking::"));
        let mut users = BTreeMap::<&str, BTreeSet<&str>>::new();
        for call in self
            .calls
            .iter()
            .filter(|call| panicking.contains(&call.callee))
        {
            let name = |i: usize| self.functions[i].name.as_str();
            let (caller, callee) = (name(call.caller), name(call.callee));
            if crate_of(callee) == "core" && crate_of(caller) != "core" {
                users.entry(&call.owner).or_default().insert(callee);
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
        Ok(())
    }

    /// The functions that can end in one of such a name.
    fn reaching(&self, is_end: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let is_end = |&i: &usize| is_end(&self.functions[i].name);
        let mut found: BTreeSet<usize> = (0..self.functions.len()).filter(is_end).collect();
        loop {
            let before = found.len();
            for call in &self.calls {
                if found.contains(&call.callee) {
                    found.insert(call.caller);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

/// Whether a name is of a routine that stands for floating-point instructions, such as
/// `__aeabi_fmul`, `__adddf3`, `__mulsf3` and `__floatsisf`.
pub fn is_float_routine(name: &str) -> bool {
    let arm = [
        "__aeabi_f",
        "__aeabi_d",
        "__aeabi_i2f",
        "__aeabi_i2d",
        "__aeabi_ui2f",
        "__aeabi_ui2d",
    ];
    let is_integer = name.contains("__aeabi_idiv") || name.contains("__aeabi_uidiv");
    let is_common = name.starts_with("__") && (name.contains("sf") || name.contains("df"));
    !is_integer && (is_common || arm.iter().any(|part| name.contains(part)))
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
    // Routines in a boot ROM are addresses without a size.
    functions.retain(|f| f.is_function && f.bytes > 0 || is_float_routine(&f.name));
    functions.sort_by_key(|symbol| symbol.address);
    functions.dedup_by_key(|symbol| symbol.address);
    functions
}

/// Every branch from a function to the start of another; whose it is, is found later.
fn calls(elf: &Elf<'_>, functions: &[Symbol]) -> Vec<Call> {
    let mut calls = Vec::new();
    for_each_instruction(elf, functions, |caller, site, words| {
        let target = match elf.is_riscv() {
            true => riscv_branch(site, words),
            false => branch(site, words[0], words.get(1).copied()),
        };
        let place = |target| functions.binary_search_by_key(&target, |f| f.address);
        let callee = target.and_then(|target| place(target).ok());
        if let Some(callee) = callee.filter(|&callee| callee != caller) {
            let owner = String::new();
            calls.push(Call {
                site,
                caller,
                callee,
                owner,
            });
        }
    });
    calls
}

/// Function and place of every instruction that calculates with floats: VFP's data
/// processing, of which `VMOV` only moves (Arm v7-M Architecture Reference Manual, A6.4,
/// A7.7.236 and A7.7.237). RISC-V's have none here.
fn float_instructions(elf: &Elf<'_>, functions: &[Symbol]) -> Vec<(usize, u32)> {
    let is_float = |first: u16, second: u16| {
        let calculates = first & 0xEF00 == 0xEE00 && second & 0x0E10 == 0x0A00;
        let moves_register = first & 0xFFBF == 0xEEB0 && second & 0x00D0 == 0x0040;
        let moves_constant = first & 0xFFB0 == 0xEEB0 && second & 0x00F0 == 0;
        calculates && !moves_register && !moves_constant
    };
    let mut found = Vec::new();
    for_each_instruction(elf, functions, |caller, site, words| {
        let second = words.get(1).filter(|_| !elf.is_riscv());
        if second.is_some_and(|&second| is_float(words[0], second)) {
            found.push((caller, site));
        }
    });
    found
}

/// Calls `f` with function, address and the halfwords from there on, for every instruction.
fn for_each_instruction(
    elf: &Elf<'_>,
    functions: &[Symbol],
    mut f: impl FnMut(usize, u32, &[u16]),
) {
    let is_data = data_map(elf);
    for (caller, function) in functions.iter().enumerate() {
        let code = elf.bytes_at(function.address, function.bytes);
        let halves = code.unwrap_or(&[]).chunks_exact(2);
        let words: Vec<u16> = halves.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let mut i = 0;
        while i < words.len() {
            let site = function.address + 2 * i as u32;
            if is_data(site) {
                i += 1;
                continue;
            }
            f(caller, site, &words[i..]);
            // Prefixes of 32-bit instructions (Thumb A5.1): their second half is none of its
            // own.
            let is_wide = match elf.is_riscv() {
                true => words[i] & 3 == 3,
                false => words[i] >> 11 > 0b11100,
            };
            i += 1 + usize::from(is_wide);
        }
    }
}

/// Whether an address holds data, by the mapping symbols `$t` or `$x`, and `$d` (ELF for the
/// Arm Architecture, 5.5.5; RISC-V ELF psABI).
fn data_map(elf: &Elf<'_>) -> impl Fn(u32) -> bool {
    let symbols = elf.symbols().into_iter();
    let mut marks: Vec<(u32, bool)> = symbols
        .filter(|symbol| {
            ["$t", "$x", "$d"]
                .iter()
                .any(|mark| symbol.name.starts_with(mark))
        })
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

/// Where an instruction branches to: `C.J`, `C.JAL`, `JAL`, and `AUIPC` with `JALR` (RISC-V
/// Instruction Set Manual, volume I, chapters 2 and 26).
fn riscv_branch(site: u32, words: &[u16]) -> Option<u32> {
    let bits = |word: u32, at: u32, count: u32| word >> at & ((1 << count) - 1);
    let signed = |value: u32, width: u32| (value << (32 - width)) as i32 >> (32 - width);
    let whole = |at: usize| Some(u32::from(*words.get(at)?) | u32::from(*words.get(at + 1)?) << 16);
    let first = u32::from(*words.first()?);
    if first & 3 == 1 && matches!(first >> 13, 0b001 | 0b101) {
        // offset[11|4|9:8|10|6|7|3:1|5] from bit 12 down.
        let offset = bits(first, 12, 1) << 11
            | bits(first, 11, 1) << 4
            | bits(first, 9, 2) << 8
            | bits(first, 8, 1) << 10
            | bits(first, 7, 1) << 6
            | bits(first, 6, 1) << 7
            | bits(first, 3, 3) << 1
            | bits(first, 2, 1) << 5;
        return Some(site.wrapping_add_signed(signed(offset, 12)));
    }
    let word = whole(0)?;
    match word & 0x7f {
        0x6f => {
            let offset = bits(word, 31, 1) << 20
                | bits(word, 12, 8) << 12
                | bits(word, 20, 1) << 11
                | bits(word, 21, 10) << 1;
            Some(site.wrapping_add_signed(signed(offset, 21)))
        }
        0x17 => {
            let next = whole(2)?;
            let is_same = bits(next, 15, 5) == bits(word, 7, 5);
            let offset = (word & !0xfff).wrapping_add_signed(signed(next >> 20, 12));
            (next & 0x7f == 0x67 && is_same).then(|| site.wrapping_add(offset))
        }
        _ => None,
    }
}
