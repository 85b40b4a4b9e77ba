//! The integer kernels equal a plain i64 scatter loop, bit for bit.

use std::fs;
use std::path::Path;

use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::ops::kernels::{Dsp, KernelSet, Packed, Portable};
use gan_core::types::{LUT16_LEN, Window};
use gan_core::{
    Activation, Function, InferError, Mode, Model, Multiplier, Op, Quant, Shape, WeightBits,
};
use proptest::prelude::*;
use tests::{Case, Noise, cases, requantize};

/// A one-layer model's numbers.
pub struct Numbers {
    pub weights: Vec<i8>, // [c_out][taps][c_in] or [n_out][n_in]
    pub bias: Vec<i32>,
    pub multipliers: Vec<Multiplier>,
    pub input_zero_point: i8,
    pub zero_point: i8,
    pub clamp: (i8, i8),
    pub table: Option<Table>,
    pub bits: WeightBits,
}

/// What follows the sum where a clamp does not do.
pub enum Table {
    Narrow(Box<[u8; 256]>),
    Wide(Box<[[u8; 2]; LUT16_LEN]>),
}

impl Numbers {
    /// Extreme or moderate numbers, by `noise`.
    fn random(noise: &mut Noise, weights: usize, channels: usize, extreme: bool) -> Self {
        let mut int = |low: i64, high: i64| {
            let span = (high - low + 1) as u64;
            low + (u64::from(noise.next_bits()) % span) as i64
        };
        let weight = |v: i64| if extreme { 127 * v.signum() } else { v } as i8;
        let shift = if extreme { (-31, 30) } else { (-12, -6) };
        let zero_points = [-128, 127, 0, -1];
        let clamp = (int(-128, 0), int(1, 127));
        let mut entry = |_| (int(-32768, 32767) as i16).to_le_bytes();
        let table = match entry(0)[0] % 3 {
            0 => None,
            1 => Some(Table::Narrow(Box::new(std::array::from_fn(|i| {
                (i * 7 + 3) as u8
            })))),
            _ => Some(Table::Wide(Box::new(std::array::from_fn(entry)))),
        };
        let wide = matches!(table, Some(Table::Wide(_)));
        Self {
            weights: (0..weights).map(|_| weight(int(-127, 127))).collect(),
            bias: (0..channels)
                .map(|_| int(-100_000, 100_000) as i32)
                .collect(),
            multipliers: (0..channels)
                .map(|_| Multiplier {
                    mantissa: int(1 << 30, (1 << 31) - 1) as i32,
                    shift: int(shift.0, shift.1) as i8,
                })
                .collect(),
            input_zero_point: zero_points[int(0, 3) as usize],
            zero_point: if wide {
                0
            } else {
                zero_points[int(0, 3) as usize]
            },
            clamp: if table.is_some() {
                (-128, 127)
            } else {
                (clamp.0 as i8, clamp.1 as i8)
            },
            table,
            bits: WeightBits::Eight,
        }
    }

    /// The same with weights of four bits.
    fn with_four_bits(mut self) -> Self {
        self.weights.iter_mut().for_each(|w| *w /= 18);
        self.bits = WeightBits::Four;
        self
    }

    /// What a latent is worth to the layer: the carrying layer adds the zero point,
    /// saturates, and the layer takes the zero point off again.
    fn carried(&self, latent: i8) -> i64 {
        let zero_point = i64::from(self.input_zero_point);
        (i64::from(latent) + zero_point).clamp(-128, 127) - zero_point
    }

    fn finish(&self, acc: i64, channel: usize) -> i8 {
        let acc = i32::try_from(acc).expect("the format forbids overflow");
        let Multiplier { mantissa, shift } = self.multipliers[channel];
        let product = requantize(acc, mantissa, i32::from(shift));
        let sum = i64::from(product) + i64::from(self.zero_point);
        let clamped = sum.clamp(i64::from(self.clamp.0), i64::from(self.clamp.1));
        match &self.table {
            Some(Table::Narrow(table)) => table[(clamped + 128) as usize] as i8,
            Some(Table::Wide(table)) => interpolated(table, sum.clamp(-32768, 32767)),
            None => clamped as i8,
        }
    }
}

/// TensorFlow Lite's `LUTLookup` of a 16-bit sum, in exact division; then its high byte.
fn interpolated(table: &[[u8; 2]; LUT16_LEN], sum: i64) -> i8 {
    let entry = |i: i64| i64::from(i16::from_le_bytes(table[i as usize]));
    let (step, offset) = (sum.div_euclid(128) + 256, sum.rem_euclid(128));
    let slope = entry(step + 1) - entry(step);
    let wide = entry(step) + (slope * offset + 64).div_euclid(128);
    (wide + 128).div_euclid(256).min(127) as i8
}

