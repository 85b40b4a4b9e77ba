//! The features by which images are judged: a classifier's, and where it comes from.
//!
//! Of the user's classes where there are any, else of the turns of an image (Gidaris et al.
//! 2018). A file of features is a safetensors file of `f16` tensors with one entry of
//! metadata, `features`: an [`Origin`] as JSON.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gan_core::Shape;
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::classifier::{Classifier, STRONG, Schedule, affordable};
use super::interval::{Estimate, share};
use super::knn::Points;
use super::{Progress, RiskError};
use crate::config::Image;
use crate::data::{Dataset, Images};
use crate::files::{MOST_BYTES, read_regular, write_atomic};

/// The task that the classifier was trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The classes of the data.
    Classes,
    /// The number of quarter turns of an image; of half turns if it is not square.
    Turns,
}

/// The origin of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Changes with the layers and the way of training.
    pub version: u32,
    /// Name of the data.
    pub dataset: String,
    /// Format of the images.
    pub image: Image,
    /// The task.
    pub task: Task,
    /// Classes of the task.
    pub classes: usize,
    /// Held-out images classified rightly.
    pub accuracy: Estimate,
}

/// A network that turns images into features.
pub struct Extractor {
    /// First 12 hexadecimal digits of the SHA-256 of its file.
    pub hash: String,
    source: Source,
}

enum Source {
    /// A classifier of ours, whose last layer but one is the features.
    Trained(Origin, Box<Classifier>),
    /// The user's, and its name.
    #[cfg(feature = "onnx")]
    Onnx(String, Box<super::onnx::Onnx>),
}

const VERSION: u32 = 1;
/// Features of 28x28 grey clothes, made by `gan features --data FASHION-MNIST-FOLDER`.
const FASHION: &[u8] = include_bytes!("../../data/features/fashion.safetensors");
/// Seed of the features that a command trains by itself.
const SEED: u64 = 1;
/// Images seen in training.
const SEEN: usize = 240_000;
/// Images that are turned; all turns of them are seen.
const MAX_TURNED: usize = 10_000;
/// Share of a set's labels that features which come with the program have to recognise.
const FITS: f64 = 0.8;

impl Extractor {
    /// The features for a set: those that come with the program if they recognise its
    /// classes, else those in the folder `cache`, else new ones, which are left there.
    pub fn find(
        dataset: &Dataset,
        cache: &Path,
        progress: &mut Progress<'_>,
    ) -> Result<Self, RiskError> {
        if let Some(shipped) = Self::shipped(dataset)? {
            return Ok(shipped);
        }
        let path = cache.join(format!("{}.safetensors", key(dataset)));
        if let Ok(bytes) = read_regular(&path, MOST_BYTES) {
            return Self::parse(&bytes).map_err(unusable(path));
        }
        let bytes = Self::train(dataset, SEED, progress)?;
        let io = |source| RiskError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(cache).map_err(io)?;
        write_atomic(&path, &bytes).map_err(io)?;
        Self::parse(&bytes).map_err(unusable(path))
    }

    /// The features that come with the program, if they recognise the set's classes.
    fn shipped(dataset: &Dataset) -> Result<Option<Self>, RiskError> {
        let held_out = dataset.held_out.first(1000);
        let parsed = read(FASHION);
        let (origin, classifier) =
            parsed.map_err(unusable("host/data/features/fashion.safetensors"))?;
        if format(&held_out) != origin.image || held_out.labels.is_empty() {
            return Ok(None);
        }
        let points = classifier.features(&held_out)?;
        let hits = classifier.hits(&points, &held_out.labels)?;
        let fits = hits as f64 >= FITS * held_out.len() as f64;
        Ok(fits.then(|| Self::trained(FASHION, origin, classifier)))
    }

