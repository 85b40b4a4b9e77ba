//! Sets of images as people have them: kinds of files, parts, captions, archives, runs.

use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use host::data::{Colour, DataRequest, Dataset, Fit, load};
use image::codecs::gif::GifEncoder;
use image::{
    DynamicImage, Frame, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage,
};
use tempfile::{TempDir, tempdir};
use tests::Noise;

use crate::cli::{fails, host, ok, train_args};
use crate::interruption::{TINY, folder};

fn request(path: &Path, size: usize, channels: usize) -> DataRequest {
    DataRequest {
        path: Some(path.into()),
        height: size,
        width: size,
        channels,
        ..DataRequest::default()
    }
}

fn loaded(path: &Path, size: usize) -> Dataset {
    load(&request(path, size, 3), &|_, _| ()).unwrap()
}

fn refused(path: &Path) -> String {
    load(&request(path, 4, 3), &|_, _| ())
        .unwrap_err()
        .to_string()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A flat PNG.
fn flat(rgb: [u8; 3]) -> Vec<u8> {
    encoded(RgbImage::from_pixel(6, 6, Rgb(rgb)), ImageFormat::Png)
}

/// Puts `count` flat images into a folder.
fn put_flat(folder: &Path, count: u8) {
    for i in 0..count {
        put(&folder.join(format!("{i}.png")), &flat([i, 20, 30]));
    }
}

/// Noise, so that a row that is missing cannot be guessed.
fn noise() -> RgbImage {
    let mut noise = Noise(3);
    RgbImage::from_fn(40, 40, |_, _| {
        Rgb([0; 3].map(|_: u8| noise.next_bits() as u8))
    })
}

#[test]
fn the_data_keys_of_a_configuration_hold_beside_data_on_the_command_line() {
    let dir = folder();
    let dir = dir.path();
    let framed = format!("{TINY}data = {{ fit = \"pad\", background = \"black\" }}\n");
    fs::write(dir.join("framed.toml"), framed).unwrap();
    ok(dir, &train_args("framed.toml", "run"));
    let config = fs::read_to_string(dir.join("run/config.toml")).unwrap();
    assert!(config.contains("fit = \"pad\"") && config.contains("background = \"#000000\""));
}

#[test]
fn pictures_of_every_common_kind_are_read() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let kinds = [
        ("a.bmp", Bmp),
        ("b.GIF", Gif),
        ("c.jfif", Jpeg),
        ("d.jpe", Jpeg),
        ("e.jpeg", Jpeg),
        ("f.png", Png),
        ("g.pnm", Pnm),
        ("h.ppm", Pnm),
        ("i.tif", Tiff),
        ("j.tiff", Tiff),
        ("k.webp", WebP),
    ];
    let dir = tempdir().unwrap();
    // Left and right differ; larger than what a decoder may take beside its pixels.
    for (i, (name, format)) in kinds.iter().enumerate() {
        let side = if *name == "j.tiff" { 3000 } else { 48 };
        let colour = |x| {
            if x < side / 2 {
                [250, 20 * i as u8, 0]
            } else {
                [0, 0, 240]
            }
        };
        let picture = RgbImage::from_fn(side, side, |x, _| Rgb(colour(x)));
        put(&dir.path().join(name), &encoded(picture, *format));
    }
    let data = loaded(dir.path(), 6);
    assert_eq!((data.left_out.len(), data.odd.len()), (0, 0));
    assert_eq!(data.train.len() + data.held_out.len(), kinds.len());
    // The sixth is held out.
    for (i, at) in (0..kinds.len()).filter(|&i| i != 5).zip(0..) {
        let row = &data.train.image(at)[..18];
        let is_near = |a: u8, b: u8| a.abs_diff(b) < 8;
        let (left, right) = (&row[..3], &row[15..]);
        let name = kinds[i].0;
        assert!(
            is_near(left[0], 250) && is_near(left[1], 20 * i as u8),
            "{name}: {left:?}"
        );
        assert!(
            is_near(right[0], 0) && is_near(right[2], 240),
            "{name}: {right:?}"
        );
    }
}

