//! What gan-core's part of the firmware can reach: no panic, no floating point, no allocator.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

use crate::boards::{self, BOARDS, BoardSpec};
use crate::code::{branch, float_instructions, for_each_instruction};
use crate::elf::{Elf, Lines, Symbol};
use crate::setup::has_target;

/// Proves by the machine code of every board's program that gan-core cannot panic, that it
/// draws without floating point, and that no allocator is linked.
///
/// Every direct call counts for the function that it was inlined from; calls by pointer,
/// which are those of `core::fmt` and of the loops in assembly, are not seen. Only the
/// interpolation between two latents, `latent::slerp`, may use floats: it makes an input, and the drawing
/// from it is in integers. Of a board without a HAL every other call that can end in a panic is
/// listed, too, with the reason why it is accepted; the others' hardware libraries have
/// their own.
#[derive(clap::Args)]
pub struct Symbols {
    /// Only this board.
    #[arg(long, value_parser = boards::parse)]
    board: Option<BoardSpec>,
}

/// Functions of a program without a HAL that may call a panic, by how their names begin, and why that is accepted.
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
        self.check().map(drop)
    }

    /// All boards.
    pub const fn of_all() -> Self {
        Self { board: None }
    }

    /// Fails where a program has what it must not; how many were read.
    pub fn check(&self) -> anyhow::Result<usize> {
        let mut read = 0;
        let wanted = |board: &&BoardSpec| self.board.is_none_or(|asked| asked.name == board.name);
        for board in BOARDS.iter().filter(wanted) {
            if self.board.is_none() && !has_target(board.target)? {
                println!("skipped: {}: {} is not installed", board.name, board.target);
                continue;
            }
            let path = board.build(None)?;
            let data = std::fs::read(&path).context("cannot read the program")?;
            let elf = Elf::parse(&data, &path)?;
            let program = Program::read(&elf)?;
            if board.is_without_hal {
                program.list_panics()?;
            }
            program.ensure_clean(&elf, board)?;
            read += 1;
        }
        Ok(read)
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

    /// Fails where gan-core reaches what it promises not to; else prints what was checked.
    fn ensure_clean(&self, elf: &Elf<'_>, board: &BoardSpec) -> anyhow::Result<()> {
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
        let target = branch(elf, site, words);
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
