//! A folder of pictures; its subfolders, if it has any, are the classes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::decode::{Decoder, fit};
use super::{DataError, DataRequest, Images, LeftOut};

const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Of so many files one may be left out.
const FILES_PER_LOSS: usize = 100;

/// What a folder holds.
pub(super) struct Found {
    /// Empty without classes.
    pub class_names: Vec<String>,
    /// In the order of the file names.
    pub images: Images,
    /// In the order of the file names.
    pub left_out: Vec<LeftOut>,
}

/// Loads a folder; files that cannot be used are left out if they are few or `request` says
/// so.
pub(super) fn load(
    request: &DataRequest,
    folder: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Found, DataError> {
    let Listing {
        subfolders,
        mut files,
        mut unusable,
    } = entries(folder)?;
    let mut labels = Vec::new();
    if !subfolders.is_empty() {
        if let Some(file) = files.first() {
            let problem = "lies beside class folders: move it into one, or away";
            return Err(DataError::content(file, problem));
        }
        for (class, subfolder) in subfolders.iter().enumerate() {
            let class = u8::try_from(class).ok().filter(|&class| class < u8::MAX);
            let class = class.ok_or_else(|| DataError::content(folder, "more than 255 classes"))?;
            let inside = entries(subfolder)?;
            if let Some(deeper) = inside.subfolders.first() {
                let problem = "is a folder inside a class folder";
                return Err(DataError::content(deeper, problem));
            }
            labels.extend(inside.files.iter().map(|_| class));
            files.extend(inside.files);
            unusable.extend(inside.unusable);
        }
    }
    let total = files.len() + unusable.len();
    if total == 0 && subfolders.is_empty() {
        let problem = "holds no pictures (png, jpg, webp) and no IDX files";
        return Err(DataError::content(folder, problem));
    }
    let (mut pixels, damaged) = decode_all(request, folder, &files, progress)?;
    let kept: Vec<bool> = damaged.iter().map(Option::is_none).collect();
    unusable.extend(damaged.into_iter().flatten());
    unusable.sort_by(|a, b| a.path.cmp(&b.path));
    if unusable.len() * FILES_PER_LOSS > total && !request.accept_losses {
        return Err(DataError::Losses {
            path: folder.to_owned(),
            files: total,
            left_out: unusable,
        });
    }
    keep(
        &mut pixels,
        request.height * request.width * request.channels,
        &kept,
    );
    let mut kept = kept.into_iter();
    labels.retain(|_| kept.next().unwrap_or_default());
    for (class, subfolder) in subfolders.iter().enumerate() {
        if !labels.contains(&(class as u8)) {
            return Err(DataError::content(subfolder, "is a class without pictures"));
        }
    }
    let name = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    Ok(Found {
        class_names: subfolders.iter().map(name).collect(),
        images: Images {
            height: request.height,
            width: request.width,
            channels: request.channels,
            pixels,
            labels,
        },
        left_out: unusable,
    })
}

/// Pixels of all files, zeros for those that cannot be used, and why they cannot.
fn decode_all(
    request: &DataRequest,
    folder: &Path,
    files: &[PathBuf],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<u8>, Vec<Option<LeftOut>>), DataError> {
    let image_len = request.height * request.width * request.channels;
    let len = files.len() * image_len;
    let mut pixels = Vec::new();
    if pixels.try_reserve_exact(len).is_err() {
        let problem = format!("its pictures take {len} bytes of memory, more than there are");
        return Err(DataError::content(folder, problem));
    }
    pixels.resize(len, 0);
    let done = AtomicUsize::new(0);
    let decoder = Decoder::new();
    let places = pixels.par_chunks_exact_mut(image_len).zip(files);
    let damaged = places.map(|(place, file)| {
        let fitted = decoder.picture(file, |picture| fit(picture, request));
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        match fitted {
            Ok(fitted) => place.copy_from_slice(&fitted),
            Err(error) => return Some(left_out(file, error)),
        }
        None
    });
    let damaged = damaged.collect();
    Ok((pixels, damaged))
}

fn left_out(path: &Path, error: DataError) -> LeftOut {
    let reason = match error {
        DataError::Io { error, .. } => format!("cannot be read: {error}"),
        DataError::Content { problem, .. } => problem,
        other => other.to_string(),
    };
    LeftOut {
        path: path.to_owned(),
        reason,
    }
}

/// Closes the gaps of pictures that are not `kept`.
fn keep(pixels: &mut Vec<u8>, image_len: usize, kept: &[bool]) {
    let mut end = 0;
    for (i, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
        pixels.copy_within(i * image_len..(i + 1) * image_len, end);
        end += image_len;
    }
    pixels.truncate(end);
}

/// What lies in a folder, sorted.
struct Listing {
    subfolders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    unusable: Vec<LeftOut>,
}

/// Lists a folder without what systems put there by themselves.
fn entries(folder: &Path) -> Result<Listing, DataError> {
    let mut found = Listing {
        subfolders: Vec::new(),
        files: Vec::new(),
        unusable: Vec::new(),
    };
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "Thumbs.db" || name == "desktop.ini" {
            continue;
        }
        let problem = match std::fs::metadata(&path) {
            Err(error) => format!("cannot be read: {error}"),
            Ok(about) if about.is_dir() && is_picture(&path) => "is a folder".into(),
            Ok(about) if about.is_dir() && leads_back(&path, folder) => {
                "is a link to a folder that it lies in".into()
            }
            Ok(about) if about.is_dir() => {
                found.subfolders.push(path);
                continue;
            }
            Ok(_) if !is_picture(&path) => "is not a picture (png, jpg, webp)".into(),
            Ok(_) => {
                found.files.push(path);
                continue;
            }
        };
        found.unusable.push(LeftOut {
            path,
            reason: problem,
        });
    }
    found.subfolders.sort();
    found.files.sort();
    Ok(found)
}

/// Whether the folder `path` is `folder` or one above it, by a link.
fn leads_back(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (path.canonicalize(), folder.canonicalize());
    matches!((path, folder), (Ok(path), Ok(folder)) if folder.starts_with(&path))
}

/// The first picture of a folder, or of its first subfolder that has one.
pub(super) fn first(folder: &Path) -> Result<PathBuf, DataError> {
    let found = entries(folder)?;
    let inside = found
        .subfolders
        .iter()
        .filter_map(|folder| entries(folder).ok());
    let mut files = found
        .files
        .into_iter()
        .chain(inside.flat_map(|inside| inside.files));
    let none = || DataError::content(folder, "no picture in it (png, jpg, webp)");
    files.next().ok_or_else(none)
}

/// Whether a file is a picture by its name.
pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    ENDINGS.contains(&ending.to_lowercase().as_str())
}
