//! Classes of images that look alike, for a set that has none.

use std::fs;
use std::path::Path;

use host::data::{Dataset, Images};
use image::{Rgb, RgbImage};
use tempfile::tempdir;
use tests::Noise;

use crate::cli::{fails, ok};

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
        assert_eq!(dataset.class_names, ["group 1", "group 2", "group 3"]);
        let kinds: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        assert_eq!(dataset.train.labels, kinds);
        dataset.group(4);
        let size = |group| dataset.train.labels.iter().filter(|&&g| g == group).count();
        assert!((0..4).all(|group| size(group) <= 8), "sizes differ");
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
    photos(&dir.join("photos"));
    photos(&dir.join("sorted/cat"));
    photos(&dir.join("sorted/dog"));
    let train = |data, out, groups: &[&'static str]| {
        let run = [
            "train", "--data", data, "--steps", "2", "--batch", "4", "--out", out,
        ];
        [&run[..], groups].concat()
    };
    let told = ok(dir, &train("photos", "run", &[]));
    assert!(told.contains("groups: 2 of alike images"), "{told}");
    assert!(ok(dir, &["inspect", "run"]).contains("group 2"));
    ok(dir, &["train", "--resume", "run", "--steps", "3"]);
    ok(
        dir,
        &["sample", "run", "--class", "group 2", "--out", "two.png"],
    );
    let told = ok(dir, &train("photos", "plain", &["--groups", "0"]));
    assert!(!told.contains("groups"), "{told}");
    let refused = |data, groups, says: &str| {
        let error = fails(dir, 1, &train(data, "none", &["--groups", groups]));
        assert!(error.contains(says), "{error}");
    };
    refused("sorted", "2", "classes of its own");
    refused("photos", "1", "from 2 to 20");
    refused("photos", "21", "from 2 to 20");
}
