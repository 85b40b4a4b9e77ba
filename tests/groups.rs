//! Classes of images that look alike, for a set that has none.

use std::fs;
use std::path::Path;

use host::data::{Dataset, Images};
use image::{Rgb, RgbImage};
use tempfile::tempdir;
use tests::Noise;

use crate::cli::{fails, host, ok};

/// `count` images in turn of three kinds, the darkest one first.
fn of_three_kinds(count: usize) -> Images {
    let mut noise = Noise(7);
    let side = 8;
    let pixels = (0..count).flat_map(|i| {
        let level = 40.0 + 80.0 * (i % 3) as f64;
        let values = noise.units(side * side).into_iter();
        values.map(|v| (level + 30.0 * v) as u8).collect::<Vec<_>>()
    });
    Images {
        height: side,
        width: side,
        channels: 1,
        pixels: pixels.collect(),
        labels: Vec::new(),
    }
}

#[test]
fn alike_images_become_groups_of_equal_size_from_the_darkest_on() {
    for count in [30, 31] {
        let mut dataset = Dataset {
            train: of_three_kinds(count),
            ..Dataset::default()
        };
        dataset.group(3);
        assert_eq!(dataset.class_names, ["group 0", "group 1", "group 2"]);
        let kinds: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        assert_eq!(dataset.train.labels, kinds);
    }
}

#[test]
fn groups_differ_by_one_image_at_most() {
    let of_noise = of_three_kinds(41);
    let mut alike = of_three_kinds(1);
    alike.pixels = alike.pixels.repeat(41);
    for train in [of_noise, alike] {
        for count in [2, 14, 20, 41] {
            let mut dataset = Dataset {
                train: train.clone(),
                ..Dataset::default()
            };
            dataset.group(count);
            let mut sizes = vec![0; count];
            dataset
                .train
                .labels
                .iter()
                .for_each(|&group| sizes[usize::from(group)] += 1);
            let even = 41 / count..=41_usize.div_ceil(count);
            assert!(sizes.iter().all(|size| even.contains(size)), "{sizes:?}");
        }
    }
}

/// 48 colour images, every other one dark.
fn photos(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut noise = Noise(11);
    for i in 0..48 {
        let level = 120.0 * f64::from(i % 2) + 60.0;
        let photo = RgbImage::from_fn(16, 16, |_, _| {
            Rgb([0, 1, 2].map(|_| (level + 50.0 * noise.unit()) as u8))
        });
        photo.save(folder.join(format!("{i:02}.png"))).unwrap();
    }
}

#[test]
fn images_without_classes_are_trained_on_as_groups_unless_told_otherwise() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    for folder in ["photos", "nested/2024", "sorted/cat", "sorted/dog"] {
        photos(&dir.join(folder));
    }
    let train = |data, out, more: &[&'static str]| {
        let run = [
            "train", "--data", data, "--steps", "2", "--batch", "4", "--out", out,
        ];
        [&run[..], more].concat()
    };
    // A file in the place of the run's folder ends the command once it has told its plan.
    fs::write(dir.join("taken"), "").unwrap();
    let plan = |data, more: &[&'static str]| {
        let output = host(dir, &train(data, "taken", more));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("cannot make taken"), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = plan("photos", &[]);
    assert!(
        told.contains("2 groups of 20 images that look alike"),
        "{told}"
    );
    let told = plan("photos", &["--groups", "0"]);
    assert!(!told.contains("groups"), "{told}");
    // One folder is no class.
    assert!(plan("nested", &[]).contains("2 groups of 20"));
    // The network would not fit with its groups.
    let told = plan("photos", &["--flash", "190K"]);
    assert!(
        told.contains("network: color16,") && !told.contains("groups"),
        "{told}"
    );

    ok(dir, &train("photos", "run", &["--groups", "3"]));
    assert!(ok(dir, &["inspect", "run"]).contains("group 2"));
    ok(dir, &["train", "--resume", "run", "--steps", "3"]);
    ok(
        dir,
        &["sample", "run", "--class", "group 1", "--out", "one.png"],
    );
    // A pupil has its teacher's groups.
    assert!(plan("photos", &["--teacher", "run"]).contains("3 groups of 13 or 14"));
    let refused = |data, groups, says: &str| {
        let error = fails(dir, 1, &train(data, "none", &["--groups", groups]));
        assert!(error.contains(says), "{error}");
    };
    refused("sorted", "2", "has 2 classes of its own");
    refused("photos", "1", "from 2 to 255, or 0");
    refused("photos", "21", "at least 42 images");
    let resume = [
        "train",
        "--resume",
        "run",
        "--data",
        "sorted",
        "--accept-changed-data",
    ];
    let error = fails(dir, 1, &resume);
    assert!(error.contains("or begin a new run"), "{error}");
}
