//! Both networks: their layers in a configuration, and the blocks that these describe.

use serde::{Deserialize, Serialize};

use super::limits::check_map;
use super::{Config, Image};
use crate::nn::network::{BlockSpec, GeneratorBlock};
use crate::nn::op::{GeneratorOp, Op};
use crate::nn::{Activation, Conv, Geometry, Margins};

/// Dense layers, of which the last makes a map, then transposed convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Latent values; the class, one-hot, comes behind them.
    pub latent: usize,
    /// Dense layers before the one that makes the first map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<DenseLayer>,
    /// The dense layer from the latent, or the last hidden layer, to the first map.
    pub dense: FirstMap,
    /// Transposed convolutions from map to map, the last one to the image.
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

/// The generator's dense layer that makes the first map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstMap {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Channels of the map.
    pub channels: usize,
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// A bias (or normalization) for each value of the map, not for each channel.
    #[serde(default)]
    pub per_value: bool,
    /// The activation that follows.
    pub activation: Activation,
}

/// One transposed convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeLayer {
    /// Channels of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Output pixels per input pixel.
    pub stride: usize,
    /// Cut off at the top, left, bottom and right, in pixels.
    pub crop: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// The activation that follows.
    pub activation: Activation,
}

/// Convolutions, then dense layers; the judgement (one dense unit and the projection on
/// the class) follows by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// Convolutions from map to map.
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
    /// Channels of its output.
    pub channels: usize,
    /// Side of the kernel, in taps.
    pub kernel: usize,
    /// Input pixels per output pixel.
    pub stride: usize,
    /// Zeros added at the top, left, bottom and right, in pixels.
    pub pad: [usize; 4],
    /// Batch normalization instead of a bias.
    pub norm: bool,
    /// The activation that follows.
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
    /// The activation that follows.
    pub activation: Activation,
}

impl Config {
    /// The number of weights of both networks.
    pub fn weights(&self) -> Result<usize, String> {
        let generator = self.generator_blocks()?.into_iter().map(BlockSpec::from);
        let blocks = generator.chain(self.discriminator_blocks()?);
        let shapes = blocks.map(|block| block.op.weight_shape());
        Ok(shapes.map(|(rows, columns)| rows * columns).sum())
    }

    /// Values into the generator: latent and one-hot class.
    pub fn input_len(&self) -> usize {
        self.generator.latent + self.data.class_names.len()
    }

    /// The generator, layer by layer; an error says which layer does not fit.
    pub fn generator_blocks(&self) -> Result<Vec<GeneratorBlock>, String> {
        let mut blocks = self.dense_blocks()?;
        blocks.extend(self.conv_transpose_blocks()?);
        if let Some(last) = blocks.last().filter(|b| b.activation != Activation::Tanh) {
            return Err(format!(
                "the last layer of the generator, {}, has to end in tanh: images go from -1 to 1",
                last.name
            ));
        }
        Ok(blocks)
    }

    /// The generator's dense layers, of which the last makes the first map.
    fn dense_blocks(&self) -> Result<Vec<GeneratorBlock>, String> {
        let first = &self.generator.dense;
        let map_len = first.height * first.width * first.channels;
        check_map(
            "generator.dense",
            [first.height, first.width],
            first.channels,
        )?;
        if map_len == 0 || self.generator.latent == 0 {
            return Err("generator.latent and the size of generator.dense must not be 0".into());
        }
        let (mut blocks, mut n_in) = (Vec::new(), self.input_len());
        for (i, layer) in self.generator.hidden.iter().enumerate() {
            if layer.units == 0 {
                return Err(format!("generator.hidden number {} has no units", i + 1));
            }
            blocks.push(layer.block(format!("hidden{}", i + 1), n_in));
            n_in = layer.units;
        }
        blocks.push(GeneratorBlock {
            name: "dense".into(),
            op: GeneratorOp::Dense {
                n_in,
                n_out: map_len,
                c_out: if first.per_value {
                    map_len
                } else {
                    first.channels
                },
            },
            norm: first.norm,
            spectral: false,
            activation: first.activation,
        });
        Ok(blocks)
    }

