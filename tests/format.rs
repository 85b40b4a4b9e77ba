//! A damaged or lying `.gan` file is an error, never a panic.

use std::sync::OnceLock;

use gan_core::encode::{LayerSpec, ModelSpec, encode, encode_seeds, encoded_bytes};
use gan_core::error::{FileError, LayerError};
use gan_core::types::Window;
use gan_core::{
    Activation, Function, Mode, Model, ModelError, Multiplier, Op, Quant, Shape, WeightBits,
};
use proptest::prelude::*;

const TABLE: [u8; 256] = [9; 256];
const LABELS: [&str; 2] = ["böse", "gut"];

/// A small file with both operators, classes and a table.
pub fn file() -> &'static [u8] {
    // Over 70 lines: every field of a file is set once.
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let half = Multiplier {
            mantissa: 1 << 30,
            shift: -3,
        };
        let quant = Quant {
            scale: 0.5,
            zero_point: -128,
        };
        let map = Shape { h: 2, w: 2, c: 2 };
        let dense = LayerSpec {
            op: Op::Dense,
            input_shape: Shape { h: 1, w: 1, c: 5 },
            output_shape: map,
            weights: &[3; 40],
            bias: &[-7; 8],
            multipliers: &[half; 8],
            pre_activation: quant,
            output: quant,
            function: Function::Unnamed,
            weight_bits: WeightBits::Four,
            activation: Activation::Clamp {
                min: -128,
                max: 127,
            },
        };
        let conv = LayerSpec {
            op: Op::ConvTranspose(Window {
                kernel: 3,
                stride: 2,
                crop_top: 1,
                crop_left: 1,
                crop_bottom: 0,
                crop_right: 0,
            }),
            input_shape: map,
            output_shape: Shape { h: 4, w: 4, c: 1 },
            weights: &[-5; 18],
            bias: &[11],
            multipliers: &[half],
            pre_activation: quant,
            output: Quant {
                scale: 1.0 / 128.0,
                zero_point: 0,
            },
            function: Function::Unnamed,
            weight_bits: WeightBits::Eight,
            activation: Activation::Lut8(&TABLE),
        };
        let spec = ModelSpec {
            name: "tiny",
            dataset: "none",
            labels: &LABELS,
            latent_len: 3,
            steps: 12,
            seed: 34,
            layers: &[dense, conv],
        };
        let mut bytes = vec![0xAA; encoded_bytes(&spec)];
        assert_eq!(encode(&spec, &mut bytes), Ok(bytes.len()));
        let need_bytes = bytes.len();
        let have_bytes = need_bytes - 1;
        let error = encode(&spec, &mut vec![0; have_bytes]);
        assert_eq!(
            error,
            Err(ModelError::File(FileError::BufferTooSmall {
                need_bytes,
                have_bytes
            }))
        );
        bytes
    })
}

#[test]
fn what_was_written_is_read_back() {
    let model = Model::parse(file()).unwrap();
    assert_eq!((model.name(), model.dataset()), ("tiny", "none"));
    assert_eq!(
        (model.label(0), model.label(1), model.label(2)),
        (Some("böse"), Some("gut"), None)
    );
    assert_eq!(
        (model.latent_len(), model.class_count(), model.input_len()),
        (3, 2, 5)
    );
    assert_eq!((model.steps(), model.seed()), (12, 34));
    assert_eq!(model.output_shape(), Shape { h: 4, w: 4, c: 1 });
    let macs: Vec<u64> = model
        .layers()
        .iter()
        .map(|layer| layer.mac_count())
        .collect();
    // 2 pixels a side: taps 1 and 2 of the first and all of the second land, 5 of 6.
    assert_eq!(macs, [40, 5 * 5 * 2]);
    let mut input = [0; 5];
    assert!(model.fill_input(1, None, &mut input).is_err());
    assert!(model.fill_input(1, Some(2), &mut input).is_err());
    model.fill_input(1, Some(1), &mut input).unwrap();
    assert_eq!(input[3..], [0, 96]);
}

/// Images of the seeds from 1 on, of the classes in turn.
fn pictures(model: &Model<'_>, count: usize) -> Vec<i8> {
    let mut input = vec![0; model.input_len()];
    let mut arena = vec![0; model.required_words(Mode::Streamed)];
    let mut pictures = Vec::new();
    for i in 0..count {
        let class = Some(i % model.class_count());
        model.fill_input(1 + i as u64, class, &mut input).unwrap();
        let take = |_, row: &[i8]| pictures.extend_from_slice(row);
        model.run(&input, &mut arena, take).unwrap();
    }
    pictures
}

/// The last program that wrote version 3 made both files: it trained on 600 images of 8x8 noise
/// in two classes for 300 steps (ReLU, leaky ReLU and tanh), then `quantize --dense-bits 4`,
/// `critic`, and `sample --count 4 --seed 1 --out version3.npy`.
#[test]
fn a_file_of_version_3_draws_what_it_drew() {
    let file = include_bytes!("golden/version3.gan");
    let drawn = include_bytes!("golden/version3.npy");
    let (_, drawn) = drawn.split_at(drawn.len() - 4 * 8 * 8);
    let drawn: Vec<i8> = drawn.iter().map(|&value| value as i8).collect();
    assert_eq!(file[4..6], [3, 0]);
    let model = Model::parse(file).unwrap();
    assert_eq!(pictures(&model, 4), drawn);
    let critic = model.critic().unwrap();
    let mut layers = model.layers().iter().chain(critic.layers());
    assert!(layers.all(|layer| layer.function == Function::Unnamed));
    // What is written anew is of version 4.
    let mut vetted = vec![0; file.len() + 64];
    let len = encode_seeds(file, &[3, 4, 5, 6], &mut vetted).unwrap();
    assert_eq!(vetted[4..6], [4, 0]);
    let model = Model::parse(&vetted[..len]).unwrap();
    assert_eq!((pictures(&model, 4), model.vetted_count()), (drawn, 2));
}

