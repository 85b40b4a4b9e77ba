//! Machine code of Thumb and RISC-V cores, as far as branches and floats go.

use crate::elf::{Elf, Symbol};

/// Function and place of every instruction that calculates with floats: VFP's data
/// processing, of which `VMOV` only moves (Arm v7-M Architecture Reference Manual, A6.4,
/// A7.7.236 and A7.7.237). RISC-V's have none here.
pub fn float_instructions(elf: &Elf<'_>, functions: &[Symbol]) -> Vec<(usize, u32)> {
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

/// Where the instruction branches to that begins `words` at `site`.
pub fn branch(elf: &Elf<'_>, site: u32, words: &[u16]) -> Option<u32> {
    if elf.is_riscv() {
        return riscv_branch(site, words);
    }
    let (&first, rest) = words.split_first()?;
    thumb_branch(site, first, rest.first().copied())
}

/// Calls `f` with function, address and the halfwords from there on, for every instruction.
pub fn for_each_instruction(
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
fn thumb_branch(site: u32, first: u16, second: Option<u16>) -> Option<u32> {
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
