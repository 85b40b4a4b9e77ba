//! What is exported draws what gan-core draws.

use std::fs;
use std::path::Path;
use std::process::Command;

use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::types::{LUT16_LEN, Window};
use gan_core::{Activation, Function, Mode, Model, Multiplier, Op, Quant, Shape, WeightBits};
use host::export::c::header;
use tempfile::tempdir;
use tests::{Case, Noise, cases};

use crate::cli::{fails, ok};
use crate::firmware::has;

/// Latents of each model.
const LATENTS: usize = 20;

/// A dense layer, then a transposed convolution of this geometry, all numbers random.
pub fn stack(case: &Case, seed: u64) -> Vec<u8> {
    // Over 70 lines: every field of two layers is drawn from one stream of noise.
    let mut noise = Noise(seed);
    let [h, w] = case.small;
    let map = Shape {
        h,
        w,
        c: case.c_small,
    };
    let [big_h, big_w] = case.big();
    let out = Shape {
        h: big_h,
        w: big_w,
        c: case.c_big,
    };
    let mut below = |n: u32| noise.next_bits() % n;
    let mut signed = |n: usize, most: i32| -> Vec<i32> {
        (0..n)
            .map(|_| below(2 * most as u32 + 1) as i32 - most)
            .collect()
    };
    let is_four = seed.is_multiple_of(3);
    let most = if is_four { 7 } else { 127 };
    let bytes = |values: Vec<i32>| -> Vec<i8> { values.into_iter().map(|v| v as i8).collect() };
    let dense_weights = bytes(signed(9 * map.len(), most));
    let weights = bytes(signed(case.kernel * case.kernel * map.c * out.c, 127));
    let bias = [signed(map.len(), 9000), signed(out.c, 9000)];
    let table: [u8; 256] = std::array::from_fn(|_| signed(1, 127)[0] as u8);
    let wide: [[u8; 2]; LUT16_LEN] =
        std::array::from_fn(|_| (signed(1, 32767)[0] as i16).to_le_bytes());
    let zero_points = bytes(signed(2, 100));
    let shifts = signed(2, 3);
    let wide_sum = seed % 3 == 2;
    let multipliers = |n: usize, shift: i32| -> Vec<Multiplier> {
        let mantissa = |i: usize| (1 << 30) + (i as i32 * 7_654_321) % (1 << 30);
        let shift = (shift - if wide_sum && n == out.c { 3 } else { 7 }) as i8;
        (0..n)
            .map(|i| Multiplier {
                mantissa: mantissa(i),
                shift,
            })
            .collect()
    };
    let multipliers = [
        multipliers(map.len(), shifts[0]),
        multipliers(out.c, shifts[1]),
    ];
    let quant = |zero_point| Quant {
        scale: 0.25,
        zero_point,
    };
    let dense = LayerSpec {
        op: Op::Dense,
        input_shape: Shape { h: 1, w: 1, c: 9 },
        output_shape: map,
        weights: &dense_weights,
        bias: &bias[0],
        multipliers: &multipliers[0],
        pre_activation: quant(zero_points[0]),
        output: quant(zero_points[0]),
        function: Function::Unnamed,
        weight_bits: if is_four {
            WeightBits::Four
        } else {
            WeightBits::Eight
        },
        activation: Activation::Clamp {
            min: zero_points[0].min(100),
            max: 127,
        },
    };
    let [crop_top, crop_left, crop_bottom, crop_right] = case.margin;
    let last = quant(if wide_sum { 0 } else { zero_points[1] });
    let conv = LayerSpec {
        op: Op::ConvTranspose(Window {
            kernel: case.kernel,
            stride: case.stride,
            crop_top,
            crop_left,
            crop_bottom,
            crop_right,
        }),
        input_shape: map,
        output_shape: out,
        weights: &weights,
        bias: &bias[1],
        multipliers: &multipliers[1],
        pre_activation: last,
        output: last,
        function: Function::Unnamed,
        weight_bits: WeightBits::Eight,
        activation: match seed % 3 {
            0 => Activation::Clamp {
                min: -128,
                max: 127,
            },
            1 => Activation::Lut8(&table),
            _ => Activation::Lut16(&wide),
        },
    };
    let spec = ModelSpec {
        name: "stack",
        dataset: "noise",
        labels: &["one"],
        latent_len: 8,
        steps: 0,
        seed,
        layers: &[dense, conv],
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes).expect("a valid model");
    bytes
}

