//! What cannot end well is refused before the first step.

use std::fs;

use crate::cli::{fails, ok, train_args};
use crate::interruption::{TINY, folder};

/// A generator for 28x28 grey images with these transposed convolutions behind a dense layer.
fn config(dense: &str, convs: &[String], training: &str) -> String {
    let convs = convs.join(",\n");
    format!(
        "name = \"limits\"\nimage = {{ height = 28, width = 28, channels = 1 }}\n\
         generator = {{ latent = 4, dense = {{ {dense}, norm = true, activation = \"relu\" }}, \
         conv_transpose = [{convs}] }}\n\
         discriminator = {{ conv = [{{ channels = 2, kernel = 4, stride = 2, \
         pad = [1, 1, 1, 1], norm = false, activation = \"leaky_relu\" }}] }}\n\
         training = {{ steps = 1, batch = 2, {training} }}\n"
    )
}

fn conv(channels: usize, kernel: usize, crops: [usize; 4], activation: &str) -> String {
    format!(
        "{{ channels = {channels}, kernel = {kernel}, stride = 1, crop = {crops:?}, \
         norm = false, activation = \"{activation}\" }}"
    )
}

#[test]
fn a_network_that_no_device_draws_is_refused_before_step_1() {
    let dir = folder();
    let dir = dir.path();
    let last = conv(1, 1, [0; 4], "tanh");
    let mut many = vec![conv(1, 3, [1; 4], "relu"); 16];
    many.push(last.clone());
    let same = "height = 28, width = 28, channels = 1";
    let cases = [
        (config(same, &many, ""), "18 layers"),
        (
            config(
                "height = 1, width = 1, channels = 1",
                &[conv(1, 258, [115; 4], "tanh")],
                "",
            ),
            "a kernel of 258",
        ),
        (
            config(
                "height = 275, width = 275, channels = 1",
                &[conv(1, 17, [263, 263, 0, 0], "tanh")],
                "",
            ),
            "a crop of 263",
        ),
        (
            config(
                "height = 16, width = 16, channels = 256",
                &[conv(1, 16, [1, 1, 2, 2], "tanh")],
                "",
            ),
            "sums can overflow",
        ),
        (
            config(same, std::slice::from_ref(&last), "").replace("limits", "a\\nb"),
            "control character",
        ),
    ];
    for (text, says) in cases {
        fs::write(dir.join("limits.toml"), &text).unwrap();
        let args = train_args("limits.toml", "run");
        let error = fails(dir, 1, &args);
        assert!(error.contains(says), "{says}: {error}");
        assert!(!dir.join("run").exists(), "{says}: a run began");
    }
    // One tap lands on each output: as many as the kernel has never meet.
    let wide = config(
        "height = 1, width = 1, channels = 64",
        &[conv(1, 28, [0; 4], "tanh")],
        "",
    );
    fs::write(dir.join("limits.toml"), wide).unwrap();
    ok(dir, &train_args("limits.toml", "run"));
}

#[test]
fn a_number_that_no_checkpoint_holds_is_refused_before_step_1() {
    let dir = folder();
    let dir = dir.path();
    for (key, values) in [
        ("learning_rate", &["inf", "nan", "0.0", "-1.0"][..]),
        ("discriminator_learning_rate", &["inf", "nan", "0.0"]),
        ("init_std", &["inf", "nan", "0.0"]),
        ("beta1", &["1.0", "inf", "nan", "-0.1"]),
        ("beta2", &["1.0", "2.0", "nan"]),
        ("ema", &["nan", "1.1", "-inf"]),
        ("decay_from", &["nan", "2.0"]),
        ("decay_to", &["nan", "-1.0"]),
        ("label_smoothing", &["nan", "inf"]),
        ("lecam", &["nan", "inf", "-1.0"]),
        ("teacher_weight", &["nan", "inf"]),
        ("real_weight", &["nan", "inf"]),
        ("fake_weight", &["nan", "inf"]),
    ] {
        for value in values {
            let text = TINY.replace("steps = 24", &format!("steps = 24, {key} = {value}"));
            fs::write(dir.join("tiny.toml"), text).unwrap();
            let train = train_args("tiny.toml", "run");
            let error = fails(dir, 1, &train);
            assert!(error.contains(key), "{key} = {value}: {error}");
            assert!(!dir.join("run").exists(), "{key} = {value}: a run began");
        }
    }
}
