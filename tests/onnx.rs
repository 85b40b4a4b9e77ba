//! ONNX files: features by some, written here byte by byte, and generators exported to some, run
//! by tract.

use gan_core::latent::LATENT_SCALE;
use gan_core::{Mode, Model, WeightBits};
use host::config::Config;
use host::data::Images;
use host::export::onnx::{float, qdq};
use host::generator::{FloatGenerator, FloatLayer};
use host::nn::op::{GeneratorOp, Op};
use host::nn::{Activation, Conv, Geometry};
use host::quant::{Options, quantize};
use host::risk::features::Extractor;
use host::sample::{Order, float_input};
use tempfile::tempdir;
use tests::{Case, Noise, cases};
use tract_onnx::prelude::*;

/// A protobuf field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

/// A protobuf field of a number below 128.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// `ValueInfoProto` of `f32` and these dimensions; 0 is any.
fn value(name: &str, dims: &[u8]) -> Vec<u8> {
    let dims = dims.iter().map(|&dim| match dim {
        0 => bytes(1, &bytes(2, b"n")),
        dim => bytes(1, &number(1, dim)),
    });
    let dims: Vec<u8> = dims.flatten().collect();
    let tensor = [number(1, 1), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// `ModelProto`: means of two by two values, then flat.
fn pooling(input: &[u8]) -> Vec<u8> {
    let ints = |name: &str, v: u8| {
        let values = [number(8, v), number(8, v)].concat();
        bytes(
            5,
            &[
                bytes(1, name.as_bytes()),
                values,
                vec![20 << 3 & 0x7f | 0x80, 1, 7],
            ]
            .concat(),
        )
    };
    let node = |from: &str, to: &str, op: &str, attributes: &[u8]| {
        let names = [bytes(1, from.as_bytes()), bytes(2, to.as_bytes())].concat();
        bytes(
            1,
            &[names, bytes(4, op.as_bytes()), attributes.to_vec()].concat(),
        )
    };
    let pool = [ints("kernel_shape", 2), ints("strides", 2)].concat();
    let graph = [
        node("x", "p", "AveragePool", &pool),
        node("p", "y", "Flatten", &[]),
        bytes(2, b"g"),
        bytes(11, &value("x", input)),
        bytes(12, &value("y", &[0, 0])),
    ];
    let opset = bytes(8, &number(2, 13));
    [number(1, 8), bytes(7, &graph.concat()), opset].concat()
}

fn pictures() -> Images {
    let pixel = |i: usize| (i * 37 % 251) as u8;
    Images {
        height: 6,
        width: 4,
        channels: 3,
        pixels: (0..40 * 72).map(pixel).collect(),
        labels: Vec::new(),
    }
}

#[test]
fn onnx_files_see_rgb_from_0_to_1_in_planes() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("pool.onnx");
    std::fs::write(&path, pooling(&[0, 3, 6, 4])).unwrap();
    let extractor = Extractor::read_onnx(&path).unwrap();
    assert!(extractor.describe().contains("pool.onnx"));
    let images = pictures();
    let points = extractor.features(&images).unwrap();
    assert_eq!((points.len(), points.width), (40, 3 * 3 * 2));
    for i in 0..40 {
        let at = |y: usize, x: usize, c: usize| f32::from(images.image(i)[(y * 4 + x) * 3 + c]);
        for (k, &found) in points.row(i).iter().enumerate() {
            let (c, y, x) = (k / 6, k / 2 % 3 * 2, k % 2 * 2);
            let sum = at(y, x, c) + at(y, x + 1, c) + at(y + 1, x, c) + at(y + 1, x + 1, c);
            assert!((found - sum / 4.0 / 255.0).abs() < 1e-5, "{i} {k}");
        }
    }
    assert!(extractor.classify(&points).unwrap().is_none());
}

#[test]
fn pictures_are_brought_to_the_size_and_channels_that_an_onnx_file_wants() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("grey.onnx");
    std::fs::write(&path, pooling(&[0, 1, 12, 8])).unwrap();
    let extractor = Extractor::read_onnx(&path).unwrap();
    let mut images = pictures();
    images.pixels.fill(51);
    let points = extractor.features(&images).unwrap();
    assert_eq!(points.width, 6 * 4);
    assert!(points.values.iter().all(|v| (v - 0.2).abs() < 1e-4));
}

#[test]
fn what_is_no_such_file_is_an_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wrong.onnx");
    for wrong in [
        b"no protobuf".to_vec(),
        pooling(&[0, 3, 6]),
        pooling(&[0, 2, 6, 4]),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = Extractor::read_onnx(&path).err().unwrap().to_string();
        assert!(
            error.contains("wrong.onnx holds no usable features"),
            "{error}"
        );
    }
    assert!(Extractor::read_onnx(&dir.path().join("none.onnx")).is_err());
}