/// Draws in an arena of exactly the required size.
fn drawn<K: KernelSet>(model: &Model<'_>, input: &[i8]) -> Vec<i8> {
    let need = model.required_words(Mode::Streamed);
    let mut arena = vec![0x5555_5555; need + 2];
    let mut output = Vec::new();
    let sink = |_, row: &[i8]| output.extend_from_slice(row);
    model
        .run_with::<K>(input, &mut arena[..need], sink)
        .unwrap();
    assert_eq!(arena[need..], [0x5555_5555; 2], "written behind the arena");
    output
}

/// Runs one layer on a latent that a dense layer carries to it with another zero point.
pub fn run(op: Op, shapes: (Shape, Shape), numbers: &Numbers, input: &[i8]) -> Vec<i8> {
    // Over 70 lines: every field of three layers is set once.
    let n = input.len();
    let identity: Vec<i8> = (0..n * n).map(|i| i8::from(i % (n + 1) == 0)).collect();
    let one = Multiplier {
        mantissa: 1 << 30,
        shift: 1,
    };
    let (bias, ones) = (vec![0; n], vec![one; n]);
    let unit = |zero_point| Quant {
        scale: 1.0,
        zero_point,
    };
    let flat = Shape { h: 1, w: 1, c: n };
    let carry = LayerSpec {
        op: Op::Dense,
        input_shape: flat,
        output_shape: shapes.0,
        weights: &identity,
        bias: &bias,
        multipliers: &ones,
        pre_activation: unit(numbers.input_zero_point),
        output: unit(numbers.input_zero_point),
        function: Function::Unnamed,
        weight_bits: WeightBits::Eight,
        activation: Activation::Clamp {
            min: -128,
            max: 127,
        },
    };
    let layer = LayerSpec {
        op,
        input_shape: shapes.0,
        output_shape: shapes.1,
        weights: &numbers.weights,
        bias: &numbers.bias,
        multipliers: &numbers.multipliers,
        pre_activation: unit(numbers.zero_point),
        output: unit(numbers.zero_point),
        function: Function::Unnamed,
        weight_bits: numbers.bits,
        activation: match &numbers.table {
            Some(Table::Narrow(table)) => Activation::Lut8(table),
            Some(Table::Wide(table)) => Activation::Lut16(table),
            None => Activation::Clamp {
                min: numbers.clamp.0,
                max: numbers.clamp.1,
            },
        },
    };
    let spec = ModelSpec {
        name: "kernel",
        dataset: "",
        labels: &[],
        latent_len: n as u16,
        steps: 0,
        seed: 0,
        layers: &[carry, layer],
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes).expect("a valid model");
    let model = Model::parse(&bytes).expect("a valid model");
    let portable = drawn::<Portable>(&model, input);
    let mut whole = Vec::new();
    let mut arena = vec![0x5555_5555; model.required_words(Mode::WholeLayers)];
    let observer = |layer, values: &[i8]| {
        if layer == 1 {
            whole.extend_from_slice(values);
        }
    };
    model.run_observed(input, &mut arena, observer).unwrap();
    assert_eq!(drawn::<Dsp>(&model, input), portable, "dsp: {op:?}");
    assert_eq!(drawn::<Packed>(&model, input), portable, "packed: {op:?}");
    assert_eq!(whole, portable, "whole layers: {op:?}");
    let need = model.required_words(Mode::Streamed);
    let too_small = InferError::ArenaTooSmall {
        need_bytes: 4 * need,
        have_bytes: 4 * (need - 1),
    };
    let mut arena = vec![0; need - 1];
    let error = model.run(input, &mut arena, |_, _| ());
    assert_eq!(error, Err(too_small));
    portable
}

