//! Images in: the embedded set, IDX files, folders of images, tile sheets.

mod archive;
mod decode;
mod embedded;
mod fingerprint;
mod folder;
mod framing;
mod groups;
pub mod idx;
mod likeness;
mod sheet;
mod survey;

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use decode::Decoder;
pub use fingerprint::DatasetFingerprint;
pub use framing::{Colour, Fit, Framing};
use gan_core::Shape;
pub use groups::suitable_groups;
pub use likeness::Likeness;
pub use survey::Survey;

use crate::console::shown;
use crate::files::open_regular;
use crate::memory::{TooMuch, reserved};

/// Classes that a set may have: a label is a byte.
pub const MAX_CLASSES: usize = 255;

/// Images of one size, with classes or without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `[n, h, w, c]`
    pub pixels: Vec<u8>,
    /// `[n]`, empty without classes.
    pub labels: Vec<u8>,
}

impl Images {
    /// Values of one image.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Shape of one image.
    pub fn shape(&self) -> Shape {
        Shape {
            h: self.height,
            w: self.width,
            c: self.channels,
        }
    }

    /// Images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Image `i`, `[h, w, c]`.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.image_len()..(i + 1) * self.image_len()]
    }

    /// The first `count` of them, or all.
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        Self {
            pixels: self.pixels[..count * self.image_len()].to_vec(),
            labels: self.labels.iter().copied().take(count).collect(),
            ..*self
        }
    }

    /// The images that `which` names, in its order.
    pub fn pick(&self, which: impl IntoIterator<Item = usize>) -> Self {
        let mut picked = self.none_alike();
        which.into_iter().for_each(|i| picked.push_from(self, i));
        picked
    }

    /// Puts `other`'s behind these; of the same format.
    pub fn append(&mut self, other: &Self) {
        self.pixels.extend_from_slice(&other.pixels);
        self.labels.extend_from_slice(&other.labels);
    }

    fn push_from(&mut self, other: &Self, i: usize) {
        self.pixels.extend_from_slice(other.image(i));
        self.labels.extend(other.labels.get(i));
    }

    /// A set without images, of the same format.
    pub(crate) fn none_alike(&self) -> Self {
        Self {
            pixels: Vec::new(),
            labels: Vec::new(),
            ..*self
        }
    }
}

/// Training and held-out images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// The set's name, which a model keeps as its provenance.
    pub name: String,
    /// Empty without classes.
    pub class_names: Vec<String>,
    /// The number of each class in the labels file, where there is one.
    pub label_values: Vec<u8>,
    /// To train on.
    pub train: Images,
    /// Never trained on.
    pub held_out: Images,
    /// Files of a folder that could not be used.
    pub left_out: Vec<FileNote>,
    /// Files of a folder that are used, and of which something is odd.
    pub odd: Vec<FileNote>,
    /// Further notes for the user.
    pub notes: Vec<String>,
}

/// A file, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNote {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub note: String,
}

/// The source of the images, and the format that they are brought to.
#[derive(Clone, Debug, Default)]
pub struct DataRequest {
    /// The folder or file; none for the embedded set.
    pub path: Option<PathBuf>,
    /// Width and height of a sheet's tiles, in pixels.
    pub tile: Option<(usize, usize)>,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Whether any number of files may be left out.
    pub skip_invalid: bool,
    /// How images come to that format.
    pub framing: Framing,
    /// Whether IDX files have rows for columns.
    pub transpose: bool,
}

/// Why images could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read {}: {error}", shown(.path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// A file's content is not what it has to be.
    #[error("{}: {problem}", shown(.path))]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },
    /// More of a folder's files than one in a hundred cannot be used.
    #[error(
        "{}: {} of {files} files cannot be used:\n{}mend them or move them away; \
         --skip-invalid goes on without them", shown(.path), .left_out.len(), list(.left_out)
    )]
    Losses {
        /// The folder.
        path: PathBuf,
        /// Files of all kinds.
        files: usize,
        /// Files that cannot be used.
        left_out: Vec<FileNote>,
    },
    /// A number asks for more memory than there is.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The embedded set does not have the format asked for.
    #[error("{0}")]
    Request(String),
}

impl DataError {
    fn content(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Content {
            path: path.into(),
            problem: problem.into(),
        }
    }

    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |error| Self::Io { path, error }
    }
}

/// Files that are listed by name.
const LISTED: usize = 10;

/// A line for each of the first ten files, and one for the others.
pub fn list(files: &[FileNote]) -> String {
    let mut text = String::new();
    for FileNote { path, note } in files.iter().take(LISTED) {
        let _ = writeln!(text, "  {}: {note}", shown(path));
    }
    if files.len() > LISTED {
        let _ = writeln!(text, "  and {} more", files.len() - LISTED);
    }
    text
}

/// Every image that is put aside where the source has no held-out set of its own.
pub(crate) const HELD_OUT_EVERY: usize = 6;

