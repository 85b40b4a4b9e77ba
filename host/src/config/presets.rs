//! The configurations that come with the program.

use super::{Config, ConfigError};

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
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(text, &format!("preset {name}")),
            None => Err(ConfigError::UnknownPreset {
                name: name.to_owned(),
                help: suggestion(name),
            }),
        }
    }
}

/// The names of all presets, and the one that was probably meant.
fn suggestion(name: &str) -> String {
    let names = PRESETS.map(|(known, _)| known);
    let similarity = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let nearest = names
        .into_iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let nearest = nearest.filter(|known| similarity(known) > LEAST_SIMILARITY);
    let nearest = nearest.map(|known| format!("; did you mean `{known}`?"));
    let names = names.join(", ");
    format!(
        "there are {names}, and --config FILE{}",
        nearest.unwrap_or_default()
    )
}
