//! Generators from PyTorch and back, against plain loops in its own layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use host::generator::FloatGenerator;
use host::train::checkpoint::load_generator;
use serde_json::{Value, json};
use tempfile::tempdir;
use tests::Noise;

use crate::cli::{fails, ok};

/// A layer as PyTorch has it, `[c, h, w]`.
struct Layer {
    kind: Kind,
    c_out: usize,
    bias: bool,
    /// Features of its `BatchNorm`.
    norm: Option<usize>,
    affine: bool,
    activation: &'static str,
    /// Of its `LeakyReLU`.
    slope: f64,
    eps: f64,
    /// Numbers of the two modules in their `Sequential`.
    at: [usize; 2],
}

#[derive(Clone, Copy)]
enum Kind {
    /// To a map of this height and width.
    Linear([usize; 2]),
    ConvTranspose2d {
        kernel: [usize; 2],
        stride: usize,
        padding: usize,
        output_padding: usize,
    },
    Conv2d {
        kernel: usize,
        padding: usize,
    },
    /// Nearest `Upsample`, then `Conv2d`.
    Upsample {
        factor: usize,
        kernel: usize,
        padding: usize,
    },
    /// `Conv2d`, then `PixelShuffle`; `norm` has features of either.
    PixelShuffle {
        factor: usize,
        kernel: usize,
        padding: usize,
    },
}

/// Shape and values; the values are those of the file.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

const LATENT: usize = 5;
const INPUTS: usize = LATENT + 2;
const EPS: f64 = 1e-3;

const fn up(kernel: usize, stride: usize, padding: usize, output_padding: usize) -> Kind {
    let kernel = [kernel, kernel];
    Kind::ConvTranspose2d {
        kernel,
        stride,
        padding,
        output_padding,
    }
}

/// All that can be imported, but a `ConvTranspose2d` in front: that is [`short_stack`]'s.
fn stack() -> Vec<Layer> {
    let layer = |kind, c_out, bias, norm, activation, at| Layer {
        kind,
        c_out,
        bias,
        norm,
        affine: true,
        activation,
        slope: 0.2,
        eps: EPS,
        at,
    };
    vec![
        layer(Kind::Linear([2, 2]), 6, true, Some(24), "sigmoid", [0, 1]),
        layer(up(3, 2, 1, 1), 6, true, Some(6), "linear", [4, 5]),
        Layer {
            affine: false,
            ..layer(
                Kind::Conv2d {
                    kernel: 3,
                    padding: 1,
                },
                4,
                false,
                Some(4),
                "leaky_relu",
                [7, 8],
            )
        },
        layer(up(4, 2, 1, 0), 5, true, None, "relu", [10, 0]),
        layer(up(5, 1, 2, 0), 3, false, None, "sigmoid", [12, 0]),
    ]
}

fn short_stack() -> Vec<Layer> {
    let first = Kind::ConvTranspose2d {
        kernel: [3, 2],
        stride: 1,
        padding: 0,
        output_padding: 0,
    };
    vec![
        plain(first, 4, Some(4), "relu", 0),
        plain(up(2, 3, 0, 0), 1, None, "tanh", 3),
    ]
}

/// Random weights; sixty-fourths, which every float type holds.
fn tensors(layers: &[Layer], seed: u64) -> Tensors {
    let mut noise = Noise(seed);
    let mut tensors = Tensors::new();
    let mut push = |name: String, shape: &[usize], low: f64, high: f64| {
        let value = |unit: f64| ((low + (high - low) * (unit + 1.0) / 2.0) * 64.0).round() / 64.0;
        let values = noise.units(shape.iter().product()).into_iter().map(value);
        tensors.insert(name, (shape.to_vec(), values.collect()));
    };
    let mut c_in = INPUTS;
    for layer in layers {
        let (at, norm_at, c) = (layer.at[0], layer.at[1], layer.c_out);
        let (shape, biases) = match layer.kind {
            Kind::Linear([h, w]) => (vec![c * h * w, c_in], c * h * w),
            Kind::ConvTranspose2d { kernel: [h, w], .. } => (vec![c_in, c, h, w], c),
            Kind::Conv2d { kernel, .. } | Kind::Upsample { kernel, .. } => {
                (vec![c, c_in, kernel, kernel], c)
            }
            Kind::PixelShuffle { factor, kernel, .. } => {
                let wide = c * factor * factor;
                (vec![wide, c_in, kernel, kernel], wide)
            }
        };
        push(format!("main.{at}.weight"), &shape, -0.5, 0.5);
        if layer.bias {
            push(format!("main.{at}.bias"), &[biases], -0.5, 0.5);
        }
        if let Some(features) = layer.norm {
            push(
                format!("main.{norm_at}.running_mean"),
                &[features],
                -0.5,
                0.5,
            );
            push(
                format!("main.{norm_at}.running_var"),
                &[features],
                0.25,
                1.0,
            );
            if layer.affine {
                push(format!("main.{norm_at}.weight"), &[features], 0.5, 1.5);
                push(format!("main.{norm_at}.bias"), &[features], -0.5, 0.5);
            }
        }
        c_in = c;
    }
    tensors
}

