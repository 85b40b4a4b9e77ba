//! Channels that are constant and cost the others their resolution.

use super::calibration_input;
use crate::generator::FloatGenerator;
use crate::nn::op::Op;

/// A channel whose value never changes, far from those of its layer's other channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DominantConstant {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The channel of the layer's output, counted from 0.
    pub channel: usize,
    /// Its value.
    pub value: f32,
    /// The largest value of the other channels, without its sign.
    pub others: f32,
}

/// Images over which a channel counts as constant.
const CONSTANT_IMAGES: usize = 64;

/// Channels that take the integers' resolution from others of their layer: all channels have one
/// scale, and theirs is set by a constant, such as the bias of a channel without weights.
pub fn dominant_constants(generator: &FloatGenerator) -> Vec<DominantConstant> {
    let mut x = calibration_input(generator, CONSTANT_IMAGES);
    let mut found = Vec::new();
    // The last layer's scale is that of grey levels.
    let inner = generator.layers.len().saturating_sub(1);
    for (layer, of_layer) in generator.layers.iter().take(inner).enumerate() {
        let c = Op::from(of_layer.op).c_out();
        x = of_layer.pre_activation(&x);
        of_layer.activate(&mut x);
        let mut ranges = vec![[f32::MAX, f32::MIN]; c];
        for row in x.chunks_exact(c) {
            for (range, &v) in ranges.iter_mut().zip(row) {
                *range = [range[0].min(v), range[1].max(v)];
            }
        }
        let size = |range: &[f32; 2]| range[0].abs().max(range[1].abs());
        let is_constant = |range: &[f32; 2]| range[1] - range[0] <= 1e-3 * size(range);
        let others = ranges.iter().filter(|range| !is_constant(range));
        let others = others.map(size).fold(0.0, f32::max);
        for (channel, range) in ranges.iter().enumerate() {
            if is_constant(range) && others > 0.0 && size(range) > LOUD * others {
                let value = range[1];
                found.push(DominantConstant {
                    layer,
                    channel,
                    value,
                    others,
                });
            }
        }
    }
    found
}

/// A constant of so many times what the others reach costs them more than a bit.
const LOUD: f32 = 2.0;
