//! A folder of pictures; its subfolders, if it has any, are the classes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{DataError, DataRequest, Images, decode, fit};

const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// Class names and pictures, in the order of the file names.
pub(super) fn load(
    request: &DataRequest,
    folder: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<String>, Images), DataError> {
    let (subfolders, mut files) = entries(folder)?;
    let mut class_names = Vec::new();
    let mut labels = Vec::new();
    if !subfolders.is_empty() {
        if let Some(file) = files.first() {
            let problem = "lies beside class folders: move it into one, or away";
            return Err(DataError::content(file, problem));
        }
        for (class, subfolder) in subfolders.iter().enumerate() {
            let class = u8::try_from(class).ok().filter(|&class| class < u8::MAX);
            let class = class.ok_or_else(|| DataError::content(folder, "more than 255 classes"))?;
            let (deeper, pictures) = entries(subfolder)?;
            if let Some(deeper) = deeper.first() {
                return Err(DataError::content(
                    deeper,
                    "is a folder inside a class folder",
                ));
            }
            if pictures.is_empty() {
                return Err(DataError::content(subfolder, "is a class without pictures"));
            }
            class_names.push(
                subfolder
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into(),
            );
            labels.extend(pictures.iter().map(|_| class));
            files.extend(pictures);
        }
    }
    if files.is_empty() {
        let problem = "holds no pictures (png, jpg, webp) and no IDX files";
        return Err(DataError::content(folder, problem));
    }
    let done = AtomicUsize::new(0);
    let pictures: Vec<Vec<u8>> = files
        .par_iter()
        .map(|file| {
            let bytes = std::fs::read(file).map_err(DataError::io(file))?;
            let picture = fit(decode(file, &bytes)?, request);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
            Ok(picture)
        })
        .collect::<Result<_, DataError>>()?;
    let images = Images {
        height: request.height,
        width: request.width,
        channels: request.channels,
        pixels: pictures.concat(),
        labels,
    };
    Ok((class_names, images))
}

/// Subfolders and pictures of a folder, sorted; anything else is an error, so that
/// nothing is left out unseen.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut subfolders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "Thumbs.db" || name == "desktop.ini" {
            continue;
        }
        if path.is_dir() {
            subfolders.push(path);
        } else if is_picture(&path) {
            files.push(path);
        } else {
            let problem = "is not a picture (png, jpg, webp): move it away or convert it";
            return Err(DataError::content(path, problem));
        }
    }
    subfolders.sort();
    files.sort();
    Ok((subfolders, files))
}

/// The first picture of a folder, or of its first subfolder that has one.
pub(super) fn first(folder: &Path) -> Result<PathBuf, DataError> {
    let (subfolders, files) = entries(folder)?;
    if let Some(file) = files.into_iter().next() {
        return Ok(file);
    }
    let mut found = subfolders.iter().filter_map(|folder| first(folder).ok());
    let none = || DataError::content(folder, "no picture in it (png, jpg, webp)");
    found.next().ok_or_else(none)
}

/// Whether a file is a picture by its name.
pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    ENDINGS.contains(&ending.to_lowercase().as_str())
}