    /// Trains on a set; the bytes of the file.
    pub fn train(
        dataset: &Dataset,
        seed: u64,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<u8>, RiskError> {
        let image = format(&dataset.train);
        let task = task(dataset);
        let (train, held_out, classes) = match task {
            Task::Classes => {
                let classes = dataset.class_names.len();
                (dataset.train.clone(), dataset.held_out.clone(), classes)
            }
            Task::Turns => {
                let turned = |images: &Images| all_turns(&images.first(MAX_TURNED));
                let classes = turns(image).len();
                (turned(&dataset.train), turned(&dataset.held_out), classes)
            }
        };
        let mut classifier = Classifier::new(STRONG, image, classes, seed)?;
        let schedule = Schedule {
            seen: affordable(SEEN, &train),
            rate: 2e-3,
            shift: 2,
            seed,
        };
        let mut progress = |done, all| progress("learning features", done, all);
        classifier.train(&train, &train.labels, &schedule, &mut progress)?;
        let origin = |accuracy| Origin {
            version: VERSION,
            dataset: dataset.name.clone(),
            image,
            task,
            classes,
            accuracy,
        };
        // Judged as they will be read: rounded to 16 bits.
        let rounded = serialize(&classifier, &origin(share(0, 0)));
        let (_, rounded) = read(&rounded).map_err(unusable("new features"))?;
        let hits = rounded.hits(&rounded.features(&held_out)?, &held_out.labels)?;
        Ok(serialize(&rounded, &origin(share(hits, held_out.len()))))
    }

    /// Reads a file of features.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (origin, classifier) = read(bytes)?;
        Ok(Self::trained(bytes, origin, classifier))
    }

    fn trained(bytes: &[u8], origin: Origin, classifier: Classifier) -> Self {
        let digest = Sha256::digest(bytes);
        let hash = digest.iter().take(6).map(|byte| format!("{byte:02x}"));
        Self {
            hash: hash.collect(),
            source: Source::Trained(origin, classifier.into()),
        }
    }

    /// Reads an ONNX file, see [`Onnx`](super::onnx::Onnx).
    #[cfg(feature = "onnx")]
    pub fn read_onnx(path: &Path) -> Result<Self, RiskError> {
        let (model, hash) = super::onnx::Onnx::read(path).map_err(unusable(path))?;
        let name = path.display().to_string();
        Ok(Self {
            hash,
            source: Source::Onnx(name, model.into()),
        })
    }

    /// The features of images, all of them finite.
    pub fn features(&self, images: &Images) -> Result<Points, RiskError> {
        let points = match &self.source {
            Source::Trained(origin, classifier) => {
                if origin.image != format(images) {
                    let [learned, given] = [origin.image, format(images)].map(|image| {
                        let Image {
                            height,
                            width,
                            channels,
                        } = image;
                        format!("{height}x{width}x{channels}")
                    });
                    return Err(RiskError::Unsuited(format!(
                        "{} are of images of {learned}, these are of {given}",
                        self.hash
                    )));
                }
                classifier.features(images)?
            }
            #[cfg(feature = "onnx")]
            Source::Onnx(name, model) => model.features(images).map_err(unusable(name))?,
        };
        // A distance to what is not a number would count as none.
        match points.values.iter().position(|value| !value.is_finite()) {
            None => Ok(points),
            Some(at) => Err(RiskError::Unsuited(format!(
                "{} of image {} are not finite",
                self.hash,
                at / points.width.max(1)
            ))),
        }
    }

    /// The likeliest class of each row of features, where they were taught the user's.
    pub fn classify(&self, features: &Points) -> Result<Option<Vec<u8>>, RiskError> {
        match &self.source {
            Source::Trained(origin, classifier) if origin.task == Task::Classes => {
                Ok(Some(classifier.classify(features)?))
            }
            _ => Ok(None),
        }
    }

    /// Format of the images that they are of, where that is known.
    pub fn image(&self) -> Option<Image> {
        match &self.source {
            Source::Trained(origin, _) => Some(origin.image),
            #[cfg(feature = "onnx")]
            Source::Onnx(..) => None,
        }
    }

    /// Held-out images classified rightly, where that is known.
    pub fn accuracy(&self) -> Option<Estimate> {
        match &self.source {
            Source::Trained(origin, _) => Some(origin.accuracy),
            #[cfg(feature = "onnx")]
            Source::Onnx(..) => None,
        }
    }

