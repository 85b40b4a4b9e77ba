//! QEMU's debugger port, in gdb's remote protocol: it stops the machine at writes to an
//! address, and writes registers of peripherals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, ensure};

use super::PATIENCE;

pub struct Debugger {
    /// `$PACKET#SUM`, which the other side answers with `+`.
    port: BufReader<TcpStream>,
}

impl Debugger {
    pub fn new(port: TcpStream) -> anyhow::Result<Self> {
        port.set_nodelay(true)?;
        port.set_read_timeout(Some(PATIENCE))?;
        let port = BufReader::new(port);
        Ok(Self { port })
    }

    fn send(&mut self, packet: &str) -> anyhow::Result<()> {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        let packet = format!("${packet}#{sum:02x}");
        Ok(self.port.get_mut().write_all(packet.as_bytes())?)
    }

    fn receive(&mut self) -> anyhow::Result<String> {
        self.port.skip_until(b'$').context("no debugger's answer")?;
        let mut packet = Vec::new();
        self.port.read_until(b'#', &mut packet)?;
        packet.pop();
        self.port.read_exact(&mut [0; 2])?;
        self.port.get_mut().write_all(b"+")?;
        Ok(String::from_utf8(packet)?)
    }

    fn ask(&mut self, packet: &str) -> anyhow::Result<()> {
        self.send(packet)?;
        let answer = self.receive()?;
        ensure!(answer == "OK", "the debugger answers {packet} by {answer}");
        Ok(())
    }

    /// Stops the machine. Addresses are the bus's from then on, peripherals included.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.port.get_mut().write_all(&[3])?;
        self.wait_for_stop()?;
        self.ask("Qqemu.PhyMemMode:1")
    }

    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.send("c")
    }

    /// Lets a machine go on that has stopped at a write: QEMU stops before it, each time.
    pub fn resume_over(&mut self, address: u32) -> anyhow::Result<()> {
        self.watch(address, false)?;
        self.send("s")?;
        self.wait_for_stop()?;
        self.watch(address, true)?;
        self.resume()
    }

    /// Until the machine stops, at a write that is watched for.
    pub fn wait_for_stop(&mut self) -> anyhow::Result<()> {
        let answer = self.receive()?;
        ensure!(answer.starts_with('T'), "the debugger says {answer}");
        Ok(())
    }

    /// Stops the machine at each write to a word, or no more.
    pub fn watch(&mut self, address: u32, is_watched: bool) -> anyhow::Result<()> {
        let verb = if is_watched { 'Z' } else { 'z' };
        self.ask(&format!("{verb}2,{address:x},4"))
    }

    /// Reads a word of a machine that is stopped.
    pub fn read(&mut self, address: u32) -> anyhow::Result<u32> {
        self.send(&format!("m{address:x},4"))?;
        let answer = self.receive()?;
        let word = u32::from_str_radix(&answer, 16);
        Ok(word.with_context(|| format!("no word: {answer}"))?.to_be())
    }

    /// Writes a word of a machine that is stopped.
    pub fn write(&mut self, address: u32, word: u32) -> anyhow::Result<()> {
        self.ask(&format!("M{address:x},4:{:08x}", word.to_be()))
    }
    /// Lets a machine that is stopped go on at an address of Arm's code.
    pub fn jump(&mut self, address: u32) -> anyhow::Result<()> {
        // An odd address is one of Thumb code.
        self.send(&format!("c{:x}", address | 1))
    }
}
