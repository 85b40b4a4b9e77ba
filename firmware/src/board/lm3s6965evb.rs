//! TI's LM3S6965 evaluation board, as QEMU emulates it: Cortex-M3, SSD0323 128x64 display
//! on SSI0, five buttons. The log goes through semihosting: a debugger has to be there.

use core::convert::Infallible;

use cortex_m_rt::entry;
use embedded_graphics::pixelcolor::Gray4;
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::spi::{self, SpiBus};
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use firmware::app::{Board, Restored};
use firmware::buttons::{Action, FiveButtons};
use firmware::event::Event;
use firmware::ssd0323::Ssd0323;
use {defmt_semihosting as _, panic_probe as _};

use super::clock;
use super::device::{self, WATCHDOG_MS};

/// What [`set_clock`] sets.
const CORE_HZ: u32 = 50_000_000;

#[entry]
fn main() -> ! {
    start_watchdog();
    set_clock();
    if let Some(core) = cortex_m::Peripherals::take() {
        clock::start(core.SYST, CORE_HZ);
    }
    // The memory card on the same bus is deselected by a high level on PD0.
    let Ok(()) = Output::new(PORT_D, 0).set_high();
    for pin in 0..4 {
        input(PORT_E, pin);
    }
    input(PORT_F, 1);
    let dc = Output::new(PORT_C, 7);
    let select = Output::new(PORT_A, 3);
    let Ok(spi) = ExclusiveDevice::new_no_delay(Ssi0, select);
    let mut board = Lm3s6965Evb {
        display: Ssd0323::new(spi, dc),
        buttons: FiveButtons::new(),
    };
    // If it fails, so does the first drawing.
    board.restore_display();
    device::run(&mut board, cortex_m::asm::wfi)
}

type Display = Ssd0323<ExclusiveDevice<Ssi0, Output, NoDelay>, Output>;

struct Lm3s6965Evb {
    display: Display,
    buttons: FiveButtons,
}

impl Board for Lm3s6965Evb {
    type Color = Gray4;
    type Display = Display;

    fn display(&mut self) -> &mut Self::Display {
        &mut self.display
    }

    fn restore_display(&mut self) -> Restored {
        let started = Ssi0::start().and_then(|()| self.display.start().map_err(|_| Stuck));
        started.map_or(Restored::NotYet, |()| Restored::Yes)
    }

    fn now_ms(&mut self) -> u32 {
        clock::now_ms()
    }

    /// Up, down, left, right are PE0 to PE3, select is PF1; low when pressed.
    fn action(&mut self) -> Option<Action> {
        let levels = read(PORT_E + (0b1111 << 2)) | read(PORT_F + (0b10 << 2)) << 3;
        self.buttons
            .poll(!(levels as u8) & 0b1_1111, clock::now_ms())
    }

    fn feed_watchdog(&mut self) {
        write(WATCHDOG + 0x00C, 0);
    }

    fn log(&mut self, event: Event<'_>) {
        device::log(event);
    }
}

// Addresses and bits: LM3S6965 data sheet, chapters 6 (system control), 9 (general-purpose
// inputs and outputs), 11 (watchdog timer), 14 (synchronous serial interface).
const WATCHDOG: usize = 0x4000_0000;
const SYSTEM: usize = 0x400F_E000;
const PORT_A: usize = 0x4000_4000;
const PORT_C: usize = 0x4000_6000;
const PORT_D: usize = 0x4000_7000;
const PORT_E: usize = 0x4002_4000;
const PORT_F: usize = 0x4002_5000;
const SSI0: usize = 0x4000_8000;

#[expect(unsafe_code, reason = "registers")]
fn read(address: usize) -> u32 {
    // SAFETY: only called with the addresses of registers that exist.
    unsafe { (address as *const u32).read_volatile() }
}

#[expect(unsafe_code, reason = "registers")]
fn write(address: usize, value: u32) {
    // SAFETY: only called with the addresses of registers that exist; none of them makes
    // a peripheral write to memory.
    unsafe { (address as *mut u32).write_volatile(value) }
}

fn set_bits(address: usize, bits: u32) {
    write(address, read(address) | bits);
}

/// Counts down from half of [`WATCHDOG_MS`] at the core's clock, and once more; the second
/// end resets. Anything written to its interrupt register begins it again.
fn start_watchdog() {
    const LOAD: u32 = WATCHDOG_MS / 2 * (CORE_HZ / 1000);
    const ENABLE_AND_RESET: u32 = 0b11;
    /// The counter stands still while a debugger halts the core.
    const STALL: u32 = 1 << 8;
    set_bits(SYSTEM + 0x100, 1 << 3);
    write(WATCHDOG, LOAD);
    write(WATCHDOG + 0x418, STALL);
    write(WATCHDOG + 0x008, ENABLE_AND_RESET);
}