    /// One line: what they are, how good, and their hash.
    pub fn describe(&self) -> String {
        let origin = match &self.source {
            Source::Trained(origin, _) => origin,
            #[cfg(feature = "onnx")]
            Source::Onnx(name, _) => return format!("the outputs of {name}, {}", self.hash),
        };
        let Origin {
            dataset,
            task,
            classes,
            accuracy,
            ..
        } = origin;
        let task = match task {
            Task::Classes => format!("{classes} classes"),
            Task::Turns => format!("{classes} turns"),
        };
        let hash = &self.hash;
        if accuracy.high - accuracy.low >= 1.0 {
            return format!("a classifier of the {task} of {dataset}, tried on no image, {hash}");
        }
        let right = 100.0 * accuracy.value;
        format!(
            "a classifier of the {task} of {dataset}, which recognises {right:.1} % of held-out \
             images, {hash}"
        )
    }
}

/// A classifier of ours from the bytes of its file.
fn read(bytes: &[u8]) -> Result<(Origin, Classifier), String> {
    let error = |e: safetensors::SafeTensorError| e.to_string();
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(error)?;
    let origin = metadata.metadata().as_ref().and_then(|m| m.get("features"));
    let origin = origin.ok_or("it holds no `features` entry")?;
    let origin: Origin = serde_json::from_str(origin).map_err(|e| e.to_string())?;
    if origin.version != VERSION {
        return Err(format!(
            "it is of version {}, this program makes {VERSION}: delete it",
            origin.version
        ));
    }
    let file = SafeTensors::deserialize(bytes).map_err(error)?;
    let find = |name: &str, _: (usize, usize), into: &mut [f32]| {
        let view = file.tensor(name).map_err(|e| e.to_string())?;
        if view.dtype() != Dtype::F16 || view.data().len() != 2 * into.len() {
            return Err(format!("tensor {name} has the wrong type or size"));
        }
        for (value, bytes) in into.iter_mut().zip(view.data().chunks_exact(2)) {
            *value = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        }
        Ok(())
    };
    let classifier = Classifier::build(STRONG, origin.image, origin.classes, find)?;
    Ok((origin, classifier))
}

fn unusable(path: impl Into<PathBuf>) -> impl FnOnce(String) -> RiskError {
    let path = path.into();
    |reason| RiskError::Features { path, reason }
}

fn serialize(classifier: &Classifier, origin: &Origin) -> Vec<u8> {
    let tensors = classifier
        .tensors()
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes());
            (name, shape, bytes.collect::<Vec<u8>>())
        });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().filter_map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes).ok()?;
        Some((name, view))
    });
    let origin = serde_json::to_string(origin).unwrap_or_default();
    let metadata = HashMap::from([("features".to_owned(), origin)]);
    // Shapes and sizes agree by construction.
    safetensors::serialize(views, Some(metadata)).unwrap_or_default()
}

/// Format of a set's images.
pub fn format(images: &Images) -> Image {
    Image {
        height: images.height,
        width: images.width,
        channels: images.channels,
    }
}

fn task(dataset: &Dataset) -> Task {
    let labelled = !dataset.train.labels.is_empty() && !dataset.held_out.labels.is_empty();
    match dataset.class_names.len() {
        2.. if labelled => Task::Classes,
        _ => Task::Turns,
    }
}

/// Name of a set's features in the cache: of everything that they depend on.
fn key(dataset: &Dataset) -> String {
    let Images {
        height,
        width,
        channels,
        ..
    } = dataset.train;
    let mut hash = Sha256::new();
    hash.update(format!(
        "{VERSION} {height} {width} {channels} {}",
        dataset.name
    ));
    for images in [&dataset.train, &dataset.held_out] {
        hash.update(&images.pixels);
        hash.update(&images.labels);
    }
    let digest = hash.finalize();
    let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Quarters by which images of this format can be turned.
fn turns(image: Image) -> &'static [usize] {
    if image.height == image.width {
        &[0, 1, 2, 3]
    } else {
        &[0, 2]
    }
}

/// Every image in every turn, which is its label.
fn all_turns(images: &Images) -> Images {
    let Shape { h, w, c } = images.shape();
    let mut out = images.none_alike();
    for i in 0..images.len() {
        let image = images.image(i);
        for (label, &turn) in turns(format(images)).iter().enumerate() {
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let (y, x) = match turn {
                    0 => (y, x),
                    1 => (w - 1 - x, y),
                    2 => (h - 1 - y, w - 1 - x),
                    _ => (x, h - 1 - y),
                };
                out.pixels.extend_from_slice(&image[(y * w + x) * c..][..c]);
            }
            out.labels.push(label as u8);
        }
    }
    out
}
