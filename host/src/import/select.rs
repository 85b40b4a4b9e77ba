//! Which tensors of a file are the generator's, and their names without what wraps it.

use super::net::Section;
use super::weights::{Tensor, Tensors};

/// Part of a name that `torch.compile` adds.
const COMPILED: &str = "_orig_mod";
/// Prefix that `DataParallel` and `AveragedModel` add.
const WRAPPER: &str = "module.";

/// The generator's tensors.
pub struct Selected {
    /// Tensors under their names in the network.
    pub tensors: Tensors,
    /// Names of the others.
    pub unused: Vec<String>,
}

/// The tensors that `[import]` takes, and its names made to fit theirs.
pub fn select(all: Tensors, section: &mut Section, problems: &mut Vec<String>) -> Selected {
    let prefix = section.prefix.as_deref().map(unwrapped).unwrap_or_default();
    let (mut kept, mut unused): (Vec<(String, Tensor)>, _) = (Vec::new(), Vec::new());
    for (name, tensor) in all {
        let cleaned = unwrapped(&name);
        let inside = within(&cleaned, &prefix).map(str::to_owned);
        let ignored = |name: &str| {
            let mut keys = section.ignore.iter().map(|key| unwrapped(key));
            keys.any(|key| name == key || within(name, &key).is_some())
        };
        match inside {
            Some(inside) if !(tensor.is_counter() || ignored(&cleaned) || ignored(&inside)) => {
                kept.push((inside, tensor));
            }
            _ => unused.push(name),
        }
    }
    if let (Some(prefix), true) = (&section.prefix, kept.is_empty()) {
        problems.push(format!(
            "no tensor's name begins with prefix = {prefix:?}; there are {}",
            first_parts(unused.iter().map(String::as_str)).join(", ")
        ));
    }
    let mut depth = 0;
    while !kept.is_empty() && kept.iter().all(|(name, _)| name.starts_with(WRAPPER)) {
        depth += 1;
        kept.iter_mut()
            .for_each(|(name, _)| drop(name.drain(..WRAPPER.len())));
    }
    for key in section.modules_mut() {
        let mut name = unwrapped(key);
        if let Some(inside) = within(&name, &prefix) {
            name = inside.to_owned();
        }
        for _ in 0..depth {
            name = name.strip_prefix(WRAPPER).unwrap_or(&name).to_owned();
        }
        *key = name;
    }
    let mut tensors = Tensors::new();
    for (name, tensor) in kept {
        if tensors.insert(name.clone(), tensor).is_some() {
            problems.push(format!("two tensors are named {name} without {COMPILED}"));
        }
    }
    Selected { tensors, unused }
}

/// A name without the parts that `torch.compile` adds.
fn unwrapped(name: &str) -> String {
    let parts = name.split('.').filter(|&part| part != COMPILED);
    parts.collect::<Vec<_>>().join(".")
}

/// The rest of a name behind `prefix` and a point; all of it for no prefix.
fn within<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    match prefix {
        "" => Some(name),
        _ => name.strip_prefix(prefix)?.strip_prefix('.'),
    }
}

/// The first parts of names, each once.
pub fn first_parts<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let parts = names.map(|name| name.split('.').next().unwrap_or(name));
    let parts: std::collections::BTreeSet<&str> = parts.collect();
    parts.into_iter().map(|part| format!("{part:?}")).collect()
}
