//! Weights for PyTorch: a safetensors file in its names and layouts.
//!
//! Layer `i` is `i.weight` and `i.bias`. The first ones are `Linear`, `[c * h * w, n_in]`,
//! whose output is a map `[c, h, w]`; the others are `ConvTranspose2d`, `[c_in, c_out, k, k]`. What
//! the shapes do not say (stride, crop, activation) is in the metadata's one entry,
//! `generator`, as JSON.

use std::collections::HashMap;

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::generator::{FloatGenerator, FloatLayer};
use crate::nn::Activation;
use crate::nn::network::GeneratorOp;

/// The bytes of the file.
pub fn safetensors(generator: &FloatGenerator) -> Result<Vec<u8>, SafeTensorError> {
    let config = &generator.config;
    let map_of = |i: usize| {
        let map = config.generator.dense_map(i);
        [map.channels, map.height, map.width]
    };
    let mut tensors = Vec::new();
    for (i, layer) in generator.layers.iter().enumerate() {
        let map = map_of(i);
        let (shape, weight) = weight(layer, map);
        let bias = bias(layer, map);
        tensors.push((format!("{i}.weight"), shape, le_bytes(&weight)));
        tensors.push((format!("{i}.bias"), vec![bias.len()], le_bytes(&bias)));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
    });
    let layers = generator.layers.iter().enumerate();
    let layers: Vec<Value> = layers
        .map(|(i, layer)| describe(layer, map_of(i)))
        .collect();
    let about = json!({
        "name": config.name,
        "latent": config.generator.latent,
        "classes": config.data.class_names,
        "layers": layers,
    });
    let metadata = HashMap::from([("generator".to_owned(), about.to_string())]);
    safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, Some(metadata))
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Shape and values in PyTorch's layout.
fn weight(layer: &FloatLayer, map: [usize; 3]) -> (Vec<usize>, Vec<f32>) {
    let ours = &layer.weight;
    match layer.op {
        GeneratorOp::Dense { n_in, n_out, .. } => {
            let row = |place: usize| (0..n_in).map(move |i| ours[i * n_out + place]);
            (vec![n_out, n_in], places(map).flat_map(row).collect())
        }
        GeneratorOp::ConvTranspose(conv) => {
            let (taps, k) = (conv.geometry.taps(), conv.geometry.kernel);
            let kernel = |i: usize, o: usize| {
                (0..taps).map(move |tap| ours[(i * taps + tap) * conv.c_out + o])
            };
            let row = |i: usize| (0..conv.c_out).flat_map(move |o| kernel(i, o));
            let values = (0..conv.c_in).flat_map(row).collect();
            (vec![conv.c_in, conv.c_out, k, k], values)
        }
    }
}

/// A `Linear`'s has one for each value.
fn bias(layer: &FloatLayer, map: [usize; 3]) -> Vec<f32> {
    let ours = &layer.bias;
    match layer.op {
        GeneratorOp::Dense { .. } => places(map).map(|place| ours[place % ours.len()]).collect(),
        _ => ours.clone(),
    }
}

/// Place in our order, `[h, w, c]`, of each value of a map in PyTorch's.
fn places([c, h, w]: [usize; 3]) -> impl Iterator<Item = usize> {
    (0..c).flat_map(move |channel| (0..h * w).map(move |pixel| pixel * c + channel))
}

fn describe(layer: &FloatLayer, map: [usize; 3]) -> Value {
    let mut about = match layer.op {
        GeneratorOp::Dense { .. } => json!({ "map": map }),
        GeneratorOp::ConvTranspose(conv) => {
            let g = conv.geometry;
            let full = |i: usize| (g.small[i] - 1) * g.stride + g.kernel;
            let (bottom, right) = (full(0) - g.top - g.big[0], full(1) - g.left - g.big[1]);
            json!({
                "kernel": g.kernel,
                "stride": g.stride,
                "crop": [g.top, g.left, bottom, right],
            })
        }
    };
    about["activation"] = layer.activation.name().into();
    if let Activation::LeakyRelu(slope) = layer.activation {
        about["slope"] = slope.into();
    }
    about
}
