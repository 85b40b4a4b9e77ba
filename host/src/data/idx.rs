//! IDX, the format of the MNIST family: magic `00 00 08 rank`, big-endian sizes, bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use gan_core::Shape;

use super::decode::{check_size, fit};
use super::{DataError, DataRequest, Images, MAX_CLASSES};
use crate::console::shown;
use crate::files::{open_regular, read_regular, write_atomic};
use crate::memory::reserved;

/// Names of the files of a set, without `-idxN-ubyte`: images, labels.
const TRAIN: [&str; 2] = ["train-images", "train-labels"];
/// Those of what is held out, which are called one thing or the other.
const HELD_OUT: [[&str; 2]; 2] = [
    ["t10k-images", "t10k-labels"],
    ["test-images", "test-labels"],
];

/// Paths of the files of a set.
#[derive(Default)]
struct Paths {
    images: Option<PathBuf>,
    labels: Option<PathBuf>,
}

/// The files of a folder that belong together.
#[derive(Default)]
struct Set {
    train: Paths,
    held_out: Paths,
}

/// The loaded images.
pub(super) struct Loaded {
    /// Names of the classes; empty without labels.
    pub class_names: Vec<String>,
    /// The number in the labels file of each class.
    pub label_values: Vec<u8>,
    /// To train on.
    pub train: Images,
    /// Held-out images, where the set has files of them.
    pub held_out: Option<Images>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

/// The folder or the file of images that a path stands for: a folder with files of the MNIST
/// family, also as torchvision leaves it (`MNIST/raw` inside), or a folder that holds the file
/// of the same name, as Kaggle has them. None for other folders.
pub(super) fn find(path: &Path) -> Result<Option<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    if let Some(file) = of_same_name(path) {
        return Ok(Some(file));
    }
    let raw = |folder: &Path| Some(folder.join("raw")).filter(|raw| raw.is_dir());
    let entries = std::fs::read_dir(path).map_err(DataError::io(path))?;
    let inside = entries.flatten().filter_map(|entry| raw(&entry.path()));
    let mut inside: Vec<PathBuf> = inside.collect();
    inside.sort();
    let mut found = Vec::new();
    for folder in [path.to_owned()].into_iter().chain(raw(path)).chain(inside) {
        if !sets(&folder)?.is_empty() {
            found.push(folder);
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [first, others @ ..] => {
            let others: Vec<_> = others.iter().map(|folder| shown(folder)).collect();
            let first = shown(first);
            let problem = format!(
                "holds several sets of IDX files: name one, --data {first} (or {})",
                others.join(", ")
            );
            Err(DataError::content(path, problem))
        }
    }
}

/// The file in a folder that is called as the folder is.
fn of_same_name(folder: &Path) -> Option<PathBuf> {
    let file = folder.join(folder.file_name()?);
    file.is_file().then_some(file)
}

/// The sets of a folder that have images to train on, by what their names begin with. Copies
/// like `.bak` and halves like `.part` do not belong to any.
fn sets(folder: &Path) -> Result<BTreeMap<String, Set>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(DataError::io(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(DataError::io(folder))?.path());
    }
    // Plain before gzipped.
    paths.sort();
    let mut sets = BTreeMap::<String, Set>::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some((prefix, is_train, is_images)) = role(&name) else {
            continue;
        };
        let file = if path.is_dir() {
            of_same_name(&path)
        } else {
            Some(path.clone())
        };
        let set = sets.entry(prefix.to_owned()).or_default();
        let part = if is_train {
            &mut set.train
        } else {
            &mut set.held_out
        };
        let place = if is_images {
            &mut part.images
        } else {
            &mut part.labels
        };
        *place = place.take().or(file);
    }
    sets.retain(|_, set| set.train.images.is_some());
    Ok(sets)
}

/// What a file's name begins with, whether it is of the training part, and whether it holds
/// images; None if it is not called like a file of the family.
fn role(name: &str) -> Option<(&str, bool, bool)> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let stem = ["idx1-ubyte", "idx3-ubyte", "idx4-ubyte"];
    let stem = stem.iter().find_map(|end| name.strip_suffix(end))?;
    let stem = stem.strip_suffix(['-', '.'])?;
    let parts = [(TRAIN, true), (HELD_OUT[0], false), (HELD_OUT[1], false)];
    parts.iter().find_map(|&([images, labels], is_train)| {
        let images = stem.strip_suffix(images).map(|prefix| (prefix, true));
        let labels = || stem.strip_suffix(labels).map(|prefix| (prefix, false));
        let (prefix, is_images) = images.or_else(labels)?;
        let is_apart = prefix.is_empty() || prefix.ends_with(['-', '_', '.']);
        is_apart.then_some((prefix, is_train, is_images))
    })
}