fn check_conv_transpose(case: &Case, seed: u64, extreme: bool) {
    let mut noise = Noise(seed);
    let (taps, big) = (case.kernel * case.kernel, case.big());
    let weights = case.c_big * taps * case.c_small;
    let numbers = Numbers::random(&mut noise, weights, case.c_big, extreme);
    let input_len = case.small[0] * case.small[1] * case.c_small;
    let input: Vec<i8> = (0..input_len).map(|_| noise.next_bits() as i8).collect();
    let mut acc: Vec<i64> = (0..big[0] * big[1])
        .flat_map(|_| numbers.bias.iter().map(|&b| i64::from(b)))
        .collect();
    case.each_tap(|small, tap, pixel| {
        for i in 0..case.c_small {
            for o in 0..case.c_big {
                let w = numbers.weights[(o * taps + tap) * case.c_small + i];
                let x = numbers.carried(input[small * case.c_small + i]);
                acc[pixel * case.c_big + o] += x * i64::from(w);
            }
        }
    });
    let expected: Vec<i8> = acc
        .iter()
        .enumerate()
        .map(|(i, &acc)| numbers.finish(acc, i % case.c_big))
        .collect();
    let op = Op::ConvTranspose(Window {
        kernel: case.kernel,
        stride: case.stride,
        crop_top: case.margin[0],
        crop_left: case.margin[1],
        crop_bottom: case.margin[2],
        crop_right: case.margin[3],
    });
    let small = Shape {
        h: case.small[0],
        w: case.small[1],
        c: case.c_small,
    };
    let big = Shape {
        h: big[0],
        w: big[1],
        c: case.c_big,
    };
    assert_eq!(
        run(op, (small, big), &numbers, &input),
        expected,
        "{case:?} {seed}"
    );
}

#[test]
fn every_named_case_is_exact() {
    for (_, case) in cases() {
        for seed in 0..8 {
            check_conv_transpose(&case, seed, seed % 2 == 0);
        }
    }
}

prop_compose! {
    fn any_case()(
        small in prop::array::uniform2(1usize..5),
        kernel in 1usize..7,
        stride in 1usize..5,
        margin in prop::array::uniform4(0usize..4),
        c_small in 1usize..10,
        c_big in 1usize..10,
    ) -> Case {
        Case { small, kernel, stride, margin, c_small, c_big }
    }
}

fn has_output(case: &Case) -> bool {
    (0..2).all(|i| {
        (case.small[i] - 1) * case.stride + case.kernel > case.margin[i] + case.margin[i + 2]
    })
}

proptest! {
    #[test]
    fn transposed_convolution_is_exact(
        case in any_case().prop_filter("an output", has_output),
        seed: u64,
        extreme: bool,
    ) {
        check_conv_transpose(&case, seed, extreme);
    }

    #[test]
    fn dense_is_exact(
        n_in in 1usize..70,
        rows in 1usize..4,
        row_len in 1usize..11,
        seed: u64,
        extreme: bool,
        four_bits: bool,
    ) {
        let n_out = rows * row_len;
        let mut noise = Noise(seed);
        let mut numbers = Numbers::random(&mut noise, n_in * n_out, n_out, extreme);
        if four_bits {
            numbers = numbers.with_four_bits();
        }
        let input: Vec<i8> = (0..n_in).map(|_| noise.next_bits() as i8).collect();
        let expected: Vec<i8> = (0..n_out).map(|o| {
            let row = &numbers.weights[o * n_in..(o + 1) * n_in];
            let products = row.iter().zip(&input).map(|(&w, &x)| i64::from(w) * numbers.carried(x));
            numbers.finish(i64::from(numbers.bias[o]) + products.sum::<i64>(), o)
        }).collect();
        let shapes = (Shape { h: 1, w: 1, c: n_in }, Shape { h: rows, w: 1, c: row_len });
        prop_assert_eq!(run(Op::Dense, shapes, &numbers, &input), expected);
    }

    #[test]
    fn requantization_is_exact(acc: i32, mantissa in 1i32 << 30.., shift in -31i8..=30) {
        let m = Multiplier { mantissa, shift };
        prop_assert_eq!(m.apply(acc), requantize(acc, mantissa, i32::from(shift)));
    }
}

#[test]
fn requantization_is_exact_at_every_tie_and_extreme() {
    let mut accs = vec![i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX];
    for bit in 0..31 {
        for near in -2..=2 {
            accs.push((1i32 << bit).wrapping_add(near));
            accs.push((1i32 << bit).wrapping_neg().wrapping_add(near));
            accs.push((3i32.wrapping_shl(bit)).wrapping_add(near));
        }
    }
    for &acc in &accs {
        for shift in -31..=30i8 {
            for mantissa in [1 << 30, (1 << 30) + 1, 3 << 29, i32::MAX - 1, i32::MAX] {
                let found = Multiplier { mantissa, shift }.apply(acc);
                let expected = requantize(acc, mantissa, i32::from(shift));
                assert_eq!(found, expected, "{acc} * {mantissa} << {shift}");
            }
        }
    }
}