fn drawn(model: &Model<'_>, seed: impl Fn(usize) -> u64) -> Vec<u8> {
    let mut input = vec![0; model.input_len()];
    let mut arena = vec![0; model.required_words(Mode::Streamed)];
    let mut pictures = Vec::new();
    for i in 0..LATENTS {
        let classes = model.class_count();
        let class = (classes > 0).then(|| i % classes);
        model.fill_input(seed(i), class, &mut input).unwrap();
        let take = |_, row: &[i8]| pictures.extend(row.iter().map(|&v| v as u8));
        model.run(&input, &mut arena, take).unwrap();
    }
    pictures
}

fn seed_of(i: usize) -> u64 {
    (i as u64).wrapping_mul(0x1234_5678_9abc_def1)
}

const MAIN: &str = r#"
#include "model.h"
#include <stdio.h>
int main(void) {
    static int8_t input[GAN_INPUT], arena[GAN_ARENA], picture[GAN_PICTURE];
    for (uint64_t i = 0; i < 20; i++) {
        gan_input(i * 0x123456789abcdef1u, GAN_CLASSES ? (int32_t)(i % (GAN_CLASSES + !GAN_CLASSES)) : 0, input);
        gan_generate(input, arena, picture);
        fwrite(picture, 1, sizeof picture, stdout);
    }
    return 0;
}
"#;

/// Code with the names of a model's header.
pub fn named(code: &str, model: &str) -> String {
    let prefix = format!("gan_{model}_");
    let code = code.replace("GAN_", &prefix.to_uppercase());
    code.replace("gan_", &prefix)
}

fn by_c(dir: &Path, header: &str, model: &str) -> Vec<u8> {
    fs::write(dir.join("model.h"), header).unwrap();
    fs::write(dir.join("main.c"), named(MAIN, model)).unwrap();
    let gcc = Command::new("gcc")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-O2",
            "-fsanitize=undefined",
        ])
        .args(["-fno-sanitize-recover=all", "main.c", "-o", "main"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        gcc.status.success(),
        "{}",
        String::from_utf8_lossy(&gcc.stderr)
    );
    let run = Command::new(dir.join("main")).output().unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    run.stdout
}

#[test]
fn the_c_header_draws_the_same_bytes() {
    if !has("the C header", &["gcc"], &[]) {
        return;
    }
    let dir = tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    for name in ["fashion", "avatar"] {
        let path = models.join(format!("{name}.gan"));
        let bytes = fs::read(&path).unwrap();
        let args = [
            "export",
            path.to_str().unwrap(),
            "--format",
            "c",
            "--out",
            "h.h",
        ];
        ok(dir.path(), &args);
        let header = fs::read_to_string(dir.path().join("h.h")).unwrap();
        assert!(
            by_c(dir.path(), &header, name) == drawn(&Model::parse(&bytes).unwrap(), seed_of),
            "{name}"
        );
    }
    for (seed, (name, case)) in (0..).zip(cases()) {
        let bytes = stack(&case, seed);
        let model = Model::parse(&bytes).unwrap();
        assert!(
            by_c(
                dir.path(),
                &header(&model, model.name()).unwrap(),
                model.name()
            ) == drawn(&model, seed_of),
            "{name}: {case:?}"
        );
    }
}

/// For a device: nothing but gcc's own arithmetic is asked of the linker.
#[test]
fn the_c_header_needs_no_library() {
    let compiler = "arm-none-eabi-gcc";
    if !has("the C header on Arm", &[compiler], &[]) {
        return;
    }
    let dir = tempdir().unwrap();
    let bytes = stack(&cases()[0].1, 2);
    fs::write(
        dir.path().join("model.h"),
        header(&Model::parse(&bytes).unwrap(), "stack").unwrap(),
    )
    .unwrap();
    let code = "#include \"model.h\"\nint8_t input[GAN_INPUT], arena[GAN_ARENA], picture[GAN_PICTURE];\n\
                void draw(uint64_t seed) { gan_input(seed, 0, input); gan_generate(input, arena, picture); }\n";
    fs::write(dir.path().join("draw.c"), named(code, "stack")).unwrap();
    let run = |program: &str, args: &[&str]| {
        let run = Command::new(program)
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        String::from_utf8(run.stdout).unwrap()
    };
    let strict = [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-Os",
    ];
    let bare = [
        "-mcpu=cortex-m0plus",
        "-mthumb",
        "-ffreestanding",
        "-c",
        "draw.c",
    ];
    run(compiler, &[&strict[..], &bare].concat());
    let needs = run("arm-none-eabi-nm", &["--undefined-only", "draw.o"]);
    for line in needs.lines() {
        assert!(line.contains(" __aeabi_"), "{needs}");
        assert!(
            !line.contains("__aeabi_f") && !line.contains("__aeabi_d2"),
            "{needs}"
        );
    }
}