/// Loads what [`find`] has found: a folder or a file of images.
pub(super) fn load(request: &DataRequest, path: &Path) -> Result<Loaded, DataError> {
    let set = set_of(path)?;
    let mut notes = Vec::new();
    let is_emnist = |path: &PathBuf| shown(path).to_lowercase().contains("emnist");
    if !request.transpose && set.train.images.as_ref().is_some_and(is_emnist) {
        notes.push("EMNIST's files have rows for columns: --transpose turns them".to_owned());
    }
    let train = load_part(request, set.train)?;
    let train = train.ok_or_else(|| DataError::content(path, "holds no images to train on"))?;
    let mut loaded = Loaded {
        class_names: Vec::new(),
        label_values: Vec::new(),
        train,
        held_out: load_part(request, set.held_out)?,
        notes,
    };
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    };
    name_classes(&mut loaded, path, &folder.join("classes.txt"))?;
    Ok(loaded)
}

/// The set in a folder, or that of a file of images and of the labels beside it.
fn set_of(path: &Path) -> Result<Set, DataError> {
    if path.is_dir() {
        return the_only_set(path);
    }
    let train = Paths {
        images: Some(path.to_owned()),
        labels: labels_beside(path),
    };
    let held_out = Paths::default();
    Ok(Set { train, held_out })
}

fn the_only_set(folder: &Path) -> Result<Set, DataError> {
    let mut sets = sets(folder)?;
    if sets.len() > 1 {
        let images = sets.values().filter_map(|set| set.train.images.as_deref());
        let images: Vec<String> = images.map(shown).collect();
        let problem = format!(
            "holds several sets: name the images of one with --data: {}",
            images.join(", ")
        );
        return Err(DataError::content(folder, problem));
    }
    let none = || DataError::content(folder, "holds no IDX files");
    sets.pop_first().map(|(_, set)| set).ok_or_else(none)
}

fn load_part(request: &DataRequest, paths: Paths) -> Result<Option<Images>, DataError> {
    let Some(file) = paths.images else {
        return Ok(None);
    };
    let mut images = read_images(open(&file)?, &file, request)?;
    if let Some(path) = paths.labels {
        images.labels = read_labels(open(&path)?, &path, (&file, images.len()))?;
    }
    Ok(Some(images))
}

/// Numbers the classes from 0 on, by the labels that there are, and names them: by `names`,
/// if there is such a file, or by their labels.
fn name_classes(loaded: &mut Loaded, path: &Path, names: &Path) -> Result<(), DataError> {
    let values: BTreeSet<u8> = loaded.train.labels.iter().copied().collect();
    if values.len() > MAX_CLASSES {
        let problem = format!(
            "{} classes, at most {MAX_CLASSES} are possible",
            values.len()
        );
        return Err(DataError::content(path, problem));
    }
    let values: Vec<u8> = values.into_iter().collect();
    let number = |label: u8| values.iter().position(|&value| value == label);
    let held_out = loaded.held_out.iter_mut();
    for label in held_out
        .chain([&mut loaded.train])
        .flat_map(|part| &mut part.labels)
    {
        let Some(class) = number(*label) else {
            let problem =
                format!("{label} is a label of held-out images only, none to train on has it");
            return Err(DataError::content(path, problem));
        };
        *label = class as u8;
    }
    let by_label = || values.iter().map(u8::to_string).collect();
    loaded.class_names = match read_names(names)? {
        // Without labels there is nothing to name.
        Some(_) if values.is_empty() => Vec::new(),
        None => by_label(),
        Some(names) if names.len() == values.len() => names,
        Some(given) => {
            let by_value = values
                .iter()
                .map(|&value| given.get(usize::from(value)).cloned());
            let by_value: Option<Vec<String>> = by_value.collect();
            by_value.ok_or_else(|| {
                let (given, classes) = (given.len(), values.len());
                let problem = format!("{given} names for {classes} classes");
                DataError::content(names, problem)
            })?
        }
    };
    loaded.label_values = values;
    Ok(())
}

