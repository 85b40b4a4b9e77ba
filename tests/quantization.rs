//! The int8 generator stays within what its scales promise.

use dfdx::prelude::Cpu;
use gan_core::{Activation, Layer, Mode, Model, Op};
use host::compare::compare;
use host::config::Config;
use host::data::{DataRequest, load};
use host::generator::{FloatGenerator, FloatLayer};
use host::nn::op::GeneratorOp;
use host::quant::{self, Options};
use host::train::checkpoint::averaged;
use host::train::trainer::Trainer;
use tests::Case;

/// A generator after a few steps on the embedded data: its weights are real ones.
fn generator() -> FloatGenerator {
    let mut config = Config::preset("fashion").unwrap();
    let request = DataRequest {
        height: 28,
        width: 28,
        channels: 1,
        ..Default::default()
    };
    let data = load(&request, &|_, _| ()).unwrap();
    config.data.class_names.clone_from(&data.class_names);
    let mut trainer = Trainer::new(config, Cpu::default()).unwrap();
    for _ in 0..5 {
        trainer.train_step(&data.train).unwrap();
    }
    averaged(&mut trainer, &data.name).unwrap()
}

fn options() -> Options {
    Options {
        calibration_images: 64,
        ..Options::default()
    }
}

/// A layer's sums in plain f64 loops, and for each the sum of its inputs' magnitudes.
fn plain_sums(
    float: &FloatLayer,
    layer: &Layer<'_>,
    x: &[f64],
    bias: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let magnitudes: Vec<f64> = x.iter().map(|v| v.abs()).collect();
    let weights: Vec<f64> = float.weight.iter().map(|&w| f64::from(w)).collect();
    let (mut sums, reach) = match (layer.op, float.op) {
        (Op::Dense, GeneratorOp::Dense { n_out, .. }) => {
            let product = |o: usize| (0..x.len()).map(|i| x[i] * weights[i * n_out + o]).sum();
            let reach = magnitudes.iter().sum();
            (
                (0..n_out).map(product).collect::<Vec<f64>>(),
                vec![reach; n_out],
            )
        }
        (Op::ConvTranspose(v), GeneratorOp::ConvTranspose(_)) => {
            let case = Case {
                small: [layer.input_shape.h, layer.input_shape.w],
                kernel: v.kernel,
                stride: v.stride,
                margin: [v.crop_top, v.crop_left, v.crop_bottom, v.crop_right],
                c_small: layer.input_shape.c,
                c_big: layer.output_shape.c,
            };
            let ones = vec![1.0; weights.len()];
            let reach = tests::conv_transpose(&case, &magnitudes, &ones);
            (tests::conv_transpose(&case, x, &weights), reach)
        }
        other => panic!("not the same layer: {other:?}"),
    };
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum += bias[i % bias.len()];
    }
    (sums, reach)
}

/// The largest error of a weight to output `at`: half a step, or what was clipped.
fn weight_error(float: &FloatLayer, layer: &Layer<'_>, at: usize, step: f64) -> f64 {
    let (c, class_at) = (float.weight.len(), layer.input_shape.len());
    let largest = match float.op {
        GeneratorOp::Dense { n_out, .. } => {
            // Rows of classes are stored as a third, with steps three times as large.
            let row = |i: usize| f64::from(float.weight[i * n_out + at].abs());
            let stored = |i: usize| row(i) / if i < LATENT { 1.0 } else { 3.0 };
            let clipped = (0..class_at).map(stored).fold(0.0, f64::max) - 127.0 * step;
            return 3.0 * clipped.max(0.5 * step);
        }
        GeneratorOp::ConvTranspose(conv) => {
            let channel = (at % conv.c_out..c).step_by(conv.c_out);
            channel
                .map(|i| f64::from(float.weight[i].abs()))
                .fold(0.0, f64::max)
        }
    };
    (largest - 127.0 * step).max(0.5 * step)
}

/// Latent values of the preset.
const LATENT: usize = 32;

/// Every int8 value is as near to the plain float one, computed from the same int8 input and
/// bias, as rounding weights and output allows: half a weight step for each input (more where
/// clipping the largest weights was better), and one output step (two roundings and the
/// multiplier's own). The bias differs from the float one by a correction, a small one.
#[test]
fn every_layer_stays_within_the_bound_of_its_scales() {
    let generator = generator();
    let bytes = quant::quantize(&generator, &options()).unwrap();
    let model = Model::parse(&bytes).unwrap();
    let mut input = vec![0; model.input_len()];
    let mut arena = vec![0; model.required_words(Mode::WholeLayers)];
    for seed in 0..4 {
        model
            .fill_input(seed, Some(seed as usize * 3), &mut input)
            .unwrap();
        let class_at = model.latent_len();
        let real = |(i, &q): (usize, &i8)| f64::from(q) / if i < class_at { 32.0 } else { 96.0 };
        let mut x: Vec<f64> = input.iter().enumerate().map(real).collect();
        model
            .run_observed(&input, &mut arena, |i, output| {
                let (layer, float) = (&model.layers()[i], &generator.layers[i]);
                let sum_scale = f64::from(layer.pre_activation.scale);
                let wide = matches!(layer.activation, Activation::Lut16(_));
                let (low, high) = if wide {
                    (-32768.0, 32767.0)
                } else {
                    (-128.0, 127.0)
                };
                let of = |q: f64| (q - f64::from(layer.pre_activation.zero_point)) * sum_scale;
                // Per channel: input scale * weight scale, and the bias.
                let channels: Vec<(f64, f64)> = layer
                    .channels(0)
                    .map(|(bias, m)| {
                        let shift = 2f64.powi(i32::from(m.shift) - 31);
                        let step = f64::from(m.mantissa) * shift * sum_scale;
                        (step, f64::from(bias) * step)
                    })
                    .collect();
                let bias: Vec<f64> = channels.iter().map(|channel| channel.1).collect();
                for (at, bias) in bias.iter().enumerate() {
                    let correction = bias - f64::from(float.bias[at % float.bias.len()]);
                    assert!(correction.abs() < 0.02 * (of(127.0) - of(-128.0)).max(1.0));
                }
                let (sums, reach) = plain_sums(float, layer, &x, &bias);
                let output_scale = f64::from(layer.output.scale);
                let real =
                    |&q: &i8| (f64::from(q) - f64::from(layer.output.zero_point)) * output_scale;
                x = output.iter().map(real).collect();
                for (at, (&sum, &value)) in sums.iter().zip(&x).enumerate() {
                    let weight_step =
                        channels[at % channels.len()].0 / f64::from(layer.input.scale);
                    let bound = weight_error(float, layer, at, weight_step) * reach[at] + sum_scale;
                    let clipped = sum.clamp(of(low), of(high));
                    let (expected, bound) = if i + 1 == model.layers().len() {
                        // The table rounds once more and cannot reach 1.
                        (clipped.tanh(), bound + 1.5 * output_scale)
                    } else {
                        (clipped.max(0.0), bound)
                    };
                    let error = (expected - value).abs();
                    assert!(error <= bound, "layer {i} value {at}: {error} > {bound}");
                }
            })
            .unwrap();
    }
}