#[test]
fn the_functions_of_the_activations_are_read_back() {
    let model = Model::parse(crate::files::rich()).unwrap();
    let critic = model.critic().unwrap();
    let layers = model.layers().iter().chain(critic.layers());
    let functions: Vec<_> = layers.map(|layer| layer.function).collect();
    let [linear, leaky] = [Function::Linear, Function::LeakyRelu { slope: 0.25 }];
    let expected = [linear, Function::Relu, leaky, linear, Function::Unnamed];
    assert_eq!(functions, expected);
}

#[test]
fn every_truncation_is_an_error() {
    for len in 0..file().len() {
        assert!(Model::parse(&file()[..len]).is_err(), "{len} bytes");
    }
    let longer = [file(), &[0]].concat();
    assert!(Model::parse(&longer).is_err(), "a byte too many");
}

#[test]
fn every_flipped_bit_is_an_error() {
    let mut bytes = file().to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::parse(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// CRC-32 as IEEE 802.3 defines it, one bit at a time from the highest, bits reversed.
fn crc(bytes: impl Iterator<Item = u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            crc = if crc >> 31 == 1 {
                (crc << 1) ^ 0x04C1_1DB7
            } else {
                crc << 1
            };
        }
    }
    !crc.reverse_bits()
}

pub fn fix_crc(bytes: &mut [u8]) {
    let covered = bytes[..12].iter().chain(&bytes[16..]).copied();
    let crc = crc(covered);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_map_beyond_the_limit_is_refused() {
    let quant = Quant {
        scale: 1.0,
        zero_point: 0,
    };
    let layer = LayerSpec {
        op: Op::Dense,
        input_shape: Shape { h: 1, w: 1, c: 1 },
        output_shape: Shape {
            h: 4096,
            w: 4096,
            c: 2,
        },
        weights: &[],
        bias: &[],
        multipliers: &[],
        pre_activation: quant,
        output: quant,
        function: Function::Unnamed,
        weight_bits: WeightBits::Eight,
        activation: Activation::Clamp {
            min: -128,
            max: 127,
        },
    };
    let spec = ModelSpec {
        name: "huge",
        dataset: "none",
        labels: &[],
        latent_len: 1,
        steps: 0,
        seed: 0,
        layers: &[layer],
    };
    let error = encode(&spec, &mut vec![0; encoded_bytes(&spec)]);
    let lie = LayerError::MapSize;
    assert_eq!(
        error,
        Err(ModelError::Layer {
            index: 0,
            error: lie
        })
    );
}

/// A file that passes may draw anything, but must not panic.
fn parse_and_run(bytes: &[u8]) {
    if let Ok(model) = Model::parse(bytes) {
        let need = model.required_words(Mode::Streamed);
        if need < 1 << 22 {
            let input = vec![1; model.input_len()];
            model.run(&input, &mut vec![0; need], |_, _| ()).unwrap();
        }
    }
}

#[test]
fn a_lie_with_a_right_checksum_does_not_panic() {
    let mut bytes = file().to_vec();
    fix_crc(&mut bytes);
    assert_eq!(bytes, file(), "the checksum is the standard one");
    // Every byte of header, layer table and text, set to every value.
    for at in (0..48 + 2 * 64 + 20).filter(|at| !(12..16).contains(at)) {
        for value in 0..=255 {
            let mut lie = file().to_vec();
            lie[at] = value;
            fix_crc(&mut lie);
            parse_and_run(&lie);
        }
    }
}

#[test]
fn weights_that_do_not_fit_their_zero_point_corrections_are_refused() {
    // The transposed convolution's record is the second; its weights' offset is at 36.
    let record = 48 + 64;
    let at = u32::from_le_bytes(file()[record + 36..record + 40].try_into().unwrap()) as usize;
    // 9 taps of 2 channels, each filled up to 4.
    for i in 0..9 * 4 {
        let mut lie = file().to_vec();
        lie[at + i] ^= 1;
        fix_crc(&mut lie);
        let error = Model::parse(&lie).err();
        let is_found = matches!(
            error,
            Some(ModelError::Layer {
                index: 1,
                error: LayerError::ZeroPointCorrection { .. } | LayerError::Weight { .. }
            })
        );
        assert!(is_found, "byte {i}: {error:?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(bytes: Vec<u8>, magic: bool, version in 3u8..5) {
        let mut bytes = bytes;
        if magic && bytes.len() > 16 {
            bytes[..6].copy_from_slice(b"GAN8\x00\x00");
            bytes[4] = version;
            let len = bytes.len() as u32;
            bytes[8..12].copy_from_slice(&len.to_le_bytes());
            fix_crc(&mut bytes);
        }
        parse_and_run(&bytes);
    }

    #[test]
    fn several_lies_do_not_panic(changes in prop::collection::vec((0usize..196, any::<u8>()), 1..6)) {
        let mut bytes = file().to_vec();
        for (at, value) in changes {
            bytes[at] = value;
        }
        fix_crc(&mut bytes);
        parse_and_run(&bytes);
    }
}