/// The most bytes of a file of names.
const NAMES_BYTES: u64 = 1 << 20;

/// Names of classes, one a line.
fn read_names(path: &Path) -> Result<Option<Vec<String>>, DataError> {
    let bytes = match read_regular(path, NAMES_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(DataError::io(path)(e)),
    };
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| DataError::content(path, "is not UTF-8"))?;
    // Windows' editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    // One more where the labels begin at 1.
    if names.len() > MAX_CLASSES + 1 {
        let problem = format!(
            "{} names, at most {MAX_CLASSES} classes are possible",
            names.len()
        );
        return Err(DataError::content(path, problem));
    }
    Ok(Some(names))
}

/// All images of a file or a folder, as large as `request` says, with their labels.
pub(super) fn load_all(request: &DataRequest, path: &Path) -> Result<Images, DataError> {
    let Set { train, held_out } = set_of(path)?;
    let mut images = load_part(request, train)?.unwrap_or_default();
    images.append(&load_part(request, held_out)?.unwrap_or_default());
    Ok(images)
}

/// The shape of the images of a file.
pub(super) fn format(path: &Path) -> Result<Shape, DataError> {
    let path = set_of(path)?.train.images.unwrap_or_default();
    let (sizes, _) = header(open(&path)?, &path)?;
    image_format(&sizes, &path)
}

/// The labels file that belongs to one of images: beside it, or in the folder of its own name
/// beside that of the images.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let beside = labels_path(images);
    if beside.is_dir() {
        return of_same_name(&beside);
    }
    let folder = || of_same_name(&labels_path(images.parent()?));
    Some(beside).filter(|path| path.exists()).or_else(|| {
        let is_kaggle = images.parent()?.file_name()? == images.file_name()?;
        folder().filter(|_| is_kaggle)
    })
}

/// Most bytes of content.
const LARGEST: usize = 1 << 30;

fn open(path: &Path) -> Result<impl BufRead + use<>, DataError> {
    let file = open_regular(path, u64::MAX).map_err(DataError::io(path))?;
    Ok(BufReader::new(file.into_reader()))
}

/// The sizes that an IDX file announces, gzipped or not, and what follows them.
fn header<'a>(
    mut input: impl BufRead + 'a,
    path: &Path,
) -> Result<(Vec<usize>, Box<dyn Read + 'a>), DataError> {
    let start = input.fill_buf().map_err(DataError::io(path))?;
    let mut input: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(GzDecoder::new(input))
    } else {
        Box::new(input)
    };
    let mut read_4 = || {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes).map(|()| bytes)
    };
    let [0, 0, 8, rank] = read_4().map_err(damaged(path))? else {
        let problem = "is not an IDX file of bytes (it must begin 00 00 08)";
        return Err(DataError::content(path, problem));
    };
    let sizes = (0..rank).map(|_| read_4().map(|size| u32::from_be_bytes(size) as usize));
    let sizes = sizes.collect::<Result<_, _>>().map_err(damaged(path))?;
    Ok((sizes, input))
}

/// The bytes of an IDX file of these sizes, and no more than they announce.
fn content(sizes: &[usize], input: impl Read, path: &Path) -> Result<Vec<u8>, DataError> {
    let fail = |problem: String| DataError::content(path, problem);
    let announced = sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size));
    let Some(announced) = announced.filter(|&bytes| bytes <= LARGEST) else {
        let problem = format!("its header says {sizes:?}, more than {LARGEST} bytes");
        return Err(fail(problem));
    };
    if announced == 0 {
        return Err(fail(format!("its header says {sizes:?}, which is nothing")));
    }
    let what = || format!("the size in the header of {}", shown(path));
    let mut bytes = reserved(what(), &[announced + 1])?;
    let mut content = input.take(announced as u64 + 1);
    content.read_to_end(&mut bytes).map_err(damaged(path))?;
    if bytes.len() != announced {
        let have = match bytes.len() {
            have if have > announced => format!("more than {announced}"),
            have => have.to_string(),
        };
        return Err(fail(format!(
            "{have} bytes of content, its header says {sizes:?}: cut, or not of this header"
        )));
    }
    Ok(bytes)
}

fn damaged(path: &Path) -> impl Fn(std::io::Error) -> DataError {
    move |e| match e.kind() {
        ErrorKind::UnexpectedEof => DataError::content(path, "is cut: fetch it again"),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            let problem = format!("is a damaged gzip file ({e}): fetch it again");
            DataError::content(path, problem)
        }
        _ => DataError::io(path)(e),
    }
}

