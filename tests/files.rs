//! Small `.gan` files that have everything in them, and ones that ask for much.

use std::sync::OnceLock;

use gan_core::encode::{
    CriticSpec, LayerSpec, ModelSpec, encode, encode_critic, encode_seeds, encoded_bytes,
};
use gan_core::types::{LUT16_LEN, Window};
use gan_core::{Activation, Function, ModelError as E, Multiplier, Op, Quant, Shape, WeightBits};
use tests::Noise;

const CLAMP: Activation<'static> = Activation::Clamp {
    min: -128,
    max: 127,
};

fn shape(h: usize, w: usize, c: usize) -> Shape {
    Shape { h, w, c }
}

/// Kernel, stride and crops: top, left, bottom, right.
fn conv(kernel: usize, stride: usize, crops: [usize; 4]) -> Op {
    Op::ConvTranspose(Window {
        kernel,
        stride,
        crop_top: crops[0],
        crop_left: crops[1],
        crop_bottom: crops[2],
        crop_right: crops[3],
    })
}

/// A layer's numbers: operator, shapes, zero point of the output.
struct Numbers(Op, [Shape; 2], i8, Vec<i8>, Vec<i32>, Vec<Multiplier>);

impl Numbers {
    fn noise(noise: &mut Noise, op: Op, shapes: [Shape; 2], zero_point: i8, most: u32) -> Self {
        let (taps, channels) = match op {
            Op::Dense => (shapes[0].len(), shapes[1].len()),
            Op::ConvTranspose(v) => (v.kernel * v.kernel * shapes[0].c, shapes[1].c),
        };
        let mut int = |most: u32| (noise.next_bits() % (2 * most + 1)) as i32 - most as i32;
        let weights = (0..taps * channels).map(|_| int(most) as i8).collect();
        let bias = (0..channels).map(|_| int(900)).collect();
        let multiplier = |_| Multiplier {
            mantissa: (1 << 30) + int(1000).abs(),
            shift: -6,
        };
        let multipliers = (0..channels).map(multiplier).collect();
        Self(op, shapes, zero_point, weights, bias, multipliers)
    }

    fn spec<'a>(
        &'a self,
        weight_bits: WeightBits,
        activation: Activation<'a>,
        function: Function,
    ) -> LayerSpec<'a> {
        let Self(op, shapes, zero_point, weights, bias, multipliers) = self;
        let quant = Quant {
            scale: 0.25,
            zero_point: *zero_point,
        };
        LayerSpec {
            op: *op,
            input_shape: shapes[0],
            output_shape: shapes[1],
            weights,
            bias,
            multipliers,
            pre_activation: quant,
            output: quant,
            weight_bits,
            activation,
            function,
        }
    }
}