/// 50 MHz: the PLL's 200 MHz, from the 8 MHz crystal, by 4.
fn set_clock() {
    const RCC: usize = SYSTEM + 0x60;
    const INTERRUPTS: usize = SYSTEM + 0x50;
    const BYPASS: u32 = 1 << 11;
    const DIVIDE_BY_4: u32 = 1 << 22 | 3 << 23;
    const CRYSTAL_8_MHZ: u32 = 0xE << 6;
    /// Oscillator's and PLL's power and output, crystal, source, divider.
    const CHANGED: u32 = 1 | 1 << 13 | 1 << 12 | 0xF << 6 | 0b11 << 4 | 0x1F << 22;
    set_bits(RCC, BYPASS);
    write(RCC, read(RCC) & !CHANGED | CRYSTAL_8_MHZ | DIVIDE_BY_4);
    while read(INTERRUPTS) & 1 << 6 == 0 {}
    write(RCC, read(RCC) & !BYPASS);
}

/// Powers a port.
fn power_port(port: usize) {
    let ports = [PORT_A, 0x4000_5000, PORT_C, PORT_D, PORT_E, PORT_F];
    if let Some(bit) = ports.iter().position(|&known| known == port) {
        set_bits(SYSTEM + 0x108, 1 << bit);
    }
}

/// A pin with a pull-up.
fn input(port: usize, pin: u32) {
    power_port(port);
    set_bits(port + 0x510, 1 << pin);
    set_bits(port + 0x51C, 1 << pin);
}

/// A pin that drives.
struct Output {
    port: usize,
    pin: u32,
}

impl Output {
    fn new(port: usize, pin: u32) -> Self {
        power_port(port);
        set_bits(port + 0x400, 1 << pin);
        set_bits(port + 0x51C, 1 << pin);
        Self { port, pin }
    }

    /// The address says which bits are written.
    fn set(&self, value: u32) {
        write(self.port + (4 << self.pin), value << self.pin);
    }
}

impl digital::ErrorType for Output {
    type Error = Infallible;
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set(0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set(1);
        Ok(())
    }
}

/// The serial interface, eight bits at 3.6 MHz, clock idle high.
struct Ssi0;

impl Ssi0 {
    const CONTROL_0: usize = SSI0;
    const CONTROL_1: usize = SSI0 + 0x04;
    const DATA: usize = SSI0 + 0x08;
    const STATUS: usize = SSI0 + 0x0C;
    const PRESCALE: usize = SSI0 + 0x10;
    /// Bits of [`STATUS`](Self::STATUS).
    const HAS_ROOM: u32 = 1 << 1;
    const HAS_RECEIVED: u32 = 1 << 2;
    const BUSY: u32 = 1 << 4;

    /// Reads of its status that a byte may take, which are more than 100 us. A byte takes
    /// 2.2 us, eight of them wait at most.
    const PATIENCE: u32 = 1000;

    /// Sets the interface up, and sends and drops what is left in it.
    fn start() -> Result<(), Stuck> {
        set_bits(SYSTEM + 0x104, 1 << 4);
        power_port(PORT_A);
        // Clock, receive and transmit are PA2, PA4 and PA5.
        set_bits(PORT_A + 0x420, 0b11_0100);
        set_bits(PORT_A + 0x51C, 0b11_0100);
        write(Self::CONTROL_1, 0);
        write(Self::PRESCALE, 14);
        write(Self::CONTROL_0, 0b1100_0111);
        write(Self::CONTROL_1, 1 << 1);
        wait(|| read(Self::STATUS) & Self::BUSY == 0)?;
        wait(|| {
            read(Self::DATA);
            read(Self::STATUS) & Self::HAS_RECEIVED == 0
        })
    }

    fn exchange(byte: u8) -> Result<u8, Stuck> {
        wait(|| read(Self::STATUS) & Self::HAS_ROOM != 0)?;
        write(Self::DATA, u32::from(byte));
        wait(|| read(Self::STATUS) & Self::HAS_RECEIVED != 0)?;
        Ok(read(Self::DATA) as u8)
    }
}

/// Waits for the interface, but not for ever.
fn wait(is_over: impl Fn() -> bool) -> Result<(), Stuck> {
    let mut looks = 0..Ssi0::PATIENCE;
    looks.any(|_| is_over()).then_some(()).ok_or(Stuck)
}

/// No byte moves through the interface.
#[derive(Clone, Copy, Debug)]
struct Stuck;

impl spi::Error for Stuck {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl spi::ErrorType for Ssi0 {
    type Error = Stuck;
}

impl SpiBus for Ssi0 {
    fn read(&mut self, words: &mut [u8]) -> Result<(), Stuck> {
        self.transfer(words, &[])
    }

    fn write(&mut self, words: &[u8]) -> Result<(), Stuck> {
        words
            .iter()
            .try_for_each(|&word| Self::exchange(word).map(drop))
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), Stuck> {
        for i in 0..read.len().max(write.len()) {
            let received = Self::exchange(write.get(i).copied().unwrap_or(0))?;
            if let Some(word) = read.get_mut(i) {
                *word = received;
            }
        }
        Ok(())
    }

    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), Stuck> {
        for word in words {
            *word = Self::exchange(*word)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stuck> {
        wait(|| read(Self::STATUS) & Self::BUSY == 0)
    }
}
