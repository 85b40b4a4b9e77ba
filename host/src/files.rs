//! Files that are either whole or not there, and never those that a link leads to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}: {source}{}", remedy(.source))]
pub struct FileError {
    /// "read" or "write".
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Adds to an error that `path` was being written.
    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::of("write", path)
    }

    /// Adds to an error that `path` was being read.
    pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::of("read", path)
    }

    fn of(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { verb, path, source }
    }
}

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

    /// A reader of the file, up to the length that it had.
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

/// Ending of the names of temporary files.
const PART: &str = ".part";

/// Writes `bytes` to a new temporary file beside `path`, flushes it to disk and renames it,
/// so that a crash leaves the old file or the new one. A link at `path` is replaced.
/// *Errors*: the folder of `path` is missing, or the system's.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let folder = folder_of(path);
    if !folder.exists() {
        let missing = format!("there is no folder {}: make it first", folder.display());
        return Err(io::Error::new(ErrorKind::NotFound, missing));
    }
    let mut prefix = name.to_owned();
    prefix.push(".");
    let mut part = tempfile::Builder::new();
    part.prefix(&prefix).suffix(PART);
    // As any other file's, less what the user's mask takes away.
    #[cfg(unix)]
    part.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let part = part.tempfile_in(folder);
    // Without the temporary file's name: nobody knows it.
    let mut part = part.map_err(|error| io::Error::from(error.kind()))?;
    part.as_file_mut().write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    sync_folder(path)
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Flushes the folder of `path`: until then a loss of power may undo a rename in it.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // Some network file systems have nothing to flush.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Opens a regular file for reading and writing, or makes an empty one; refuses a link and
/// anything else that is no file of the folder's own.
pub fn open_own(path: &Path) -> io::Result<File> {
    let refused = || {
        let what = "is a link or no regular file: remove it";
        io::Error::new(ErrorKind::InvalidInput, what)
    };
    if fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(refused());
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // A link may have come since.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NOFOLLOW | libc::O_NONBLOCK,
    );
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(refused()),
    }
}

/// Removes the temporary files that a killed [`write_atomic`] left of the files in a folder
/// whose names begin with one of `names`.
pub fn remove_parts(folder: &Path, names: &[&str]) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(PART) && names.iter().any(|own| name.starts_with(own)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A remedy for an error of the file system, to be put behind its message.
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
