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
    /// What program and model may take of flash, and data and stack of RAM, with the default
    /// model: `cargo tools size` holds them to it.
    pub budget: (u32, u32),
    /// How a program gets onto it.
    pub loader: Loader,
}

/// How a program gets onto a board.
#[derive(Clone, Copy, Debug)]
pub enum Loader {
    /// Not at all: it is only emulated.
    None,
    /// By a debug probe.
    Probe {
        /// What probe-rs calls the chip.
        chip: &'static str,
    },
    /// By a debug probe, or by a file that is copied onto a drive.
    ProbeOrUf2 {
        /// What probe-rs calls the chip.
        chip: &'static str,
        /// The chip's number in a UF2 file.
        family: u32,
    },
    /// By its boot loader, with espflash.
    EspFlash,
}

/// All but the simulator, which is what a host build is.
pub const BOARDS: [Board; 6] = [
    Board {
        name: "lm3s6965evb",
        target: "thumbv7m-none-eabi",
        flash: (0x0000_0000, 256 << 10),
        ram: (0x2000_0000, 64 << 10),
        stack_bytes: 16 << 10,
        budget: (242 << 10, 23 << 10),
        loader: Loader::None,
    },
    Board {
        name: "pico",
        target: "thumbv6m-none-eabi",
        flash: (0x1000_0000, 2 << 20),
        ram: (0x2000_0000, 256 << 10),
        stack_bytes: 32 << 10,
        budget: (248 << 10, 41 << 10),
        loader: Loader::ProbeOrUf2 {
            chip: "RP2040",
            family: 0xe48b_ff56,
        },
    },
    Board {
        name: "pico2",
        target: "thumbv8m.main-none-eabihf",
        flash: (0x1000_0000, 4 << 20),
        ram: (0x2000_0000, 512 << 10),
        stack_bytes: 32 << 10,
        budget: (250 << 10, 41 << 10),
        loader: Loader::ProbeOrUf2 {
            chip: "RP235x",
            family: 0xe48b_ff59,
        },
    },
    Board {
        name: "nucleo-f411",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 512 << 10),
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 16 << 10,
        budget: (251 << 10, 25 << 10),
        loader: Loader::Probe {
            chip: "STM32F411RETx",
        },
    },
    Board {
        name: "stm32h743",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 2 << 20),
        // The tightly coupled data memory.
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 32 << 10,
        budget: (260 << 10, 41 << 10),
        loader: Loader::Probe {
            chip: "STM32H743ZITx",
        },
    },
    Board {
        name: "esp32c3",
        target: "riscv32imc-unknown-none-elf",
        // The HAL brings the linker script, and gives the stack what is left.
        flash: (0x4200_0000, 4 << 20),
        ram: (0x3FC8_0000, 313 << 10),
        stack_bytes: 0,
        budget: (286 << 10, 14 << 10),
        loader: Loader::EspFlash,
    },
];
