//! Files that are either whole or not there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// A regular file that has been opened, of a length within bounds.
pub struct RegularFile {
    file: File,
    len_bytes: u64,
}

/// Opens a file for reading if it is a regular one (or a link to one) of at most `most_bytes`:
/// a pipe would be waited for, a device has no end, and a file's length is what is kept of it.
pub fn open_regular(path: &Path, most_bytes: u64) -> io::Result<RegularFile> {
    let refuse = |problem: String| Err(io::Error::new(ErrorKind::InvalidInput, problem));
    // Before it is opened: opening a pipe waits for its other end.
    if !fs::metadata(path)?.is_file() {
        return refuse("it is not a file".into());
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return refuse("it is not a file".into());
    }
    let len_bytes = about.len();
    if len_bytes > most_bytes {
        return refuse(format!(
            "it has {len_bytes} bytes, and at most {most_bytes} are read"
        ));
    }
    Ok(RegularFile { file, len_bytes })
}

impl RegularFile {
    /// Its length when it was opened.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Its bytes, up to the length that it had, in memory with room for `more_bytes`.
    pub fn read(self, more_bytes: u64) -> io::Result<Vec<u8>> {
        let room = usize::try_from(self.len_bytes + more_bytes);
        let mut bytes = Vec::new();
        let reserved = room
            .ok()
            .and_then(|room| bytes.try_reserve_exact(room).ok());
        reserved.ok_or(ErrorKind::OutOfMemory)?;
        self.into_reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// For reading it piece by piece, up to the length that it had.
    pub fn into_reader(self) -> io::Take<File> {
        self.file.take(self.len_bytes)
    }
}

/// The most bytes of a file of weights.
pub const MOST_BYTES: u64 = 16 << 30;

/// The bytes of a regular file of at most `most_bytes`.
pub fn read_regular(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    open_regular(path, most_bytes)?.read(0)
}

/// Files by which a folder is known to hold a run, trained or imported.
const OF_A_RUN: [&str; 4] = [
    "metrics.jsonl",
    "checkpoint.safetensors",
    "best.safetensors",
    "generator.safetensors",
];

/// Whether a folder holds a run, finished or not, trained or imported.
pub fn holds_run(folder: &Path) -> bool {
    OF_A_RUN.iter().any(|name| folder.join(name).exists())
}

/// Writes `bytes` to a temporary file beside `path`, flushes it to disk and renames it,
/// so that a crash leaves the old file or the new one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let write = || {
        let mut file = File::create(part)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write()
        .and_then(|()| fs::rename(part, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(part);
        })?;
    sync_folder(path)
}

/// Flushes the folder of `path`: until then a loss of power may undo a rename in it.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened.
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    match File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()) {
        // Some network file systems have nothing to flush.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Removes the temporary files that a killed [`write_atomic`] left in a folder.
pub fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "part") {
            let _ = fs::remove_file(path);
        }
    }
}

/// What helps against an error of the file system, to be put behind its message.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; free some space, or write to another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; make the folder writable, or name another one"
        }
        _ => "",
    }
}
