//! A run that begins with the networks of another one.

use std::fs;
use std::path::Path;

use dfdx::prelude::Cpu;
use host::run_folder::RunFolder;
use host::train::checkpoint::{averaged, load_generator, load_state};
use host::train::trainer::Trainer;
use host::train::transfer::begin_from;
use tests::Noise;

use crate::cli::{fails, ok};
use crate::interruption::folder;

/// `pictures` in two class folders, `classes/even` and `classes/odd`.
fn sort_into_classes(dir: &Path) {
    for (class, rest) in [("even", 0), ("odd", 1)] {
        let class = dir.join("classes").join(class);
        fs::create_dir_all(&class).unwrap();
        for i in (rest..24).step_by(2) {
            let name = format!("{i:02}.png");
            fs::copy(dir.join("pictures").join(&name), class.join(&name)).unwrap();
        }
    }
}

/// What the generator of a run draws, and what one that began with it draws without a step, for
/// the same latents and the first class.
fn drawn(run: &Path, classes: &[&str]) -> [Vec<f32>; 2] {
    let folder = RunFolder::new(run);
    let before = load_generator(&folder.generator()).unwrap();
    let mut config = load_state(&folder.checkpoint()).unwrap().config;
    config.data.class_names = classes.iter().map(|name| (*name).to_owned()).collect();
    let mut trainer = Trainer::new(config, Cpu::default()).unwrap();
    begin_from(&mut trainer, &folder.checkpoint()).unwrap();
    let after = averaged(&mut trainer, "test").unwrap();
    let latent = after.config.generator.latent;
    let units = Noise(9).units(latent).into_iter();
    let mut input: Vec<f32> = units.map(|v| v as f32).collect();
    input.resize(after.config.input_len(), 0.0);
    input.iter_mut().skip(latent).take(1).for_each(|v| *v = 1.0);
    // One that had no classes reads the latent only.
    let before_len = before.config.input_len();
    [before.draw(&input[..before_len]), after.draw(&input)]
}

#[test]
fn a_run_begins_with_the_generator_of_another_one_whatever_its_classes() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    sort_into_classes(dir.path());
    let train = ["train", "--config", "tiny.toml", "--steps", "12", "--data"];
    ok(
        dir.path(),
        &[&train[..], &["pictures", "--out", "plain"]].concat(),
    );
    ok(
        dir.path(),
        &[&train[..], &["classes", "--out", "sorted"]].concat(),
    );
    let same = [
        drawn(&at("plain"), &[]),
        drawn(&at("plain"), &["even", "odd"]),
        drawn(&at("sorted"), &["even", "odd"]),
    ];
    for [before, after] in same {
        let pairs = before.iter().zip(&after);
        let furthest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(before.len() == after.len() && furthest < 1e-5, "{furthest}");
    }
    let from = [
        "train", "--from", "plain", "--data", "classes", "--steps", "2", "--out", "next",
    ];
    let said = ok(dir.path(), &from);
    assert!(
        said.contains("begun with the networks of plain, tiny"),
        "{said}"
    );
    ok(
        dir.path(),
        &[
            "sample",
            "next/generator.gan",
            "--class",
            "odd",
            "--count",
            "2",
        ],
    );
    let error = fails(
        dir.path(),
        1,
        &["train", "--from", "nowhere", "--data", "classes"],
    );
    assert!(error.contains("--from nowhere"), "{error}");
}
