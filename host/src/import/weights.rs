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
    /// The values if they are a `ConvTranspose2d`'s, where those are others (spectral norm).
    pub transposed: Option<Vec<f32>>,
    /// Why no layer can have it.
    pub problem: Option<String>,
}

impl Tensor {
    /// Whether it counts something, as `n_averaged` does, and is no weight.
    pub fn is_counter(&self) -> bool {
        self.shape.is_empty() && self.problem.is_some()
    }
}

/// The tensors of a file, by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// `BatchNorm`'s count of batches, which is not needed.
const COUNTER: &str = "num_batches_tracked";

/// Reads a file. An error says what it is instead of safetensors, and what to do.
pub fn read(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| instead(bytes, &error))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        if name.rsplit('.').next() == Some(COUNTER) {
            continue;
        }
        let shape = view.shape().to_vec();
        let (values, mut problem) = match values(&view) {
            Some(values) => (values, None),
            None => {
                let kind = view.dtype();
                let problem = format!("is of type {kind:?}: F32, F64, F16 and BF16 can be read");
                // Its shape is still checked.
                (vec![0.0; shape.iter().product()], Some(problem))
            }
        };
        if !values.iter().all(|v| v.is_finite()) {
            problem = Some("has values that are not numbers".into());
        }
        let tensor = Tensor {
            shape,
            values,
            transposed: None,
            problem,
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// The Python lines that turn a file of `torch.save` into safetensors.
const FROM_PTH: &str = "
  import torch, safetensors.torch
  state = torch.load(\"G.pth\", map_location=\"cpu\")    # or one of the dictionaries in it
  safetensors.torch.save_file({n: t.clone().contiguous() for n, t in state.items()}, \"G.safetensors\")";

/// The same for Keras. Its kernels are `[h, w, out, in]` and `[in, out]`.
const FROM_KERAS: &str = "
  import keras, numpy as np, safetensors.numpy; name = dict(kernel=\"weight\", gamma=\"weight\", bias=\"bias\", beta=\"bias\", moving_mean=\"running_mean\", moving_variance=\"running_var\")
  tensors = {f\"{i}.{name[v.name.split('/')[-1].split(':')[0]]}\": np.ascontiguousarray(np.transpose(v.numpy(), (3, 2, 0, 1) if len(v.shape) == 4 else None)) for i, layer in enumerate(keras.models.load_model(\"G.keras\").layers) for v in layer.weights}
  safetensors.numpy.save_file(tensors, \"G.safetensors\")
and say in [import] channels_last = true and eps = 1e-3, which is the epsilon of Keras; its LeakyReLU has a slope of 0.3 or 0.2 where none is given";

/// The format of a file that is not safetensors.
fn instead(bytes: &[u8], error: &safetensors::SafeTensorError) -> String {
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    if bytes.starts_with(b"version https://git-lfs") {
        return "it is a Git LFS pointer, a note of where the file is: run `git lfs pull` in its \
                repository to get the file itself"
            .into();
    }
    if bytes.starts_with(b"\x89HDF") || bytes.starts_with(b"PK") && holds("model.weights.h5") {
        return format!("it is a model of Keras. In Python, convert it:{FROM_KERAS}");
    }
    // A zip archive or a pickle.
    if bytes.starts_with(b"PK") || matches!(bytes, [0x80, 2..=5, ..]) {
        return format!("it is a file of torch.save. In Python, convert it:{FROM_PTH}");
    }
    format!("{error}. From PyTorch, in Python, write it:{FROM_PTH}")
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
