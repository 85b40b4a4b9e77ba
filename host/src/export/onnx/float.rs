//! A generator in floats.

use super::chain::Chain;
use crate::export::ExportError;
use crate::export::graph::Graph;
use crate::generator::FloatGenerator;

/// The file of a generator: what [`FloatGenerator::draw`] computes. Its input has the latent as
/// real numbers and 1 in the class's place.
pub fn float(generator: &FloatGenerator) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of_generator(generator)?;
    let mut chain = Chain::new(graph.input_len());
    for layer in &graph.layers {
        let (i, of) = (layer.index, &layer.parameters);
        let weights = layer.channels_first_weights(&of.weights);
        let bias = layer.channels_first_values(&of.bias);
        let dims = layer.channels_first_dims();
        chain.floats(format!("layer{i}.weight"), &dims, &weights);
        chain.floats(format!("layer{i}.bias"), &[bias.len()], &bias);
        chain.linear(layer);
        if let Some(activation) = layer.activation {
            chain.activate(i, activation);
        }
    }
    Ok(chain.finish(&graph))
}
