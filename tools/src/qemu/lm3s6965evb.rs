//! QEMU's LM3S6965 board, steered by QEMU's machine protocol and its debugger port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStderr, Command};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::debugger::Debugger;
use super::{Emulator, Key, Running, wait_for};

pub struct Lm3s6965Evb {
    running: Running,
    complaints: ChildStderr,
    /// A JSON object a line.
    protocol: BufReader<TcpStream>,
    debugger: Debugger,
}

/// The display's serial interface: its second control register, whose bit 1 enables it, and
/// the one that bytes are written to.
const CONTROL_1: u32 = 0x4000_8004;
const DATA: u32 = 0x4000_8008;
const ENABLE: u32 = 1 << 1;

/// The low end of the stack, which is used last, and a loop for it: `wfi`, and a jump back
/// to it.
const STACK_END: u32 = 0x2000_0000;
const ENDLESS_LOOP: u32 = 0xE7FD_BF30;

impl Lm3s6965Evb {
    pub fn start(elf: &Path) -> anyhow::Result<Self> {
        let [protocol, debugger] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (protocol, debugger) = (protocol?, debugger?);
        let protocol_at = format!("tcp:{}", protocol.local_addr()?);
        let port = debugger.local_addr()?.port();
        let debugger_at = format!("socket,id=debugger,host=127.0.0.1,port={port},nodelay=on");
        let mut command = Command::new("qemu-system-arm");
        command.args([
            "-machine",
            "lm3s6965evb",
            "-display",
            "none",
            "-serial",
            "none",
        ]);
        // An instruction takes 32 ns, 1.6 cycles at 50 MHz; waiting takes no true time.
        command.args(["-icount", "shift=5,sleep=off", "-qmp", &protocol_at]);
        command.args(["-chardev", &debugger_at, "-gdb", "chardev:debugger"]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.arg("-kernel").arg(elf);
        let mut running = Running::start(&mut command, elf)?;
        let complaints = running.process.stderr.take();
        let mut board = Self {
            running,
            complaints: complaints.context("no pipe from the emulator")?,
            protocol: BufReader::new(protocol.accept()?.0),
            debugger: Debugger::new(debugger.accept()?.0)?,
        };
        board.ask("qmp_capabilities", json!({}))?;
        for key in [Key::Up, Key::Down, Key::Left, Key::Right, Key::Select] {
            // The emulator takes a key that was never touched for pressed.
            board.press(key, true)?;
            board.press(key, false)?;
        }
        Ok(board)
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: &str, arguments: Value) -> anyhow::Result<Value> {
        let line = json!({"execute": request, "arguments": arguments});
        let mut line = format!("{line}\n");
        self.protocol.get_mut().write_all(line.as_bytes())?;
        loop {
            line.clear();
            if self.protocol.read_line(&mut line)? == 0 {
                bail!("QEMU ended during {request}");
            }
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {request}: {error}");
            }
            if let Some(answer) = answer.get("return") {
                return Ok(answer.clone());
            }
        }
    }

    /// Presses a key in a still scene, and stops the display's bus after so many bytes of what
    /// is drawn then. It stays so for some tries of the application to set it up.
    pub fn unplug(&mut self, key: Key, after_bytes: u32, tries: u32) -> anyhow::Result<()> {
        self.debugger.pause()?;
        self.debugger.watch(DATA, true)?;
        self.resume()?;
        self.press(key, true)?;
        for _ in 1..after_bytes {
            self.debugger.wait_for_stop()?;
            self.debugger.resume_over(DATA)?;
        }
        self.debugger.wait_for_stop()?;
        self.debugger.write(CONTROL_1, 0)?;
        let mut tried = 0;
        while tried <= tries {
            self.debugger.resume_over(DATA)?;
            self.debugger.wait_for_stop()?;
            // The application has enabled it: that is a try, and ends with this byte.
            if self.debugger.read(CONTROL_1)? & ENABLE != 0 {
                tried += 1;
                let enable = if tried > tries { ENABLE } else { 0 };
                self.debugger.write(CONTROL_1, enable)?;
            }
        }
        self.debugger.watch(DATA, false)?;
        self.resume()?;
        self.press(key, false)
    }

    /// A machine that is stopped takes no keys.
    fn resume(&mut self) -> anyhow::Result<()> {
        self.debugger.resume()?;
        while self.ask("query-status", json!({}))?["running"] != json!(true) {}
        Ok(())
    }

    pub fn press(&mut self, key: Key, is_down: bool) -> anyhow::Result<()> {
        let code = match key {
            Key::Up => "up",
            Key::Down => "down",
            Key::Left => "left",
            Key::Right => "right",
            Key::Select => "ctrl",
        };
        let key = json!({"type": "qcode", "data": code});
        let event = json!({"type": "key", "data": {"down": is_down, "key": key}});
        self.ask("input-send-event", json!({"events": [event]}))?;
        Ok(())
    }
}

impl Emulator for Lm3s6965Evb {
    fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    fn complaints(&mut self) -> &mut dyn Read {
        &mut self.complaints
    }

    fn tap(&mut self, key: Key) -> anyhow::Result<()> {
        self.press(key, true)?;
        wait_for(self, "Button")?;
        self.press(key, false)
    }

    fn hang(&mut self) -> anyhow::Result<()> {
        self.debugger.pause()?;
        self.debugger.write(STACK_END, ENDLESS_LOOP)?;
        self.debugger.jump(STACK_END)
    }

    fn screenshot(&mut self, path: &Path) -> anyhow::Result<()> {
        self.ask("screendump", json!({"filename": path, "format": "png"}))?;
        Ok(())
    }
}
