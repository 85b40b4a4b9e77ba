//! Archives, which are named as such: images are read from folders.

use std::io::Read;
use std::path::Path;

use flate2::bufread::GzDecoder;

/// Kinds of archives by the ends of their names, the longer ends first.
const BY_NAME: [(&[&str], &str); 6] = [
    (&[".zip"], "zip"),
    (&[".tar.gz", ".tgz", ".tar.bz2", ".tbz2"], "tar"),
    (&[".tar.xz", ".txz", ".tar.zst", ".tar"], "tar"),
    (&[".7z"], "7z"),
    (&[".rar"], "rar"),
    (&[".bz2", ".xz", ".zst"], "compressed"),
];

/// Kinds of archives by their first bytes.
const BY_START: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"BZh", "compressed"),
    (b"\xfd7zXZ\0", "compressed"),
    (b"\x28\xb5\x2f\xfd", "compressed"),
];

/// Bytes of a file that decide what it is.
pub(super) const START_BYTES: usize = 1024;

/// The kind of archive that a file's name tells, if it is one.
pub(super) fn by_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let has_end = |ends: &&[&str]| ends.iter().any(|end| name.ends_with(end));
    let (_, kind) = BY_NAME.iter().find(|(ends, _)| has_end(ends))?;
    Some(kind)
}

/// The kind of archive that a file's first [`START_BYTES`] tell, if it is one.
pub(super) fn by_start(start: &[u8]) -> Option<&'static str> {
    let is_tar = |start: &[u8]| start.get(257..262) == Some(b"ustar");
    if let Some((_, kind)) = BY_START.iter().find(|(first, _)| start.starts_with(first)) {
        return Some(kind);
    }
    let mut inside = Vec::new();
    if start.starts_with(&[0x1f, 0x8b]) {
        // The rest of the name is not needed.
        let unpacked = GzDecoder::new(start).take(START_BYTES as u64);
        let _ = { unpacked }.read_to_end(&mut inside);
    }
    (is_tar(start) || is_tar(&inside)).then_some("tar")
}

/// The error for an archive, with its remedy.
pub(super) fn problem(kind: &str, path: &Path) -> String {
    let name = super::shown(Path::new(path.file_name().unwrap_or_default()));
    let stem = name.split('.').next().unwrap_or_default();
    let stem = if stem.is_empty() { "pictures" } else { stem };
    let command = match kind {
        "zip" => format!("unzip {name} -d {stem}"),
        "tar" => format!("mkdir {stem} && tar -xf {name} -C {stem}"),
        "7z" => format!("7z x {name} -o{stem}"),
        "rar" => format!("unrar x {name} {stem}/"),
        _ => "for instance with 7z x".into(),
    };
    format!("is a {kind} archive: unpack it ({command}) and name the folder, --data {stem}")
}