#[test]
fn relu_outputs_use_the_whole_range() {
    let bytes = quant::quantize(&generator(), &options()).unwrap();
    let model = Model::parse(&bytes).unwrap();
    let (last, hidden) = model.layers().split_last().unwrap();
    for layer in hidden {
        assert_eq!(layer.output.zero_point, -128);
    }
    assert_eq!(
        (last.output.scale, last.output.zero_point),
        (1.0 / 128.0, 0)
    );
    assert_eq!(
        model.layers().iter().map(|l| l.mac_count()).sum::<u64>(),
        2_737_696
    );
}

/// A dense layer of `kept` channels and `dead` ones, normalized, with ReLU, and a convolution of
/// one pixel behind it; what the dead channels, whose gamma is `gamma`, come to is a part of the
/// convolution's bias where `folded`, and they are not there.
fn with_dead_channels(gamma: f32, seed: u64, folded: bool) -> FloatGenerator {
    let (kept, dead) = (6, 4);
    let mut noise = tests::Noise(seed);
    let mut draw = |n: usize| -> Vec<f32> { noise.units(n).iter().map(|&v| v as f32).collect() };
    // `[8][4 * 4][10]`, `[10]`, `[10][3]`
    let (dense, beta, conv) = (draw(8 * 160), draw(10), draw(30));
    let channels = if folded { kept } else { kept + dead };
    let text = format!(
        "name = \"dead\"\nimage = {{ height = 4, width = 4, channels = 3 }}\n\
         generator = {{ latent = 8, dense = {{ height = 4, width = 4, channels = {channels}, \
         norm = true, activation = \"relu\" }}, conv_transpose = [{{ channels = 3, kernel = 1, \
         stride = 1, crop = [0, 0, 0, 0], norm = false, activation = \"tanh\" }}] }}\n\
         discriminator = {{}}\n"
    );
    let take = |values: &[f32]| -> Vec<f32> {
        values
            .chunks(10)
            .flat_map(|c| &c[..channels])
            .copied()
            .collect()
    };
    let constant = |o: usize| -> f32 {
        let dead = (kept..kept + dead).map(|i| beta[i].max(0.0) * conv[i * 3 + o]);
        if folded { dead.sum() } else { 0.0 }
    };
    let tensor = |name: &str| match name {
        "dense.weight" => Some(take(&dense)),
        "dense.beta" => Some(take(&beta)),
        "dense.gamma" => Some(
            (0..channels)
                .map(|i| if i < kept { 1.0 } else { gamma })
                .collect(),
        ),
        "dense.mean" => Some(vec![0.0; channels]),
        "dense.var" => Some(vec![1.0; channels]),
        "conv_transpose1.weight" => Some(conv[..3 * channels].to_vec()),
        "conv_transpose1.beta" => Some((0..3).map(constant).collect()),
        _ => None,
    };
    let config = Config::parse(&text, "test").unwrap();
    FloatGenerator::fold(config, "none".into(), 0, tensor).unwrap()
}

#[test]
fn channels_without_weights_keep_their_bias() {
    let psnr_db = |generator: &FloatGenerator| {
        let bytes = quant::quantize(generator, &Options::default()).unwrap();
        let model = Model::parse(&bytes).unwrap();
        compare(generator, &model, 200).unwrap().psnr_db
    };
    for seed in 0..12 {
        let alone = psnr_db(&with_dead_channels(0.0, seed, true));
        for gamma in [0.0, 1e-30, 1e-10] {
            let found = psnr_db(&with_dead_channels(gamma, seed, false));
            assert!(
                found > alone - 1.0,
                "seed {seed}, gamma {gamma}: {found} dB, {alone} dB without"
            );
        }
        assert!(
            psnr_db(&with_dead_channels(1.0, seed, false)) > 30.0,
            "seed {seed}"
        );
    }
}

#[test]
fn a_constant_that_takes_the_scale_of_a_layer_is_named() {
    let mut generator = with_dead_channels(0.0, 1, false);
    assert_eq!(quant::dominant_constants(&generator), []);
    let channel = generator.layers[0].bias.len() - 1;
    generator.layers[0].bias[channel] = 50.0;
    let found = quant::dominant_constants(&generator);
    let named: Vec<_> = found.iter().map(|c| (c.layer, c.value)).collect();
    assert_eq!(named, [(0, 50.0)]);
}
