//! What is written down of a run: kept back until a checkpoint covers it, so that a run
//! that goes on writes it again.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::run::{RunError, RunFolder};
use crate::files::write_atomic;

/// The logs of a run, and its least risky generator.
pub(super) struct Logs {
    pub metrics: Log,
    pub risk: Log,
    /// A generator's file that is not written yet.
    pub best: Option<Vec<u8>>,
    best_path: PathBuf,
}

impl Logs {
    /// Those of a run that stands at `step`.
    pub fn open(folder: &RunFolder, step: u64) -> Result<Self, RunError> {
        Ok(Self {
            metrics: Log::open(folder.metrics(), step)?,
            risk: Log::open(folder.risk(), step)?,
            best: None,
            best_path: folder.best(),
        })
    }

    /// Puts everything on the disk; what fails is tried again by the next call.
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.metrics.flush()?;
        self.risk.flush()?;
        if let Some(best) = &self.best {
            write_atomic(&self.best_path, best).map_err(RunError::io(&self.best_path))?;
            self.best = None;
        }
        Ok(())
    }
}

/// Lines of JSON.
pub(super) struct Log {
    path: PathBuf,
    /// Of the file, up to which its lines are whole.
    whole_bytes: u64,
    /// Not in the file yet.
    lines: String,
}

impl Log {
    /// Drops damaged lines, and those after `step`, for these steps will be done again.
    fn open(path: PathBuf, step: u64) -> Result<Self, RunError> {
        let kept = match std::fs::read(&path) {
            Ok(bytes) => lines_up_to(&bytes, step),
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(RunError::io(&path)(e)),
        };
        if path.exists() {
            write_atomic(&path, kept.as_bytes()).map_err(RunError::io(&path))?;
        }
        Ok(Self {
            path,
            whole_bytes: kept.len() as u64,
            lines: String::new(),
        })
    }

    pub fn push(&mut self, line: &impl serde::Serialize) {
        let line = serde_json::to_string(line);
        self.lines.extend(line);
        self.lines.push('\n');
    }

    fn flush(&mut self) -> Result<(), RunError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        append(&self.path, self.whole_bytes, self.lines.as_bytes())
            .map_err(RunError::io(&self.path))?;
        self.whole_bytes += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }
}

/// Puts `bytes` behind the first `whole_bytes` of a file, and on the disk. What follows them
/// is the half of a line that was cut by a full disk.
fn append(path: &Path, whole_bytes: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_len(whole_bytes.min(file.metadata()?.len()))?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The lines of steps up to `step`; a loss of power may leave any bytes at the end.
fn lines_up_to(bytes: &[u8], step: u64) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept = text.lines().filter(|line| {
        let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let at = value.and_then(|value| value.get("step")?.as_u64());
        at.is_some_and(|at| at <= step)
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}