/// An image `[c, h, w]` and its size, in plain loops.
fn draw(layers: &[Layer], tensors: &Tensors, input: &[f64]) -> ([usize; 3], Vec<f64>) {
    // Over 70 lines: each kind of layer in plain loops, one after the other.
    let mut size = [input.len(), 1, 1];
    let mut x = input.to_vec();
    for layer in layers {
        let name = |at: usize, part: &str| format!("main.{at}.{part}");
        let w = &tensors[&name(layer.at[0], "weight")].1;
        let [c_in, h_in, w_in] = size;
        let c_out = layer.c_out;
        let out_side = |len: usize, i: usize| match layer.kind {
            Kind::Linear(map) => map[i],
            Kind::ConvTranspose2d {
                kernel,
                stride,
                padding,
                output_padding,
            } => (len - 1) * stride + kernel[i] + output_padding - 2 * padding,
            Kind::Conv2d { kernel, padding } => len + 2 * padding - kernel + 1,
            Kind::Upsample {
                factor,
                kernel,
                padding,
            } => len * factor + 2 * padding - kernel + 1,
            Kind::PixelShuffle {
                factor,
                kernel,
                padding,
            } => (len + 2 * padding - kernel + 1) * factor,
        };
        let [h, wide] = [out_side(h_in, 0), out_side(w_in, 1)];
        let mut y = vec![0.0; c_out * h * wide];
        for (o, row, column) in places(c_out, h, wide) {
            let out = (o * h + row) * wide + column;
            // Channel of the `Conv2d` that becomes this pixel.
            let shuffled = match layer.kind {
                Kind::PixelShuffle { factor, .. } => {
                    (o * factor + row % factor) * factor + column % factor
                }
                _ => o,
            };
            for (i, in_row, in_column) in places(c_in, h_in, w_in) {
                // Rows and columns of the kernel that join these two pixels.
                let weight = match layer.kind {
                    Kind::Linear(_) => Some(w[out * c_in + i]),
                    Kind::ConvTranspose2d {
                        kernel: [kh, kw],
                        stride,
                        padding,
                        ..
                    } => {
                        let tap = |out: usize, at: usize| (out + padding).checked_sub(at * stride);
                        let taps = tap(row, in_row).zip(tap(column, in_column));
                        let taps = taps.filter(|&(a, b)| a < kh && b < kw);
                        taps.map(|(a, b)| w[((i * c_out + o) * kh + a) * kw + b])
                    }
                    Kind::Conv2d { kernel: k, padding } => {
                        let tap = |out: usize, at: usize| (at + padding).checked_sub(out);
                        let taps = tap(row, in_row).zip(tap(column, in_column));
                        let taps = taps.filter(|&(a, b)| a < k && b < k);
                        taps.map(|(a, b)| w[((o * c_in + i) * k + a) * k + b])
                    }
                    Kind::Upsample {
                        factor,
                        kernel: k,
                        padding,
                    } => {
                        let meets = |out: usize, tap: usize, at: usize| {
                            (out + tap).checked_sub(padding).map(|y| y / factor) == Some(at)
                        };
                        let taps = places(1, k, k).filter(|&(_, a, b)| {
                            meets(row, a, in_row) && meets(column, b, in_column)
                        });
                        Some(
                            taps.map(|(_, a, b)| w[((o * c_in + i) * k + a) * k + b])
                                .sum(),
                        )
                    }
                    Kind::PixelShuffle {
                        factor,
                        kernel: k,
                        padding,
                    } => {
                        let tap = |out: usize, at: usize| (at + padding).checked_sub(out / factor);
                        let taps = tap(row, in_row).zip(tap(column, in_column));
                        let taps = taps.filter(|&(a, b)| a < k && b < k);
                        taps.map(|(a, b)| w[((shuffled * c_in + i) * k + a) * k + b])
                    }
                };
                y[out] += weight.unwrap_or(0.0) * x[(i * h_in + in_row) * w_in + in_column];
            }
            let number = |at: usize, part: &str, otherwise: f64| {
                let values = tensors.get(&name(at, part)).map(|(_, values)| values);
                // One for each value, each channel, or each channel before a PixelShuffle.
                let of = |v: &Vec<f64>| match layer.kind {
                    _ if v.len() == c_out => v[o],
                    Kind::PixelShuffle { .. } => v[shuffled],
                    _ => v[out],
                };
                values.map_or(otherwise, of)
            };
            y[out] += number(layer.at[0], "bias", 0.0);
            if layer.norm.is_some() {
                let at = layer.at[1];
                let std = (number(at, "running_var", 1.0) + layer.eps).sqrt();
                let hat = (y[out] - number(at, "running_mean", 0.0)) / std;
                y[out] = hat * number(at, "weight", 1.0) + number(at, "bias", 0.0);
            }
            y[out] = match layer.activation {
                "relu" => y[out].max(0.0),
                "leaky_relu" if y[out] < 0.0 => layer.slope * y[out],
                "tanh" => y[out].tanh(),
                "sigmoid" => 1.0 / (1.0 + (-y[out]).exp()),
                _ => y[out],
            };
        }
        (size, x) = ([c_out, h, wide], y);
    }
    (size, x)
}

fn places(c: usize, h: usize, w: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..c * h * w).map(move |i| (i / (h * w), i / w % h, i % w))
}

/// Bytes of a value in a type of safetensors; every value is one that the type holds.
fn bytes(kind: &str, value: f64) -> Vec<u8> {
    let bits = (value as f32).to_bits();
    match kind {
        "F64" => value.to_le_bytes().to_vec(),
        "BF16" => ((bits >> 16) as u16).to_le_bytes().to_vec(),
        "F16" if value == 0.0 => vec![0, 0],
        "F16" => {
            let exponent = (bits >> 23 & 255) - 112;
            let half = bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff;
            (half as u16).to_le_bytes().to_vec()
        }
        "I32" => (value as i32).to_le_bytes().to_vec(),
        _ => (value as f32).to_le_bytes().to_vec(),
    }
}

/// A safetensors file, with what `BatchNorm` counts.
fn save(path: &Path, tensors: &Tensors, kind: &str) {
    save_with_counter(path, tensors, "main.1.num_batches_tracked", kind);
}

fn save_with_counter(path: &Path, tensors: &Tensors, counter: &str, kind: &str) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut push = |name: &str, kind: &str, shape: &[usize], bytes: Vec<u8>| {
        let begin = data.len();
        data.extend(bytes);
        let entry = json!({ "dtype": kind, "shape": shape, "data_offsets": [begin, data.len()] });
        header.insert(name.into(), entry);
    };
    push(counter, "I64", &[], vec![7; 8]);
    for (name, (shape, values)) in tensors {
        let bytes = values.iter().flat_map(|&v| bytes(kind, v)).collect();
        push(name, kind, shape, bytes);
    }
    let header = Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

