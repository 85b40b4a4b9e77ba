//! The fingerprint of a data set, by which a run notices that its data has changed.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Dataset, Images};

/// The fingerprint of a loaded set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetFingerprint {
    /// Images to train on.
    pub pictures: usize,
    /// Images that are never trained on.
    pub held_out: usize,
    /// Files that could not be used.
    pub left_out: usize,
    /// SHA-256 over sizes, pixels and labels of both parts, in hexadecimal.
    pub sha256: String,
}

impl DatasetFingerprint {
    /// The fingerprint of `dataset`.
    pub fn of(dataset: &Dataset) -> Self {
        let mut hash = Sha256::new();
        for part in [&dataset.train, &dataset.held_out] {
            add(&mut hash, part);
        }
        let digits = hash.finalize();
        Self {
            pictures: dataset.train.len(),
            held_out: dataset.held_out.len(),
            left_out: dataset.left_out.len(),
            sha256: digits.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Whether the images are the same ones, whatever was left out beside them.
    pub fn has_same_pictures(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Display for DatasetFingerprint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            pictures,
            held_out,
            left_out,
            sha256,
        } = self;
        write!(
            f,
            "{pictures} images to train on, {held_out} held out, {left_out} left out, SHA-256 {}",
            sha256.get(..12).unwrap_or_default()
        )
    }
}

fn add(hash: &mut Sha256, images: &Images) {
    let sizes = [
        images.height,
        images.width,
        images.channels,
        images.pixels.len(),
        images.labels.len(),
    ];
    for size in sizes {
        hash.update((size as u64).to_le_bytes());
    }
    hash.update(&images.pixels);
    hash.update(&images.labels);
}
