//! A safetensors file of any float type, as f32.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Outermost first.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f32>,
}

/// The tensors of a file, by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// What `BatchNorm` counts and nothing needs.
const COUNTER: &str = "num_batches_tracked";

/// Reads a file; the lines are tensors with a type or values that no layer can have. An error
/// says why it is no safetensors file.
pub fn read(bytes: &[u8]) -> Result<(Tensors, Vec<String>), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = Tensors::new();
    let mut problems = Vec::new();
    for (name, view) in file.iter() {
        if name.rsplit('.').next() == Some(COUNTER) {
            continue;
        }
        let shape = view.shape().to_vec();
        let values = values(&view).unwrap_or_else(|| {
            problems.push(format!(
                "{name} is of type {:?}: F32, F64, F16 and BF16 can be read",
                view.dtype()
            ));
            // Its shape is still checked.
            vec![0.0; shape.iter().product()]
        });
        if !values.iter().all(|v| v.is_finite()) {
            problems.push(format!("{name} has values that are not numbers"));
        }
        tensors.insert(name.to_owned(), Tensor { shape, values });
    }
    problems.sort();
    Ok((tensors, problems))
}

fn values(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|&chunk| value(chunk)).collect()
}