#[test]
fn a_file_without_its_end_is_used_and_named_and_one_without_all_rows_is_refused() {
    for (format, ending, ends) in [
        (ImageFormat::Jpeg, "jpg", &[1, 2][..]),
        (ImageFormat::Png, "png", &[1, 7, 11, 12]),
    ] {
        let whole = encoded(noise(), format);
        let dir = tempdir().unwrap();
        put(&dir.path().join(format!("0.{ending}")), &whole);
        for end in ends {
            let cut = &whole[..whole.len() - end];
            put(&dir.path().join(format!("cut-{end}.{ending}")), cut);
        }
        let data = loaded(dir.path(), 40);
        assert_eq!(data.odd.len(), ends.len(), "{ending}: {:?}", data.odd);
        assert!(data.odd.iter().all(|odd| odd.note.contains("was cut")));
        for i in 0..=ends.len() {
            assert_eq!(data.train.image(i), data.train.image(0), "{ending} {i}");
        }
        // What lacks pixels, be it a part of the last row alone.
        for missing in [
            3 + ends[ends.len() - 1],
            60,
            200,
            whole.len() / 2,
            whole.len() * 9 / 10,
        ] {
            let dir = tempdir().unwrap();
            put(
                &dir.path().join(format!("cut.{ending}")),
                &whole[..whole.len() - missing],
            );
            let error = refused(dir.path());
            assert!(
                error.contains(&format!("cut.{ending}: ")),
                "{missing}: {error}"
            );
        }
    }
}

#[test]
fn twelve_bit_values_in_a_16_bit_picture_are_named_with_their_range() {
    let dir = tempdir().unwrap();
    let picture = |factor: u16| -> ImageBuffer<Luma<u16>, Vec<u16>> {
        ImageBuffer::from_fn(64, 64, |x, y| Luma([(x + 64 * y) as u16 * factor]))
    };
    for (name, factor) in [("dark.png", 1), ("whole.png", 16), ("black.png", 0)] {
        let path = dir.path().join(name);
        picture(factor).save(path).unwrap();
    }
    let data = loaded(dir.path(), 4);
    let [odd] = data.odd.as_slice() else {
        panic!("{:?}", data.odd)
    };
    assert!(odd.path.ends_with("dark.png") && odd.note.contains("from 0 to 4095 of 65535"));
}

#[test]
fn an_animation_is_used_by_its_first_image_and_named() {
    let dir = tempdir().unwrap();
    let frame = |grey| Frame::new(RgbaImage::from_pixel(9, 9, Rgba([grey, grey, grey, 255])));
    for (name, frames) in [("still.gif", 1), ("moving.gif", 3)] {
        let file = fs::File::create(dir.path().join(name)).unwrap();
        let greys = [0, 128, 255].into_iter().take(frames);
        GifEncoder::new(file)
            .encode_frames(greys.map(frame))
            .unwrap();
    }
    let data = loaded(dir.path(), 4);
    let [odd] = data.odd.as_slice() else {
        panic!("{:?}", data.odd)
    };
    assert!(odd.path.ends_with("moving.gif") && odd.note.contains("is an animation"));
    assert!(data.train.pixels.iter().all(|&pixel| pixel == 0));
}