    /// The generator's transposed convolutions, from the first map to the image.
    fn conv_transpose_blocks(&self) -> Result<Vec<GeneratorBlock>, String> {
        let first = &self.generator.dense;
        let (mut size, mut c_in) = ([first.height, first.width], first.channels);
        let mut blocks = Vec::new();
        for (i, layer) in self.generator.conv_transpose.iter().enumerate() {
            let at = format!("generator.conv_transpose number {}", i + 1);
            let geometry = (layer.channels > 0).then_some(margins(layer.crop));
            let geometry = geometry
                .and_then(|crop| Geometry::conv_transpose(size, layer.kernel, layer.stride, crop))
                .ok_or_else(|| format!("{at} leaves nothing of its {size:?} input"))?;
            check_map(&at, geometry.big, layer.channels)?;
            blocks.push(GeneratorBlock {
                name: format!("conv_transpose{}", i + 1),
                op: GeneratorOp::ConvTranspose(Conv {
                    geometry,
                    c_in,
                    c_out: layer.channels,
                }),
                norm: layer.norm,
                spectral: false,
                activation: layer.activation,
            });
            (size, c_in) = (geometry.big, layer.channels);
        }
        let image = self.image;
        if [size[0], size[1], c_in] != [image.height, image.width, image.channels] {
            return Err(format!(
                "the generator draws {}x{}x{c_in} images, [image] says {}x{}x{} \
                 (height x width x channels): change the last layers or [image]",
                size[0], size[1], image.height, image.width, image.channels
            ));
        }
        Ok(blocks)
    }

    /// The discriminator, with the judgement as its last block: one unit, and one more
    /// per class of which only the image's own counts (Miyato and Koyama 2018).
    pub fn discriminator_blocks(&self) -> Result<Vec<BlockSpec>, String> {
        let mut blocks = Vec::new();
        let (mut size, mut c_in) = ([self.image.height, self.image.width], self.image.channels);
        for (i, layer) in self.discriminator.conv.iter().enumerate() {
            let at = format!("discriminator.conv number {}", i + 1);
            let geometry = (layer.channels > 0).then_some(margins(layer.pad));
            let geometry = geometry
                .and_then(|pad| Geometry::conv(size, layer.kernel, layer.stride, pad))
                .ok_or_else(|| format!("{at}: its kernel does not fit its {size:?} input"))?;
            check_map(&at, geometry.small, layer.channels)?;
            blocks.push(BlockSpec {
                name: format!("conv{}", i + 1),
                op: Op::Conv(Conv {
                    geometry,
                    c_in,
                    c_out: layer.channels,
                }),
                norm: layer.norm,
                spectral: false,
                activation: layer.activation,
            });
            (size, c_in) = (geometry.small, layer.channels);
        }
        let mut n_in = size[0] * size[1] * c_in;
        for (i, layer) in self.discriminator.dense.iter().enumerate() {
            if layer.units == 0 {
                return Err(format!("discriminator.dense number {} has no units", i + 1));
            }
            blocks.push(layer.block(format!("dense{}", i + 1), n_in).into());
            n_in = layer.units;
        }
        let judgement = DenseLayer {
            units: 1 + self.data.class_names.len(),
            norm: false,
            activation: Activation::Linear,
        };
        blocks.push(judgement.block("judgement".into(), n_in).into());
        for block in &mut blocks {
            block.spectral = self.discriminator.spectral_norm;
        }
        Ok(blocks)
    }
}

impl DenseLayer {
    /// The layer as a block that reads `n_in` values.
    fn block(&self, name: String, n_in: usize) -> GeneratorBlock {
        GeneratorBlock {
            name,
            op: GeneratorOp::Dense {
                n_in,
                n_out: self.units,
                c_out: self.units,
            },
            norm: self.norm,
            spectral: false,
            activation: self.activation,
        }
    }
}

fn margins([top, left, bottom, right]: [usize; 4]) -> Margins {
    Margins {
        top,
        left,
        bottom,
        right,
    }
}
