//! The sets that come with the program: a part of Fashion-MNIST (Xiao et al. 2017), made
//! by `cargo tools data`, and a sheet of pixel-art faces (see `host/data/avatar`).

use std::path::Path;

use super::decode::decode_bytes;
use super::{DataError, DataRequest, Dataset, Images, idx, sheet, split};

const CLASS_NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

macro_rules! part {
    ($name:literal) => {
        (
            concat!("host/data/fashion/", $name),
            include_bytes!(concat!("../../data/fashion/", $name)),
        )
    };
}

pub(super) fn load(
    request: &DataRequest,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, DataError> {
    match (request.height, request.width, request.channels) {
        (28, 28, 1) => fashion(request),
        (16, 16, 3) => {
            let sheet = include_bytes!("../../data/avatar/avatars-16x16.png");
            let path = Path::new("host/data/avatar/avatars-16x16.png");
            let sheet = decode_bytes(path, sheet)?;
            let tiles = sheet::cut(request, (16, 16), (path, &sheet), progress)?;
            Ok(split("pixel-art faces".into(), Vec::new(), tiles)?)
        }
        (height, width, channels) => Err(DataError::Request(format!(
            "the embedded images are 28x28 grey or 16x16 RGB, the configuration draws \
             {height}x{width} with {channels} channels: name your own with --data (a folder \
             of images or IDX files, or a sheet with --tile 16x16)"
        ))),
    }
}

fn fashion(request: &DataRequest) -> Result<Dataset, DataError> {
    let part = |images: (&str, &[u8]), labels: (&str, &[u8])| -> Result<Images, DataError> {
        let (images_path, labels_path) = (images.0.as_ref(), labels.0.as_ref());
        let mut part = idx::read_images(images.1, images_path, request)?;
        let of = (images_path, part.len());
        part.labels = idx::read_labels(labels.1, labels_path, of)?;
        Ok(part)
    };
    Ok(Dataset {
        name: "Fashion-MNIST 10k".into(),
        class_names: CLASS_NAMES.map(String::from).to_vec(),
        train: part(
            part!("train-images-idx3-ubyte.gz"),
            part!("train-labels-idx1-ubyte.gz"),
        )?,
        held_out: part(
            part!("t10k-images-idx3-ubyte.gz"),
            part!("t10k-labels-idx1-ubyte.gz"),
        )?,
        label_values: (0..CLASS_NAMES.len() as u8).collect(),
        ..Dataset::default()
    })
}