/// A dense layer, then a transposed convolution of this geometry, all numbers random.
fn generator(case: &Case, seed: u64) -> FloatGenerator {
    let mut noise = Noise(seed);
    let mut config = Config::preset("fashion").unwrap();
    config.generator.latent = 8;
    config.data.class_names = vec!["one".into(), "two".into()];
    let first = &mut config.generator.dense;
    [first.height, first.width] = case.small;
    first.channels = case.c_small;
    let n_out = case.small[0] * case.small[1] * case.c_small;
    let dense = GeneratorOp::Dense {
        n_in: 10,
        n_out,
        c_out: case.c_small,
    };
    let [top, left, ..] = case.margin;
    let conv = GeneratorOp::ConvTranspose(Conv {
        geometry: Geometry {
            big: case.big(),
            small: case.small,
            kernel: case.kernel,
            stride: case.stride,
            top,
            left,
        },
        c_in: case.c_small,
        c_out: case.c_big,
    });
    let inner = [
        Activation::Relu,
        Activation::LeakyRelu(0.01),
        Activation::Linear,
    ];
    let outer = [
        Activation::Tanh,
        Activation::Linear,
        Activation::LeakyRelu(0.2),
    ];
    let mut layer = |op: GeneratorOp, biases: usize, activation: Activation| {
        let (rows, columns) = Op::from(op).weight_shape();
        let mut units = |n| noise.units(n).into_iter().map(|v| 0.5 * v as f32);
        FloatLayer {
            op,
            weight: units(rows * columns).collect(),
            bias: units(biases).collect(),
            activation,
        }
    };
    // A bias for each channel, or for each value of the map.
    let biases = [case.c_small, n_out][seed as usize % 2];
    let layers = vec![
        layer(dense, biases, inner[seed as usize % 3]),
        layer(conv, case.c_big, outer[seed as usize / 2 % 3]),
    ];
    FloatGenerator {
        config,
        dataset: "noise".into(),
        step: 0,
        layers,
    }
}

/// What tract makes of `n` inputs, as `[n, h, w, c]`.
fn run(file: &[u8], input: &[f32], n: usize) -> Vec<f32> {
    let model = onnx().model_for_read(&mut &*file).unwrap();
    let shape = [n, input.len() / n];
    let model = model.with_input_fact(0, f32::fact(shape).into()).unwrap();
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let input = Tensor::from_shape(&shape, input).unwrap();
    let pictures = plan.run(tvec!(input.into())).unwrap().remove(0);
    let pictures = pictures.to_plain_array_view::<f32>().unwrap();
    let pictures = pictures.permuted_axes(vec![0, 2, 3, 1]);
    pictures.iter().copied().collect()
}

/// Latents of each model.
const LATENTS: usize = 10;

fn inputs(generator: &FloatGenerator) -> Vec<f32> {
    let order = Order {
        count: LATENTS,
        seed: 1,
        class: None,
    };
    float_input(
        generator,
        &order.each(generator.config.data.class_names.len()),
    )
}

#[test]
fn an_exported_float_generator_draws_the_same() {
    for (seed, (name, case)) in (0..).zip(cases()) {
        let generator = generator(&case, seed);
        let input = inputs(&generator);
        let drawn = generator.draw(&input);
        let found = run(&float(&generator).unwrap(), &input, LATENTS);
        assert_eq!(found.len(), drawn.len(), "{name}");
        for (found, drawn) in found.iter().zip(&drawn) {
            let room = 1e-5 * drawn.abs().max(1.0);
            assert!((found - drawn).abs() <= room, "{name}: {found} {drawn}");
        }
    }
}

/// One rounding instead of two, of floats instead of integers: now and then another step.
#[test]
fn an_exported_int8_generator_draws_the_same_within_a_step() {
    let (mut values, mut differing) = (0, 0);
    for (seed, (name, case)) in (0..).zip(cases()) {
        let options = Options {
            calibration_images: 64,
            dense_bits: [WeightBits::Eight, WeightBits::Four][seed as usize % 2],
            use_lut16: seed % 4 < 2,
        };
        let file = quantize(&generator(&case, seed), &options).unwrap();
        let model = Model::parse(&file).unwrap();
        let (mut input, mut drawn) = (vec![0; model.input_len()], Vec::new());
        let mut arena = vec![0; model.required_words(Mode::Streamed)];
        let mut floats = Vec::new();
        for i in 0..LATENTS {
            model.fill_input(i as u64, Some(i % 2), &mut input).unwrap();
            floats.extend(input.iter().map(|&q| f32::from(q) * LATENT_SCALE));
            let take = |_, row: &[i8]| drawn.extend_from_slice(row);
            model.run(&input, &mut arena, take).unwrap();
        }
        let found = run(&qdq(&model).unwrap(), &floats, LATENTS);
        assert_eq!(found.len(), drawn.len(), "{name}");
        let output = model.layers()[1].output;
        for (found, &drawn) in found.iter().zip(&drawn) {
            let steps = found / output.scale + f32::from(output.zero_point) - f32::from(drawn);
            assert!(steps.abs() < 3.5, "{name}: {found} {drawn}");
            values += 1;
            differing += usize::from(steps.abs() > 1.5);
        }
    }
    assert!(differing * 1000 <= values, "{differing} of {values}");
}
