//! What is rewritten for TensorFlow Lite; `cargo tools interop` runs it there.

use std::fs;
use std::path::Path;

use gan_core::{Activation, Model};
use host::export::tflite::legalize;
use host::sample::{Order, int8};
use tempfile::tempdir;
use tests::cases;

use crate::cli::{fails, ok};
use crate::export::stack;

#[test]
fn a_model_of_16_bit_sums_is_rewritten_once_and_draws_nearly_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fashion.gan");
    let bytes = fs::read(path).unwrap();
    let model = Model::parse(&bytes).unwrap();
    let rewritten = legalize(&model).unwrap();
    let narrow = Model::parse(&rewritten).unwrap();
    let is_wide = |layer: &gan_core::Layer<'_>| matches!(layer.activation, Activation::Lut16(_));
    assert!(model.layers().iter().any(is_wide) && !narrow.layers().iter().any(is_wide));
    assert!(legalize(&narrow).unwrap() == rewritten);
    assert_eq!(
        (narrow.name(), narrow.label(9)),
        ("fashion", model.label(9))
    );

    let order = Order {
        count: 100,
        seed: 1,
        class: None,
    };
    let drawn = [&model, &narrow].map(|model| int8(model, &order).unwrap().pixels);
    let squares = drawn[0].iter().zip(&drawn[1]).map(|(&a, &b)| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    });
    let psnr_db = -10.0 * (squares.sum::<f64>() / drawn[0].len() as f64 / 255f64.powi(2)).log10();
    // A table that is off by one would leave 36 dB.
    assert!(psnr_db > 38.0, "{psnr_db}");
}

#[test]
fn a_model_quantized_for_tensorflow_lite_is_exported_as_it_is() {
    let dir = tempdir().unwrap();
    let train = [
        "train", "--preset", "avatar", "--steps", "3", "--out", "run",
    ];
    ok(dir.path(), &train);
    ok(dir.path(), &["quantize", "run", "--tanh-bits", "8"]);
    let export = ["export", "run", "--format", "tflite", "--out", "x.tflite"];
    ok(dir.path(), &export);
    assert!(!dir.path().join("x.tflite.gan").exists());
    let bytes = fs::read(dir.path().join("run/generator.gan")).unwrap();
    assert!(legalize(&Model::parse(&bytes).unwrap()).unwrap() == bytes);

    ok(dir.path(), &["quantize", "run"]);
    ok(dir.path(), &export);
    assert!(dir.path().join("x.tflite.gan").exists());
}

#[test]
fn a_layer_that_tensorflow_lite_has_not_is_refused_by_name_before_anything_is_written() {
    let dir = tempdir().unwrap();
    // A table of noise.
    fs::write(dir.path().join("noise.gan"), stack(&cases()[0].1, 1)).unwrap();
    let export = [
        "export",
        "noise.gan",
        "--format",
        "tflite",
        "--out",
        "x.tflite",
    ];
    let error = fails(dir.path(), 1, &export);
    assert!(
        error.contains("noise.gan") && error.contains("layer 1"),
        "{error}"
    );
    assert!(error.contains("does not name its function"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
