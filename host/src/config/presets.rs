//! The configurations that come with the program.

use super::{Capacity, Config, ConfigError};

/// Presets by name.
pub const PRESETS: [(&str, &str); 4] = [
    ("fashion", include_str!("../../presets/fashion.toml")),
    ("avatar", include_str!("../../presets/avatar.toml")),
    ("article", include_str!("../../presets/article.toml")),
    ("article-bn", include_str!("../../presets/article-bn.toml")),
];

/// Names that presets had before 0.1.0.
const OLD_NAMES: [(&str, &str); 2] = [("seed", "article"), ("seed-relu", "article-bn")];

/// Least similarity of a name to the one that is suggested for it.
const LEAST_SIMILARITY: f64 = 0.8;

impl Config {
    /// The preset called `name`. *Errors*: there is none; a similar name is suggested.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let renamed = OLD_NAMES.iter().find(|(old, _)| *old == name);
        let name = renamed.map_or(name, |(_, new)| *new);
        if let Some((name, text)) = PRESETS.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, &format!("preset {name}"));
        }
        by_size(name).ok_or_else(|| ConfigError::UnknownPreset {
            name: name.to_owned(),
            help: suggestion(name),
        })
    }
}

/// The network of a name like `color64` or `grey28-tiny`.
fn by_size(name: &str) -> Option<Config> {
    let (name, capacity) = match name.strip_suffix("-tiny") {
        Some(name) => (name, Capacity::Tiny),
        None => (name, Capacity::Full),
    };
    let (side_px, channels) = match name.strip_prefix("color") {
        Some(side_px) => (side_px, 3),
        None => (name.strip_prefix("grey")?, 1),
    };
    Config::dcgan(side_px.parse().ok()?, channels, capacity)
}

/// Networks by size that are named in messages.
const BY_SIZE: [&str; 4] = ["color16", "color32", "color64", "grey64"];

/// The names of all presets, and the one that was probably meant.
fn suggestion(name: &str) -> String {
    let names: Vec<&str> = PRESETS
        .iter()
        .map(|(known, _)| *known)
        .chain(BY_SIZE)
        .collect();
    let similarity = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let nearest = names
        .iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let nearest = nearest.filter(|known| similarity(known) > LEAST_SIMILARITY);
    let nearest = nearest.map(|known| format!("; did you mean `{known}`?"));
    let names = names.join(", ");
    format!(
        "there are {names}, others by size (color48, grey32-tiny), and --config FILE{}",
        nearest.unwrap_or_default()
    )
}
