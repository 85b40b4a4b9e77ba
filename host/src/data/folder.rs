//! A folder of images; its subfolders, if it has any, are the classes, or the parts
//! `train`, `val` and `test` that hold images or class folders.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::archive;
use super::decode::{Decoder, KINDS, fit};
use super::{DataError, DataRequest, FileNote, Images, MAX_CLASSES, keep, list};
use crate::console::shown;
use crate::memory::filled;
use crate::run_folder::RunFolder;

/// Endings of images' names.
const ENDINGS: [&str; 16] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "dib", "tif", "tiff", "ppm", "pgm",
    "pbm", "pnm", "pam",
];
/// Endings of files that describe images: they lie beside them, and are not read.
const COMPANION_ENDINGS: [&str; 12] = [
    "txt", "caption", "captions", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "md", "html",
];
/// Beginnings of the names of files that describe a set.
const COMPANION_STARTS: [&str; 3] = ["readme", "license", "licence"];
/// What systems and storage devices put into folders by themselves, in lower case; hidden
/// files besides.
const SYSTEM_NAMES: [&str; 13] = [
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "picasa.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "@__thumb",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];
/// Files of which one may be left out.
const FILES_PER_LOSS: usize = 100;

/// The contents of a folder.
pub(super) struct Found {
    /// Empty without classes.
    pub class_names: Vec<String>,
    /// Images to train on, in the order of the file names.
    pub images: Images,
    /// Images of `val` and `test`, where there are such folders.
    pub held_out: Option<Images>,
    /// Files that cannot be used, in the order of their names.
    pub left_out: Vec<FileNote>,
    /// Odd files that are used all the same, in the order of their names.
    pub odd: Vec<FileNote>,
    /// Files that describe images.
    pub companions: usize,
}

/// Loads a folder; files that cannot be used are left out if they are few or `request` says
/// so.
pub(super) fn load(
    request: &DataRequest,
    folder: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Found, DataError> {
    let listing = entries(folder)?;
    let Some(parts) = parts(folder, &listing)? else {
        let found = load_part(request, folder, listing, progress)?;
        ensure_every_class(folder, &found)?;
        return Ok(found);
    };
    let mut found = load_part(request, &parts.train, entries(&parts.train)?, progress)?;
    ensure_every_class(&parts.train, &found)?;
    found.companions += listing.companions;
    let mut held_out = found.images.none_alike();
    for folder in &parts.held_out {
        let mut part = load_part(request, folder, entries(folder)?, progress)?;
        take_class_numbers(&mut part, &found.class_names, folder, &parts.train)?;
        held_out.append(&part.images);
        found.left_out.extend(part.left_out);
        found.odd.extend(part.odd);
        found.companions += part.companions;
    }
    found.held_out = (!held_out.is_empty()).then_some(held_out);
    Ok(found)
}

/// Folders that divide a set into what is trained on and what is not.
struct Parts {
    train: PathBuf,
    held_out: Vec<PathBuf>,
}

/// The parts of a folder, if its subfolders are `train` and perhaps `val` and `test`.
fn parts(folder: &Path, listing: &Listing) -> Result<Option<Parts>, DataError> {
    let is_called = |path: &Path, names: &[&str]| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        names.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()))
    };
    let of = |names: &[&str]| -> Vec<PathBuf> {
        let found = listing.subfolders.iter().filter(|f| is_called(f, names));
        found.cloned().collect()
    };
    let train = of(&["train", "training"]);
    let held_out = of(&[
        "val",
        "valid",
        "validation",
        "test",
        "testing",
        "held",
        "held_out",
        "held-out",
        "holdout",
    ]);
    let others = listing.subfolders.len() - train.len() - held_out.len();
    match train.as_slice() {
        [] if !held_out.is_empty() && others == 0 => {
            let shown = shown(&held_out[0]);
            let problem = format!(
                "its folders are parts of a set, and `train` is not among them: to train on one, \
                 name it with --data {shown}"
            );
            Err(DataError::content(folder, problem))
        }
        [train] if others == 0 => {
            let train = train.clone();
            Ok(Some(Parts { train, held_out }))
        }
        // A class may be called so; but a class has no folders in it.
        [train] if !entries(train)?.subfolders.is_empty() => {
            let train = shown(train);
            let problem = format!(
                "holds {train} with class folders, and other folders beside it: name the one with \
                 --data {train}, or move the others away"
            );
            Err(DataError::content(folder, problem))
        }
        _ => Ok(None),
    }
}

/// Numbers the classes of held-out images as those of the training images are.
fn take_class_numbers(
    part: &mut Found,
    class_names: &[String],
    folder: &Path,
    train: &Path,
) -> Result<(), DataError> {
    let train = shown(train);
    if part.class_names.is_empty() != class_names.is_empty() {
        let problem = format!(
            "of it and {train} one has class folders and the other has none: name the one to \
             train on with --data {train}, or move this one away"
        );
        return Err(DataError::content(folder, problem));
    }
    let mut numbers = Vec::new();
    for name in &part.class_names {
        let number = class_names.iter().position(|known| known == name);
        let number = number.ok_or_else(|| {
            let problem = format!("is a class that {train} does not have");
            DataError::content(folder.join(name), problem)
        })?;
        numbers.push(number as u8);
    }
    for label in &mut part.images.labels {
        *label = numbers[usize::from(*label)];
    }
    Ok(())
}

