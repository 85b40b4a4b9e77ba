//! The models that are counted, the presets' shapes with reproducible noise for weights,
//! because instructions do not depend on values; and small ones of every geometry, for
//! their bits.

use anyhow::Context;
use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::latent::{LATENT_SCALE, Pcg32};
use gan_core::types::Window;
use gan_core::{Activation, Function, Multiplier, Op, Quant, Shape, WeightBits};

/// A transposed convolution: `[kernel, stride, crop before, crop after, channels]`.
type Conv = [usize; 5];

/// A generator's shapes.
pub struct Preset {
    pub name: String,
    latent_len: u16,
    class_count: usize,
    dense: [usize; 3],
    convs: Vec<Conv>,
    relu: bool,
}

/// `host/presets`, and the 64x64 colour generator with SAME padding.
pub fn presets() -> [Preset; 3] {
    let preset = |name: &str, latent_len, class_count, dense, convs: &[Conv], relu| Preset {
        name: name.into(),
        latent_len,
        class_count,
        dense,
        convs: convs.to_vec(),
        relu,
    };
    let fashion = [[4, 2, 1, 1, 32], [4, 2, 1, 1, 16], [3, 1, 1, 1, 1]];
    let avatar = [[4, 2, 1, 1, 48], [4, 2, 1, 1, 32], [3, 1, 1, 1, 3]];
    let article = [
        [5, 1, 2, 2, 128],
        [5, 2, 1, 2, 128],
        [5, 2, 1, 2, 64],
        [5, 2, 1, 2, 3],
    ];
    [
        preset("fashion", 32, 10, [7, 7, 48], &fashion, true),
        preset("avatar", 32, 0, [4, 4, 64], &avatar, true),
        preset("article", 100, 0, [8, 8, 256], &article, false),
    ]
}

/// Small generators of one or two transposed convolutions: kernels from 1 to 7, strides
/// from 1 to 3, any crops, widths and channel counts from 1 on.
pub fn cases() -> Vec<Preset> {
    let mut rng = Pcg32::new(11);
    let mut below = |n: usize| (rng.next_u32() >> 8) as usize % n;
    let mut cases = Vec::new();
    while cases.len() < 40 {
        let dense = [1 + below(4), 1 + below(16), 1 + below(17)];
        let mut conv = || {
            let (kernel, stride) = (1 + below(7), 1 + below(3));
            [kernel, stride, below(kernel), below(kernel), 1 + below(9)]
        };
        let convs = vec![conv(), conv()];
        let fits = |side: usize| {
            let out = |side: usize, c: &Conv| ((side - 1) * c[1] + c[0]).checked_sub(c[2] + c[3]);
            let first = out(side, &convs[0]).filter(|&side| side > 0);
            let last = first.and_then(|side| out(side, &convs[1]));
            last.is_some_and(|side| side > 0)
        };
        if fits(dense[0]) && fits(dense[1]) {
            cases.push(Preset {
                name: format!("case{}", cases.len()),
                latent_len: 1 + below(30) as u16,
                class_count: 0,
                dense,
                convs,
                relu: below(2) == 0,
            });
        }
    }
    cases
}

/// A layer's owned numbers.
struct Numbers {
    op: Op,
    shapes: [Shape; 2],
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    output: Quant,
    last: bool,
}

impl Preset {
    /// The `.gan` file.
    pub fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let mut rng = Pcg32::new(7);
        let input_len = usize::from(self.latent_len) + self.class_count;
        let mut shape = Shape {
            h: 1,
            w: 1,
            c: input_len,
        };
        let [h, w, c] = self.dense;
        let mut layers = vec![self.layer(&mut rng, Op::Dense, [shape, Shape { h, w, c }], false)];
        for (i, &[kernel, stride, before, after, c]) in self.convs.iter().enumerate() {
            shape = layers[i].shapes[1];
            let side = |len: usize| (len - 1) * stride + kernel - before - after;
            let output = Shape {
                h: side(shape.h),
                w: side(shape.w),
                c,
            };
            let op = Op::ConvTranspose(Window {
                kernel,
                stride,
                crop_top: before,
                crop_left: before,
                crop_bottom: after,
                crop_right: after,
            });
            let last = i + 1 == self.convs.len();
            layers.push(self.layer(&mut rng, op, [shape, output], last));
        }
        let table: [u8; 256] = std::array::from_fn(tanh);
        let specs: Vec<LayerSpec> = layers.iter().map(|layer| layer.spec(&table)).collect();
        let labels = vec!["class"; self.class_count];
        let spec = ModelSpec {
            name: &self.name,
            dataset: "noise",
            labels: &labels,
            latent_len: self.latent_len,
            steps: 0,
            seed: 7,
            layers: &specs,
        };
        let mut bytes = vec![0; encoded_bytes(&spec)];
        encode(&spec, &mut bytes).context("the model is not valid")?;
        Ok(bytes)
    }

    fn layer(&self, rng: &mut Pcg32, op: Op, shapes: [Shape; 2], last: bool) -> Numbers {
        let (channels, terms, taps) = match op {
            Op::Dense => (shapes[1].len(), shapes[0].len(), shapes[0].len()),
            Op::ConvTranspose(v) => {
                let taps = v.kernel * v.kernel * shapes[0].c;
                (shapes[1].c, (taps / v.stride / v.stride).max(1), taps)
            }
        };
        let mut below = |n: u32| (rng.next_u32() >> 8) % n;
        let weights = (0..channels * taps)
            .map(|_| (below(255) as i32 - 127) as i8)
            .collect();
        let bias = (0..channels)
            .map(|_| below(20_001) as i32 - 10_000)
            .collect();
        // Brings sums of this many products of spread 60 and 73 to a spread of about 50.
        let real = 50.0 / (60.0 * 73.0 * (terms as f64).sqrt());
        let exponent = real.log2().floor() as i32 + 1;
        let multipliers = (0..channels).map(|_| Multiplier {
            mantissa: (1 << 30) + below(1 << 24) as i32 * 63,
            shift: exponent as i8,
        });
        Numbers {
            op,
            shapes,
            weights,
            bias,
            multipliers: multipliers.collect(),
            output: Quant {
                scale: if last { 1.0 / 128.0 } else { LATENT_SCALE },
                zero_point: match (last, self.relu) {
                    (true, _) => 0,
                    (false, true) => -128,
                    (false, false) => -5,
                },
            },
            last,
        }
    }
}

impl Numbers {
    fn spec<'a>(&'a self, table: &'a [u8; 256]) -> LayerSpec<'a> {
        LayerSpec {
            op: self.op,
            input_shape: self.shapes[0],
            output_shape: self.shapes[1],
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            pre_activation: self.output,
            output: self.output,
            function: Function::Unnamed,
            weight_bits: WeightBits::Eight,
            activation: if self.last {
                Activation::Lut8(table)
            } else {
                Activation::Clamp {
                    min: -128,
                    max: 127,
                }
            },
        }
    }
}

/// A tanh table's entry for sums of scale 1/32.
fn tanh(i: usize) -> u8 {
    let real = (i as f64 - 128.0) / 32.0;
    (real.tanh() * 127.0).round() as i8 as u8
}