fn image_format(sizes: &[usize], path: &Path) -> Result<Shape, DataError> {
    match *sizes {
        [_, h, w] => Ok(Shape { h, w, c: 1 }),
        [_, h, w, c @ (1 | 3)] => Ok(Shape { h, w, c }),
        _ => {
            let problem = format!("its sizes are {sizes:?}, images are [n, h, w] or [n, h, w, 3]");
            Err(DataError::content(path, problem))
        }
    }
}

/// Images `[n, h, w]` or `[n, h, w, c]` of an IDX file, turned and resized if need be.
pub(super) fn read_images(
    input: impl BufRead,
    path: &Path,
    request: &DataRequest,
) -> Result<Images, DataError> {
    let (sizes, input) = header(input, path)?;
    let shape = image_format(&sizes, path)?;
    let pixels = content(&sizes, input, path)?;
    let mut images = Images {
        height: shape.h,
        width: shape.w,
        channels: shape.c,
        pixels,
        labels: Vec::new(),
    };
    if request.transpose {
        images = transposed(images);
    }
    let shape = images.shape();
    let wanted = Shape {
        h: request.height,
        w: request.width,
        c: request.channels,
    };
    if shape == wanted {
        return Ok(images);
    }
    check_size(path, shape)?;
    let what = format!("the number of images in {}", shown(path));
    let fitted = [
        images.len(),
        request.height,
        request.width,
        request.channels,
    ];
    let mut resized = reserved(what, &fitted)?;
    if resized.capacity() > LARGEST {
        let problem = format!("its {} images are too many to resize", images.len());
        return Err(DataError::content(path, problem));
    }
    for i in 0..images.len() {
        let (pixels, w, h) = (images.image(i).to_vec(), shape.w as u32, shape.h as u32);
        let picture = match shape.c {
            1 => image::GrayImage::from_raw(w, h, pixels).map(Into::into),
            _ => image::RgbImage::from_raw(w, h, pixels).map(Into::into),
        };
        resized.extend(picture.map_or_else(Vec::new, |picture| fit(picture, request)));
    }
    Ok(Images {
        height: request.height,
        width: request.width,
        channels: request.channels,
        pixels: resized,
        labels: Vec::new(),
    })
}

/// Rows for columns.
fn transposed(images: Images) -> Images {
    let Shape { h, w, c } = images.shape();
    let mut pixels = Vec::with_capacity(images.pixels.len());
    for i in 0..images.len() {
        let image = images.image(i);
        for (x, y) in (0..w).flat_map(|x| (0..h).map(move |y| (x, y))) {
            pixels.extend_from_slice(&image[(y * w + x) * c..][..c]);
        }
    }
    Images {
        height: w,
        width: h,
        pixels,
        ..images
    }
}

/// Labels `[n]` of an IDX file, one for each image of another.
pub(super) fn read_labels(
    input: impl BufRead,
    path: &Path,
    (images, len): (&Path, usize),
) -> Result<Vec<u8>, DataError> {
    let (sizes, input) = header(input, path)?;
    match sizes[..] {
        [labels] if labels == len => content(&sizes, input, path),
        [labels] => {
            let images = shown(images);
            let problem = format!("{labels} labels for the {len} images of {images}");
            Err(DataError::content(path, problem))
        }
        _ => {
            let problem = format!("its sizes are {sizes:?}, labels are [n]");
            Err(DataError::content(path, problem))
        }
    }
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

/// Writes images (rank 3 for grey, 4 for colour) and, where there are any, their labels. The
/// labels of images that were there before are removed first.
pub fn write(path: &Path, images: &Images) -> std::io::Result<()> {
    let labels_path = labels_path(path);
    match std::fs::remove_file(&labels_path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let gzip = path.extension().is_some_and(|ending| ending == "gz");
    let mut sizes = vec![images.len(), images.height, images.width];
    sizes.extend((images.channels != 1).then_some(images.channels));
    write_atomic(path, &encode(&sizes, &images.pixels, gzip)?)?;
    if images.labels.is_empty() {
        return Ok(());
    }
    let labels = encode(&[images.labels.len()], &images.labels, gzip)?;
    write_atomic(&labels_path, &labels)
}
