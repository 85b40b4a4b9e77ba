//! Where the images come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Colour, Fit};

/// Source of the images; none means the set that comes with the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// IDX files, a folder of images or a tile sheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Width and height of a sheet's tiles, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tile: Option<(usize, usize)>,
    /// Names for classes that are only numbers in the data, as in IDX files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// How images of another aspect ratio are fitted: "crop", "pad" or "stretch".
    #[serde(skip_serializing_if = "is_default")]
    pub fit: Fit,
    /// Colour behind transparent pixels and beside padded images.
    #[serde(skip_serializing_if = "is_default")]
    pub background: Colour,
    /// Whether IDX files have rows for columns, as EMNIST's do.
    #[serde(skip_serializing_if = "is_default")]
    pub transpose: bool,
    /// Whether any number of files of a folder may be left out.
    #[serde(skip_serializing_if = "is_default", alias = "accept_losses")]
    pub skip_invalid: bool,
    /// Groups of alike images that are made classes, where the images have none; a network by
    /// the size of the images chooses their number itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Names of the classes, filled in from the data.
    pub class_names: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
