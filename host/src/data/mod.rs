//! Pictures in: the embedded set, IDX files, folders of pictures, tile sheets.

mod decode;
mod embedded;
mod folder;
pub mod idx;
mod record;
mod sheet;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use decode::Decoder;
pub use record::Record;

/// Pictures of one size, with classes or without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `[n, h, w, c]`
    pub pixels: Vec<u8>,
    /// `[n]`, empty without classes.
    pub labels: Vec<u8>,
}

impl Images {
    /// Values of one picture.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Pictures.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Picture `i`, `[h, w, c]`.
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

    /// Those that `which` names, in its order.
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

    /// Without pictures, of the same format.
    pub(crate) fn none_alike(&self) -> Self {
        Self {
            pixels: Vec::new(),
            labels: Vec::new(),
            ..*self
        }
    }
}

/// Training and held-out pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// For provenance.
    pub name: String,
    /// Empty without classes.
    pub class_names: Vec<String>,
    /// To train on.
    pub train: Images,
    /// Never trained on.
    pub held_out: Images,
    /// Files of a folder that could not be used.
    pub left_out: Vec<LeftOut>,
}

/// A file that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What to load, and the format it has to have.
#[derive(Clone, Debug, Default)]
pub struct DataRequest {
    /// None for the embedded set.
    pub path: Option<PathBuf>,
    /// Width and height of a sheet's tiles, in pixels.
    pub tile: Option<(usize, usize)>,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Whether any number of files may be left out.
    pub accept_losses: bool,
}

/// Why pictures could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read {}: {error}", shown(.path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file's content is not what it has to be.
    #[error("{}: {problem}", shown(.path))]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// More of a folder's files than one in a hundred cannot be used.
    #[error(
        "{}: {} of {files} files cannot be used:\n{}mend them or move them away; \
         `train --accept-losses` goes on without them", shown(.path), .left_out.len(), list(.left_out)
    )]
    Losses {
        /// The folder.
        path: PathBuf,
        /// Of all kinds.
        files: usize,
        /// Those that cannot be used.
        left_out: Vec<LeftOut>,
    },
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
pub fn list(left_out: &[LeftOut]) -> String {
    let mut text = String::new();
    for LeftOut { path, reason } in left_out.iter().take(LISTED) {
        let _ = writeln!(text, "  {}: {reason}", shown(path));
    }
    if left_out.len() > LISTED {
        let _ = writeln!(text, "  and {} more", left_out.len() - LISTED);
    }
    text
}

/// A path for a terminal, which a file's name must not steer.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

/// Every picture that is put aside where the source has no held-out set of its own.
const HELD_OUT_EVERY: usize = 6;

/// Loads what `request` asks for; `progress` gets `(pictures done, pictures in all)`.
pub fn load(
    request: &DataRequest,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, DataError> {
    if request.height == 0 || request.width == 0 || !matches!(request.channels, 1 | 3) {
        return Err(DataError::Request(format!(
            "pictures of {}x{} with {} channels cannot be made: at least 1x1, with 1 or 3",
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
        let tiles = Decoder::new().picture(path, cut)??;
        split(name, Vec::new(), tiles)
    } else if path.is_file() && folder::is_picture(path) {
        let problem = "is one picture: cut it with --tile 16x16, or name its folder";
        return Err(DataError::content(path, problem));
    } else if path.is_dir() && !idx::folder_has_idx(path)? {
        let found = folder::load(request, path, progress)?;
        let mut dataset = split(name, found.class_names, found.images);
        dataset.left_out = found.left_out;
        dataset
    } else {
        let (class_names, train, held_out) = idx::load(request, path)?;
        progress(train.len(), train.len());
        match held_out {
            Some(held_out) => Dataset {
                name,
                class_names,
                train,
                held_out,
                left_out: Vec::new(),
            },
            None => split(name, class_names, train),
        }
    };
    if dataset.train.len() < 2 {
        let problem = format!(
            "{} pictures to train on, at least 2 are needed",
            dataset.train.len()
        );
        return Err(DataError::content(path, problem));
    }
    Ok(dataset)
}

/// All pictures of an IDX file (and its labels file) or of a folder, in their own format: that
/// of the folder's first picture.
pub fn load_all(path: &Path) -> Result<Images, DataError> {
    if path.is_file() && !folder::is_picture(path) {
        return idx::load_all(path);
    }
    let mut request = DataRequest::default();
    let first = folder::first(path)?;
    let size = |picture: image::DynamicImage| {
        let channels = if picture.color().has_color() { 3 } else { 1 };
        (picture.height(), picture.width(), channels)
    };
    let (height, width, channels) = Decoder::new().picture(&first, size)?;
    (request.height, request.width) = (height as usize, width as usize);
    request.channels = channels;
    let found = folder::load(&request, path, &|_, _| ())?;
    Ok(found.images)
}

/// Puts every sixth picture of each class aside.
fn split(name: String, class_names: Vec<String>, images: Images) -> Dataset {
    let (mut train, mut held_out) = (images.none_alike(), images.none_alike());
    let mut seen = [0usize; 256];
    for i in 0..images.len() {
        let class = images.labels.get(i).map_or(0, |&label| usize::from(label));
        seen[class] += 1;
        let aside = seen[class].is_multiple_of(HELD_OUT_EVERY);
        let part = if aside { &mut held_out } else { &mut train };
        part.push_from(&images, i);
    }
    Dataset {
        name,
        class_names,
        train,
        held_out,
        left_out: Vec::new(),
    }
}