#[test]
fn pictures_are_cropped_padded_or_stretched_on_the_background_asked_for() {
    let dir = tempdir().unwrap();
    let colour = |x| [[255, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize / 10];
    let wide = RgbImage::from_fn(30, 10, |x, _| Rgb(colour(x)));
    let clear = RgbaImage::new(9, 9);
    put(&dir.path().join("a.png"), &encoded(wide, ImageFormat::Png));
    put(&dir.path().join("b.png"), &encoded(clear, ImageFormat::Png));
    let framed = |fit, background| {
        let mut request = request(dir.path(), 6, 3);
        request.framing.fit = fit;
        request.framing.background = Colour(background);
        load(&request, &|_, _| ()).unwrap().train
    };
    let at = |image: &[u8], y: usize, x: usize| {
        let pixel = &image[(y * 6 + x) * 3..][..3];
        pixel.iter().position(|&value| value > 150)
    };
    let [crop, pad, stretch] =
        [Fit::Crop, Fit::Pad, Fit::Stretch].map(|fit| framed(fit, [9, 8, 7]));
    for y in 0..6 {
        assert!(
            (1..5).all(|x| at(crop.image(0), y, x) == Some(1)),
            "green alone"
        );
        for images in [&pad, &stretch] {
            let ends = [at(images.image(0), y, 0), at(images.image(0), y, 5)];
            let is_shown = std::ptr::eq(images, &stretch) || (2..4).contains(&y);
            let expected = if is_shown {
                [Some(0), Some(2)]
            } else {
                [None; 2]
            };
            assert_eq!(ends, expected, "row {y}");
        }
    }
    assert_eq!(pad.image(0)[..3], [9, 8, 7], "above the image");
    for images in [&crop, &pad, &stretch] {
        assert!(images.image(1).chunks(3).all(|pixel| pixel == [9, 8, 7]));
    }
    assert_eq!(framed(Fit::Crop, [255; 3]).image(1), [255; 108]);
}

/// Trains for two steps, with images of `data`.
fn train(dir: &TempDir, data: &str, more: &[&str]) -> std::process::Output {
    let train = [
        "train",
        "--config",
        "tiny.toml",
        "--steps",
        "2",
        "--data",
        data,
    ];
    host(dir.path(), &[&train[..], more].concat())
}

#[test]
fn a_run_keeps_its_framing_and_goes_on_with_the_same_pictures() {
    let dir = folder();
    let wide = |i| GrayImage::from_fn(30, 10, |x, _| Luma([(x * 8) as u8 + i]));
    for i in 0..6 {
        let file = dir.path().join(format!("wide/{i}.png"));
        put(&file, &encoded(wide(i), ImageFormat::Png));
    }
    let framing = ["--fit", "pad", "--background", "#102030", "--out", "run"];
    let output = train(&dir, "wide", &framing);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let config = fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    for line in ["fit = \"pad\"", "background = \"#102030\""] {
        assert!(config.contains(line), "{config}");
    }
    // It refuses other images than those that it began with.
    ok(dir.path(), &["train", "--resume", "run"]);
    let wrong = fails(dir.path(), 2, &["train", "--data", "wide", "--fit", "fill"]);
    assert!(wrong.contains("crop, pad or stretch"), "{wrong}");
    let wrong = fails(
        dir.path(),
        2,
        &["train", "--data", "wide", "--background", "#12"],
    );
    assert!(wrong.contains("#rrggbb"), "{wrong}");
}

#[test]
fn system_files_and_captions_beside_pictures_are_no_losses() {
    let dir = tempdir().unwrap();
    for class in ["cat", "dog"] {
        put_flat(&dir.path().join(class), 4);
        for name in ["0.txt", "labels.CSV", "meta.json", "README", "x.caption"] {
            put(&dir.path().join(class).join(name), b"words");
        }
    }
    for at in ["", "cat"] {
        let systems = [
            "__MACOSX/._0.png",
            "__macosx/x/y.png",
            "@eaDir/0.png",
            "@EADIR/1.png",
            ".DS_Store",
            "._0.png",
            "Thumbs.db",
            "THUMBS.DB",
            "ehthumbs.db",
            "Desktop.ini",
            "DESKTOP.INI",
            "$RECYCLE.BIN/a.png",
            "System Volume Information/b.png",
        ];
        for name in systems {
            put(&dir.path().join(at).join(name), b"no image");
        }
    }
    put(&dir.path().join("labels.csv"), b"a,b");
    let data = loaded(dir.path(), 4);
    assert_eq!(data.class_names, ["cat", "dog"]);
    let used = data.train.len() + data.held_out.len();
    assert_eq!((used, data.left_out.len()), (8, 0));
    let [note] = data.notes.as_slice() else {
        panic!("{:?}", data.notes)
    };
    assert!(note.starts_with("11 files"), "{note}");
}

#[test]
fn train_val_and_test_folders_are_understood_or_named_with_the_path_to_give() {
    let dir = tempdir().unwrap();
    let root = dir.path();
    for (part, count) in [("Train", 5), ("val", 2), ("test", 1)] {
        put_flat(&root.join(part).join("cat"), count);
        put_flat(&root.join(part).join("dog"), count);
    }
    // A class that the held-out part lacks, ahead of the others: numbers are by name.
    put_flat(&root.join("Train/ant"), 1);
    let data = loaded(root, 4);
    assert_eq!(data.class_names, ["ant", "cat", "dog"]);
    assert_eq!(
        (data.train.len(), data.held_out.labels.as_slice()),
        (11, &[1, 2, 1, 1, 2, 2][..])
    );
    fs::create_dir(root.join("other")).unwrap();
    put_flat(&root.join("other"), 1);
    assert!(refused(root).contains(&format!("--data {}/Train", root.display())));
    fs::remove_dir_all(root.join("other")).unwrap();
    put_flat(&root.join("test/bird"), 1);
    assert!(refused(root).contains("test/bird: is a class that"));
    fs::remove_dir_all(root.join("Train")).unwrap();
    assert!(refused(root).contains("--data "));
    let above = tempdir().unwrap();
    put_flat(&above.path().join("set/cat"), 2);
    assert!(refused(above.path()).contains(&format!("--data {}/set", above.path().display())));
    // Without classes.
    let dir = tempdir().unwrap();
    put_flat(&dir.path().join("train"), 7);
    put_flat(&dir.path().join("test1"), 3);
    let data = loaded(dir.path(), 4);
    assert_eq!(
        (
            data.train.len(),
            data.held_out.len(),
            data.class_names.len()
        ),
        (7, 3, 0)
    );
}

#[test]
fn archives_are_named_with_the_command_that_unpacks_them() {
    let dir = tempdir().unwrap();
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    let archives = [
        (
            "a.zip",
            b"PK\x03\x04 and so on".to_vec(),
            "unzip a.zip -d a",
        ),
        ("b.tar", tar, "tar -xf b.tar"),
        ("c.tar.gz", gz.finish().unwrap(), "tar -xf c.tar.gz"),
        ("d.7z", b"7z\xbc\xaf\x27\x1c..".to_vec(), "7z x d.7z"),
        ("e.rar", b"Rar!\x1a\x07\0..".to_vec(), "unrar x e.rar"),
    ];
    for (name, bytes, command) in archives {
        let file = dir.path().join(name);
        put(&file, &bytes);
        for path in [&file, dir.path()] {
            let error = refused(path);
            assert!(error.contains(name) && error.contains(command), "{error}");
        }
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn where_no_file_can_be_used_the_reasons_are_listed_all_the_same() {
    let dir = folder();
    let bad = dir.path().join("bad");
    for name in ["a.png", "b.png"] {
        put(&bad.join("all").join(name), b"words");
        put(&bad.join("class/cat").join(name), b"words");
    }
    put(&bad.join("class/dog/0.png"), &flat([1, 2, 3]));
    put(&bad.join("one/a.png"), &flat([1, 2, 3]));
    put(&bad.join("one/b.png"), b"");
    for (set, reason) in [
        ("all", "a.png: is none of png, jpg"),
        ("class", "a.png: is none of png, jpg"),
        ("one", "b.png: is empty"),
    ] {
        let output = train(
            &dir,
            &format!("bad/{set}"),
            &["--skip-invalid", "--out", "run"],
        );
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(reason), "{set}: {error}");
    }
}

#[test]
fn a_run_never_lies_among_its_pictures_and_other_runs_are_none_of_them() {
    let dir = folder();
    let pictures = dir.path().join("pictures");
    fs::rename(dir.path().join("tiny.toml"), pictures.join("tiny.toml")).unwrap();
    symlink("pictures", dir.path().join("link")).unwrap();
    let train = |at: &Path, more: &[&str]| {
        let train = ["train", "--config", "tiny.toml", "--steps", "2"];
        host(at, &[&train[..], more].concat())
    };
    let inside: [&[&str]; 4] = [
        &["--data", "."],
        &["--data", "../link", "--out", "new/run"],
        &["--data", ".", "--out", "../link"],
        &["--data", ".", "--out", "../none/../pictures/run"],
    ];
    for args in inside {
        let output = train(&pictures, args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("--out") && error.contains("--data"),
            "{error}"
        );
        // `tiny.toml` and 24 images.
        assert_eq!(
            fs::read_dir(&pictures).unwrap().count(),
            25,
            "something was written"
        );
    }
    fs::rename(pictures.join("tiny.toml"), dir.path().join("tiny.toml")).unwrap();
    let outside = ["--data", "pictures", "--out", "run"];
    let output = train(dir.path(), &outside);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Runs of an older version, and the features that were learned there.
    fs::create_dir(pictures.join("runs")).unwrap();
    fs::rename(dir.path().join("run"), pictures.join("runs/tiny")).unwrap();
    put(&pictures.join("runs/features/1.safetensors"), b"");
    ok(dir.path(), &["train", "--resume", "pictures/runs/tiny"]);
    let output = train(dir.path(), &outside);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("20 images to train on, 4 held out, no classes, 0 files"),
        "{told}"
    );
}

#[test]
fn classes_are_told_apart_by_their_names() {
    let dir = folder();
    let set = dir.path().join("set");
    for name in [&b"caf\xe9"[..], b"caf\xe8"] {
        put(
            &set.join(OsStr::from_bytes(name)).join("0.png"),
            &flat([0; 3]),
        );
    }
    let output = train(&dir, "set", &["--out", "run"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in [r#""caf\xE8", "caf\xE9""#, "rename them"] {
        assert!(error.contains(part), "{error}");
    }
    put_flat(&dir.path().join("two/a"), 2);
    put_flat(&dir.path().join("two/b"), 2);
    for (labels, told) in [
        ("cat,cat", "two classes `cat`"),
        ("cat,", "class 1 is empty"),
    ] {
        let output = train(&dir, "two", &["--labels", labels, "--out", "run"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(told), "{error}");
        assert!(!dir.path().join("run").exists(), "something was written");
    }
    let output = train(&dir, "two", &["--labels", "Cat,cat", "--out", "run"]);
    assert!(output.status.success());
    let drawn = |class| {
        let args = ["sample", "run", "--class", class, "--out", "drawn.png"];
        ok(dir.path(), &args);
        fs::read(dir.path().join("drawn.png")).unwrap()
    };
    assert_eq!([drawn("Cat"), drawn("cat")], [drawn("0"), drawn("1")]);
    assert_eq!(drawn("CAT"), drawn("0"));
}
