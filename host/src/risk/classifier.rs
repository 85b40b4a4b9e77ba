//! A small convolutional classifier: the judge of images, never a discriminator's.

use dfdx::prelude::{
    Backward, Cpu, HasErr, OwnedTape, PutTape, TensorFromVec, cross_entropy_with_logits_loss,
};

use super::knn::Points;
use crate::config::Image;
use crate::data::{Images, MAX_CLASSES};
use crate::generator::{FloatLayer, pixel_value};
use crate::memory::reserved;
use crate::nn::activation::LEAKY_SLOPE;
use crate::nn::buffers::Buffers;
use crate::nn::network::{Block, BlockSpec, Network};
use crate::nn::op::{GeneratorOp, Op};
use crate::nn::optim::{Adam, Moments, update};
use crate::nn::{Activation, Backend, Conv, DeviceError, Geometry, GradMask, Margins};
use crate::random::{self, Purpose};

/// Why a classifier could not be trained or used.
#[derive(Debug, thiserror::Error)]
pub enum ClassifierError {
    /// Images of this format, or so many classes, cannot be told apart; the reason.
    #[error("{0}")]
    Unsuited(String),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Layers of a classifier, before its last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layers {
    convolutions: &'static [Convolution],
    /// Units of the dense layer that follows: the features.
    pub features: usize,
    activation: Activation,
}

/// A convolution of a classifier, which pads by `(kernel - 1) / 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Convolution {
    channels: usize,
    kernel: usize,
    stride: usize,
}

/// A convolution with a `kernel` of so many pixels a side.
const fn convolution(channels: usize, kernel: usize, stride: usize) -> Convolution {
    Convolution {
        channels,
        kernel,
        stride,
    }
}

/// The weaker test.
pub const SMALL: Layers = Layers {
    convolutions: &[convolution(16, 4, 2), convolution(32, 4, 2)],
    features: 16,
    activation: Activation::LeakyRelu(LEAKY_SLOPE),
};

/// The stronger test, and what features come from.
pub const STRONG: Layers = Layers {
    convolutions: &[
        convolution(32, 4, 2),
        convolution(64, 4, 2),
        convolution(64, 3, 1),
        convolution(96, 3, 2),
    ],
    features: 64,
    activation: Activation::LeakyRelu(LEAKY_SLOPE),
};

/// The critic that goes with a generator onto a device.
pub const CRITIC: Layers = Layers {
    convolutions: &[],
    features: 64,
    activation: Activation::Relu,
};

/// Largest side of images that can be judged, in pixels.
pub const LARGEST_SIDE_PX: usize = 1 << 12;

impl Layers {
    /// Checks that there is memory for the layers and for a batch of their maps; what stands
    /// for the numbers' origin.
    fn check(&self, image: Image, classes: usize) -> Result<(), String> {
        let Image {
            height,
            width,
            channels,
        } = image;
        if height.max(width) > LARGEST_SIDE_PX || !matches!(channels, 1 | 3) {
            return Err(format!(
                "image {height}x{width} with {channels} channels: at most {LARGEST_SIDE_PX} \
                 pixels a side, with 1 or 3 channels, can be judged"
            ));
        }
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(format!(
                "classes is {classes}: from 1 to {MAX_CLASSES} are possible"
            ));
        }
        let what = format!("the format {height}x{width}x{channels}");
        let specs = self.specs(image, classes);
        let values = specs.iter().map(|spec| {
            let (rows, columns) = spec.op.weight_shape();
            rows * columns + BATCH * spec.op.output_len()
        });
        let room = reserved::<f32>(what, &[values.sum()]);
        room.map(drop).map_err(|e| e.to_string())
    }

    fn specs(&self, image: Image, classes: usize) -> Vec<BlockSpec> {
        let mut specs = Vec::new();
        let block = |name: String, op, activation| BlockSpec {
            name,
            op,
            norm: false,
            spectral: false,
            activation,
        };
        let (mut size, mut c_in) = ([image.height, image.width], image.channels);
        for (i, convolution) in self.convolutions.iter().enumerate() {
            let &Convolution {
                channels: c_out,
                kernel,
                stride,
            } = convolution;
            let pad = (kernel - 1) / 2;
            let pad = Margins {
                top: pad,
                left: pad,
                bottom: pad,
                right: pad,
            };
            // A map that has become smaller than the kernel is left as it is.
            let Some(geometry) = Geometry::conv(size, kernel, stride, pad) else {
                continue;
            };
            let conv = Conv {
                geometry,
                c_in,
                c_out,
            };
            let name = format!("conv{}", i + 1);
            specs.push(block(name, Op::Conv(conv), self.activation));
            (size, c_in) = (geometry.small, c_out);
        }
        let dense = |n_in, n_out| Op::Dense {
            n_in,
            n_out,
            c_out: n_out,
        };
        let n_in = size[0] * size[1] * c_in;
        specs.push(block(
            "features".into(),
            dense(n_in, self.features),
            self.activation,
        ));
        let last = dense(self.features, classes);
        specs.push(block("classes".into(), last, Activation::Linear));
        specs
    }
}