/// Loads what `request` asks for; `progress` gets `(pictures done, pictures in all)`.
pub fn load(
    request: &DataRequest,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, DataError> {
    if request.height == 0 || request.width == 0 || !matches!(request.channels, 1 | 3) {
        return Err(DataError::Request(format!(
            "images of {}x{} with {} channels cannot be made: at least 1x1, with 1 or 3",
            request.height, request.width, request.channels
        )));
    }
    let Some(path) = &request.path else {
        return embedded::load(request, progress);
    };
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().replace('\n', " ");
    let dataset = if let Some(tile) = request.tile {
        let cut = |sheet| sheet::cut(request, tile, (path, &sheet), progress);
        split(name, Vec::new(), sheet::open(path, cut)??)?
    } else {
        load_path(request, path, name, progress)?
    };
    if dataset.train.len() < 2 {
        let mut problem = format!(
            "too few images to train on: {}, at least 2 are needed",
            dataset.train.len()
        );
        if !dataset.left_out.is_empty() {
            let list = list(&dataset.left_out);
            problem = format!(
                "{problem}; these files cannot be used:\n{}",
                list.trim_end()
            );
        }
        return Err(DataError::content(path, problem));
    }
    Ok(dataset)
}

/// Loads a folder of images or IDX files.
fn load_path(
    request: &DataRequest,
    path: &Path,
    name: String,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, DataError> {
    let idx = match source(path)? {
        Source::Pictures => {
            if request.transpose {
                let problem = "is no IDX file: leave --transpose out";
                return Err(DataError::content(path, problem));
            }
            let found = folder::load(request, path, progress)?;
            let mut dataset = dataset(name, found.class_names, (found.images, found.held_out))?;
            (dataset.left_out, dataset.odd) = (found.left_out, found.odd);
            if found.companions > 0 {
                dataset.notes.push(format!(
                    "{} files beside the images are not read (captions, tables and the like)",
                    found.companions
                ));
            }
            return Ok(dataset);
        }
        Source::Idx(idx) => idx,
    };
    let loaded = idx::load(request, &idx)?;
    progress(loaded.train.len(), loaded.train.len());
    let mut dataset = dataset(name, loaded.class_names, (loaded.train, loaded.held_out))?;
    (dataset.label_values, dataset.notes) = (loaded.label_values, loaded.notes);
    Ok(dataset)
}

/// The kind of data at a path.
enum Source {
    /// It is a folder of images.
    Pictures,
    /// A folder of IDX files, or one file of images.
    Idx(PathBuf),
}

fn source(path: &Path) -> Result<Source, DataError> {
    if path.is_dir() {
        let idx = idx::find(path)?;
        return Ok(idx.map_or(Source::Pictures, Source::Idx));
    }
    if path.is_file() && folder::is_picture(path) {
        let problem = "is one image: cut it with --tile 16x16, or name its folder";
        return Err(DataError::content(path, problem));
    }
    let mut start = Vec::new();
    let file = open_regular(path, u64::MAX).map_err(DataError::io(path))?;
    let mut file = file.into_reader().take(archive::START_BYTES as u64);
    file.read_to_end(&mut start).map_err(DataError::io(path))?;
    match archive::by_start(&start) {
        Some(kind) => Err(DataError::content(path, archive::problem(kind, path))),
        None => Ok(Source::Idx(path.to_owned())),
    }
}

/// The format of what lies at a path: that of an IDX file's images, or that of the first
/// image of a folder.
pub fn format(path: &Path) -> Result<Shape, DataError> {
    match source(path)? {
        Source::Idx(path) => idx::format(&path),
        Source::Pictures => {
            let first = folder::first(path)?;
            let shape = |picture: image::DynamicImage| Shape {
                h: picture.height() as usize,
                w: picture.width() as usize,
                c: if picture.color().has_color() { 3 } else { 1 },
            };
            Ok(Decoder::new().picture(&first, shape)?.0)
        }
    }
}

/// All images of a folder, or of an IDX file and its labels file, in the format of
/// `request`. Labels are those of the file.
pub fn load_all(request: &DataRequest, path: &Path) -> Result<Images, DataError> {
    match source(path)? {
        Source::Idx(path) => idx::load_all(request, &path),
        Source::Pictures => {
            let mut found = folder::load(request, path, &|_, _| ())?;
            found.images.append(&found.held_out.unwrap_or_default());
            Ok(found.images)
        }
    }
}

/// A set with held-out images of its own, or with every sixth of its class.
fn dataset(
    name: String,
    class_names: Vec<String>,
    (train, held_out): (Images, Option<Images>),
) -> Result<Dataset, TooMuch> {
    match held_out {
        Some(held_out) => Ok(Dataset {
            name,
            class_names,
            train,
            held_out,
            ..Dataset::default()
        }),
        None => split(name, class_names, train),
    }
}

/// Puts every sixth image of each class aside, or where no class has so many every sixth of
/// all.
fn split(name: String, class_names: Vec<String>, mut images: Images) -> Result<Dataset, TooMuch> {
    let mut seen = [0usize; 256];
    let mut kept: Vec<bool> = (0..images.len())
        .map(|i| {
            let class = images.labels.get(i).map_or(0, |&label| usize::from(label));
            seen[class] += 1;
            !seen[class].is_multiple_of(HELD_OUT_EVERY)
        })
        .collect();
    if kept.iter().all(|&kept| kept) {
        let last = kept.iter_mut().skip(HELD_OUT_EVERY - 1);
        last.step_by(HELD_OUT_EVERY).for_each(|kept| *kept = false);
    }
    let aside = kept.iter().filter(|kept| !**kept).count();
    let mut held_out = images.none_alike();
    held_out.pixels = reserved("the number of images", &[aside, images.image_len()])?;
    for (i, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
        held_out.push_from(&images, i);
    }
    let image_len = images.image_len();
    keep(&mut images.pixels, image_len, &kept);
    let mut kept = kept.into_iter();
    images.labels.retain(|_| kept.next().unwrap_or_default());
    Ok(Dataset {
        name,
        class_names,
        train: images,
        held_out,
        ..Dataset::default()
    })
}

/// Closes the gaps of images that are not `kept`.
fn keep(pixels: &mut Vec<u8>, image_len: usize, kept: &[bool]) {
    let mut end = 0;
    for (i, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
        pixels.copy_within(i * image_len..(i + 1) * image_len, end);
        end += image_len;
    }
    pixels.truncate(end);
}