#[test]
fn a_sampled_array_holds_what_the_runtime_draws() {
    let dir = tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/avatar.gan");
    let bytes = fs::read(&path).unwrap();
    let model = Model::parse(&bytes).unwrap();
    let count = LATENTS.to_string();
    let sample = ["sample", path.to_str().unwrap(), "--count", &count];
    ok(
        dir.path(),
        &[&sample[..], &["--seed", "5", "--out", "x.npy"]].concat(),
    );
    let parts = |name: &str, shape: &str| {
        let file = fs::read(dir.path().join(name)).unwrap();
        assert_eq!(file[..8], *b"\x93NUMPY\x01\x00");
        let data_at = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!(data_at % 64, 0);
        let header = String::from_utf8(file[10..data_at].to_vec()).unwrap();
        let dictionary =
            format!("{{'descr': '|i1', 'fortran_order': False, 'shape': ({shape},), }}");
        assert_eq!(header.trim_end(), dictionary);
        file[data_at..].to_vec()
    };
    assert!(parts("x.npy", "20,16,16,3") == drawn(&model, |i| 5 + i as u64));
    let inputs = parts("x-input.npy", &format!("20,{}", model.input_len()));
    let mut input = vec![0; model.input_len()];
    model.fill_input(6, None, &mut input).unwrap();
    let second = inputs[model.input_len()..].iter().map(|&v| v as i8);
    assert!(second.take(input.len()).eq(input));
}

/// A dense layer of four outputs that ends in `activation`.
fn ending_in(activation: Activation<'_>) -> Vec<u8> {
    let quant = Quant {
        scale: 0.25,
        zero_point: 0,
    };
    let multiplier = Multiplier {
        mantissa: 1 << 30,
        shift: 0,
    };
    let layer = LayerSpec {
        op: Op::Dense,
        input_shape: Shape { h: 1, w: 1, c: 2 },
        output_shape: Shape { h: 2, w: 2, c: 1 },
        weights: &[1; 8],
        bias: &[0; 4],
        multipliers: &[multiplier; 4],
        pre_activation: quant,
        output: quant,
        function: Function::Unnamed,
        weight_bits: WeightBits::Eight,
        activation,
    };
    let spec = ModelSpec {
        name: "one layer",
        dataset: "none",
        labels: &[],
        latent_len: 2,
        steps: 0,
        seed: 0,
        layers: &[layer],
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes).expect("a valid model");
    bytes
}

#[test]
fn what_onnx_has_no_words_for_is_refused_and_leaves_no_file() {
    let dir = tempdir().unwrap();
    let clamp = Activation::Clamp { min: -9, max: 127 };
    let table: [u8; 256] = std::array::from_fn(|i| (i as u8).wrapping_mul(57));
    let wide: [[u8; 2]; LUT16_LEN] = std::array::from_fn(|i| [i as u8, i as u8]);
    let files = [
        ("clamp.gan", ending_in(clamp)),
        ("table.gan", ending_in(Activation::Lut8(&table))),
        ("wide.gan", ending_in(Activation::Lut16(&wide))),
        ("second.gan", stack(&cases()[0].1, 1)),
        (
            "version3.gan",
            include_bytes!("golden/version3.gan").to_vec(),
        ),
        ("damaged.gan", b"GAN8".to_vec()),
    ];
    for (name, bytes) in &files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let refusals = [
        (
            "clamp.gan",
            "onnx-qdq",
            "layer 0, dense, clamps to -9..=127",
        ),
        (
            "table.gan",
            "onnx-qdq",
            "layer 0, dense, has a table, and the file does not name its function",
        ),
        (
            "wide.gan",
            "onnx-qdq",
            "layer 0, dense, has a table, and the file does not name its function",
        ),
        (
            "second.gan",
            "onnx-qdq",
            "layer 1, conv_transpose, has a table",
        ),
        (
            "version3.gan",
            "onnx-qdq",
            "files of version 3 name none: `gan quantize RUN`",
        ),
        ("damaged.gan", "onnx-qdq", "damaged.gan is not usable"),
        ("none.gan", "onnx-qdq", "cannot read none.gan"),
        (
            "clamp.gan",
            "onnx-float",
            "clamp.gan has no floats: give the run",
        ),
        (
            "none.safetensors",
            "onnx-float",
            "cannot read none.safetensors",
        ),
    ];
    for (file, format, reason) in refusals {
        let args = ["export", file, "--format", format, "--out", "out.onnx"];
        let error = fails(dir.path(), 1, &args);
        assert!(error.contains(reason), "{error}");
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, files.len());
    let args = ["export", "clamp.gan", "--format", "c", "--out", "h.h"];
    ok(dir.path(), &args);
}
