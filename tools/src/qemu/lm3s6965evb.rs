//! QEMU's LM3S6965 board, steered by QEMU's machine protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStderr, Command};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{Emulator, Key, Running, wait_for};

pub struct Lm3s6965Evb {
    running: Running,
    complaints: ChildStderr,
    /// A JSON object a line.
    protocol: BufReader<TcpStream>,
}

impl Lm3s6965Evb {
    pub fn start(elf: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let protocol = format!("tcp:{}", listener.local_addr()?);
        let mut command = Command::new("qemu-system-arm");
        command.args([
            "-machine",
            "lm3s6965evb",
            "-display",
            "none",
            "-serial",
            "none",
        ]);
        // An instruction takes 32 ns, 1.6 cycles at 50 MHz.
        command.args(["-icount", "shift=5", "-qmp", &protocol]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.arg("-kernel").arg(elf);
        let mut running = Running::start(&mut command, elf)?;
        let complaints = running.process.stderr.take();
        let mut board = Self {
            running,
            complaints: complaints.context("no pipe from the emulator")?,
            protocol: BufReader::new(listener.accept()?.0),
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
    fn ask(&mut self, request: &str, arguments: Value) -> anyhow::Result<()> {
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
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn press(&mut self, key: Key, is_down: bool) -> anyhow::Result<()> {
        let code = match key {
            Key::Up => "up",
            Key::Down => "down",
            Key::Left => "left",
            Key::Right => "right",
            Key::Select => "ctrl",
        };
        let key = json!({"type": "qcode", "data": code});
        let event = json!({"type": "key", "data": {"down": is_down, "key": key}});
        self.ask("input-send-event", json!({"events": [event]}))
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

    fn screenshot(&mut self, path: &Path) -> anyhow::Result<()> {
        self.ask("screendump", json!({"filename": path, "format": "png"}))
    }
}
