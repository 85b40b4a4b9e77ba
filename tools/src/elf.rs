//! What a program's ELF file says of it.

use std::path::Path;

use anyhow::Context;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};

/// A function or a linker's name, where it is.
pub struct Symbol {
    /// Demangled.
    pub name: String,
    pub address: u32,
    pub bytes: u32,
    pub is_function: bool,
}

/// A section that is a part of the running program.
pub struct Section {
    pub name: String,
    pub address: u32,
    pub bytes: u32,
}

/// A program for a 32-bit core.
pub struct Elf<'a> {
    file: ElfFile32<'a>,
    data: &'a [u8],
}

impl<'a> Elf<'a> {
    pub fn parse(data: &'a [u8], path: &Path) -> anyhow::Result<Self> {
        let file = ElfFile32::parse(data);
        let file = file.with_context(|| format!("{} is no ELF file", path.display()))?;
        Ok(Self { file, data })
    }

    /// Whether it is for a RISC-V core; else it is for an Arm core.
    pub fn is_riscv(&self) -> bool {
        self.file.architecture() == object::Architecture::Riscv32
    }

    /// What is flashed: address and bytes of each part.
    pub fn image(&self) -> Vec<(u32, &'a [u8])> {
        let endian = self.file.endian();
        let headers = self.file.elf_program_headers().iter();
        let loaded = headers.filter(|header| header.p_type(endian) == object::elf::PT_LOAD);
        let part = |header: &object::elf::ProgramHeader32<_>| {
            let bytes = header.data(endian, self.data).unwrap_or(&[]);
            (header.p_paddr(endian), bytes)
        };
        loaded.map(part).collect()
    }

    /// Bytes that are flashed.
    pub fn image_bytes(&self) -> u64 {
        self.image()
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum()
    }

    pub fn symbols(&self) -> Vec<Symbol> {
        let symbol = |symbol: object::read::elf::ElfSymbol32<'_, '_>| {
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some(Symbol {
                name: format!("{:#}", rustc_demangle::demangle(name)),
                // Bit 0 says Thumb.
                address: symbol.address() as u32 & !u32::from(symbol.kind() == SymbolKind::Text),
                bytes: symbol.size() as u32,
                is_function: symbol.kind() == SymbolKind::Text,
            })
        };
        self.file.symbols().filter_map(symbol).collect()
    }

    /// The sections that take memory.
    pub fn sections(&self) -> Vec<Section> {
        let takes_memory = |section: &object::read::elf::ElfSection32<'_, '_>| {
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                return false;
            };
            sh_flags & u64::from(object::elf::SHF_ALLOC) != 0
        };
        let sections = self.file.sections().filter(takes_memory);
        let section = |section: object::read::elf::ElfSection32<'_, '_>| Section {
            name: section.name().unwrap_or_default().to_owned(),
            address: section.address() as u32,
            bytes: section.size() as u32,
        };
        sections.map(section).collect()
    }

    /// The bytes from an address on, as the program would read them from flash.
    pub fn bytes_at(&self, address: u32, bytes: u32) -> Option<&'a [u8]> {
        let endian = self.file.endian();
        self.file.elf_program_headers().iter().find_map(|header| {
            let offset = address.checked_sub(header.p_vaddr(endian))?;
            let end = offset.checked_add(bytes)?;
            let within = end <= header.p_filesz(endian);
            let start = (header.p_offset(endian) + offset) as usize;
            within.then(|| self.data.get(start..start + bytes as usize))?
        })
    }

    /// The functions that the compiler has inlined at an address, the innermost first.
    pub fn lines(&self) -> anyhow::Result<Lines<'a>> {
        let section = |id: gimli::SectionId| -> Result<_, gimli::Error> {
            let data = self
                .file
                .section_by_name(id.name())
                .and_then(|s| s.data().ok());
            Ok(gimli::EndianSlice::new(
                data.unwrap_or(&[]),
                gimli::LittleEndian,
            ))
        };
        let dwarf = gimli::Dwarf::load(section)?;
        let context = addr2line::Context::from_dwarf(dwarf)?;
        Ok(Lines(context))
    }
}

/// A program's debug information.
pub struct Lines<'a>(addr2line::Context<gimli::EndianSlice<'a, gimli::LittleEndian>>);

impl Lines<'_> {
    /// Names of the function at an address and of those into which it was inlined.
    pub fn functions(&self, address: u32) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut frames = self.0.find_frames(u64::from(address)).skip_all_loads()?;
        while let Some(frame) = frames.next()? {
            if let Some(name) = frame.function {
                names.push(name.demangle()?.into_owned());
            }
        }
        Ok(names)
    }
}
