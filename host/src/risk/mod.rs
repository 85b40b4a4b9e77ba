//! The confidence risk: how far generated images are from real ones.

pub mod card;
pub mod classifier;
pub mod critic;
pub mod features;
pub mod frechet;
pub mod interval;
pub mod judge;
pub mod knn;
pub mod knn_metrics;
pub mod monitor;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod page;
pub mod two_sample;
pub mod vet;

use std::path::PathBuf;

use self::classifier::ClassifierError;
use crate::quant::QuantizeError;

/// Gets what is being done, how much of it is, and how much there is.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;

/// Why images could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum RiskError {
    /// An image could not be encoded.
    #[error("cannot encode an image: {0}")]
    Picture(std::io::Error),
    /// A model could not be drawn from.
    #[error(transparent)]
    Infer(#[from] gan_core::InferError),
    /// The critic has no int8 form.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// Too few seeds pass.
    #[error(
        "{}only {found} of {tried} images pass: a lower --min-p-value or a smaller --count may \
         do, or a better model",
        class.map_or(String::new(), |class| format!("class {class}: "))
    )]
    TooRisky {
        /// The class, counted from 0; none where the model has no classes.
        class: Option<usize>,
        /// Seeds that pass.
        found: usize,
        /// Seeds that were drawn.
        tried: usize,
    },
    /// A classifier could not be trained or used.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// The file system refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of features is not usable.
    #[error("{path} holds no usable features: {reason}")]
    Features {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// Features that say nothing of these images.
    #[error("features {0}; --features takes others")]
    Unsuited(String),
    /// Too little to compare.
    #[error("{0}")]
    TooFew(String),
}
