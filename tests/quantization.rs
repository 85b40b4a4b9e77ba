//! The int8 generator stays within what its scales promise.

use dfdx::prelude::Cpu;
use gan_core::{Layer, Mode, Model, Op};
use host::config::Config;
use host::data::{DataRequest, load};
use host::generator::{FloatGenerator, FloatLayer};
use host::nn::network;
use host::quant;
use host::train::checkpoint::averaged;
use host::train::trainer::Trainer;
use tests::Case;

/// A generator after a few steps on the embedded data: its weights are real ones.
fn generator() -> FloatGenerator {
    let mut config = Config::preset("fashion").unwrap().unwrap();
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

/// A layer's sums in plain f64 loops, and for each the sum of its inputs' magnitudes.
fn plain_sums(float: &FloatLayer, layer: &Layer<'_>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let magnitudes: Vec<f64> = x.iter().map(|v| v.abs()).collect();
    let weights: Vec<f64> = float.weight.iter().map(|&w| f64::from(w)).collect();
    let (mut sums, reach) = match (layer.op, float.op) {
        (Op::Dense, network::Op::Dense { n_out, .. }) => {
            let product = |o: usize| (0..x.len()).map(|i| x[i] * weights[i * n_out + o]).sum();
            let reach = magnitudes.iter().sum();
            (
                (0..n_out).map(product).collect::<Vec<f64>>(),
                vec![reach; n_out],
            )
        }
        (Op::ConvTranspose(v), _) => {
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
    let c = float.bias.len();
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum += f64::from(float.bias[i % c]);
    }
    (sums, reach)
}

/// Every int8 value is as near to the plain float one, computed from the same int8 input,
/// as rounding weights, bias and output allows: half a weight step for each input, half a
/// bias step, and one output step (two roundings and the multiplier's own).
#[test]
fn every_layer_stays_within_the_bound_of_its_scales() {
    let generator = generator();
    let bytes = quant::quantize(&generator, 64).unwrap();
    let model = Model::parse(&bytes).unwrap();
    let mut input = vec![0; model.input_len()];
    let mut arena = vec![0; model.required_words(Mode::WholeLayers)];
    for seed in 0..4 {
        model
            .fill_input(seed, Some(seed as usize * 3), &mut input)
            .unwrap();
        let mut x: Vec<f64> = input.iter().map(|&q| f64::from(q) / 32.0).collect();
        model
            .run_observed(&input, &mut arena, |i, output| {
                let (layer, float) = (&model.layers()[i], &generator.layers[i]);
                let (sums, reach) = plain_sums(float, layer, &x);
                let sum_scale = f64::from(layer.sum.scale);
                let of = |q: f64| (q - f64::from(layer.sum.zero_point)) * sum_scale;
                let channels: Vec<_> = layer.channels(0).collect();
                let output_scale = f64::from(layer.output.scale);
                let real =
                    |&q: &i8| (f64::from(q) - f64::from(layer.output.zero_point)) * output_scale;
                x = output.iter().map(real).collect();
                for (at, (&sum, &value)) in sums.iter().zip(&x).enumerate() {
                    let multiplier = channels[at % channels.len()].1;
                    let factor = f64::from(multiplier.mantissa)
                        * 2f64.powi(i32::from(multiplier.shift) - 31);
                    // input scale * weight scale = factor * sum scale
                    let product_step = factor * sum_scale;
                    let weight_step = product_step / f64::from(layer.input.scale);
                    let bound = 0.5 * weight_step * reach[at] + 0.5 * product_step + sum_scale;
                    let clipped = sum.clamp(of(-128.0), of(127.0));
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
    let bytes = quant::quantize(&generator(), 64).unwrap();
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
        model.layers().iter().map(|l| l.mac_count()).sum::<usize>(),
        2_737_696
    );
}
