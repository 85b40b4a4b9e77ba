//! IDX, the format of the MNIST family: magic `00 00 08 rank`, big-endian sizes, bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::decode::{check_size, fit};
use super::{DataError, DataRequest, Images};
use crate::files::write_atomic;

/// Training and held-out images, and their labels, by the family's names.
const PARTS: [(&str, &str); 2] = [
    ("train-images", "train-labels"),
    ("t10k-images", "t10k-labels"),
];

/// Whether a folder holds IDX files by the family's names.
pub(super) fn folder_has_idx(folder: &Path) -> Result<bool, DataError> {
    Ok(find(folder, PARTS[0].0)?.is_some())
}

/// Class names, training images, and held-out images where there are any.
type Loaded = (Vec<String>, Images, Option<Images>);

/// Loads a folder of IDX files or one file of images.
pub(super) fn load(request: &DataRequest, path: &Path) -> Result<Loaded, DataError> {
    if !path.is_dir() {
        return Ok((Vec::new(), load_images(request, path)?, None));
    }
    let mut parts = Vec::new();
    for (images, labels) in PARTS {
        let Some(file) = find(path, images)? else {
            continue;
        };
        let mut part = load_images(request, &file)?;
        if let Some(labels) = find(path, labels)? {
            part.labels = labels_of(read(&labels)?, &labels)?;
            if part.labels.len() != part.len() {
                let (labels_len, images_len) = (part.labels.len(), part.len());
                let file = file.display();
                let problem = format!("{labels_len} labels for the {images_len} images of {file}");
                return Err(DataError::content(labels, problem));
            }
        }
        parts.push(part);
    }
    let held_out = (parts.len() > 1).then(|| parts.remove(1));
    let train = parts.remove(0);
    let labels = held_out
        .iter()
        .chain([&train])
        .flat_map(|part| &part.labels);
    let classes = labels.max().map_or(0, |&last| usize::from(last) + 1);
    if classes > 255 {
        return Err(DataError::content(path, "more than 255 classes"));
    }
    let names_file = path.join("classes.txt");
    let class_names: Vec<String> = match std::fs::read_to_string(&names_file) {
        // Without labels there is nothing to name.
        Ok(_) if classes == 0 => Vec::new(),
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            (0..classes).map(|class| class.to_string()).collect()
        }
        Err(e) => return Err(DataError::io(names_file)(e)),
    };
    if class_names.len() < classes {
        let problem = format!("{} names for {classes} classes", class_names.len());
        return Err(DataError::content(names_file, problem));
    }
    Ok((class_names, train, held_out))
}

/// The images of one file, in their own format, and the labels of the file beside it.
pub(super) fn load_all(path: &Path) -> Result<Images, DataError> {
    let content = read(path)?;
    let size = |i: usize| content.sizes.get(i).copied().unwrap_or(1);
    let request = DataRequest {
        height: size(1),
        width: size(2),
        channels: size(3),
        ..DataRequest::default()
    };
    let mut images = images_of(content, path, &request)?;
    let labels = labels_path(path);
    if labels.exists() {
        images.labels = labels_of(read(&labels)?, &labels)?;
        if images.labels.len() != images.len() {
            let (labels_len, images_len) = (images.labels.len(), images.len());
            let problem = format!("{labels_len} labels for {images_len} images");
            return Err(DataError::content(labels, problem));
        }
    }
    Ok(images)
}

fn load_images(request: &DataRequest, path: &Path) -> Result<Images, DataError> {
    images_of(read(path)?, path, request)
}

/// The file of a folder called `part-idxN-ubyte`, or with `.idx`, gzipped or not; plain
/// before gzipped. Copies like `.bak` and halves like `.part` are not it.
fn find(folder: &Path, part: &str) -> Result<Option<PathBuf>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(DataError::io(folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(DataError::io(folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(part).unwrap_or_default();
        let rest = rest.strip_suffix(".gz").unwrap_or(rest);
        let rest = rest.strip_prefix(['-', '.']).unwrap_or_default();
        if ["idx1-ubyte", "idx3-ubyte", "idx4-ubyte"].contains(&rest) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found.into_iter().next())
}

/// Most bytes of content.
const LARGEST: usize = 1 << 30;

/// What an IDX file holds.
pub(super) struct Content {
    sizes: Vec<usize>,
    bytes: Vec<u8>,
}

fn read(path: &Path) -> Result<Content, DataError> {
    if !std::fs::metadata(path)
        .map_err(DataError::io(path))?
        .is_file()
    {
        return Err(DataError::content(path, "is not a file"));
    }
    let file = File::open(path).map_err(DataError::io(path))?;
    parse(BufReader::new(file), path)
}

/// Reads an IDX file, gzipped or not; of its content no more than its header announces.
pub(super) fn parse(mut input: impl BufRead, path: &Path) -> Result<Content, DataError> {
    let start = input.fill_buf().map_err(DataError::io(path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        parse_plain(GzDecoder::new(input), path)
    } else {
        parse_plain(input, path)
    }
}

fn parse_plain(mut input: impl Read, path: &Path) -> Result<Content, DataError> {
    let fail = |problem: String| DataError::content(path, problem);
    let damaged = |e: std::io::Error| match e.kind() {
        ErrorKind::UnexpectedEof => fail("is cut: fetch it again".into()),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            fail(format!("is a damaged gzip file ({e}): fetch it again"))
        }
        _ => DataError::io(path)(e),
    };
    let mut read_4 = || {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes).map(|()| bytes)
    };
    let [0, 0, 8, rank] = read_4().map_err(damaged)? else {
        let problem = "is not an IDX file of bytes (it must begin 00 00 08)";
        return Err(DataError::content(path, problem));
    };
    let sizes = (0..rank).map(|_| read_4().map(|size| u32::from_be_bytes(size) as usize));
    let sizes: Vec<usize> = sizes.collect::<Result<_, _>>().map_err(damaged)?;
    let announced = sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size));
    let Some(announced) = announced.filter(|&bytes| bytes <= LARGEST) else {
        let problem = format!("its header says {sizes:?}, more than {LARGEST} bytes");
        return Err(fail(problem));
    };
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(announced + 1).is_err() {
        return Err(fail(format!(
            "there is no memory for its {announced} bytes"
        )));
    }
    let mut content = input.take(announced as u64 + 1);
    content.read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() != announced || bytes.is_empty() {
        let have = match bytes.len() {
            have if have > announced => format!("more than {announced}"),
            have => have.to_string(),
        };
        return Err(fail(format!(
            "{have} bytes of content, its header says {sizes:?}: cut, empty or not of this header"
        )));
    }
    Ok(Content { sizes, bytes })
}

