//! Pictures in: the embedded set, IDX files, folders of pictures, tile sheets.

mod embedded;
mod folder;
pub mod idx;
mod sheet;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbaImage};

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
}

/// Why pictures could not be loaded. Nothing is ever skipped.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's content is not what it has to be.
    #[error("{path}: {problem}")]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
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
        |source| Self::Io { path, source }
    }
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
        let bytes = std::fs::read(path).map_err(DataError::io(path))?;
        let tiles = sheet::cut(request, tile, (path, &bytes), progress)?;
        split(name, Vec::new(), tiles)
    } else if path.is_file() && folder::is_picture(path) {
        let problem = "is one picture: cut it with --tile 16x16, or name its folder";
        return Err(DataError::content(path, problem));
    } else if path.is_dir() && !idx::folder_has_idx(path)? {
        let (class_names, images) = folder::load(request, path, progress)?;
        split(name, class_names, images)
    } else {
        let (class_names, train, held_out) = idx::load(request, path)?;
        progress(train.len(), train.len());
        match held_out {
            Some(held_out) => Dataset {
                name,
                class_names,
                train,
                held_out,
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
    let bytes = std::fs::read(&first).map_err(DataError::io(&first))?;
    let picture = decode(&first, &bytes)?;
    (request.height, request.width) = (picture.height() as usize, picture.width() as usize);
    request.channels = if picture.color().has_color() { 3 } else { 1 };
    let (_, images) = folder::load(&request, path, &|_, _| ())?;
    Ok(images)
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
    }
}

/// The picture in a file's bytes, turned upright as its camera says.
fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let decode = || {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let mut decoder = reader.into_decoder()?;
        // The reader's own limit on memory holds for whole decoding alone, not for a decoder.
        let mut limits = Limits::default();
        limits.reserve(decoder.total_bytes())?;
        decoder.set_limits(limits)?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    };
    decode().map_err(|e: image::ImageError| {
        DataError::content(
            path,
            format!("cannot be decoded, replace or remove it: {e}"),
        )
    })
}

/// A decoded picture in the format asked for: transparent parts on white, centre-cropped
/// to its aspect, resized (nearest pixel where it is an exact enlargement, Lanczos
/// elsewhere).
fn fit(picture: DynamicImage, request: &DataRequest) -> Vec<u8> {
    // Before the resize, or the colour of transparent pixels would bleed into their neighbours.
    let picture = DynamicImage::ImageRgba8(on_white(picture.into_rgba8()));
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let crop_w = w.min((h * request.width).div_ceil(request.height));
    let crop_h = h.min((w * request.height).div_ceil(request.width));
    let corner = ((w - crop_w) / 2, (h - crop_h) / 2);
    let size = (request.width as u32, request.height as u32);
    let mut picture = picture.crop_imm(
        corner.0 as u32,
        corner.1 as u32,
        crop_w as u32,
        crop_h as u32,
    );
    if (picture.width(), picture.height()) != size {
        let enlarged =
            request.width.is_multiple_of(crop_w) && request.height.is_multiple_of(crop_h);
        let filter = if enlarged {
            FilterType::Nearest
        } else {
            FilterType::Lanczos3
        };
        picture = picture.resize_exact(size.0, size.1, filter);
    }
    match request.channels {
        1 => picture.into_luma8().into_raw(),
        _ => picture.into_rgb8().into_raw(),
    }
}

fn on_white(mut picture: RgbaImage) -> RgbaImage {
    for pixel in picture.pixels_mut() {
        let alpha = u16::from(pixel[3]);
        for value in &mut pixel.0[..3] {
            let mixed = (u16::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255;
            *value = mixed as u8;
        }
        pixel[3] = 255;
    }
    picture
}
