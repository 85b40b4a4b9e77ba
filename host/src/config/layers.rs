//! The layers of both networks, as a configuration lists them.

use serde::{Deserialize, Serialize};

use super::Image;
use crate::nn::Activation;

/// Dense layers, of which the last makes a map, then transposed convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Latent values; the class, one-hot, comes behind them.
    pub latent: usize,
    /// Dense layers before the one that makes the first map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<DenseLayer>,
    /// From the latent, or the last hidden layer, to the first map.
    pub dense: FirstMap,
    /// From map to map, the last to the image.
    #[serde(default)]
    pub conv_transpose: Vec<ConvTransposeLayer>,
}

impl Generator {
    /// The map that dense layer `i` writes, counted from the first hidden one.
    pub fn dense_map(&self, i: usize) -> Image {
        match self.hidden.get(i) {
            Some(layer) => Image {
                height: 1,
                width: 1,
                channels: layer.units,
            },
            None => Image {
                height: self.dense.height,
                width: self.dense.width,
                channels: self.dense.channels,
            },
        }
    }

    /// The activations of all layers, first to last.
    pub fn activations_mut(&mut self) -> impl Iterator<Item = &mut Activation> {
        let hidden = self.hidden.iter_mut().map(|layer| &mut layer.activation);
        let maps = self
            .conv_transpose
            .iter_mut()
            .map(|layer| &mut layer.activation);
        hidden.chain([&mut self.dense.activation]).chain(maps)
    }
}

/// The generator's dense layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstMap {
    /// Of the map, in pixels.
    pub height: usize,
    /// Of the map, in pixels.
    pub width: usize,
    /// Of the map.
    pub channels: usize,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// A bias (or normalization) for each value of the map, not for each channel.
    #[serde(default)]
    pub per_value: bool,
    /// After it.
    pub activation: Activation,
}

/// One transposed convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeLayer {
    /// Of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Output pixels per input pixel.
    pub stride: usize,
    /// Cut off at the top, left, bottom and right, in pixels.
    pub crop: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}

/// Convolutions, then dense layers; the judgement (one dense unit and the projection on
/// the class) follows by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// From map to map.
    #[serde(default)]
    pub conv: Vec<ConvLayer>,
    /// Hidden dense layers behind the maps.
    #[serde(default)]
    pub dense: Vec<DenseLayer>,
    /// Weights over their largest singular value, in every layer (Miyato et al. 2018).
    #[serde(default)]
    pub spectral_norm: bool,
}

/// One convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvLayer {
    /// Of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Input pixels per output pixel.
    pub stride: usize,
    /// Zeros added at the top, left, bottom and right, in pixels.
    pub pad: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}

/// One hidden dense layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseLayer {
    /// Values out.
    pub units: usize,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// After it.
    pub activation: Activation,
}