/// Images to classes, by way of features.
pub struct Classifier {
    classes: usize,
    /// All layers but the last; then the last.
    networks: [Network<f32, Cpu>; 2],
}

/// How long to train, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Images seen in all.
    pub seen: usize,
    /// Adam's rate at first; it falls to zero.
    pub rate: f32,
    /// Largest shift of an image, in pixels, to see more of them; 0 for none.
    pub shift: usize,
    /// Seed of the weights, the order and the shifts.
    pub seed: u64,
}

const BATCH: usize = 64;
/// Times that an image may be seen.
const MAX_EPOCHS: usize = 60;
/// Pixels of the images that the schedules are made for.
const USUAL_PX: usize = 28 * 28;

/// `seen`, or fewer where `images` are few or large.
pub(super) fn affordable(seen: usize, images: &Images) -> usize {
    let area_px = (images.height * images.width).max(1);
    let by_size = seen * USUAL_PX / area_px.max(USUAL_PX);
    by_size.min(MAX_EPOCHS * images.len()).max(BATCH)
}

impl Classifier {
    /// A classifier with random weights (He et al. 2015).
    pub fn new(
        layers: Layers,
        image: Image,
        classes: usize,
        seed: u64,
    ) -> Result<Self, ClassifierError> {
        let mut rng = random::stream(seed, Purpose::ClassifierInit, 0);
        let classifier = Self::build(layers, image, classes, |name, (inputs, _), values| {
            if name.ends_with(".weight") {
                let deviation = (2.0 / inputs as f32).sqrt();
                values.fill_with(|| deviation * random::normal(&mut rng));
            }
            Ok(())
        });
        classifier.map_err(ClassifierError::Unsuited)
    }

    /// A classifier with the values that `fill` gives, by name and shape.
    pub(super) fn build(
        layers: Layers,
        image: Image,
        classes: usize,
        mut fill: impl FnMut(&str, (usize, usize), &mut [f32]) -> Result<(), String>,
    ) -> Result<Self, String> {
        layers.check(image, classes)?;
        let network = |specs: Vec<BlockSpec>| {
            let block = |spec: BlockSpec| {
                let (rows, cols) = spec.op.weight_shape();
                Block::new(spec, vec![0.0; rows * cols], Vec::new(), &Cpu::default())
            };
            let blocks: Result<_, _> = specs.into_iter().map(block).collect();
            Ok::<_, String>(Network {
                blocks: blocks.map_err(|e: <Cpu as HasErr>::Err| format!("{e:?}"))?,
                buffers: Buffers::default(),
            })
        };
        let mut body = layers.specs(image, classes);
        let last = body.split_off(body.len() - 1);
        let mut networks: [Network<f32, Cpu>; 2] = [network(body)?, network(last)?];
        for network in &mut networks {
            let names: Vec<String> = network.params().into_iter().map(|(name, _)| name).collect();
            for (name, param) in names.iter().zip(network.params_mut()) {
                let mut values = vec![0.0; param.values.len()];
                fill(name, param.shape, &mut values)?;
                param.restore(values, None);
            }
        }
        Ok(Self { classes, networks })
    }

    /// The layers of a classifier of two classes without convolutions, the last one's output
    /// being how much likelier the second class is (the difference of the logits).
    pub(super) fn two_dense_layers(&self) -> Option<Vec<FloatLayer>> {
        let dense = |n_in, n_out| GeneratorOp::Dense {
            n_in,
            n_out,
            c_out: n_out,
        };
        let layer = |network: &Network<f32, Cpu>| {
            let [block] = network.blocks.as_slice() else {
                return None;
            };
            let params = network.params().into_iter();
            let mut values = params.map(|(_, param)| param.values.to_vec());
            Some(FloatLayer {
                op: dense(block.spec.op.input_len(), block.spec.op.output_len()),
                weight: values.next()?,
                bias: values.next()?,
                activation: block.spec.activation,
            })
        };
        let first = layer(&self.networks[0])?;
        let mut last = layer(&self.networks[1])?;
        let difference = |pair: &[f32]| Some(pair.get(1)? - pair.first()?);
        last.weight = last.weight.chunks_exact(2).filter_map(difference).collect();
        last.bias = last.bias.chunks_exact(2).filter_map(difference).collect();
        last.op = dense(last.weight.len(), 1);
        Some(vec![first, last])
    }