/// Images `[n, h, w]` or `[n, h, w, c]` of an IDX file, resized if need be.
pub(super) fn images_of(
    content: Content,
    path: &Path,
    request: &DataRequest,
) -> Result<Images, DataError> {
    let Content {
        sizes,
        bytes: pixels,
    } = content;
    let (height, width, channels) = match sizes[..] {
        [_, h, w] => (h, w, 1),
        [_, h, w, c @ (1 | 3)] => (h, w, c),
        _ => {
            let problem = format!("its sizes are {sizes:?}, images are [n, h, w] or [n, h, w, 3]");
            return Err(DataError::content(path, problem));
        }
    };
    let images = Images {
        height,
        width,
        channels,
        pixels,
        labels: Vec::new(),
    };
    if (height, width, channels) == (request.height, request.width, request.channels) {
        return Ok(images);
    }
    check_size(path, (width, height, channels))?;
    let fitted = (request.height * request.width * request.channels).checked_mul(images.len());
    if fitted.is_none_or(|bytes| bytes > LARGEST) {
        let problem = format!("its {} images are too many to resize", images.len());
        return Err(DataError::content(path, problem));
    }
    let resized = (0..images.len()).map(|i| {
        let (pixels, w, h) = (images.image(i).to_vec(), width as u32, height as u32);
        let picture = match channels {
            1 => image::GrayImage::from_raw(w, h, pixels).map(Into::into),
            _ => image::RgbImage::from_raw(w, h, pixels).map(Into::into),
        };
        picture.map_or_else(Vec::new, |picture| fit(picture, request))
    });
    Ok(Images {
        height: request.height,
        width: request.width,
        channels: request.channels,
        pixels: resized.flatten().collect(),
        labels: Vec::new(),
    })
}

/// Labels `[n]` of an IDX file.
pub(super) fn labels_of(content: Content, path: &Path) -> Result<Vec<u8>, DataError> {
    let sizes = content.sizes;
    if sizes.len() != 1 {
        let problem = format!("its sizes are {sizes:?}, labels are [n]");
        return Err(DataError::content(path, problem));
    }
    Ok(content.bytes)
}

/// An IDX file of these sizes; gzipped without a time, so that the bytes depend on the
/// content alone.
pub fn encode(sizes: &[usize], content: &[u8], gzip: bool) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    for &size in sizes {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend_from_slice(content);
    if !gzip {
        return Ok(bytes);
    }
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    encoder.finish()
}

/// Where the labels of an images file go: `images` becomes `labels` and `idx3` or `idx4`
/// `idx1`; other names get `.labels` before their ending.
pub fn labels_path(images: &Path) -> PathBuf {
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    let sibling = if name.contains("images") {
        let name = name.replace("images", "labels");
        name.replace("idx3", "idx1").replace("idx4", "idx1")
    } else {
        match name.split_once('.') {
            Some((stem, ending)) => format!("{stem}.labels.{ending}"),
            None => format!("{name}.labels"),
        }
    };
    images.with_file_name(sibling)
}

/// Writes images (rank 3 for grey, 4 for colour) and, where there are any, their labels.
pub fn write(path: &Path, images: &Images) -> std::io::Result<()> {
    let gzip = path.extension().is_some_and(|ending| ending == "gz");
    let mut sizes = vec![images.len(), images.height, images.width];
    sizes.extend((images.channels != 1).then_some(images.channels));
    write_atomic(path, &encode(&sizes, &images.pixels, gzip)?)?;
    if images.labels.is_empty() {
        return Ok(());
    }
    let labels = encode(&[images.labels.len()], &images.labels, gzip)?;
    write_atomic(&labels_path(path), &labels)
}