/// The layers as a configuration, without `[import]`.
fn net(layers: &[Layer]) -> String {
    let (mut size, mut text) = ([0, 0], String::new());
    for (i, layer) in layers.iter().enumerate() {
        let mut geometry = String::new();
        let mut crop = |kernel: usize, stride: usize, near: usize, far: usize| {
            let crop = [near, near, far, far];
            geometry = format!("kernel = {kernel}\nstride = {stride}\ncrop = {crop:?}\n");
            size = size.map(|len| (len - 1) * stride + kernel - near - far);
        };
        match layer.kind {
            Kind::Linear(map) => size = map,
            Kind::ConvTranspose2d { kernel, .. } if i == 0 => size = kernel,
            Kind::ConvTranspose2d {
                kernel,
                stride,
                padding,
                output_padding,
            } => {
                crop(kernel[0], stride, padding, padding - output_padding);
            }
            Kind::Conv2d { kernel, padding } => {
                crop(kernel, 1, kernel - 1 - padding, kernel - 1 - padding);
            }
            Kind::Upsample {
                factor,
                kernel,
                padding,
            } => {
                let near = kernel - 1 - padding;
                crop(kernel + factor - 1, factor, near, near);
            }
            Kind::PixelShuffle {
                factor,
                kernel,
                padding,
            } => {
                let near = factor * (kernel - 1 - padding);
                crop(factor * kernel, factor, near, near);
            }
        }
        if i == 0 || matches!(layer.kind, Kind::Linear(_)) {
            let [h, w] = size;
            geometry = format!("height = {h}\nwidth = {w}\n");
        }
        let next = layers.get(i + 1).map(|next| next.kind);
        let (section, size) = match (layer.kind, next) {
            (Kind::Linear(_), Some(Kind::Linear(_))) => ("[[generator.hidden]]", "units"),
            _ if geometry.starts_with("height") => ("[generator.dense]", "channels"),
            _ => ("[[generator.conv_transpose]]", "channels"),
        };
        if size == "units" {
            geometry.clear();
        }
        let (c, norm, activation) = (layer.c_out, layer.norm.is_some(), layer.activation);
        let _ = write!(
            text,
            "{section}\n{size} = {c}\n{geometry}norm = {norm}\nactivation = \"{activation}\"\n\n"
        );
    }
    let ([h, w], c) = (size, layers[layers.len() - 1].c_out);
    format!(
        "name = \"stack\"\n[image]\nheight = {h}\nwidth = {w}\nchannels = {c}\n\n\
         [data]\nclass_names = [\"round\", \"square\"]\n\n[generator]\nlatent = {LATENT}\n\n{text}"
    )
}

/// `[import]` with no more than it has to have.
const SHORT: &str = "[import]\neps = 1e-3\n";
/// What the shapes of [`stack`] do not tell.
const OF_STACK: &str = "[import]\neps = 1e-3\nconv_transpose2d = [1]\n";

const IMPORT: [&str; 6] = [
    "import",
    "--weights",
    "g.safetensors",
    "--config",
    "net.toml",
    "--out",
];

fn imported(dir: &Path, out: &str) -> (String, FloatGenerator) {
    let told = ok(dir, &[&IMPORT[..], &[out]].concat());
    let generator = load_generator(&dir.join(out).join("generator.safetensors")).unwrap();
    (told, generator)
}

/// The generator draws what the plain loops do, values of the last layer by `map`.
fn assert_draws(generator: &FloatGenerator, layers: &[Layer], file: &Tensors, map: fn(f64) -> f64) {
    let mut noise = Noise(3);
    for _ in 0..4 {
        let input = noise.units(INPUTS);
        let input: Vec<f64> = input.iter().map(|&v| f64::from((2.0 * v) as f32)).collect();
        let ([c, h, w], picture) = draw(layers, file, &input);
        let input: Vec<f32> = input.iter().map(|&v| v as f32).collect();
        let drawn = generator.draw(&input);
        assert_eq!(drawn.len(), picture.len());
        let largest = picture.iter().fold(0f64, |max, &v| max.max(map(v).abs()));
        for (channel, y, x) in places(c, h, w) {
            let plain = map(picture[(channel * h + y) * w + x]);
            let ours = f64::from(drawn[(y * w + x) * c + channel]);
            let error = (ours - plain).abs();
            assert!(
                error <= 1e-5 * largest,
                "{channel}, {y}, {x}: {ours}, not {plain}"
            );
        }
    }
}

