//! Weights for PyTorch: a safetensors file in its names and layouts.
//!
//! Layer `i` is `i.weight` and `i.bias`. The first ones are `Linear`, `[c * h * w, n_in]`,
//! whose output is a map `[c, h, w]`; the others are `ConvTranspose2d`, `[c_in, c_out, k, k]`. What
//! the shapes do not say (stride, crop, activation) is in the metadata's one entry,
//! `generator`, as JSON.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::graph::{FloatParameters, Graph, GraphLayer, GraphOp};
use super::{ExportError, Format, Writer};
use crate::generator::FloatGenerator;
use crate::nn::Activation;

/// Weights for PyTorch.
pub const FORMAT: Format = Format {
    name: "pytorch",
    about: "The float generator as safetensors, in PyTorch's names and layouts",
    writer: Writer::Generator(safetensors),
};

/// The bytes of the file.
pub fn safetensors(generator: &FloatGenerator) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of_generator(generator)?;
    let mut tensors = Vec::new();
    for layer in &graph.layers {
        let (i, of) = (layer.index, &layer.parameters);
        let weights = layer.channels_first_weights(&of.weights);
        let bias = layer.channels_first_values(&of.bias);
        let dims = layer.channels_first_dims();
        tensors.push((format!("{i}.weight"), dims, le_bytes(&weights)));
        tensors.push((format!("{i}.bias"), vec![bias.len()], le_bytes(&bias)));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
    });
    let about = json!({
        "name": graph.name,
        "latent": graph.latent_len,
        "classes": graph.labels,
        "layers": graph.layers.iter().map(describe).collect::<Vec<_>>(),
    });
    let metadata = HashMap::from([("generator".to_owned(), about.to_string())]);
    let views = views.collect::<Result<Vec<_>, _>>()?;
    Ok(safetensors::serialize(views, Some(metadata))?)
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn describe(layer: &GraphLayer<FloatParameters>) -> Value {
    let mut about = match layer.op {
        GraphOp::Dense => {
            let map = layer.output;
            json!({ "map": [map.c, map.h, map.w] })
        }
        GraphOp::ConvTranspose(v) => json!({
            "kernel": v.kernel,
            "stride": v.stride,
            "crop": [v.crop_top, v.crop_left, v.crop_bottom, v.crop_right],
        }),
    };
    about["activation"] = layer.activation.map(Activation::name).into();
    if let Some(slope) = layer.activation.and_then(Activation::negative_slope) {
        about["slope"] = slope.into();
    }
    about
}
