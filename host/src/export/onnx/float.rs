//! A generator in floats.

use gan_core::Shape;

use super::OnnxError;
use super::chain::{Chain, Linear, Provenance};
use crate::generator::FloatGenerator;
use crate::quant::{map_shape, rows_of, runtime_op};

/// The file of a generator: what [`FloatGenerator::draw`] computes. Its input has the latent as
/// real numbers and 1 in the class's place.
pub fn float(generator: &FloatGenerator) -> Result<Vec<u8>, OnnxError> {
    let config = &generator.config;
    let mut map = Shape {
        h: 1,
        w: 1,
        c: config.input_len(),
    };
    let mut chain = Chain::new(map.c);
    for (i, layer) in generator.layers.iter().enumerate() {
        if !layer
            .weight
            .iter()
            .chain(&layer.bias)
            .all(|v| v.is_finite())
        {
            return Err(OnnxError::NotANumber { layer: i });
        }
        let (op, output) = runtime_op(layer.op, |_| map_shape(config.generator.dense_map(i)));
        let linear = Linear {
            op,
            input: map,
            output,
        };
        // Classes are ones here, as in training: no input has a unit of its own.
        let (n, places) = rows_of(layer.op, usize::MAX);
        let weights = (0..n).flat_map(places).map(|(at, _)| layer.weight[at]);
        let weights: Vec<f32> = weights.collect();
        let bias = layer.bias.iter().copied().cycle().take(n);
        let bias = linear.channels(&bias.collect::<Vec<_>>());
        let (dims, _) = linear.dims();
        chain.floats(format!("layer{i}.weight"), &dims, &linear.weights(&weights));
        chain.floats(format!("layer{i}.bias"), &[n], &bias);
        chain.linear(i, &linear);
        chain.activate(i, layer.activation);
        map = output;
    }
    let labels = config.data.class_names.iter().map(String::as_str);
    let provenance = Provenance {
        name: &config.name,
        dataset: &generator.dataset,
        steps: generator.step,
        seed: config.training.seed,
        labels: labels.collect(),
    };
    Ok(chain.finish(map, &provenance))
}