#[test]
fn a_pytorch_generator_is_imported_as_a_run_that_draws_what_plain_loops_draw() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (layers, file) = (stack(), tensors(&stack(), 1));
    save(&dir.join("g.safetensors"), &file, "F32");
    fs::write(dir.join("net.toml"), net(&layers) + OF_STACK).unwrap();
    let (told, generator) = imported(dir, "run");
    assert!(
        told.contains("conv_transpose2  Conv2d main.7, BatchNorm main.8"),
        "{told}"
    );
    assert!(
        told.contains("per_value = true") && told.contains("sigmoid draws from 0 to 1"),
        "{told}"
    );
    // From 0 to 1 there, from -1 to 1 here.
    assert_draws(&generator, &layers, &file, |v| 2.0 * v - 1.0);

    let found: Value = serde_json::from_str(&ok(dir, &["compare", "run", "--json"])).unwrap();
    let ratios = found["layer_snr_db"].as_array().unwrap();
    for ratio in ratios {
        assert!(ratio.as_f64().unwrap() > 30.0, "{ratios:?}");
    }
    let gan = fs::read(dir.join("run/generator.gan")).unwrap();
    ok(dir, &["quantize", "run"]);
    assert_eq!(fs::read(dir.join("run/generator.gan")).unwrap(), gan);
    ok(
        dir,
        &[
            "sample",
            "run/generator.gan",
            "--class",
            "square",
            "--out",
            "x.png",
        ],
    );
    let report = ok(dir, &["inspect", "run/generator.gan", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["labels"], json!(["round", "square"]));
    // TensorFlow Lite's, of sigmoid and of tanh.
    let output = |i: usize| &report["layers"][i]["output_quant"];
    assert_eq!(
        output(0),
        &json!({ "scale": 1.0 / 256.0, "zero_point": -128 })
    );
    assert_eq!(output(4), &json!({ "scale": 1.0 / 128.0, "zero_point": 0 }));

    let names = "layers = [\"main.0\", \"main.4\", \"main.7\", \"main.10\", \"main.12\"]\n\
                 norms = [\"main.1\", \"main.5\", \"main.8\", \"\", \"\"]\nconv2d = [2]\n";
    fs::write(dir.join("net.toml"), net(&layers) + OF_STACK + names).unwrap();
    imported(dir, "named");
    for name in ["generator.safetensors", "generator.gan", "config.toml"] {
        let read = |run: &str| fs::read(dir.join(run).join(name)).unwrap();
        assert!(read("run") == read("named"), "{name}");
    }
    let again = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
    assert!(again.contains("run holds a run"), "{again}");
    let again = fails(dir, 1, &["train", "--steps", "1", "--out", "run"]);
    assert!(again.contains("run holds a run"), "{again}");
}

#[test]
fn every_float_type_and_a_transposed_convolution_in_front_can_be_imported() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (layers, file) = (short_stack(), tensors(&short_stack(), 2));
    fs::write(dir.join("net.toml"), net(&layers) + SHORT).unwrap();
    for kind in ["F32", "F64", "F16", "BF16"] {
        save(&dir.join("g.safetensors"), &file, kind);
        let (_, generator) = imported(dir, kind);
        assert_draws(&generator, &layers, &file, |v| v);
    }
}

#[test]
fn what_is_exported_for_pytorch_can_be_imported_again() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    save(&dir.join("g.safetensors"), &tensors(&stack(), 4), "F32");
    fs::write(dir.join("net.toml"), net(&stack()) + OF_STACK).unwrap();
    let (_, before) = imported(dir, "run");
    let export = [
        "export",
        "run",
        "--format",
        "pytorch",
        "--out",
        "g.safetensors",
    ];
    ok(dir, &export);
    let mut layers = stack();
    layers[4].activation = "tanh";
    layers.iter_mut().for_each(|layer| layer.norm = None);
    // Of Conv2d, transposed ones are left.
    layers[2].kind = up(3, 1, 1, 0);
    fs::write(dir.join("net.toml"), net(&layers) + OF_STACK).unwrap();
    let (_, after) = imported(dir, "again");
    let input: Vec<f32> = Noise(5)
        .units(3 * INPUTS)
        .iter()
        .map(|&v| v as f32)
        .collect();
    assert_eq!(before.draw(&input), after.draw(&input));
}

#[test]
fn what_does_not_fit_is_told_all_at_once_and_nothing_is_written() {
    // Over 70 lines: a table of misfits.
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let text = net(&stack());
    let refused = |file: &Tensors, kind: &str, net: String| {
        save(&dir.join("g.safetensors"), file, kind);
        fs::write(dir.join("net.toml"), net).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
        assert!(!dir.join("run").exists(), "{error}");
        error
    };
    let assert_told = |error: &str, told: &[&str]| {
        for told in told {
            assert!(error.contains(told), "`{told}` is not in {error}");
        }
    };
    let good = tensors(&stack(), 1);
    let mut bad = good.clone();
    bad.remove("main.4.weight");
    bad.remove("main.5.running_var");
    bad.insert("main.8.running_mean".into(), (vec![3], vec![0.0; 3]));
    bad.insert("main.10.weight".into(), (vec![4, 5, 3, 3], vec![0.0; 180]));
    bad.insert("style.weight".into(), (vec![2], vec![0.0; 2]));
    bad.insert("main.1.running_mean".into(), (vec![24], vec![f64::NAN; 24]));
    let error = refused(&bad, "F32", text.clone());
    let all = [
        "main.4.weight is missing: conv_transpose1 needs [6, 6, 3, 3] (ConvTranspose2d)",
        "main.5.running_var is missing: conv_transpose1 needs [6]",
        "main.8.running_mean is [3]: conv_transpose2 needs [4]",
        "main.10.weight is [4, 5, 3, 3]: conv_transpose3 needs [4, 5, 4, 4] (ConvTranspose2d)",
        "style.weight [2] belongs to no layer",
        "main.1.running_mean has values that are not numbers",
        "mend [generator] in net.toml",
    ];
    assert_told(&error, &all);
    assert_eq!(error.matches("\n  ").count(), 6, "{error}");

    let mut bad = good.clone();
    for name in [
        "main.12.weight",
        "main.1.running_mean",
        "main.1.running_var",
    ] {
        bad.remove(name);
    }
    let error = refused(&bad, "F32", text.clone());
    let all = [
        "there are 4 layer modules in it, not 5",
        "there are 2 BatchNorm modules in it, not 3",
        "conv_transpose4: no weight [5, 3, 5, 5] (ConvTranspose2d) or [3, 5, 5, 5] (Conv2d)",
        "conv_transpose2: no BatchNorm [4]",
        "main.1.weight [24] belongs to no layer",
    ];
    assert_told(&error, &all);

    let mut bad = good.clone();
    for part in ["weight", "running_mean", "running_var", "bias"] {
        let tensor = bad[&format!("main.5.{part}")].clone();
        bad.insert(format!("after.{part}"), tensor);
        bad.remove(&format!("main.5.{part}"));
    }
    let error = refused(&bad, "F32", text.clone());
    assert_told(
        &error,
        &["main.1.running_mean is [24]: conv_transpose1 needs [6]"],
    );

    let told = [
        (
            "conv2d = [3, 0]",
            "conv_transpose3 has stride 2; a Conv2d can have stride 1 only",
        ),
        ("conv2d = [3, 0]", "layer 0 is no convolution"),
        (
            "leaky_slope = 1.0",
            "leaky_slope is 1, use a number from 0 to below 1",
        ),
        (
            "leaky_slope = [0.1]",
            "leaky_slope has 1 numbers, there are 5 layers",
        ),
        (
            "leaky_slope = \"0.1\"",
            "a number, or a list of a number for each layer",
        ),
        ("eps = -1.0", "eps is -1"),
        (
            "layers = [\"main.0\"]",
            "layers names 1 modules, there are 5 layers",
        ),
        (
            "norms = [\"\", \"a\", \"b\", \"\", \"c\"]",
            "norms has \"c\" for conv_transpose4",
        ),
        ("leaky_slop = 0.2", "did you mean `leaky_slope`?"),
    ];
    for (line, told) in told {
        let error = refused(&good, "F32", format!("{text}[import]\n{line}\n"));
        assert_told(&error, &["net.toml", told]);
    }
    let names =
        "[import]\nlayers = [\"main.0\", \"main.3\", \"main.7\", \"main.10\", \"main.12\"]\n";
    let error = refused(&good, "F32", text.clone() + names);
    assert_told(
        &error,
        &[
            "main.3.weight is missing",
            "main.4.weight [6, 6, 3, 3] belongs to no layer",
        ],
    );
    let error = refused(&good, "F32", text.replacen("linear", "swish", 1));
    assert_told(&error, &["unknown variant `swish`", "`leaky_relu`"]);
    let relu_last = text
        .replace("\"sigmoid\"\n\n[[", "\"tanh\"\n\n[[")
        .replace("sigmoid", "relu");
    let error = refused(&good, "F32", relu_last);
    assert_told(&error, &["conv_transpose4, has to end in tanh"]);
    let error = refused(&good, "I32", text.clone());
    assert_told(
        &error,
        &[
            "main.0.weight is of type I32",
            "main.12.weight is of type I32",
        ],
    );
    fs::write(dir.join("g.safetensors"), "PK").unwrap();
    let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
    assert_told(
        &error,
        &["g.safetensors is not a safetensors file", "save_file"],
    );
}

