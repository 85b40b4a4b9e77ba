//! Modules that have no form here, told by the names and shapes of their tensors.

use std::collections::BTreeMap;

use super::net::Section;
use super::weights::{Tensor, Tensors};

/// Parts of names that attention has.
const ATTENTION: [&str; 12] = [
    "attn",
    "attention",
    "self_attn",
    "self_attention",
    "query",
    "key",
    "value",
    "query_conv",
    "key_conv",
    "value_conv",
    "to_qkv",
    "in_proj_weight",
];

/// Takes modules that have no form out of the tensors, but for those that `[import]` names, and
/// says why, once for each.
pub fn refuse(
    tensors: &mut Tensors,
    section: &Section,
    classes: usize,
    problems: &mut Vec<String>,
) {
    let mut modules: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (name, tensor) in std::mem::take(tensors) {
        let (module, part) = name.rsplit_once('.').unwrap_or(("", &name));
        let parts = modules.entry(module.to_owned()).or_default();
        parts.insert(part.to_owned(), tensor);
    }
    for (module, parts) in modules {
        let reason = match section.names(&module) {
            true => None,
            false => reason(&module, &parts, classes),
        };
        match reason {
            Some(reason) => problems.push(reason),
            None => tensors.extend(parts.into_iter().map(|(part, tensor)| {
                let name = super::names::tensor_name(&module, &part);
                (name, tensor)
            })),
        }
    }
}

/// Why a module has no form.
fn reason(module: &str, parts: &BTreeMap<String, Tensor>, classes: usize) -> Option<String> {
    let mut names = module.split('.').chain(parts.keys().map(String::as_str));
    let lower = module.to_lowercase();
    if names.any(|part| ATTENTION.contains(&part.to_lowercase().as_str())) {
        return Some(format!(
            "{module} is attention, by its name: that has no form here, nor has a generator with it"
        ));
    }
    if lower.contains("instance_norm") || lower.contains("instancenorm") {
        return Some(format!(
            "{module} is InstanceNorm, by its name: it takes its statistics from each image, \
             which has no form here; BatchNorm has"
        ));
    }
    let weight = parts.get("weight")?;
    let lone = parts.len() == 1;
    let of_classes = classes > 0 && weight.shape.first() == Some(&classes);
    if lone && weight.shape.len() == 2 && (lower.contains("emb") || of_classes) {
        return Some(format!(
            "{module}.weight {:?} is an Embedding of the class, as it seems: if it is joined to the \
             latent by cat, say in [import] embedding = {{ module = {module:?}, joined = \"before\" \
             }}, or \"after\" (the latent); if it is a layer, name all in layers",
            weight.shape
        ));
    }
    if weight.shape.len() == 1 && !parts.keys().any(|part| part.starts_with("running")) {
        return Some(format!(
            "{module}.weight {:?} belongs to no layer: with one dimension and no running_mean it is \
             that of InstanceNorm, LayerNorm, GroupNorm or PReLU, which have no form here (a PReLU \
             of one number is leaky_relu of that slope); if it is not the generator's, say \
             ignore = [{module:?}] in [import]",
            weight.shape
        ));
    }
    None
}
