//! The files of a run: their names, and the lock that keeps other commands away from them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files::{FileError, open_own, read_regular, remove_parts};

const BEST: &str = "best.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const COMPARISON: &str = "compare.json";
const CONFIG: &str = "config.toml";
const FINAL_GENERATOR: &str = "generator.safetensors";
const GRID: &str = "grid.png";
const INT8_GENERATOR: &str = "generator.gan";
const LOCK: &str = "lock";
const METRICS: &str = "metrics.jsonl";
const PAGE: &str = "report.html";
const RISK: &str = "risk.jsonl";
const SAMPLES: &str = "samples";

/// Files that are written whole, each by a temporary one beside it.
const WRITTEN_WHOLE: [&str; 10] = [
    BEST,
    CHECKPOINT,
    COMPARISON,
    CONFIG,
    FINAL_GENERATOR,
    GRID,
    INT8_GENERATOR,
    METRICS,
    PAGE,
    RISK,
];

/// Files of which a run, trained or imported, has at least one.
const IDENTIFYING: [&str; 4] = [METRICS, CHECKPOINT, BEST, FINAL_GENERATOR];

/// The most bytes that are read of the process that holds a run's lock.
const HOLDER_BYTES: u64 = 100;

/// Why a run's folder could not be locked or prepared.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// A file of the run could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another command writes into this folder.
    #[error(
        "{folder} is in use by another command ({holder}): let it end or stop it, or name \
         another folder with --out"
    )]
    InUse {
        /// The run.
        folder: PathBuf,
        /// The other process, as its lock names it.
        holder: String,
    },
}

/// A lock on a run; no other command writes into its folder until it is dropped.
#[must_use]
pub struct RunLock(File);

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file would not do: a process that is being started may hold a copy.
        let _ = self.0.unlock();
    }
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether there is a run, finished or not, trained or imported.
    pub fn holds_run(&self) -> bool {
        IDENTIFYING.iter().any(|name| self.0.join(name).exists())
    }

    /// Whether a file belongs to the run in whose folder it lies.
    pub fn owns(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let is_ours = WRITTEN_WHOLE.iter().chain([&LOCK]).any(|own| name == *own);
        let folder = path.parent().unwrap_or(Path::new(""));
        is_ours && Self::new(folder).holds_run()
    }

    /// Locks the run. The lock of a killed process is free again; its temporary files are
    /// removed.
    pub fn lock(&self) -> Result<RunLock, RunFolderError> {
        let path = self.0.join(LOCK);
        let mut file = open_own(&path).map_err(FileError::writing(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let holder = read_regular(&path, HOLDER_BYTES).unwrap_or_default();
                let holder = String::from_utf8_lossy(&holder).into_owned();
                let folder = self.0.clone();
                return Err(RunFolderError::InUse { folder, holder });
            }
            // A file system without locks has to be trusted.
            Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => {
                return Err(FileError::writing(&path)(e).into());
            }
            _ => {}
        }
        let note = file.set_len(0).and_then(|()| file.rewind());
        let note = note.and_then(|()| write!(file, "process {}", std::process::id()));
        note.map_err(FileError::writing(&path))?;
        remove_parts(&self.0, &WRITTEN_WHOLE);
        remove_parts(&self.0.join(SAMPLES), &["step-"]);
        Ok(RunLock(file))
    }

    /// Makes the folder for samples. A link in its place is refused: the folder behind it may
    /// belong to something else.
    pub fn make_samples(&self) -> Result<(), FileError> {
        let path = self.0.join(SAMPLES);
        let refuse_link = |()| match fs::symlink_metadata(&path)?.is_dir() {
            true => Ok(()),
            false => Err(io::Error::new(
                ErrorKind::NotADirectory,
                "is a link: remove it",
            )),
        };
        let made = fs::create_dir_all(&path).and_then(refuse_link);
        made.map_err(FileError::writing(&path))
    }

    /// The configuration, resolved.
    pub fn config(&self) -> PathBuf {
        self.0.join(CONFIG)
    }

    /// Everything that a run needs to be resumed.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join(CHECKPOINT)
    }

    /// One line of JSON for each step.
    pub fn metrics(&self) -> PathBuf {
        self.0.join(METRICS)
    }

    /// One line of JSON for each evaluation of the confidence risk.
    pub fn risk(&self) -> PathBuf {
        self.0.join(RISK)
    }

    /// The least risky generator, where the risk is watched.
    pub fn best(&self) -> PathBuf {
        self.0.join(BEST)
    }

    /// The float generator of a finished or imported run.
    pub fn final_generator(&self) -> PathBuf {
        self.0.join(FINAL_GENERATOR)
    }

    /// The float generator of a run in any state: the least risky one, else the checkpoint's,
    /// else that of an imported run.
    pub fn generator(&self) -> PathBuf {
        let trained = [self.best(), self.checkpoint()];
        let found = trained.into_iter().find(|path| path.exists());
        found.unwrap_or_else(|| self.final_generator())
    }

    /// The int8 generator.
    pub fn int8_generator(&self) -> PathBuf {
        self.0.join(INT8_GENERATOR)
    }

    /// The figures of the int8 generator against the float one.
    pub fn comparison(&self) -> PathBuf {
        self.0.join(COMPARISON)
    }

    /// Images of both generators, float on the left.
    pub fn grid(&self) -> PathBuf {
        self.0.join(GRID)
    }

    /// The HTML page.
    pub fn page(&self) -> PathBuf {
        self.0.join(PAGE)
    }

    /// The sample grid of the averaged generator after `step` steps.
    pub fn sample(&self, step: u64) -> PathBuf {
        self.0.join(SAMPLES).join(format!("step-{step:06}.png"))
    }
}
