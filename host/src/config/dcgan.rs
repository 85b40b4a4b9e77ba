//! Convolutional networks for square images of any size and colour (Radford et al. 2016).

use super::{
    Config, ConvLayer, ConvTransposeLayer, Data, Discriminator, FirstMap, Generator, Image,
    Training,
};
use crate::nn::Activation;
use crate::nn::activation::LEAKY_SLOPE;

/// Sides of the images that [`Config::dcgan`] has networks for, in pixels: a first map of 4 to
/// 7 pixels a side, doubled two to four times.
pub const SIDES_PX: [usize; 11] = [16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96];

/// Values of a latent.
const LATENT_LEN: usize = 64;
/// Smallest side of a first map, in pixels.
const FIRST_PX: usize = 4;
/// Channels are multiples of this, which the device's inner loops take at a time.
const CHANNEL_STEP: usize = 4;

/// How large a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// A generator that a Pico runs in a second.
    Full,
    /// A generator of at most 120 KB of flash, for small boards.
    Tiny,
}

/// Channels of a generator's maps, from a first map of 4x4 pixels to the last but one.
const fn generator_channels(doublings: usize, capacity: Capacity) -> &'static [usize] {
    match (doublings, capacity) {
        (2, Capacity::Full) => &[96, 48],
        (2, Capacity::Tiny) => &[56, 24],
        (3, Capacity::Full) => &[96, 52, 32],
        (3, Capacity::Tiny) => &[52, 32, 24],
        (_, Capacity::Full) => &[128, 64, 48, 32],
        (_, Capacity::Tiny) => &[48, 32, 24, 16],
    }
}

/// Channels of a discriminator's maps; it stays on the host.
const fn discriminator_channels(doublings: usize) -> &'static [usize] {
    match doublings {
        2 => &[64, 128],
        3 => &[32, 64, 128],
        _ => &[32, 64, 128, 128],
    }
}

impl Config {
    /// A network for images of `side_px` a side; `None` for a side that is not in
    /// [`SIDES_PX`].
    pub fn dcgan(side_px: usize, channels: usize, capacity: Capacity) -> Option<Self> {
        if !SIDES_PX.contains(&side_px) {
            return None;
        }
        let doublings = (side_px / FIRST_PX).ilog2() as usize;
        let first_px = side_px >> doublings;
        let kind = if channels == 1 { "grey" } else { "color" };
        let tiny = match capacity {
            Capacity::Full => "",
            Capacity::Tiny => "-tiny",
        };
        let maps = generator_channels(doublings, capacity);
        // The first map has as many values at any side.
        let of_first = maps[0] * FIRST_PX.pow(2) / first_px.pow(2);
        let of_first = of_first.next_multiple_of(CHANNEL_STEP);
        let last = (channels, Activation::Tanh);
        let inner = maps[1..]
            .iter()
            .map(|&c| (c.min(of_first), Activation::Relu));
        let up = |(channels, activation)| ConvTransposeLayer {
            channels,
            kernel: 4,
            stride: 2,
            crop: [1; 4],
            norm: activation != Activation::Tanh,
            activation,
        };
        let down = |(i, &channels): (usize, &usize)| ConvLayer {
            channels,
            kernel: 4,
            stride: 2,
            pad: [1; 4],
            // Its statistics would hide what the images have in common.
            norm: i > 0,
            activation: Activation::LeakyRelu(LEAKY_SLOPE),
        };
        let down_channels = discriminator_channels(doublings).iter().enumerate();
        Some(Self {
            name: format!("{kind}{side_px}{tiny}"),
            image: Image {
                height: side_px,
                width: side_px,
                channels,
            },
            generator: Generator {
                latent: LATENT_LEN,
                hidden: Vec::new(),
                dense: FirstMap {
                    height: first_px,
                    width: first_px,
                    channels: of_first,
                    norm: true,
                    per_value: false,
                    activation: Activation::Relu,
                },
                conv_transpose: inner.chain([last]).map(up).collect(),
            },
            discriminator: Discriminator {
                conv: down_channels.map(down).collect(),
                ..Discriminator::default()
            },
            training: Training {
                batch: 16,
                learning_rate: 8e-4,
                ..Training::default()
            },
            data: Data::default(),
        })
    }
}
