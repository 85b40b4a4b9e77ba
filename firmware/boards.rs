//! The boards: read by the build script for the memory map, and by `cargo tools`.

/// One board.
#[derive(Clone, Copy, Debug)]
pub struct BoardSpec {
    /// Name, also that of the feature `board-NAME`.
    pub name: &'static str,
    /// To build for.
    pub target: &'static str,
    /// Address and bytes of the flash that programs lie in.
    pub flash: (u32, u32),
    /// Address and bytes.
    pub ram: (u32, u32),
    /// Of `ram`, at its low end: an overflow leaves the memory and faults.
    pub stack_bytes: u32,
    /// What program and model may take of flash, and data and stack of RAM, with the default
    /// model: `cargo tools size` holds them to it.
    pub budget: (u32, u32),
    /// The way in which its program is linked.
    pub linker: Linker,
    /// The way in which a program gets onto it.
    pub loader: Loader,
    /// Its emulator, if there is one.
    pub emulator: Option<Emulator>,
    /// Its display, for tables.
    pub display: &'static str,
    /// Whether no HAL is linked: `cargo tools symbols` then lists every call that can panic.
    pub is_without_hal: bool,
}

/// How a program is linked, beside cortex-m-rt's `link.x` and defmt's `defmt.x`.
#[derive(Clone, Copy, Debug)]
pub enum Linker {
    /// By a memory map that the build script writes from `flash`, `ram` and `stack_bytes`.
    Map {
        /// Bytes at the start of flash for the second stage of a boot ROM's loader: `BOOT2`.
        boot2_bytes: u32,
        /// `SECTIONS` that the chip needs.
        sections: &'static str,
        /// Further linker scripts, by file name.
        scripts: &'static [&'static str],
    },
    /// By the scripts of its HAL alone, which have the memory map.
    Hal {
        /// File names.
        scripts: &'static [&'static str],
    },
}

/// A memory map without anything of the chip's own.
const PLAIN: Linker = Linker::Map {
    boot2_bytes: 0,
    sections: "",
    scripts: &[],
};

/// The block at the start of flash by which the RP2350's boot ROM knows a program.
const RP2350_START_BLOCK: &str = "SECTIONS {
    .start_block : ALIGN(4) { __start_block_addr = .; KEEP(*(.start_block)); KEEP(*(.boot_info)); } > FLASH
} INSERT AFTER .vector_table;
_stext = ADDR(.start_block) + SIZEOF(.start_block);
";

/// The emulator of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// `qemu-system-arm`'s machine of the board's name, with an LM3S6965.
    QemuLm3s6965,
    /// rp2040js, with an ST7789.
    Rp2040js,
}

/// A way in which a program gets onto a board.
#[derive(Clone, Copy, Debug)]
pub enum Loader {
    /// Not at all: it is only emulated.
    None,
    /// A debug probe.
    Probe {
        /// Name of the chip in probe-rs.
        chip: &'static str,
    },
    /// A debug probe, or a file that is copied onto a drive.
    ProbeOrUf2 {
        /// Name of the chip in probe-rs.
        chip: &'static str,
        /// The chip's number in a UF2 file.
        family: u32,
    },
    /// The boot loader, with espflash.
    EspFlash,
}

/// All but the simulator, which is what a host build is.
pub const BOARDS: &[BoardSpec] = &[
    BoardSpec {
        name: "lm3s6965evb",
        target: "thumbv7m-none-eabi",
        flash: (0x0000_0000, 256 << 10),
        ram: (0x2000_0000, 64 << 10),
        stack_bytes: 16 << 10,
        budget: (242 << 10, 23 << 10),
        linker: PLAIN,
        loader: Loader::None,
        emulator: Some(Emulator::QemuLm3s6965),
        display: "SSD0323 128x64",
        is_without_hal: true,
    },
    BoardSpec {
        name: "pico",
        target: "thumbv6m-none-eabi",
        flash: (0x1000_0000, 2 << 20),
        ram: (0x2000_0000, 256 << 10),
        stack_bytes: 32 << 10,
        budget: (248 << 10, 41 << 10),
        linker: Linker::Map {
            boot2_bytes: 0x100,
            sections: "",
            scripts: &["link-rp.x"],
        },
        loader: Loader::ProbeOrUf2 {
            chip: "RP2040",
            family: 0xe48b_ff56,
        },
        emulator: Some(Emulator::Rp2040js),
        display: "ST7789 240x240",
        is_without_hal: false,
    },
    BoardSpec {
        name: "pico2",
        target: "thumbv8m.main-none-eabihf",
        flash: (0x1000_0000, 4 << 20),
        ram: (0x2000_0000, 512 << 10),
        stack_bytes: 32 << 10,
        budget: (250 << 10, 41 << 10),
        linker: Linker::Map {
            boot2_bytes: 0,
            sections: RP2350_START_BLOCK,
            scripts: &[],
        },
        loader: Loader::ProbeOrUf2 {
            chip: "RP235x",
            family: 0xe48b_ff59,
        },
        emulator: None,
        display: "ST7789 240x240",
        is_without_hal: false,
    },
    BoardSpec {
        name: "nucleo-f411",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 512 << 10),
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 16 << 10,
        budget: (251 << 10, 25 << 10),
        linker: PLAIN,
        loader: Loader::Probe {
            chip: "STM32F411RETx",
        },
        emulator: None,
        display: "ST7789 240x240",
        is_without_hal: false,
    },
    BoardSpec {
        name: "stm32h743",
        target: "thumbv7em-none-eabihf",
        flash: (0x0800_0000, 2 << 20),
        // The tightly coupled data memory.
        ram: (0x2000_0000, 128 << 10),
        stack_bytes: 32 << 10,
        budget: (260 << 10, 41 << 10),
        linker: PLAIN,
        loader: Loader::Probe {
            chip: "STM32H743ZITx",
        },
        emulator: None,
        display: "ST7789 240x240",
        is_without_hal: false,
    },
    BoardSpec {
        name: "esp32c3",
        target: "riscv32imc-unknown-none-elf",
        // The HAL brings the linker script, and gives the stack what is left.
        flash: (0x4200_0000, 4 << 20),
        ram: (0x3FC8_0000, 313 << 10),
        stack_bytes: 0,
        budget: (286 << 10, 14 << 10),
        linker: Linker::Hal {
            scripts: &["linkall.x"],
        },
        loader: Loader::EspFlash,
        emulator: None,
        display: "ST7789 240x240",
        is_without_hal: false,
    },
];