/// Names whose order is not that of the layers are not trusted where shapes do not tell.
#[test]
fn layers_of_one_shape_are_not_taken_in_the_order_of_the_alphabet() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let layer = |at| Layer {
        kind: up(3, 1, 1, 0),
        c_out: 1,
        bias: false,
        norm: None,
        affine: false,
        activation: "tanh",
        slope: 0.2,
        eps: EPS,
        at: [at, 0],
    };
    let first = Layer {
        kind: Kind::Linear([3, 3]),
        ..layer(0)
    };
    let layers = [first, layer(2), layer(4)];
    let file: Tensors = tensors(&layers, 6);
    let named = file.iter().map(|(name, tensor)| {
        let name = name.replace("main.2", "grow").replace("main.4", "draw");
        (name, tensor.clone())
    });
    save(&dir.join("g.safetensors"), &named.collect(), "F32");
    let kinds = "[import]\nconv_transpose2d = [1, 2]\n";
    fs::write(dir.join("net.toml"), net(&layers) + kinds).unwrap();
    let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
    assert!(
        error.contains("draw and grow are layer modules of one shape"),
        "{error}"
    );
    let names = "layers = [\"main.0\", \"grow\", \"draw\"]\n";
    fs::write(dir.join("net.toml"), net(&layers) + kinds + names).unwrap();
    let (_, generator) = imported(dir, "run");
    assert_draws(&generator, &layers, &file, |v| v);
}

fn plain(
    kind: Kind,
    c_out: usize,
    norm: Option<usize>,
    activation: &'static str,
    at: usize,
) -> Layer {
    Layer {
        kind,
        c_out,
        bias: true,
        norm,
        affine: true,
        activation,
        slope: 0.2,
        eps: EPS,
        at: [at, at + 1],
    }
}

/// Its weights do not show an `Upsample` or a `PixelShuffle`: what is told of them is imported
/// exactly, borders included, and what is not told is refused.
#[test]
fn upsample_and_pixel_shuffle_are_imported_exactly_once_they_are_told() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let up = |factor, kernel, padding| Kind::Upsample {
        factor,
        kernel,
        padding,
    };
    let shuffle = |factor, kernel, padding| Kind::PixelShuffle {
        factor,
        kernel,
        padding,
    };
    let first = || plain(Kind::Linear([2, 3]), 4, Some(4), "relu", 0);
    let stacks = [
        // The generator of many a tutorial.
        (
            vec![
                first(),
                plain(up(2, 3, 1), 4, Some(4), "leaky_relu", 2),
                plain(up(2, 3, 1), 3, None, "tanh", 4),
            ],
            "upsample = [1, 2]",
        ),
        (
            vec![
                first(),
                plain(up(3, 5, 1), 2, None, "relu", 2),
                plain(up(2, 1, 0), 1, None, "sigmoid", 4),
            ],
            "upsample = [1, 2]\nupsample_mode = \"nearest-exact\"",
        ),
        (
            vec![
                first(),
                plain(shuffle(2, 3, 1), 3, Some(12), "tanh", 2),
                plain(shuffle(2, 3, 0), 2, Some(2), "linear", 4),
                plain(shuffle(3, 1, 0), 3, None, "sigmoid", 6),
            ],
            "pixel_shuffle = [1, 2, 3]",
        ),
        // A single pixel has no borders to repeat.
        (
            vec![
                plain(Kind::Linear([1, 1]), 3, None, "relu", 0),
                plain(up(2, 3, 1), 1, None, "tanh", 2),
            ],
            "upsample = [1]\nupsample_mode = \"bilinear\"",
        ),
    ];
    for (i, (layers, told)) in stacks.iter().enumerate() {
        let file = tensors(layers, 10 + i as u64);
        save(&dir.join("g.safetensors"), &file, "F32");
        let text = net(layers) + SHORT;
        fs::write(dir.join("net.toml"), &text).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
        let key = told.split(' ').next().unwrap();
        assert!(error.contains(&format!("{key} = [1]")), "{error}");
        fs::write(dir.join("net.toml"), text + told).unwrap();
        let (_, generator) = imported(dir, &format!("run{i}"));
        let sigmoid = layers.last().unwrap().activation == "sigmoid";
        assert_draws(
            &generator,
            layers,
            &file,
            if sigmoid { |v| 2.0 * v - 1.0 } else { |v| v },
        );
    }
}

