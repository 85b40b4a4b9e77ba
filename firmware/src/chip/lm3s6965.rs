//! TI's LM3S6965: registers, pins and the serial interface.
//!
//! *Source*: LM3S6965 data sheet, chapters 6 (system control), 9 (general-purpose inputs and
//! outputs), 11 (watchdog timer), 14 (synchronous serial interface).

use core::convert::Infallible;

use embedded_hal::digital::{self, OutputPin};
use embedded_hal::spi::{self, SpiBus};

pub const WATCHDOG: usize = 0x4000_0000;
pub const SYSTEM: usize = 0x400F_E000;
pub const PORT_A: usize = 0x4000_4000;
pub const PORT_C: usize = 0x4000_6000;
pub const PORT_D: usize = 0x4000_7000;
pub const PORT_E: usize = 0x4002_4000;
pub const PORT_F: usize = 0x4002_5000;
const SSI0: usize = 0x4000_8000;

#[expect(unsafe_code, reason = "registers")]
pub fn read(address: usize) -> u32 {
    // SAFETY: only called with the addresses of registers that exist.
    unsafe { (address as *const u32).read_volatile() }
}

#[expect(unsafe_code, reason = "registers")]
pub fn write(address: usize, value: u32) {
    // SAFETY: only called with the addresses of registers that exist; none of them makes
    // a peripheral write to memory.
    unsafe { (address as *mut u32).write_volatile(value) }
}

pub fn set_bits(address: usize, bits: u32) {
    write(address, read(address) | bits);
}

/// Powers a port.
fn power_port(port: usize) {
    let ports = [PORT_A, 0x4000_5000, PORT_C, PORT_D, PORT_E, PORT_F];
    if let Some(bit) = ports.iter().position(|&known| known == port) {
        set_bits(SYSTEM + 0x108, 1 << bit);
    }
}

/// A pin with a pull-up.
pub fn input(port: usize, pin: u32) {
    power_port(port);
    set_bits(port + 0x510, 1 << pin);
    set_bits(port + 0x51C, 1 << pin);
}

/// A pin that drives.
pub struct Output {
    port: usize,
    pin: u32,
}

impl Output {
    /// The pin of a port, at a low level.
    pub fn new(port: usize, pin: u32) -> Self {
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

/// The serial interface, eight bits at 3.6 MHz, clock idle high. It is set up by the first
/// bytes that are sent, and by the first after a failure.
pub struct Ssi0 {
    is_started: bool,
}

impl Ssi0 {
    /// The interface, not set up yet.
    pub const fn new() -> Self {
        Self { is_started: false }
    }

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

    /// Sends `write`, then zeros, and receives as many bytes.
    fn exchange(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), Stuck> {
        if !self.is_started {
            Self::start()?;
        }
        let mut exchanged = (0..read.len().max(write.len())).map(|i| {
            let received = Self::exchange_byte(write.get(i).copied().unwrap_or(0))?;
            if let Some(word) = read.get_mut(i) {
                *word = received;
            }
            Ok(())
        });
        let exchanged = exchanged.try_for_each(|byte| byte);
        self.is_started = exchanged.is_ok();
        exchanged
    }

    fn exchange_byte(byte: u8) -> Result<u8, Stuck> {
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
pub struct Stuck;

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
        self.exchange(&mut [], words)
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), Stuck> {
        self.exchange(read, write)
    }

    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), Stuck> {
        words.iter_mut().try_for_each(|word| {
            let sent = [*word];
            self.exchange(core::slice::from_mut(word), &sent)
        })
    }

    fn flush(&mut self) -> Result<(), Stuck> {
        wait(|| read(Self::STATUS) & Self::BUSY == 0)
    }
}