/// The bytes, and what `encode` says of them.
fn written(labels: &[&str], latent_len: u16, layers: &[LayerSpec<'_>]) -> (Vec<u8>, Option<E>) {
    let spec = ModelSpec {
        name: "hostile",
        dataset: "none",
        labels,
        latent_len,
        steps: 1,
        seed: 2,
        layers,
    };
    let mut bytes = vec![0xAA; encoded_bytes(&spec)];
    let error = encode(&spec, &mut bytes).err();
    (bytes, error)
}

/// Layers of a small generator with two classes and three values of latent.
pub fn layer_specs<T>(then: impl FnOnce(&[LayerSpec<'_>]) -> T) -> T {
    let mut noise = Noise(5);
    let shapes = [shape(1, 1, 5), shape(2, 2, 4), shape(4, 4, 3)];
    let mut layer =
        |op, i: usize| Numbers::noise(&mut noise, op, [shapes[i], shapes[i + 1]], 0, 127);
    let layers = [layer(Op::Dense, 0), layer(conv(4, 2, [1; 4]), 1)];
    then(
        &layers
            .each_ref()
            .map(|layer| layer.spec(WeightBits::Eight, CLAMP, Function::Linear)),
    )
}

/// A small file with everything that the format has: 4-bit weights, filled-up channels,
/// corrections, functions, a 16-bit table, classes, a critic and vetted seeds.
pub fn rich() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut noise = Noise(5);
        let [small, middle, picture] = [shape(2, 2, 4), shape(4, 4, 5), shape(8, 8, 3)];
        let mut layer =
            |op, shapes, zero_point, most| Numbers::noise(&mut noise, op, shapes, zero_point, most);
        let dense = layer(Op::Dense, [shape(1, 1, 5), small], -128, 7);
        let first = layer(conv(3, 2, [1, 1, 0, 0]), [small, middle], 3, 127);
        let last = layer(conv(4, 2, [1; 4]), [middle, picture], 0, 127);
        let hidden = layer(Op::Dense, [shape(1, 1, 48), shape(1, 1, 6)], 1, 127);
        let score = layer(Op::Dense, [shape(1, 1, 6), shape(1, 1, 1)], 0, 7);
        let table: [[u8; 2]; LUT16_LEN] =
            std::array::from_fn(|i| ((i as i16 - 256) * 127).to_le_bytes());
        let relu = Activation::Clamp { min: 3, max: 127 };
        let leaky = Function::LeakyRelu { slope: 0.25 };
        let layers = [
            dense.spec(WeightBits::Four, CLAMP, Function::Linear),
            first.spec(WeightBits::Eight, relu, Function::Relu),
            last.spec(WeightBits::Eight, Activation::Lut16(&table), leaky),
        ];
        let (plain, error) = written(&["left", "right"], 3, &layers);
        assert_eq!(error, None);
        let critic = CriticSpec {
            halved: true,
            passing: 3,
            layers: [
                hidden.spec(WeightBits::Eight, CLAMP, Function::Linear),
                score.spec(WeightBits::Four, CLAMP, Function::Unnamed),
            ],
        };
        let mut judged = vec![0; 2 * plain.len()];
        let len = encode_critic(&plain, &critic, &mut judged).unwrap();
        let mut vetted = vec![0; 2 * len];
        let seeds = [3, 9, 70, 5, 6, 4_000_000_000];
        let len = encode_seeds(&judged[..len], &seeds, &mut vetted).unwrap();
        vetted.truncate(len);
        vetted
    })
}

/// One without classes, with an 8-bit table, dense layers of several rows and no corrections.
pub fn plain() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut noise = Noise(6);
        let table: [u8; 256] = std::array::from_fn(|i| i as u8 ^ 0x80);
        let shapes = [
            shape(1, 1, 6),
            shape(2, 1, 5),
            shape(3, 3, 2),
            shape(5, 7, 1),
        ];
        let mut layer =
            |op, i: usize| Numbers::noise(&mut noise, op, [shapes[i], shapes[i + 1]], 0, 127);
        let layers = [
            layer(Op::Dense, 0),
            layer(Op::Dense, 1),
            layer(conv(5, 2, [4, 0, 0, 2]), 2),
        ];
        let layers = [
            layers[0].spec(WeightBits::Eight, CLAMP, Function::Linear),
            layers[1].spec(WeightBits::Eight, CLAMP, Function::Unnamed),
            layers[2].spec(WeightBits::Eight, Activation::Lut8(&table), Function::Tanh),
        ];
        let (bytes, error) = written(&[], 6, &layers);
        assert_eq!(error, None);
        bytes
    })
}

/// Transposed convolutions of kernel 1 and few weights, from 16 columns to 65,026 of `wide`
/// channels, of which the last cuts `crop` off: small files, much work, more memory.
pub fn stretched(wide: usize, crop: usize) -> (Vec<u8>, Option<E>) {
    let widths = [1, 16, 3826, 65_026, 65_026 - crop];
    let channels = [4, 4, 4, wide, 1];
    let ops = [
        conv(16, 1, [8, 0, 7, 0]),
        conv(1, 255, [0; 4]),
        conv(1, 17, [0; 4]),
        conv(1, 1, [0, crop, 0, 0]),
    ];
    let mut noise = Noise(7);
    let layers: Vec<Numbers> = (0..4)
        .map(|i| {
            let map = |i: usize| shape(1, widths[i], channels[i]);
            Numbers::noise(&mut noise, ops[i], [map(i), map(i + 1)], 0, 127)
        })
        .collect();
    let specs: Vec<_> = layers
        .iter()
        .map(|l| l.spec(WeightBits::Eight, CLAMP, Function::Unnamed))
        .collect();
    written(&[], 4, &specs)
}
