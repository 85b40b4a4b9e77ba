//! The boards: read by the build script for the memory map, and by `cargo tools`.

/// One board.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Of the feature `board-NAME`, too.
    pub name: &'static str,
    /// To build for.
    pub target: &'static str,
    /// Where programs lie: address and bytes.
    pub flash: (u32, u32),
    /// Address and bytes.
    pub ram: (u32, u32),
    /// Of `ram`, at its low end: an overflow leaves the memory and faults.
    pub stack_bytes: u32,
    /// What probe-rs calls it, if there is one to flash.
    pub chip: Option<&'static str>,
    /// The family's number in a UF2 file, where the boot loader takes one.
    pub uf2_family: Option<u32>,
}

/// All but the simulator, which is what a host build is.
pub const BOARDS: [Board; 6] = [
    Board {
        name: "lm3s6965evb",
        target: "thumbv7m-none-eabi",
        flash: (0x0000_0000, 256 << 10),
        ram: (0x2000_0000, 64 << 10),
        stack_bytes: 16 << 10,
        chip: None,
        uf2_family: None,
    },
    Board {
        name: "pico",
        target: "thumbv6m-none-eabi",
        flash: (0x1000_0000, 2 << 20),
        ram: (0x2000_0000, 256 << 10),
        stack_bytes: 32 << 10,
        chip: Some("RP2040"),
        uf2_family: Some(0xe48b_ff56),
    },
    Board {
        name: "pico2",
        target: "thumbv8m.main-none-eabihf",
        flash: (0x1000_0000, 4 << 20),
        ram: (0x2000_0000, 512 << 10),
        stack_bytes: 32 << 10,
        chip: Some("RP235x"),
        uf2_family: Some(0xe48b_ff59),
    },
    Board {
        name: "nucleo-f411",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 512 << 10),
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 16 << 10,
        chip: Some("STM32F411RETx"),
        uf2_family: None,
    },
    Board {
        name: "stm32h743",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 2 << 20),
        // The tightly coupled data memory.
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 32 << 10,
        chip: Some("STM32H743ZITx"),
        uf2_family: None,
    },
    Board {
        name: "esp32c3",
        target: "riscv32imc-unknown-none-elf",
        // What its boot loader maps at once, and what it leaves of the memory: its HAL
        // brings the linker script.
        flash: (0x4200_0020, 4 << 20),
        ram: (0x3FC8_0000, 313 << 10),
        stack_bytes: 0,
        chip: Some("esp32c3"),
        uf2_family: None,
    },
];