#[test]
fn latents_are_normal_quantiles_and_the_same_everywhere() {
    // Phi by its integral (Simpson), inverted by bisection.
    let phi = |z: f64| {
        let n = 2000;
        let h = z / f64::from(n);
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let inner = (1..n).map(|i| density(f64::from(i) * h) * f64::from(2 + 2 * (i % 2)));
        0.5 + h / 3.0 * (density(0.0) + inner.sum::<f64>() + density(z))
    };
    for (i, &quantile) in gan_core::latent::NORMAL_QUANTILES.iter().enumerate() {
        let p = (i as f64 + 0.5) / 256.0;
        let (mut low, mut high) = (-4.0, 4.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if phi(middle) < p {
                low = middle;
            } else {
                high = middle;
            }
        }
        assert_eq!(f64::from(quantile), (32.0 * low).round(), "quantile {i}");
    }
    let mut latent = [0; 8];
    gan_core::latent::fill_latent(7, &mut latent);
    let mut shorter = [0; 5];
    gan_core::latent::fill_latent(7, &mut shorter);
    assert_eq!(latent[..5], shorter);
    gan_core::latent::fill_latent(8, &mut shorter);
    assert_ne!(latent[..5], shorter);
}

#[test]
fn a_walk_follows_the_arc_from_one_latent_to_the_other() {
    let latent = |seed| {
        let mut latent = [0i8; 64];
        gan_core::latent::fill_latent(seed, &mut latent);
        latent
    };
    let opposite = latent(1).map(|v| -v);
    let pairs = (1..20).map(|seed| (latent(seed), latent(seed + 1)));
    for (from, to) in pairs.chain([(latent(1), latent(1)), (latent(1), opposite)]) {
        let dot = |a: &[i8; 64], b: &[i8; 64]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum()
        };
        let angle = (dot(&from, &to) / (dot(&from, &from) * dot(&to, &to)).sqrt()).acos();
        for step in 0..=32 {
            let t = f64::from(step) / 32.0;
            let mut found = from;
            gan_core::latent::slerp(&mut found, &to, t as f32);
            // An input's class stands behind its latent, and is none of the arc's.
            let (mut in_input, mut with_class) = (from, to.to_vec());
            with_class.extend([0, 96, 0]);
            gan_core::latent::slerp(&mut in_input, &with_class, t as f32);
            assert_eq!(in_input, found);
            // On one line the arc is not defined, and a straight line is as good.
            let (a, b) = if angle.sin() > 0.01 {
                let weight = |share: f64| (share * angle).sin() / angle.sin();
                (weight(1.0 - t), weight(t))
            } else {
                (1.0 - t, t)
            };
            for ((&found, &from), &to) in found.iter().zip(&from).zip(&to) {
                let exact = a * f64::from(from) + b * f64::from(to);
                let error = (f64::from(found) - exact.clamp(-128.0, 127.0)).abs();
                assert!(error < 0.52, "{found} for {exact} at {t}");
            }
            if step % 32 == 0 {
                assert_eq!(found, if step == 0 { from } else { to });
            }
        }
    }
}

/// Below the folder of gan-core's sources.
const UNSAFE_FILES: [&str; 8] = [
    "ops/kernels/dsp.rs",
    "ops/kernels/packed/device.rs",
    "ops/kernels/packed/mod.rs",
    "ops/kernels/packed/riscv.rs",
    "ops/kernels/packed/thumb1.rs",
    "ops/kernels/packed/thumb2.rs",
    "ops/kernels/portable.rs",
    "lib.rs",
];

#[test]
fn unsafe_code_and_assembly_are_in_the_kernels_alone_each_with_its_reason() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/src"));
    let mut folders = vec![root.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let lines: Vec<&str> = text.lines().filter(code).collect();
            let is_unsafe = |line: &&str| line.contains("unsafe") || line.contains("asm!");
            if lines.iter().any(is_unsafe) {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.push(name.replace('\\', "/"));
            }
            let blocks = text.match_indices("unsafe {").count();
            let reasons = text.match_indices("// SAFETY: ").count();
            assert!(reasons >= blocks, "{}: {blocks} blocks", path.display());
            let allowed = text.match_indices("unsafe_code").count();
            let explained = text.match_indices("reason = ").count();
            let is_root = path.ends_with("lib.rs");
            assert!(is_root || explained >= allowed, "{}", path.display());
        }
    }
    found.sort_unstable();
    let mut expected = UNSAFE_FILES.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let lib = fs::read_to_string(root.join("lib.rs")).unwrap();
    assert!(lib.contains("#![deny(unsafe_code)]"), "all else is refused");
    assert_eq!(lib.match_indices("unsafe").count(), 2, "and nothing more");
}
