//! The logs of a run: lines are kept back until a checkpoint covers their steps, so that a run
//! that goes on from there writes them again.

use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::trainer::StepReport;
use crate::files::{FileError, MOST_BYTES, open_own, read_regular, write_atomic};
use crate::risk::monitor::Reading;
use crate::run_folder::RunFolder;

/// A line of a run's log.
pub(super) trait Logged: Serialize + DeserializeOwned {
    /// The step that it is about.
    fn step(&self) -> u64;
}

impl Logged for StepReport {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Logged for Reading {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The logs of a run.
#[derive(Clone, Copy, Default)]
pub(super) struct History<'a> {
    /// One for each step.
    pub steps: &'a [StepReport],
    /// One for each time that the confidence risk was measured.
    pub readings: &'a [Reading],
}

/// The logs of a run, and its least risky generator.
pub(super) struct Logs {
    pub metrics: Log<StepReport>,
    pub risk: Log<Reading>,
    /// File of the least risky generator so far.
    best: Option<Vec<u8>>,
    best_is_saved: bool,
    best_path: PathBuf,
}

impl Logs {
    /// Opens the logs of a run that stands at `step`.
    pub fn open(folder: &RunFolder, step: u64) -> Result<Self, FileError> {
        let best_path = folder.best();
        let best = read_if_there(&best_path)?;
        Ok(Self {
            metrics: Log::open(folder.metrics(), step)?,
            risk: Log::open(folder.risk(), step)?,
            best,
            best_is_saved: true,
            best_path,
        })
    }

    /// File of the least risky generator so far.
    pub fn best(&self) -> Option<&Vec<u8>> {
        self.best.as_ref()
    }

    /// Keeps another least risky generator, or none.
    pub fn set_best(&mut self, best: Option<Vec<u8>>) {
        self.best_is_saved = false;
        self.best = best;
    }

    /// Forgets everything after `step`; the files are cut by the next [`flush`](Self::flush),
    /// for until then the run may be resumed from a later checkpoint.
    pub fn go_back(&mut self, step: u64, best: Option<Vec<u8>>) {
        self.metrics.go_back(step);
        self.risk.go_back(step);
        self.set_best(best);
    }

    /// Puts everything on the disk; what fails is tried again by the next call.
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.metrics.flush()?;
        self.risk.flush()?;
        if !self.best_is_saved {
            let saved = match &self.best {
                Some(best) => write_atomic(&self.best_path, best),
                None => match std::fs::remove_file(&self.best_path) {
                    Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                    _ => Ok(()),
                },
            };
            saved.map_err(FileError::writing(&self.best_path))?;
            self.best_is_saved = true;
        }
        Ok(())
    }

    /// Everything that was logged, for the run's page.
    pub fn history(&self) -> History<'_> {
        History {
            steps: &self.metrics.records,
            readings: &self.risk.records,
        }
    }
}

/// Lines of JSON, in the order of their steps.
pub(super) struct Log<T> {
    path: PathBuf,
    records: Vec<T>,
    /// End of each record's line, in bytes of the whole file.
    line_ends: Vec<u64>,
    /// Records whose lines are in the file.
    written: usize,
    /// Lines of the others.
    pending: String,
}

impl<T: Logged> Log<T> {
    /// Drops damaged lines, and those after `step`, whose steps will be done again.
    fn open(path: PathBuf, step: u64) -> Result<Self, FileError> {
        let bytes = read_if_there(&path)?;
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut log = Self {
            path,
            records: Vec::new(),
            line_ends: Vec::new(),
            written: 0,
            pending: String::new(),
        };
        let mut kept = String::new();
        for line in text.iter().flat_map(|text| text.lines()) {
            // A loss of power may leave any bytes at the end.
            if let Ok(record) = serde_json::from_str::<T>(line)
                && record.step() <= step
            {
                kept.extend([line, "\n"]);
                log.line_ends.push(kept.len() as u64);
                log.records.push(record);
            }
        }
        log.written = log.records.len();
        if text.is_some_and(|text| text != kept) {
            write_atomic(&log.path, kept.as_bytes()).map_err(FileError::writing(&log.path))?;
        }
        Ok(log)
    }

    pub fn push(&mut self, record: T) {
        let from = self.pending.len();
        self.pending.extend(serde_json::to_string(&record));
        self.pending.push('\n');
        let end = self.line_ends.last().copied().unwrap_or(0);
        self.line_ends
            .push(end + (self.pending.len() - from) as u64);
        self.records.push(record);
    }

    fn go_back(&mut self, step: u64) {
        let kept = self.records.partition_point(|record| record.step() <= step);
        self.records.truncate(kept);
        self.line_ends.truncate(kept);
        self.written = self.written.min(kept);
        let pending = self.end_of(kept) - self.end_of(self.written);
        self.pending.truncate(pending as usize);
    }

    /// Bytes of the lines of the first `count` records.
    fn end_of(&self, count: usize) -> u64 {
        let last = count.checked_sub(1);
        last.and_then(|i| self.line_ends.get(i).copied())
            .unwrap_or(0)
    }

    /// Puts the pending lines behind the written ones, and on the disk. What else follows
    /// those is of steps that were undone, or the half of a line that was cut by a full disk.
    fn flush(&mut self) -> Result<(), FileError> {
        let whole_bytes = self.end_of(self.written);
        if self.pending.is_empty() && !is_longer(&self.path, whole_bytes) {
            return Ok(());
        }
        append(&self.path, whole_bytes, self.pending.as_bytes())
            .map_err(FileError::writing(&self.path))?;
        self.written = self.records.len();
        self.pending.clear();
        Ok(())
    }
}

fn is_longer(path: &Path, bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.len() > bytes)
}

/// Puts `bytes` behind the first `whole_bytes` of a file, and on the disk.
fn append(path: &Path, whole_bytes: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = open_own(path)?;
    file.set_len(whole_bytes.min(file.metadata()?.len()))?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The bytes of a file of the run, if there is one.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read_regular(path, MOST_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::reading(path)(e)),
    }
}