/// Loads a folder of images or of class folders.
fn load_part(
    request: &DataRequest,
    folder: &Path,
    listing: Listing,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Found, DataError> {
    let class_names = class_names(folder, &listing.subfolders)?;
    let (listing, mut labels) = with_classes(listing)?;
    let (files, mut unusable) = (listing.files, listing.unusable);
    let total = files.len() + unusable.len();
    if total == 0 && class_names.is_empty() {
        let problem = format!("holds no images ({KINDS}) and no IDX files");
        return Err(DataError::content(folder, problem));
    }
    let (mut pixels, notes) = decode_all(request, folder, &files, progress)?;
    let kept: Vec<bool> = notes.iter().map(|note| note.is_usable()).collect();
    let mut odd = Vec::new();
    for (note, path) in notes.into_iter().zip(files) {
        match note {
            Outcome::Fine => {}
            Outcome::Odd(note) => odd.push(FileNote { path, note }),
            Outcome::Unusable(note) => unusable.push(FileNote { path, note }),
        }
    }
    unusable.sort_by(|a, b| a.path.cmp(&b.path));
    if unusable.len() * FILES_PER_LOSS > total && !request.skip_invalid {
        return Err(DataError::Losses {
            path: folder.to_owned(),
            files: total,
            left_out: unusable,
        });
    }
    let image_len = request.height * request.width * request.channels;
    keep(&mut pixels, image_len, &kept);
    let mut kept = kept.into_iter();
    labels.retain(|_| kept.next().unwrap_or_default());
    Ok(Found {
        class_names,
        images: Images {
            height: request.height,
            width: request.width,
            channels: request.channels,
            pixels,
            labels,
        },
        held_out: None,
        left_out: unusable,
        odd,
        companions: listing.companions,
    })
}

/// A listing with what lies in its class folders, and the class of each file.
fn with_classes(mut listing: Listing) -> Result<(Listing, Vec<u8>), DataError> {
    if let (Some(file), false) = (listing.files.first(), listing.subfolders.is_empty()) {
        let problem = "lies beside class folders: move it into one, or away";
        return Err(DataError::content(file, problem));
    }
    let mut labels = Vec::new();
    for (class, subfolder) in listing.subfolders.iter().enumerate() {
        let inside = entries(subfolder)?;
        if let Some(deeper) = inside.subfolders.first() {
            let shown = shown(subfolder);
            let problem = format!(
                "is a folder inside a class folder: name the folder whose subfolders are the \
                 classes, perhaps --data {shown}"
            );
            return Err(DataError::content(deeper, problem));
        }
        labels.extend(inside.files.iter().map(|_| class as u8));
        listing.files.extend(inside.files);
        listing.unusable.extend(inside.unusable);
        listing.companions += inside.companions;
    }
    Ok((listing, labels))
}

/// The classes are called as their folders.
fn class_names(folder: &Path, subfolders: &[PathBuf]) -> Result<Vec<String>, DataError> {
    if subfolders.len() > MAX_CLASSES {
        let problem = format!(
            "holds {} classes, at most {MAX_CLASSES} are possible",
            subfolders.len()
        );
        return Err(DataError::content(folder, problem));
    }
    let names = subfolders
        .iter()
        .map(|path| path.file_name().unwrap_or_default());
    let (names, unreadable): (Vec<_>, Vec<_>) = names.partition(|name| name.to_str().is_some());
    if !unreadable.is_empty() {
        // Escaped, for two of them may look the same otherwise.
        let unreadable: Vec<_> = unreadable.iter().map(|name| format!("{name:?}")).collect();
        let problem = format!(
            "the names of its class folders {} are not UTF-8: rename them",
            unreadable.join(", ")
        );
        return Err(DataError::content(folder, problem));
    }
    Ok(names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

/// Checks that each class has an image to train on.
fn ensure_every_class(folder: &Path, found: &Found) -> Result<(), DataError> {
    for (class, name) in found.class_names.iter().enumerate() {
        if !found.images.labels.contains(&(class as u8)) {
            let class = folder.join(name);
            let mut problem = "is a class without images".to_owned();
            let lost = found
                .left_out
                .iter()
                .filter(|note| note.path.starts_with(&class));
            let lost: Vec<FileNote> = lost.cloned().collect();
            if !lost.is_empty() {
                problem = format!("{problem} that can be used:\n{}", list(&lost));
            }
            return Err(DataError::content(class, problem.trim_end()));
        }
    }
    Ok(())
}

/// The result of reading a file.
enum Outcome {
    Fine,
    /// It is used, and something about it is odd.
    Odd(String),
    /// Why it cannot be used.
    Unusable(String),
}

impl Outcome {
    fn is_usable(&self) -> bool {
        !matches!(self, Self::Unusable(_))
    }
}

/// Pixels of all files, zeros for those that cannot be used, and what came of each.
fn decode_all(
    request: &DataRequest,
    folder: &Path,
    files: &[PathBuf],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<u8>, Vec<Outcome>), DataError> {
    let (height, width, channels) = (request.height, request.width, request.channels);
    let what = format!("the number of images in {}", shown(folder));
    let mut pixels = filled(what, &[files.len(), height, width, channels])?;
    let done = AtomicUsize::new(0);
    let decoder = Decoder::new();
    let places = pixels.par_chunks_exact_mut(height * width * channels);
    let outcomes = places.zip(files).map(|(place, file)| {
        let fitted = decoder.picture(file, |picture| fit(picture, request));
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        match fitted {
            Ok((fitted, oddity)) => {
                place.copy_from_slice(&fitted);
                oddity.map_or(Outcome::Fine, Outcome::Odd)
            }
            Err(DataError::Io { error, .. }) => {
                Outcome::Unusable(format!("cannot be read: {error}"))
            }
            Err(DataError::Content { problem, .. }) => Outcome::Unusable(problem),
            Err(other) => Outcome::Unusable(other.to_string()),
        }
    });
    let outcomes = outcomes.collect();
    Ok((pixels, outcomes))
}

/// The entries of a folder, sorted.
#[derive(Default)]
struct Listing {
    subfolders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    unusable: Vec<FileNote>,
    /// Files that describe images.
    companions: usize,
}

/// Lists a folder without what systems put there by themselves, and without runs.
fn entries(folder: &Path) -> Result<Listing, DataError> {
    let mut found = Listing::default();
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        if is_system(&path) {
            continue;
        }
        let note = match std::fs::metadata(&path) {
            Err(error) => format!("cannot be read: {error}"),
            Ok(about) if about.is_dir() && is_picture(&path) => "is a folder".into(),
            Ok(about) if about.is_dir() && leads_back(&path, folder) => {
                "is a link to a folder that it lies in".into()
            }
            Ok(about) if about.is_dir() => {
                if !is_of_runs(&path) {
                    found.subfolders.push(path);
                }
                continue;
            }
            Ok(_) if is_picture(&path) => {
                found.files.push(path);
                continue;
            }
            Ok(_) if is_companion(&path) => {
                found.companions += 1;
                continue;
            }
            Ok(_) => match archive::by_name(&path) {
                Some(kind) => archive::problem(kind, &path),
                None => format!("is not an image ({KINDS})"),
            },
        };
        found.unusable.push(FileNote { path, note });
    }
    found.subfolders.sort();
    found.files.sort();
    Ok(found)
}

fn is_system(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    name.starts_with('.') || SYSTEM_NAMES.contains(&name.as_str())
}

fn is_companion(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    COMPANION_ENDINGS.contains(&ending(path).as_str())
        || COMPANION_STARTS.iter().any(|start| name.starts_with(start))
}

/// Whether a folder is a run, or holds nothing but runs and features.
fn is_of_runs(folder: &Path) -> bool {
    let paths = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let holds_run = |path: &Path| RunFolder::new(path).holds_run();
    let is_features = |path: &PathBuf| {
        let inside = paths(path);
        !inside.is_empty() && inside.iter().all(|file| ending(file) == "safetensors")
    };
    let mut inside = paths(folder);
    inside.retain(|path| !is_system(path));
    let are_ours = inside
        .iter()
        .all(|path| holds_run(path) || is_features(path));
    holds_run(folder) || (!inside.is_empty() && are_ours)
}

/// Whether the folder `path` is `folder` or one above it, by a link.
fn leads_back(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (path.canonicalize(), folder.canonicalize());
    matches!((path, folder), (Ok(path), Ok(folder)) if folder.starts_with(&path))
}

/// Folders below the one that was named in which images may lie: parts, and classes in them.
const DEPTH: usize = 2;

/// The first image of a folder, or of the first folder below it that has one.
pub(super) fn first(folder: &Path) -> Result<PathBuf, DataError> {
    let none = || DataError::content(folder, format!("no image in it ({KINDS})"));
    first_below(folder, DEPTH)?.ok_or_else(none)
}

fn first_below(folder: &Path, depth: usize) -> Result<Option<PathBuf>, DataError> {
    let found = entries(folder)?;
    if let Some(file) = found.files.into_iter().next() {
        return Ok(Some(file));
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(None);
    };
    for subfolder in found.subfolders {
        if let Some(file) = first_below(&subfolder, depth)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Every image of a folder that may be trained on: its own, and those of the folders below it.
pub(super) fn images_below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let listing = entries(folder)?;
    if let Some(Parts { train, .. }) = parts(folder, &listing)? {
        return images_below(&train);
    }
    let mut files = listing.files;
    for subfolder in &listing.subfolders {
        files.extend(entries(subfolder)?.files);
    }
    Ok(files)
}

/// Whether a file is an image by its name.
pub(super) fn is_picture(path: &Path) -> bool {
    ENDINGS.contains(&ending(path).as_str())
}

fn ending(path: &Path) -> String {
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
}
