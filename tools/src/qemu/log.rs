//! The defmt log of a running program.

use std::io::Read;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, bail};
use defmt_decoder::{DecodeError, StreamDecoder, Table};

/// The defmt log of a running program.
pub struct Log {
    bytes: Receiver<Vec<u8>>,
    decoder: Box<dyn StreamDecoder>,
}

impl Log {
    /// Reads what a program of this ELF file writes.
    pub fn new(elf: &[u8], mut output: ChildStdout) -> anyhow::Result<Self> {
        let table = Table::parse(elf)?.context("the program has no defmt log")?;
        // It lives as long as the process, which runs one program.
        let table: &'static Table = Box::leak(Box::new(table));
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let decoder = table.new_stream_decoder();
        Ok(Self { bytes, decoder })
    }

    /// The next line that has come, without waiting.
    pub fn next_line(&mut self) -> anyhow::Result<Option<String>> {
        for bytes in self.bytes.try_iter() {
            self.decoder.received(&bytes);
        }
        match self.decoder.decode() {
            Ok(frame) => {
                let level = frame.level().map_or("", |level| level.as_str());
                let level = level.to_uppercase();
                Ok(Some(format!("{level:5} {}", frame.display_message())))
            }
            Err(DecodeError::UnexpectedEof) => Ok(None),
            Err(DecodeError::Malformed) => bail!("the log cannot be decoded"),
        }
    }
}
