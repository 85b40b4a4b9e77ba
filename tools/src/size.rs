//! What the boards' programs take of flash and RAM.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::boards::{self, BOARDS, BoardSpec};
use crate::elf::Elf;

/// Builds the application for every board and compares what it takes of flash and RAM with
/// the board's budget in firmware/boards.rs.
///
/// Fails if one is over, or if a stack does not lie at the low end of RAM, where an overflow
/// faults.
#[derive(clap::Args)]
pub struct Size {
    /// Only this board.
    #[arg(long, value_parser = boards::parse)]
    board: Option<BoardSpec>,
}

impl Size {
    pub fn run(self) -> anyhow::Result<()> {
        let wanted = |board: &&BoardSpec| self.board.is_none_or(|asked| asked.name == board.name);
        let mut rows = Vec::new();
        for board in BOARDS.iter().filter(wanted) {
            let path = board.build(None)?;
            rows.push((board, Used::read(board, &path)?));
        }
        println!("board            flash    budget      there      RAM   budget     there");
        for (board, used) in &rows {
            println!(
                "{:12} {:9} {:9} {:10} {:8} {:8} {:9}",
                board.name,
                used.flash,
                board.budget.0,
                board.flash.1,
                used.ram,
                board.budget.1,
                board.ram.1
            );
        }
        for (board, used) in &rows {
            used.ensure_within(board)?;
        }
        Ok(())
    }
}

/// Memory of a program, in bytes.
struct Used {
    /// Flash: the whole program, with the model.
    flash: u32,
    /// RAM: data and stack.
    ram: u32,
}

impl Used {
    fn read(board: &BoardSpec, path: &Path) -> anyhow::Result<Self> {
        let data = std::fs::read(path).context("cannot read the program")?;
        let elf = Elf::parse(&data, path)?;
        let (start, end) = (board.ram.0, board.ram.0 + board.ram.1);
        let mut sections = elf.sections();
        // Such as the ESP32-C3's stack, which is what is left.
        sections
            .retain(|section| (start..end).contains(&section.address) && section.name != ".stack");
        if board.stack_bytes > 0 {
            let symbols = elf.symbols();
            let address = |name: &str| symbols.iter().find(|s| s.name == name).map(|s| s.address);
            let top = start + board.stack_bytes;
            let stack = [address("_stack_end"), address("_stack_start")];
            let is_lowest = sections.iter().all(|section| section.address >= top);
            ensure!(
                stack == [Some(start), Some(top)] && is_lowest,
                "{}: the stack is not at the low end of RAM: {stack:x?}",
                board.name
            );
        }
        Ok(Self {
            flash: elf.image_bytes() as u32,
            ram: board.stack_bytes + sections.iter().map(|section| section.bytes).sum::<u32>(),
        })
    }

    fn ensure_within(&self, board: &BoardSpec) -> anyhow::Result<()> {
        let within = |what: &str, used: u32, budget: u32, there: u32| {
            let (name, over) = (board.name, used.saturating_sub(budget));
            ensure!(
                budget <= there,
                "{name}: a budget of {budget} bytes, but {there} of {what}"
            );
            ensure!(
                over == 0,
                "{name}: {used} bytes of {what}, {over} over the budget of {budget}"
            );
            Ok(())
        };
        within("flash", self.flash, board.budget.0, board.flash.1)?;
        within("RAM", self.ram, board.budget.1, board.ram.1)
    }
}
