//! Weights that PyTorch keeps in parts: spectral and weight normalization, folded into one tensor.

use super::names::tensor_name;
use super::weights::{Tensor, Tensors};

/// The tensors that a weight is computed from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Norm {
    /// Weight over its largest singular value, `u W v`.
    Spectral,
    /// Length and direction.
    Weight,
}

/// Names of the parts: what has the weight's shape, then the others.
const PARTS: [(Norm, &str, &[&str]); 4] = [
    (Norm::Spectral, "weight_orig", &["weight_u", "weight_v"]),
    (
        Norm::Spectral,
        "parametrizations.weight.original",
        &[
            "parametrizations.weight.0._u",
            "parametrizations.weight.0._v",
        ],
    ),
    (Norm::Weight, "weight_v", &["weight_g"]),
    (
        Norm::Weight,
        "parametrizations.weight.original1",
        &["parametrizations.weight.original0"],
    ),
];

/// Puts a `weight` in the place of its parts.
pub fn fold(tensors: &mut Tensors, problems: &mut Vec<String>) {
    for (norm, main, others) in PARTS {
        let names: Vec<String> = tensors.keys().cloned().collect();
        let modules = names
            .iter()
            .filter_map(|name| match name.strip_suffix(main)? {
                "" => Some(""),
                module => module.strip_suffix('.'),
            });
        for module in modules {
            let Some(weight) = tensors.remove(&tensor_name(module, main)) else {
                continue;
            };
            let mut parts = Vec::new();
            for other in others {
                let name = tensor_name(module, other);
                match tensors.remove(&name) {
                    Some(part) => parts.push(part),
                    None => problems.push(format!("{name} is missing beside {module}.{main}")),
                }
            }
            let folded = match (norm, parts.as_slice()) {
                (Norm::Spectral, [u, v]) => spectral(&weight, &u.values, &v.values),
                (Norm::Weight, [length]) => weight_norm(&weight, length),
                _ => continue,
            };
            let name = tensor_name(module, "weight");
            match folded {
                Some(mut folded) => {
                    let broken = parts
                        .iter()
                        .chain([&weight])
                        .find_map(|t| t.problem.clone());
                    let finite = folded.values.iter().all(|v| v.is_finite());
                    folded.problem = broken
                        .or_else(|| (!finite).then(|| "has values that are not numbers".into()));
                    tensors.insert(name, folded);
                }
                None => problems.push(format!(
                    "{name}: shapes of its parts do not fit: {:?} beside {:?}",
                    weight.shape,
                    parts.iter().map(|part| &part.shape).collect::<Vec<_>>()
                )),
            }
        }
    }
}

/// The place of each value of a tensor along dimension `dim`, and among the rest.
fn places(shape: &[usize], dim: usize) -> impl Iterator<Item = (usize, usize)> {
    let inner: usize = shape[dim + 1..].iter().product();
    let (len, count) = (shape[dim], shape.iter().product());
    (0..count).map(move |at: usize| {
        let (row, rest) = (at / inner % len, at / (inner * len) * inner + at % inner);
        (row, rest)
    })
}

/// `weight / (u W v)`, where `W` has the outputs in its rows: dimension 1 of a `ConvTranspose2d`,
/// else 0. Where both would do, the other is [`Tensor::transposed`].
fn spectral(weight: &Tensor, u: &[f32], v: &[f32]) -> Option<Tensor> {
    let dims = if weight.shape.len() == 4 { 2 } else { 1 };
    let folded = (0..dims.min(weight.shape.len())).filter_map(|dim| {
        let rows = weight.shape[dim];
        if rows == 0 || u.len() != rows || v.len() != weight.values.len() / rows {
            return None;
        }
        let terms = weight.values.iter().zip(places(&weight.shape, dim));
        let sigma: f64 = terms
            .map(|(&w, (row, rest))| f64::from(w) * f64::from(u[row]) * f64::from(v[rest]))
            .sum();
        let values = weight.values.iter().map(|&w| (f64::from(w) / sigma) as f32);
        Some(values.collect::<Vec<f32>>())
    });
    let mut folded = folded.collect::<Vec<_>>().into_iter();
    Some(Tensor {
        values: folded.next()?,
        transposed: folded.next(),
        ..weight.clone()
    })
}

/// `length * direction / |direction|`, the norm over all but the dimension that `length` has.
fn weight_norm(direction: &Tensor, length: &Tensor) -> Option<Tensor> {
    let shape = &direction.shape;
    let rows: Vec<usize> = if length.values.len() == 1 {
        vec![0; direction.values.len()]
    } else {
        let same_rank = length.shape.len() == shape.len();
        let dim = (0..shape.len()).find(|&dim| {
            same_rank && length.shape[dim] == shape[dim] && length.values.len() == shape[dim]
        })?;
        places(shape, dim).map(|(row, _)| row).collect()
    };
    let mut squares = vec![0f64; length.values.len()];
    for (&v, &row) in direction.values.iter().zip(&rows) {
        squares[row] += f64::from(v).powi(2);
    }
    let values = direction.values.iter().zip(&rows);
    let values = values.map(|(&v, &row)| {
        (f64::from(v) * f64::from(length.values[row]) / squares[row].sqrt()) as f32
    });
    Some(Tensor {
        values: values.collect(),
        ..direction.clone()
    })
}
