//! The configuration of a run: image format, both networks, training.
//!
//! The presets are TOML files in `host/presets/`; a user's own file has the same form. The run
//! folder keeps the resolved one.

mod choose;
mod data;
mod dcgan;
mod limits;
mod networks;
mod presets;
mod training;

use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use gan_core::Shape;
use serde::{Deserialize, Serialize};

use crate::console::check_text;
use crate::data::MAX_CLASSES;
use crate::files::read_regular;
use crate::nn::network::BlockSpec;

pub use choose::{FEW_IMAGES, default_budget, default_side_px};
pub use data::Data;
pub use dcgan::{Capacity, SIDES_PX};
pub use networks::{ConvLayer, ConvTransposeLayer, DenseLayer, Discriminator, FirstMap, Generator};
pub use presets::PRESETS;
pub use training::{Augmentation, Loss, Training};

/// Everything that decides the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the model, which goes into the `.gan` file.
    pub name: String,
    /// The images' format.
    pub image: Image,
    /// The network that goes to the device.
    pub generator: Generator,
    /// The generator's opponent, which stays on the host.
    pub discriminator: Discriminator,
    /// How both are trained.
    #[serde(default)]
    pub training: Training,
    /// Origin of the images.
    #[serde(default)]
    pub data: Data,
}

/// Size of an image, in pixels, and its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
}

impl Image {
    /// The same in the type of `gan-core`.
    pub const fn shape(self) -> Shape {
        Shape {
            h: self.height,
            w: self.width,
            c: self.channels,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Error,
    },
    /// Not TOML, a key nobody knows, or a value of the wrong type.
    #[error("{origin}, {message}")]
    Syntax {
        /// File or preset.
        origin: String,
        /// Line, problem and remedy.
        message: String,
    },
    /// There is no such preset.
    #[error("there is no preset `{name}`; {help}")]
    UnknownPreset {
        /// The name that was asked for.
        name: String,
        /// The presets that there are.
        help: String,
    },
    /// The layers do not make a network.
    #[error("{origin}: {message}")]
    Shape {
        /// File or preset.
        origin: String,
        /// Problem and remedy.
        message: String,
    },
}

impl Config {
    /// Reads a file; its values are not checked, because options may replace some.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse_unchecked(&read_text(path)?, &path.display().to_string())
    }

    /// Parses and checks `text`, which came from `origin`.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config = Self::parse_unchecked(text, origin)?;
        config.check(origin)?;
        Ok(config)
    }

    fn parse_unchecked(text: &str, origin: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Syntax {
            origin: origin.to_owned(),
            message: explain(text, &error),
        })
    }

    /// Checks that the values make sense together.
    pub fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let shape = |message: String| ConfigError::Shape {
            origin: origin.to_owned(),
            message,
        };
        check_name(&self.name).map_err(shape)?;
        check_names("data.labels", &self.data.labels).map_err(shape)?;
        check_names("data.class_names", &self.data.class_names).map_err(shape)?;
        if !matches!(self.image.channels, 1 | 3) {
            let channels = self.image.channels;
            return Err(shape(format!(
                "image.channels is {channels}, use 1 (grey) or 3 (RGB)"
            )));
        }
        let classes = self.data.class_names.len();
        if classes > MAX_CLASSES {
            return Err(shape(format!(
                "data.class_names has {classes} names, at most {MAX_CLASSES} are possible"
            )));
        }
        if let Some(groups) = self.data.groups.filter(|&g| g == 1 || g > MAX_CLASSES) {
            return Err(shape(format!(
                "data.groups is {groups}: from 2 to {MAX_CLASSES}, or 0 for none"
            )));
        }
        self.training.check().map_err(shape)?;
        self.check_sizes().map_err(shape)?;
        let generator = self.generator_blocks().map_err(shape)?;
        let discriminator = self.discriminator_blocks().map_err(shape)?;
        let generator = generator.into_iter().map(BlockSpec::from);
        let blocks: Vec<_> = generator.chain(discriminator).collect();
        self.check_memory(&blocks).map_err(|e| shape(e.to_string()))
    }
}

/// Most bytes of a name: file systems take 255 for a path's component.
const LONGEST_NAME_BYTES: usize = 100;

/// Checks that a name can be a run's folder, a path's one component on every system.
fn check_name(name: &str) -> Result<(), String> {
    check_text("name", name)?;
    let reserved = |c: char| matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    if name.starts_with('.') || name.ends_with(['.', ' ']) || name.contains(reserved) {
        return Err(format!(
            "name is `{name}`, which cannot be a folder's name everywhere: use letters, digits, \
             `-` and `_`"
        ));
    }
    if name.len() > LONGEST_NAME_BYTES {
        let bytes = name.len();
        return Err(format!(
            "name has {bytes} bytes, the most is {LONGEST_NAME_BYTES}"
        ));
    }
    Ok(())
}

/// Checks that classes have names to show, and that no two share one.
pub fn check_names(what: &str, names: &[String]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for (class, name) in names.iter().enumerate() {
        check_text(&format!("{what}: the name of class {class}"), name)?;
        if !seen.insert(name) {
            return Err(format!("{what} has two classes `{name}`: rename one"));
        }
    }
    Ok(())
}
/// The most bytes of a configuration.
const TEXT_BYTES: u64 = 1 << 20;

/// The text of a configuration.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read = read_regular(path, TEXT_BYTES).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    });
    read.map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Line, problem, and for an unknown key the nearest known one.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text[..start].matches('\n').count();
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let nearest = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => known
            .iter()
            .max_by(|a, b| {
                let likeness = |key: &str| strsim::jaro_winkler(unknown, key);
                likeness(a).total_cmp(&likeness(b))
            })
            .map(|key| format!("; did you mean `{key}`?")),
        _ => None,
    };
    format!("line {line}: {message}{}", nearest.unwrap_or_default())
}