/// A kernel with as many channels in as out fits both, and the images would be others.
#[test]
fn a_weight_that_two_modules_can_have_is_refused_until_it_is_told() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let conv = Kind::Conv2d {
        kernel: 3,
        padding: 1,
    };
    let first = || plain(Kind::Linear([3, 3]), 2, None, "relu", 0);
    let last = || plain(up(3, 1, 1, 0), 1, None, "tanh", 9);
    // Output padding makes a transposed one twice as large, as an Upsample does.
    let cases = [
        (up(3, 1, 1, 0), "conv_transpose2d", "conv2d"),
        (conv, "conv2d", "conv_transpose2d"),
        (up(3, 2, 1, 1), "conv_transpose2d", "upsample"),
    ];
    for (i, (kind, key, other)) in cases.into_iter().enumerate() {
        let layers = [first(), plain(kind, 2, None, "relu", 2), last()];
        let file = tensors(&layers, 20 + i as u64);
        save(&dir.join("g.safetensors"), &file, "F32");
        fs::write(dir.join("net.toml"), net(&layers)).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
        for key in [key, other] {
            assert!(error.contains(&format!("say {key} = [1]")), "{error}");
        }
        let told = format!("[import]\n{key} = [1]\n");
        fs::write(dir.join("net.toml"), net(&layers) + &told).unwrap();
        let (_, generator) = imported(dir, &format!("run{i}"));
        assert_draws(&generator, &layers, &file, |v| v);
    }
    // What cannot be drawn exactly is refused by its name.
    let layers = [first(), plain(up(4, 2, 1, 0), 1, None, "tanh", 2)];
    for (told, why) in [
        (
            "upsample = [1]\nupsample_mode = \"bilinear\"",
            "conv_transpose1's Upsample is bilinear",
        ),
        (
            "upsample = [1]\nconv_transpose2d = [1]",
            "both name layer 1",
        ),
        ("upsample = [0]", "layer 0 is no convolution"),
    ] {
        fs::write(dir.join("net.toml"), net(&layers) + "[import]\n" + told).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["run"]].concat());
        assert!(error.contains(why), "{error}");
    }
}

/// A run of layers with no `[import]` but `told`.
fn run_of(dir: &Path, layers: &[Layer], file: &Tensors, told: &str) -> (String, FloatGenerator) {
    save(&dir.join("g.safetensors"), file, "F32");
    fs::write(dir.join("net.toml"), net(layers) + told).unwrap();
    let out = format!("run{}", fs::read_dir(dir).unwrap().count());
    imported(dir, &out)
}

/// What is said of layers that are refused.
fn refusal(dir: &Path, layers: &[Layer], file: &Tensors, told: &str) -> String {
    save(&dir.join("g.safetensors"), file, "F32");
    fs::write(dir.join("net.toml"), net(layers) + told).unwrap();
    fails(dir, 1, &[&IMPORT[..], &["refused"]].concat())
}

fn holds(file: &Path, part: &[u8]) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(part.len()).any(|found| found == part)
}

/// A generator of dense layers only, each with its own epsilon and slope.
#[test]
fn an_mlp_and_the_epsilon_and_slope_of_each_layer_reach_every_export() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let dense = |c_out, norm, slope, at| Layer {
        slope,
        eps: 0.8,
        ..plain(Kind::Linear([1, 1]), c_out, norm, "leaky_relu", at)
    };
    let layers = [
        dense(9, None, 0.01, 0),
        dense(12, Some(12), 0.35, 2),
        Layer {
            eps: 1e-5,
            ..plain(Kind::Linear([5, 7]), 1, Some(35), "tanh", 5)
        },
    ];
    let told = "[import]\neps = [0.0, 0.8, 1e-5]\nleaky_slope = [0.01, 0.35, 0.2]\n";
    let file = tensors(&layers, 30);
    save(&dir.join("g.safetensors"), &file, "F32");
    fs::write(dir.join("net.toml"), net(&layers) + told).unwrap();
    let (_, generator) = imported(dir, "run");
    assert_draws(&generator, &layers, &file, |v| v);
    let config = fs::read_to_string(dir.join("run/config.toml")).unwrap();
    assert!(config.contains("leaky_relu = 0.01"), "{config}");
    // The same, with the slope in the layer.
    let own = net(&layers).replacen("\"leaky_relu\"", "{ leaky_relu = 0.01 }", 1);
    fs::write(dir.join("net.toml"), own + told).unwrap();
    let (_, again) = imported(dir, "again");
    assert_eq!(again.layers, generator.layers);

    let found: Value = serde_json::from_str(&ok(dir, &["compare", "run", "--json"])).unwrap();
    for ratio in found["layer_snr_db"].as_array().unwrap() {
        assert!(ratio.as_f64().unwrap() > 30.0, "{found}");
    }
    let alpha = |slope: f32| [&[0x15][..], &slope.to_le_bytes()].concat();
    for (format, file) in [
        ("onnx-float", "f.onnx"),
        ("onnx-qdq", "q.onnx"),
        ("tflite", "t.tflite"),
        ("pytorch", "p.safetensors"),
    ] {
        ok(dir, &["export", "run", "--format", format, "--out", file]);
        for slope in [0.01f32, 0.35] {
            let wanted = match format {
                "pytorch" => format!("slope\\\":{slope}").into_bytes(),
                "tflite" => slope.to_le_bytes().to_vec(),
                _ => alpha(slope),
            };
            assert!(holds(&dir.join(file), &wanted), "{format} has not {slope}");
        }
    }
    for (slope, why) in [
        ("1.0", "use a slope from 0"),
        ("-0.1", "use a slope from 0"),
    ] {
        let activation = format!("{{ leaky_relu = {slope} }}");
        let text = net(&layers).replacen("\"leaky_relu\"", &activation, 1);
        fs::write(dir.join("net.toml"), text).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["refused"]].concat());
        assert!(error.contains(why), "{error}");
    }
}