    /// The parameters with their names and shapes.
    pub(super) fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let params = self.networks.iter().flat_map(Network::params);
        let tensor = |(name, param): (String, &crate::nn::Param<f32, Cpu>)| {
            (
                name,
                vec![param.shape.0, param.shape.1],
                param.values.to_vec(),
            )
        };
        params.map(tensor).collect()
    }

    /// Trains on images of its format and their `labels`; `progress` gets
    /// `(steps done, steps in all)`.
    pub fn train(
        &mut self,
        images: &Images,
        labels: &[u8],
        schedule: &Schedule,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), ClassifierError> {
        let n = images.len();
        let steps = schedule.seen.div_ceil(BATCH);
        let mut moments = [0, 1].map(|i| Moments::zeros(&self.networks[i]));
        let mut order = (usize::MAX, Vec::new());
        for step in 0..steps {
            let mut rng = random::stream(schedule.seed, Purpose::ClassifierShift, step as u64);
            let mut pixels = Vec::with_capacity(BATCH * images.image_len());
            let mut targets = vec![0.0; BATCH * self.classes];
            for (at, target) in targets.chunks_exact_mut(self.classes).enumerate() {
                let (epoch, position) = ((step * BATCH + at) / n, (step * BATCH + at) % n);
                if order.0 != epoch {
                    let mut rng =
                        random::stream(schedule.seed, Purpose::ClassifierOrder, epoch as u64);
                    order = (epoch, random::permutation(&mut rng, n));
                }
                let i = order.1[position] as usize;
                let by = |rng: &mut _| {
                    random::below(rng, 2 * schedule.shift + 1) as isize - schedule.shift as isize
                };
                let shift = (by(&mut rng), by(&mut rng));
                push_shifted(images, i, shift, &mut pixels);
                if let Some(target) = target.get_mut(usize::from(labels[i])) {
                    *target = 1.0;
                }
            }
            let rate = schedule.rate * (1.0 - step as f32 / steps as f32);
            let adam = Adam::at(step as u64 + 1, rate, 0.9, 0.999);
            self.step(pixels, targets, &mut moments, adam)?;
            progress(step + 1, steps);
        }
        Ok(())
    }

    fn step(
        &mut self,
        pixels: Vec<f32>,
        targets: Vec<f32>,
        moments: &mut [Moments; 2],
        adam: Adam,
    ) -> Result<(), ClassifierError> {
        let device = Cpu::default();
        let mask = |input| GradMask {
            input,
            weights: true,
        };
        let shape = (BATCH, pixels.len() / BATCH);
        let x = device
            .try_tensor_from_vec(pixels, shape)
            .map_err(DeviceError::new)?;
        let targets = device
            .try_tensor_from_vec(targets, (BATCH, self.classes))
            .map_err(DeviceError::new)?;
        let x = x.put_tape(OwnedTape::default());
        let [body, last] = &mut self.networks;
        let pass = Cpu::forward_pass(body, x, mask(false)).map_err(DeviceError::new)?;
        let pass = Cpu::forward_pass(last, pass.0, mask(true)).map_err(DeviceError::new)?;
        let loss = cross_entropy_with_logits_loss(pass.0, targets);
        let mut grads = loss.try_backward().map_err(DeviceError::new)?;
        update(body, &mut moments[0], &mut grads, adam).map_err(DeviceError::new)?;
        update(last, &mut moments[1], &mut grads, adam).map_err(DeviceError::new)?;
        Ok(())
    }

    /// The features of images.
    pub fn features(&self, images: &Images) -> Result<Points, ClassifierError> {
        let [body, _] = &self.networks;
        let mut values = Vec::new();
        for start in (0..images.len()).step_by(BATCH) {
            let n = BATCH.min(images.len() - start);
            let pixels = &images.pixels[start * images.image_len()..][..n * images.image_len()];
            let x: Vec<f32> = pixels.iter().map(|&p| pixel_value(p)).collect();
            values.extend(forward(body, x, n)?);
        }
        let width = body.blocks.last().map_or(1, |b| b.spec.op.output_len());
        Ok(Points { values, width })
    }

    /// The likeliest class of each row of features.
    pub fn classify(&self, features: &Points) -> Result<Vec<u8>, ClassifierError> {
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let logits = forward(&self.networks[1], features.values.clone(), features.len())?;
        let best = |row: &[f32]| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(class, _)| class as u8)
        };
        Ok(logits.chunks_exact(self.classes).map(best).collect())
    }

    /// How many rows of features it takes for what `labels` says.
    pub fn hits(&self, features: &Points, labels: &[u8]) -> Result<usize, ClassifierError> {
        let found = self.classify(features)?;
        Ok(found.iter().zip(labels).filter(|(a, b)| a == b).count())
    }
}

fn forward(
    network: &Network<f32, Cpu>,
    x: Vec<f32>,
    n: usize,
) -> Result<Vec<f32>, ClassifierError> {
    let shape = (n, x.len() / n.max(1));
    let x = Cpu::default()
        .try_tensor_from_vec(x, shape)
        .map_err(DeviceError::new)?;
    let mask = GradMask {
        input: false,
        weights: false,
    };
    let (y, _) = Cpu::forward_pass(network, x, mask).map_err(DeviceError::new)?;
    Ok(y.as_vec())
}

/// Image `i`, from -1 to 1, moved by `(dy, dx)` pixels; its edge goes on.
fn push_shifted(images: &Images, i: usize, (dy, dx): (isize, isize), into: &mut Vec<f32>) {
    let image = images.image(i);
    for y in 0..images.height {
        let from_y = y.saturating_add_signed(dy).min(images.height - 1);
        for x in 0..images.width {
            let from_x = x.saturating_add_signed(dx).min(images.width - 1);
            let at = (from_y * images.width + from_x) * images.channels;
            into.extend(
                image[at..at + images.channels]
                    .iter()
                    .map(|&p| pixel_value(p)),
            );
        }
    }
}
