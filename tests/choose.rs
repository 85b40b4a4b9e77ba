//! The network, the recipe and the time that images get which come without a configuration.

use std::fs;
use std::path::Path;

use gan_core::{Layer, Mode, Model};
use host::config::{Capacity, Config, SIDES_PX};
use host::data::{Images, Likeness};
use host::quant::blank_model;
use image::{GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::tempdir;
use tests::Noise;

use crate::cli::{fails, host};

/// Flash and arena in bytes, and multiply-adds, of a network with 14 classes, the most that
/// groups of alike images make.
fn needs(side_px: usize, capacity: Capacity) -> [usize; 3] {
    let mut config = Config::dcgan(side_px, 3, capacity).unwrap();
    config.data.class_names = (0..14).map(|class| class.to_string()).collect();
    config.check("test").unwrap();
    let bytes = blank_model(&config, "test").unwrap();
    let model = Model::parse(&bytes).unwrap();
    let macs: u64 = model.layers().iter().map(Layer::mac_count).sum();
    let arena = model.required_bytes(Mode::Streamed);
    [bytes.len(), arena, macs as usize]
}

/// The budgets of docs/training.md.
#[test]
fn networks_by_size_keep_within_their_flash_arena_and_multiplications() {
    for side_px in SIDES_PX {
        let [flash, arena, macs] = needs(side_px, Capacity::Full);
        let flash_most = if side_px <= 32 { 250_000 } else { 400_000 };
        assert!(flash <= flash_most, "{side_px}: {flash} bytes");
        assert!(
            side_px > 64 || arena <= 16 << 10,
            "{side_px}: {arena} bytes"
        );
        assert!(side_px > 64 || macs <= 12_000_000, "{side_px}: {macs}");
        assert!(side_px > 32 || macs <= 5_000_000, "{side_px}: {macs}");
        let [flash, ..] = needs(side_px, Capacity::Tiny);
        assert!(flash <= 120_000, "{side_px}-tiny: {flash} bytes");
    }
}

fn save<P, C>(folder: &Path, count: u32, picture: impl Fn(u32) -> image::ImageBuffer<P, C>)
where
    P: image::PixelWithColorType<Subpixel = u8>,
    C: std::ops::Deref<Target = [u8]>,
{
    fs::create_dir(folder).unwrap();
    for i in 0..count {
        picture(i).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
}

#[test]
fn the_network_follows_what_the_images_are_like() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let noise = |seed: u32| Noise(seed.into());
    save(&at("photos"), 12, |i| {
        let mut noise = noise(i);
        let mut level = || (noise.next_bits() >> 8) as u8;
        RgbImage::from_fn(150, 100, |_, _| Rgb([level(), level(), level()]))
    });
    save(&at("sprites"), 12, |i| {
        let pixel = |x: u32, y: u32| Rgba([200, 0, (20 * i) as u8, u8::from(x > y) * 255]);
        RgbaImage::from_fn(24, 24, pixel)
    });
    save(&at("digits"), 12, |i| {
        GrayImage::from_fn(28, 28, |x, y| Luma([(x * y + i) as u8]))
    });
    // A file in the place of the run's folder ends the command once it has told its plan.
    fs::write(at("taken"), "").unwrap();
    let plan = |set: &str, more: &[&str]| {
        let args = ["train", "--data", set, "--out", "taken"];
        let output = host(dir.path(), &[&args[..], more].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("cannot make taken"), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let cases: [(&str, &[&str], [&str; 2]); 5] = [
        (
            "photos",
            &[],
            [
                "12 files, 100 pixels a side, colour",
                "network: color64, 64x64",
            ],
        ),
        (
            "photos",
            &["--size", "40"],
            ["100 pixels", "network: color40, 40x40"],
        ),
        (
            "photos",
            &["--size", "64", "--flash", "128K"],
            ["100 pixels", "network: color64-tiny"],
        ),
        (
            "sprites",
            &[],
            [
                "24 pixels a side, colour, pixel art, transparent",
                "network: color24,",
            ],
        ),
        (
            "digits",
            &[],
            ["28 pixels a side, grey", "network: grey28, 28x28 in grey"],
        ),
    ];
    for (set, more, expected) in cases {
        let said = plan(set, more);
        for text in expected {
            assert!(said.contains(text), "{set}: {said}");
        }
    }
    let wrong = |more: &[&str], status| {
        fails(
            dir.path(),
            status,
            &[&["train", "--data", "photos"], more].concat(),
        )
    };
    let error = wrong(&["--size", "50"], 2);
    assert!(error.contains("there are 16, 20,"), "{error}");
    let error = wrong(&["--flash", "9K"], 1);
    assert!(error.contains("a smaller --size takes less"), "{error}");
    let error = wrong(&["--flash", "much"], 2);
    assert!(error.contains("write it as 262144, 256K or 2M"), "{error}");
}

/// Images of 16x16 that each have a mark: in the middle, or on the left.
fn marked(left: bool) -> Images {
    let mut noise = Noise(3);
    let mut images = Images {
        height: 16,
        width: 16,
        channels: 1,
        ..Images::default()
    };
    for _ in 0..40 {
        let (size, level) = (
            2 + noise.next_bits() as usize % 5,
            noise.next_bits() as u8 | 128,
        );
        for at in 0..256 {
            let (x, y) = (at % 16, at / 16);
            let inside = if left {
                x < size
            } else {
                (2 * x).abs_diff(15) < 2 * size
            };
            images
                .pixels
                .push(if inside && y < 2 * size { level } else { 0 });
        }
    }
    images
}

#[test]
fn only_sets_that_look_alike_when_mirrored_are_mirrored() {
    assert!(Likeness::of(&marked(false)).bears_mirroring());
    assert!(!Likeness::of(&marked(true)).bears_mirroring());
    let mut twice = marked(true).first(10);
    twice.append(&twice.clone());
    assert!(Likeness::of(&twice).near_duplicates >= 10);
}