/// What training programs write beside and around a generator.
#[test]
fn a_generator_is_found_in_a_file_with_other_networks_and_wrapped_names() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (layers, file) = (short_stack(), tensors(&short_stack(), 2));
    let renamed = |prefix: &'static str| {
        let named = file.iter();
        named.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor.clone()))
    };
    let mut both: Tensors = renamed("ema.module._orig_mod.").collect();
    both.extend(
        renamed("online.")
            .map(|(name, (shape, values))| (name, (shape, values.iter().map(|v| -v).collect()))),
    );
    both.insert("ema.style.weight".into(), (vec![3, 3], vec![0.0; 9]));
    let error = refusal(dir, &layers, &both, SHORT);
    assert!(error.contains("prefix = \"ema\" or \"online\""), "{error}");
    for told in [
        "prefix = \"ema\"\nignore = [\"style\"]",
        "prefix = \"ema.module\"",
        "ignore = [\"online\", \"ema.style.weight\"]\nlayers = [\"ema.module.main.0\", \"ema.module.main.3\"]",
        "prefix = \"ema\"\nlayers = [\"module._orig_mod.main.0\", \"module.main.3\"]\n\
         norms = [\"module.main.1\", \"\"]",
    ] {
        let (printed, generator) = run_of(dir, &layers, &both, &format!("{SHORT}{told}"));
        assert_draws(&generator, &layers, &file, |v| v);
        let unused = printed
            .lines()
            .find(|line| line.starts_with("not used: "))
            .unwrap();
        assert!(unused.contains("online.main.0.weight"), "{unused}");
        assert!(unused.contains("style.weight"), "{unused}");
    }
    let error = refusal(dir, &layers, &both, &format!("{SHORT}prefix = \"em\""));
    assert!(
        error.contains("no tensor's name begins with prefix = \"em\""),
        "{error}"
    );
    // `n_averaged` counts, and DataParallel wraps.
    let wrapped: Tensors = renamed("module.").collect();
    save_with_counter(&dir.join("g.safetensors"), &wrapped, "n_averaged", "F32");
    fs::write(dir.join("net.toml"), net(&layers) + SHORT).unwrap();
    let (printed, generator) = imported(dir, "wrapped");
    assert!(printed.contains("not used: n_averaged"), "{printed}");
    assert_draws(&generator, &layers, &file, |v| v);
}

/// Splits `main.N.weight` into the parts of a normalization, under which it is `weight` again.
fn in_parts(file: &mut Tensors, at: usize, form: usize, outputs: usize, noise: &mut Noise) {
    let name = format!("main.{at}");
    let (shape, values) = file[&format!("{name}.weight")].clone();
    let rows = shape[outputs];
    let inner: usize = shape[outputs + 1..].iter().product();
    let cell = |i: usize| (i / inner % rows, i / (inner * rows) * inner + i % inner);
    let round = |v: f64| f64::from(v as f32);
    let mut units = |n| noise.units(n).into_iter().map(round).collect::<Vec<f64>>();
    let (u, v) = (units(rows), units(values.len() / rows));
    let mut put = |part: &str, shape: Vec<usize>, values: Vec<f64>| {
        file.insert(format!("{name}.{part}"), (shape, values));
    };
    let folded: Vec<f64> = if form < 2 {
        let terms = values
            .iter()
            .enumerate()
            .map(|(i, w)| w * u[cell(i).0] * v[cell(i).1]);
        let sigma: f64 = terms.sum();
        let names = [
            ["weight_orig", "weight_u", "weight_v"],
            [
                "parametrizations.weight.original",
                "parametrizations.weight.0._u",
                "parametrizations.weight.0._v",
            ],
        ][form];
        put(names[0], shape.clone(), values.clone());
        put(names[1], vec![rows], u.clone());
        put(names[2], vec![v.len()], v.clone());
        values.iter().map(|w| w / sigma).collect()
    } else {
        let square = |row: usize| -> f64 {
            let of_row = values.iter().enumerate().filter(|&(i, _)| cell(i).0 == row);
            of_row.map(|(_, w)| w * w).sum()
        };
        let names = [
            ["weight_g", "weight_v"],
            [
                "parametrizations.weight.original0",
                "parametrizations.weight.original1",
            ],
        ][form - 2];
        let mut of_length = vec![1; shape.len()];
        of_length[outputs] = rows;
        put(names[0], of_length, u.clone());
        put(names[1], shape.clone(), values.clone());
        let scaled = values.iter().enumerate();
        scaled
            .map(|(i, w)| w * u[cell(i).0] / square(cell(i).0).sqrt())
            .collect()
    };
    put("weight", shape, folded);
}

