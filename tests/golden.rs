//! The kernels reproduce the vectors that another implementation, in another language, made.

use gan_core::types::Window;
use gan_core::{Multiplier, Op, Shape, WeightBits};
use serde_json::Value;

use crate::kernels::{Numbers, run};

fn ints(value: &Value) -> Vec<i64> {
    let values = value.as_array().expect("an array").iter();
    values.map(|v| v.as_i64().expect("an integer")).collect()
}

fn shape(value: &Value) -> Shape {
    match ints(value).iter().map(|&v| v as usize).collect::<Vec<_>>()[..] {
        [h, w, c] => Shape { h, w, c },
        _ => panic!("not a shape: {value}"),
    }
}

#[test]
fn the_kernels_reproduce_the_golden_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("golden/kernels.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 20);
    for vector in vectors {
        let window: Vec<usize> = ints(&vector["window"])
            .iter()
            .map(|&v| v as usize)
            .collect();
        let op = Op::ConvTranspose(Window {
            kernel: window[0],
            stride: window[1],
            crop_top: window[2],
            crop_left: window[3],
            crop_bottom: window[4],
            crop_right: window[5],
        });
        let bytes =
            |key: &str| -> Vec<i8> { ints(&vector[key]).iter().map(|&v| v as i8).collect() };
        let multipliers = ints(&vector["mantissas"]).into_iter().zip(bytes("shifts"));
        let numbers = Numbers {
            weights: bytes("weights"),
            bias: ints(&vector["bias"]).iter().map(|&v| v as i32).collect(),
            multipliers: multipliers
                .map(|(mantissa, shift)| Multiplier {
                    mantissa: mantissa as i32,
                    shift,
                })
                .collect(),
            input_zero_point: vector["input_zero_point"].as_i64().unwrap() as i8,
            zero_point: vector["output_zero_point"].as_i64().unwrap() as i8,
            clamp: (-128, 127),
            table: None,
            bits: WeightBits::Eight,
        };
        let shapes = (
            shape(&vector["input_shape"]),
            shape(&vector["output_shape"]),
        );
        let output = run(op, shapes, &numbers, &bytes("latents"));
        assert_eq!(output, bytes("output"), "{}", vector["name"]);
    }
}
