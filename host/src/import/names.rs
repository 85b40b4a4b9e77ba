//! Which module of a file is which layer: as `[import]` says, or by order and shape.

use std::collections::BTreeMap;

use super::net::Section;
use super::select::first_parts;
use super::weights::{Tensor, Tensors};
use crate::nn::network::GeneratorBlock;

/// The modules of a layer, by the prefixes of their tensors' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// Linear, `ConvTranspose2d` or `Conv2d`.
    pub layer: Option<String>,
    /// `BatchNorm`.
    pub norm: Option<String>,
}

/// The name of a module's tensor.
pub fn tensor_name(module: &str, part: &str) -> String {
    match module {
        "" => part.to_owned(),
        _ => format!("{module}.{part}"),
    }
}

/// The modules of each layer; what cannot be told is added to `problems`.
pub fn assign(
    tensors: &Tensors,
    blocks: &[GeneratorBlock],
    section: &Section,
    problems: &mut Vec<String>,
) -> Vec<Modules> {
    let (layers, norms) = found(tensors, section);
    let mut layers = match &section.layers {
        Some(named) => named.clone(),
        None => in_order("layer", &layers, blocks.len(), problems),
    }
    .into_iter();
    let has_norm = blocks.iter().filter(|spec| spec.norm);
    let mut norms = match &section.norms {
        Some(named) => named.iter().filter(|n| !n.is_empty()).cloned().collect(),
        None => in_order("BatchNorm", &norms, has_norm.count(), problems),
    }
    .into_iter();
    let modules = blocks.iter().map(|spec| Modules {
        layer: layers.next(),
        norm: if spec.norm { norms.next() } else { None },
    });
    modules.collect()
}

/// A module and the tensor that its kind was told by.
type Found<'t> = (String, &'t Tensor);

/// The layers and the normalizations of a file, in natural order, dense layers first. What is
/// neither is left out.
fn found<'t>(tensors: &'t Tensors, section: &Section) -> (Vec<Found<'t>>, Vec<Found<'t>>) {
    let mut modules: BTreeMap<Vec<Piece>, (String, BTreeMap<&str, &Tensor>)> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
        let entry = modules.entry(pieces(module)).or_default();
        module.clone_into(&mut entry.0);
        entry.1.insert(part, tensor);
    }
    let (mut layers, mut norms) = (Vec::new(), Vec::new());
    let embedding = section
        .embedding
        .as_ref()
        .map(|embedding| &embedding.module);
    for (module, parts) in modules.into_values() {
        if Some(&module) == embedding {
            continue;
        }
        let weight = parts.get("weight").copied();
        let running = parts.get("running_mean").or(parts.get("running_var"));
        match (weight, running) {
            (_, Some(running)) => norms.push((module, *running)),
            (Some(weight), None) if weight.shape.len() >= 2 => layers.push((module, weight)),
            // Its weight is missing, which is found out later.
            (None, None) => layers.extend(parts.get("bias").map(|&bias| (module, bias))),
            _ => (),
        }
    }
    layers.sort_by_key(|(_, weight)| weight.shape.len() == 4);
    (layers, norms)
}

/// Modules by order, as many as are `wanted`.
fn in_order(
    kind: &str,
    found: &[Found<'_>],
    wanted: usize,
    problems: &mut Vec<String>,
) -> Vec<String> {
    if found.len() != wanted {
        let networks = first_parts(found.iter().map(|(module, _)| module.as_str()));
        let hint = match (found.len() > wanted, networks.len()) {
            (true, 2..=8) => format!(
                "; if it holds more than one network, say in [import] which: prefix = {}",
                networks.join(" or ")
            ),
            _ => String::new(),
        };
        problems.push(format!(
            "there are {} {kind} modules in it, not {wanted}{hint}",
            found.len()
        ));
    }
    for (i, (a, tensor)) in found.iter().enumerate() {
        for (b, other) in &found[i + 1..] {
            if tensor.shape == other.shape && !differ_by_number(a, b) {
                problems.push(format!(
                    "{a} and {b} are {kind} modules of one shape, {:?}, and their names do not \
                     tell which is first: name all in [import]",
                    tensor.shape
                ));
            }
        }
    }
    let modules = found.iter().take(wanted);
    modules.map(|(module, _)| module.clone()).collect()
}

/// A part of a name: numbers come in order of size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(u64),
    Text(String),
}

/// Splits a name where digits begin and end.
fn pieces(name: &str) -> Vec<Piece> {
    let mut texts: Vec<String> = Vec::new();
    for c in name.chars() {
        match texts.last_mut() {
            Some(text)
                if text.ends_with(|last: char| last.is_ascii_digit()) == c.is_ascii_digit() =>
            {
                text.push(c);
            }
            _ => texts.push(c.into()),
        }
    }
    let piece = |text: String| text.parse().map_or(Piece::Text(text), Piece::Number);
    texts.into_iter().map(piece).collect()
}

/// Whether two names are the same but for their numbers.
fn differ_by_number(a: &str, b: &str) -> bool {
    let (a, b) = (pieces(a), pieces(b));
    let alike = |(a, b): (&Piece, &Piece)| match (a, b) {
        (Piece::Number(_), Piece::Number(_)) => true,
        (a, b) => a == b,
    };
    a.len() == b.len() && a.iter().zip(&b).all(alike)
}