/// The rows of spectral normalization are a `ConvTranspose2d`'s second dimension, and a
/// `Conv2d`'s first, also where they are equally many.
#[test]
fn spectral_and_weight_normalization_are_folded() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let conv = Kind::Conv2d {
        kernel: 3,
        padding: 1,
    };
    let layers = [
        plain(Kind::Linear([2, 2]), 3, None, "relu", 0),
        plain(up(4, 2, 1, 0), 3, None, "linear", 2),
        plain(conv, 3, None, "leaky_relu", 4),
        plain(up(2, 2, 0, 0), 1, None, "tanh", 6),
    ];
    for form in 0..4 {
        let (mut file, mut noise) = (tensors(&layers, 40 + form as u64), Noise(7));
        for (at, rows_of_spectral) in [(0, 0), (2, 1), (4, 0), (6, 1)] {
            // Weight normalization's are the first, of any layer, where nothing else is said.
            let outputs = if form < 2 { rows_of_spectral } else { 0 };
            in_parts(&mut file, at, form, outputs, &mut noise);
        }
        let mut saved = file.clone();
        for at in [0, 2, 4, 6] {
            saved.remove(&format!("main.{at}.weight")).unwrap();
        }
        let (_, generator) = run_of(dir, &layers, &saved, "[import]\nconv2d = [2]\n");
        assert_draws(&generator, &layers, &file, |v| v);
        let part = ["weight_u", "parametrizations.weight.0._v", "weight_g"];
        if let Some(part) = part.get(form) {
            saved.remove(&format!("main.2.{part}")).unwrap();
            let error = refusal(dir, &layers, &saved, "[import]\nconv2d = [2]\n");
            assert!(
                error.contains(&format!("main.2.{part} is missing")),
                "{error}"
            );
        }
    }
}

/// A class's embedding beside the latent, and the order of Keras.
#[test]
fn an_embedding_of_the_class_and_channels_last_are_folded_into_the_dense_layer() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let layers = short_stack();
    let file = tensors(&layers, 50);
    let numbers = [0.5, -1.25, 2.0, 0.75];
    let mut with_class = file.clone();
    with_class.insert("label.weight".into(), (vec![2, 2], numbers.to_vec()));
    let error = refusal(dir, &layers, &with_class, SHORT);
    assert!(
        error.contains("label.weight [2, 2] is an Embedding"),
        "{error}"
    );
    let told =
        |joined| format!("{SHORT}embedding = {{ module = \"label\", joined = \"{joined}\" }}\n");
    let error = refusal(dir, &layers, &with_class, &told("times"));
    assert!(
        error.contains("label is multiplied with the latent"),
        "{error}"
    );
    for joined in ["before", "after"] {
        let (_, generator) = run_of(dir, &layers, &with_class, &told(joined));
        let latent: Vec<f64> = Noise(3)
            .units(LATENT)
            .iter()
            .map(|&v| f64::from(v as f32))
            .collect();
        for class in 0..2 {
            let of_class = &numbers[2 * class..2 * class + 2];
            let there = match joined {
                "before" => [of_class, &latent[..]].concat(),
                _ => [&latent[..], of_class].concat(),
            };
            let ([_, h, w], picture) = draw(&layers, &file, &there);
            let mut here: Vec<f32> = latent.iter().map(|&v| v as f32).collect();
            here.extend([f32::from(class == 0), f32::from(class == 1)]);
            for (ours, plain) in generator.draw(&here).iter().zip(&picture) {
                assert!((f64::from(*ours) - plain).abs() < 1e-5, "{joined}, {h}x{w}");
            }
        }
    }

    let layers = [
        plain(Kind::Linear([2, 3]), 4, Some(24), "relu", 0),
        plain(up(2, 2, 0, 0), 1, None, "tanh", 3),
    ];
    let file = tensors(&layers, 51);
    let mut keras = file.clone();
    for (name, (shape, values)) in keras.iter_mut().filter(|(_, (shape, _))| shape[0] == 24) {
        let row = values.len() / 24;
        let there = file[name].1.chunks_exact(row).collect::<Vec<_>>();
        let order = (0..24).map(|i| there[i % 4 * 6 + i / 4]);
        *values = order.flatten().copied().collect();
        assert_eq!(shape.iter().product::<usize>(), values.len());
    }
    let told = format!("{SHORT}channels_last = true\n");
    let (_, generator) = run_of(dir, &layers, &keras, &told);
    assert_draws(&generator, &layers, &file, |v| v);
}

/// What has no form is called by its name, and a file of another kind gets its remedy.
#[test]
fn what_cannot_be_imported_is_named_with_its_remedy() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let layers = short_stack();
    let file = tensors(&layers, 2);
    for (name, shape, why) in [
        (
            "attn.query_conv.weight",
            vec![2, 4, 1, 1],
            "attn.query_conv is attention",
        ),
        (
            "in1.weight",
            vec![4],
            "InstanceNorm, LayerNorm, GroupNorm or PReLU",
        ),
        (
            "instance_norm.weight",
            vec![4],
            "instance_norm is InstanceNorm",
        ),
        (
            "class_emb.weight",
            vec![9, 3],
            "class_emb.weight [9, 3] is an Embedding",
        ),
    ] {
        let mut more = file.clone();
        let count = shape.iter().product();
        more.insert(name.into(), (shape, vec![0.5; count]));
        let error = refusal(dir, &layers, &more, SHORT);
        assert!(error.contains(why), "{error}");
        assert_eq!(error.matches("\n  ").count(), 1, "{error}");
    }
    let pth = "safetensors.torch.save_file(";
    let keras = "keras.models.load_model(";
    for (bytes, told) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"[..],
            "git lfs pull",
        ),
        (b"PK\x03\x04........archive/data.pkl", pth),
        (b"\x80\x02}q\x00", pth),
        (b"PK\x03\x04........model.weights.h5", keras),
        (b"\x89HDF\r\n\x1a\n", keras),
        (b"", pth),
    ] {
        fs::write(dir.join("g.safetensors"), bytes).unwrap();
        let error = fails(dir, 1, &[&IMPORT[..], &["refused"]].concat());
        assert!(
            error.contains("not a safetensors file") && error.contains(told),
            "{error}"
        );
    }
}
