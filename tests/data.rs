//! Images from every source arrive as they are, and what is damaged is named.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use host::data::{DataRequest, Dataset, Images, idx, load, load_all};
use host::picture;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::tempdir;

fn request(path: Option<&Path>, size: usize, channels: usize) -> DataRequest {
    DataRequest {
        path: path.map(PathBuf::from),
        height: size,
        width: size,
        channels,
        ..DataRequest::default()
    }
}

fn ok(request: &DataRequest) -> Dataset {
    load(request, &|_, _| ()).unwrap()
}

/// The error's text, which has to name `file`.
fn error(request: &DataRequest, file: &str) -> String {
    let text = load(request, &|_, _| ()).unwrap_err().to_string();
    assert!(text.contains(file), "{text:?} does not name {file}");
    text
}

fn idx_bytes(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes
        .iter()
        .for_each(|size| bytes.extend(size.to_be_bytes()));
    [bytes, content.to_vec()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_embedded_faces_are_a_whole_sheet_every_sixth_held_out() {
    let data = load(&request(None, 16, 3), &|_, _| ()).unwrap();
    assert_eq!((data.train.len(), data.held_out.len()), (6827, 1365));
    assert_eq!(data.class_names, [""; 0]);
    let mut colours: Vec<&[u8]> = data.train.pixels.chunks_exact(3).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 20, "{} colours", colours.len());
}

#[test]
fn the_embedded_set_is_balanced_fashion_mnist() {
    let data = ok(&request(None, 28, 1));
    assert_eq!((data.train.len(), data.held_out.len()), (10_000, 2_000));
    for (part, per_class) in [(&data.train, 1_000), (&data.held_out, 200)] {
        for class in 0..10 {
            let count = part.labels.iter().filter(|&&label| label == class).count();
            assert_eq!(count, per_class, "class {class}");
        }
    }
    assert_eq!(data.class_names[9], "Ankle boot");
    // The first training image of the set is an ankle boot, its first row black.
    assert_eq!(
        (data.train.labels[0], &data.train.image(0)[..28]),
        (9, &[0; 28][..])
    );
    assert!(load(&request(None, 16, 1), &|_, _| ()).is_err());
}

#[test]
fn idx_folders_plain_or_gzipped_arrive_byte_for_byte() {
    let dir = tempdir().unwrap();
    let pixels: Vec<u8> = (0..4 * 9).collect();
    let images = idx_bytes(&[4, 3, 3], &pixels);
    fs::write(dir.path().join("train-images-idx3-ubyte"), &images).unwrap();
    let labels = gzip(&idx_bytes(&[4], &[1, 0, 2, 1]));
    fs::write(dir.path().join("train-labels-idx1-ubyte.gz"), labels).unwrap();
    fs::write(dir.path().join("t10k-images.idx3-ubyte.gz"), gzip(&images)).unwrap();
    let data = ok(&request(Some(dir.path()), 3, 1));
    assert_eq!(data.train.pixels, pixels);
    assert_eq!(data.held_out.pixels, pixels);
    assert_eq!(data.train.labels, [1, 0, 2, 1]);
    assert_eq!(data.class_names, ["0", "1", "2"]);
    fs::write(dir.path().join("classes.txt"), "a\nb\nc\n").unwrap();
    assert_eq!(
        ok(&request(Some(dir.path()), 3, 1)).class_names,
        ["a", "b", "c"]
    );
}

#[test]
fn damaged_idx_files_are_named() {
    let dir = tempdir().unwrap();
    let name = "train-images-idx3-ubyte";
    let file = dir.path().join(name);
    let whole = idx_bytes(&[4, 3, 3], &[7; 36]);
    let damaged = [
        Vec::new(),
        b"not an idx file".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        idx_bytes(&[4, 3, 3], &[7; 37]),
        idx_bytes(&[u32::MAX, u32::MAX, u32::MAX], &[7; 36]),
        idx_bytes(&[0, 3, 3], &[]),
        idx_bytes(&[36], &[7; 36]),
        gzip(&whole)[..20].to_vec(),
        vec![0, 0, 8, 200, 1],
    ];
    for bytes in damaged {
        fs::write(&file, bytes).unwrap();
        error(&request(Some(dir.path()), 3, 1), name);
    }
    fs::write(&file, &whole).unwrap();
    fs::write(
        dir.path().join("train-labels-idx1-ubyte"),
        idx_bytes(&[3], &[0; 3]),
    )
    .unwrap();
    let text = error(&request(Some(dir.path()), 3, 1), "train-labels-idx1-ubyte");
    assert!(text.contains("3 labels for the 4 images"), "{text}");
}

#[test]
fn what_the_idx_writer_writes_the_reader_reads() {
    for (channels, name) in [(1, "pictures.idx"), (3, "x-images-idx4-ubyte.gz")] {
        let dir = tempdir().unwrap();
        let images = Images {
            height: 2,
            width: 2,
            channels,
            pixels: (0..36 * 4 * channels).map(|i| i as u8).collect(),
            labels: (0..36).map(|i| i % 5).collect(),
        };
        let file = dir.path().join(name);
        idx::write(&file, &images).unwrap();
        let data = ok(&request(Some(&file), 2, channels));
        assert_eq!(
            (data.train.len(), data.held_out.len()),
            (31, 5),
            "every sixth of a class is held out"
        );
        // The sixth of class 0.
        assert_eq!(data.held_out.image(0), images.image(25));
        assert_eq!(data.held_out.labels, [0, 1, 2, 3, 4]);
        assert_eq!(
            load_all(&request(None, 2, channels), &file).unwrap(),
            images
        );
    }
}

fn save(path: &Path, picture: &DynamicImage, format: ImageFormat) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save_with_format(path, format).unwrap();
}

#[test]
fn picture_folders_are_cropped_resized_and_classed() {
    let dir = tempdir().unwrap();
    // A wide image, green in the middle and red at both ends: the ends are cut off.
    let wide = RgbImage::from_fn(30, 10, |x, _| match x {
        10..20 => Rgb([0, 200, 0]),
        _ => Rgb([255, 0, 0]),
    });
    save(
        &dir.path().join("b/wide.PNG"),
        &wide.clone().into(),
        ImageFormat::Png,
    );
    save(
        &dir.path().join("b/wide.webp"),
        &wide.into(),
        ImageFormat::WebP,
    );
    let blue = RgbImage::from_pixel(9, 9, Rgb([0, 0, 250]));
    save(
        &dir.path().join("a/blue.jpg"),
        &blue.into(),
        ImageFormat::Jpeg,
    );
    let clear = RgbaImage::from_pixel(5, 5, Rgba([9, 9, 9, 0]));
    save(
        &dir.path().join("a/clear.png"),
        &clear.into(),
        ImageFormat::Png,
    );
    fs::write(dir.path().join(".hidden"), "").unwrap();
    let data = ok(&request(Some(dir.path()), 5, 3));
    assert_eq!(data.class_names, ["a", "b"]);
    assert_eq!(data.train.labels, [0, 0, 1, 1]);
    assert!(
        data.train.image(0)[2] > 240,
        "blue: {:?}",
        &data.train.image(0)[..3]
    );
    assert_eq!(data.train.image(1), [255; 75], "transparent is white");
    for i in [2, 3] {
        for pixel in data.train.image(i).chunks(3) {
            assert!(pixel[0] < 8 && pixel[1] > 190, "image {i}: {pixel:?}");
        }
    }
    assert_eq!(data, ok(&request(Some(dir.path()), 5, 3)));
    assert_eq!(ok(&request(Some(dir.path()), 5, 1)).train.image_len(), 25);
}

#[test]
fn bad_picture_folders_are_refused_by_name() {
    let dir = tempdir().unwrap();
    let request = request(Some(dir.path()), 4, 1);
    error(&request, "holds no images");
    let picture = DynamicImage::from(RgbImage::new(4, 4));
    save(&dir.path().join("one.png"), &picture, ImageFormat::Png);
    error(&request, "too few images to train on: 1,");
    save(&dir.path().join("two.png"), &picture, ImageFormat::Png);
    ok(&request);
    let cut = fs::read(dir.path().join("two.png")).unwrap();
    fs::write(dir.path().join("cut.png"), &cut[..cut.len() - 20]).unwrap();
    error(&request, "cut.png");
    fs::write(dir.path().join("cut.png"), "").unwrap();
    error(&request, "cut.png");
    fs::remove_file(dir.path().join("cut.png")).unwrap();
    fs::write(dir.path().join("clip.mp4"), "x").unwrap();
    error(&request, "clip.mp4");
    fs::remove_file(dir.path().join("clip.mp4")).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    error(&request, "one.png");
}

#[test]
fn tile_sheets_are_read_row_by_row() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("sheet.png");
    let sheet = RgbaImage::from_fn(12, 8, |x, y| {
        let tile = (y / 4 * 3 + x / 4) as u8;
        Rgba([tile * 10, 0, 0, if tile == 5 { 0 } else { 255 }])
    });
    save(&file, &sheet.into(), ImageFormat::Png);
    let mut request = request(Some(&file), 4, 3);
    request.tile = Some((4, 4));
    let data = ok(&request);
    let reds: Vec<u8> = (0..data.train.len())
        .map(|i| data.train.image(i)[0])
        .collect();
    assert_eq!(
        reds,
        [0, 10, 20, 30, 40],
        "the transparent last tile is padding"
    );
    request.tile = Some((5, 4));
    let text = error(&request, "sheet.png");
    assert!(text.contains("12x8") && text.contains("5x4"), "{text}");
}

#[test]
fn transparent_pixels_do_not_bleed_into_their_neighbours() {
    let dir = tempdir().unwrap();
    // White beside transparent black, an edge that falls inside a resized pixel.
    let sprite = RgbaImage::from_fn(64, 64, |x, _| match x {
        0..35 => Rgba([255; 4]),
        _ => Rgba([0; 4]),
    });
    for name in ["a.png", "b.png"] {
        save(
            &dir.path().join(name),
            &sprite.clone().into(),
            ImageFormat::Png,
        );
    }
    let data = ok(&request(Some(dir.path()), 16, 1));
    assert_eq!(data.train.image(0), [255; 256]);
}

#[test]
fn photographs_are_turned_upright() {
    let dir = tempdir().unwrap();
    // Red left, blue right, and EXIF's orientation 6: shown turned right, so red is on top.
    let photo = RgbImage::from_fn(32, 32, |x, _| match x {
        0..16 => Rgb([250, 0, 0]),
        _ => Rgb([0, 0, 250]),
    });
    let mut jpeg = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];
    let exif = [b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01", &entry[..]].concat();
    let len = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&jpeg[..2], &[0xff, 0xe1], &len, &exif, &jpeg[2..]].concat();
    fs::write(dir.path().join("a.jpg"), &turned).unwrap();
    fs::write(dir.path().join("b.jpg"), &turned).unwrap();
    let data = ok(&request(Some(dir.path()), 32, 3));
    let row = |y: usize| &data.train.image(0)[y * 96..(y + 1) * 96];
    assert!(
        row(0)
            .chunks(3)
            .all(|pixel| pixel[0] > 200 && pixel[2] < 50)
    );
    assert!(
        row(31)
            .chunks(3)
            .all(|pixel| pixel[0] < 50 && pixel[2] > 200)
    );
}

#[test]
fn a_picture_that_claims_to_be_vast_is_refused_before_memory_is_taken() {
    let dir = tempdir().unwrap();
    let mut header = b"IHDR".to_vec();
    header.extend([0, 3, 0, 0, 0, 3, 0, 0, 8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let crc = crc.sum().to_be_bytes();
    let start = b"\x89PNG\r\n\x1a\n\0\0\0\x0d";
    let data = b"\0\0\0\0IDAT\x35\xaf\x06\x1e";
    fs::write(
        dir.path().join("vast.png"),
        [start, &header[..], &crc, data].concat(),
    )
    .unwrap();
    let text = error(&request(Some(dir.path()), 4, 3), "vast.png");
    assert!(text.contains("limit"), "{text}");
}

#[test]
fn one_picture_alone_asks_for_a_tile_size() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("sheet.png");
    save(&file, &RgbImage::new(8, 8).into(), ImageFormat::Png);
    let text = error(&request(Some(&file), 4, 3), "sheet.png");
    assert!(text.contains("--tile"), "{text}");
}

#[test]
fn sizes_that_no_picture_has_are_errors() {
    let dir = tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        save(
            &dir.path().join(name),
            &RgbImage::new(4, 4).into(),
            ImageFormat::Png,
        );
    }
    for (size, channels) in [(0, 1), (4, 0), (4, 2)] {
        assert!(load(&request(Some(dir.path()), size, channels), &|_, _| ()).is_err());
    }
}

#[test]
fn idx_classes_are_counted_and_named_or_refused() {
    let dir = tempdir().unwrap();
    let request = request(Some(dir.path()), 2, 1);
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    put(
        "train-images-idx3-ubyte.bak",
        &idx_bytes(&[4, 2, 2], &[1; 16]),
    );
    error(&request, "train-images-idx3-ubyte.bak");
    fs::remove_file(dir.path().join("train-images-idx3-ubyte.bak")).unwrap();
    put("train-images-idx3-ubyte", &idx_bytes(&[4, 2, 2], &[1; 16]));
    put("classes.txt", b"a\nb\n");
    assert!(ok(&request).class_names.is_empty(), "names need labels");
    put("train-labels-idx1-ubyte", &idx_bytes(&[4], &[0, 1, 0, 2]));
    error(&request, "classes.txt");
    put("classes.txt", b"caf\xe9\nb\nc\n");
    error(&request, "classes.txt");
    fs::remove_file(dir.path().join("classes.txt")).unwrap();
    put("classes.txt", "\u{feff}a\r\nb\r\nc\r\n".as_bytes());
    assert_eq!(ok(&request).class_names, ["a", "b", "c"]);
    put("classes.txt", "name\n".repeat(70_000).as_bytes());
    assert!(error(&request, "classes.txt").contains("70000 names"));
    fs::remove_file(dir.path().join("classes.txt")).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    put(
        "train-images-idx3-ubyte",
        &idx_bytes(&[256, 2, 2], &[1; 1024]),
    );
    put("train-labels-idx1-ubyte", &idx_bytes(&[256], &all));
    assert!(error(&request, "").contains("256 classes"));
}

#[test]
fn labels_that_begin_at_1_or_leave_numbers_out_make_no_phantom_class() {
    let dir = tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let images = idx_bytes(&[4, 2, 2], &[1; 16]);
    put("train-images-idx3-ubyte", &images);
    put("train-labels-idx1-ubyte", &idx_bytes(&[4], &[1, 2, 1, 26]));
    put("t10k-images-idx3-ubyte", &images);
    put("t10k-labels-idx1-ubyte", &idx_bytes(&[4], &[26, 26, 1, 2]));
    let request = request(Some(dir.path()), 2, 1);
    let data = ok(&request);
    assert_eq!(data.class_names, ["1", "2", "26"]);
    assert_eq!(
        (data.train.labels, data.held_out.labels),
        (vec![0, 1, 0, 2], vec![2, 2, 0, 1])
    );
    put("classes.txt", b"a\nb\nz\n");
    assert_eq!(
        ok(&request).class_names,
        ["a", "b", "z"],
        "one name for each class"
    );
    let all: Vec<String> = (0..27).map(|i| format!("n{i}")).collect();
    put("classes.txt", all.join("\n").as_bytes());
    assert_eq!(
        ok(&request).class_names,
        ["n1", "n2", "n26"],
        "one for each number"
    );
    put("t10k-labels-idx1-ubyte", &idx_bytes(&[4], &[26, 25, 1, 2]));
    assert!(error(&request, "").contains("25 is a label of held-out images only"));
}

/// Images of two rows and three columns that count, with labels 1 and 2.
fn put_set(folder: &Path, [images, labels]: [&str; 2]) {
    let pixels: Vec<u8> = (0..7 * 6).collect();
    let content = [
        (images, idx_bytes(&[7, 2, 3], &pixels)),
        (labels, idx_bytes(&[7], &[1, 2, 1, 2, 1, 2, 1])),
    ];
    for (name, bytes) in content {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = if name.ends_with("gz") {
            gzip(&bytes)
        } else {
            bytes
        };
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn idx_files_are_found_where_kaggle_torchvision_and_emnist_put_them() {
    let files = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    let inside = files.map(|name| format!("{name}/{name}"));
    let emnist = files.map(|name| format!("emnist-letters-{name}.gz"));
    let (inside, emnist) = (inside.each_ref(), emnist.each_ref());
    let (inside, emnist) = (inside.map(|s| s.as_str()), emnist.map(|s| s.as_str()));
    let places: [(&str, [&str; 2], &str); 8] = [
        ("", files, ""),
        ("", files, "train-images-idx3-ubyte"),
        ("", inside, ""),
        ("", inside, "train-images-idx3-ubyte"),
        ("", inside, inside[0]),
        ("FashionMNIST/raw", files, ""),
        ("MNIST/raw", files, "MNIST"),
        ("", emnist, emnist[0]),
    ];
    for (below, names, given) in places {
        let dir = tempdir().unwrap();
        put_set(&dir.path().join(below), names);
        let path = dir.path().join(given);
        let mut request = request(Some(&path), 2, 1);
        request.width = 3;
        let data = ok(&request);
        assert_eq!(data.class_names, ["1", "2"], "{below} {names:?} {given}");
        assert_eq!(data.train.image(0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(load_all(&request, &path).unwrap().labels[..2], [1, 2]);
        (request.height, request.width, request.transpose) = (3, 2, true);
        assert_eq!(ok(&request).train.image(0), [0, 3, 1, 4, 2, 5]);
        let is_emnist = names == emnist;
        assert_eq!(
            data.notes.iter().any(|note| note.contains("--transpose")),
            is_emnist
        );
        // The held-out part by its other name.
        let held_out = names.map(|name| name.replace("train", "test"));
        put_set(
            &dir.path().join(below),
            held_out.each_ref().map(|s| s.as_str()),
        );
        if given.is_empty() {
            assert_eq!(
                ok(&DataRequest {
                    path: Some(path),
                    ..request
                })
                .held_out
                .len(),
                7
            );
        }
    }
    let dir = tempdir().unwrap();
    put_set(&dir.path().join("MNIST/raw"), files);
    put_set(&dir.path().join("FashionMNIST/raw"), files);
    let text = error(&request(Some(dir.path()), 3, 1), "FashionMNIST/raw");
    assert!(
        text.contains("several sets") && text.contains("--data"),
        "{text}"
    );
    let dir = tempdir().unwrap();
    put_set(dir.path(), files);
    put_set(dir.path(), emnist);
    error(&request(Some(dir.path()), 3, 1), emnist[0]);
}

#[test]
fn labels_of_images_that_were_there_before_do_not_stay() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("pictures.idx");
    let mut images = Images {
        height: 2,
        width: 2,
        channels: 1,
        pixels: vec![1; 12],
        labels: vec![0, 1, 0],
    };
    idx::write(&file, &images).unwrap();
    assert!(idx::labels_path(&file).exists());
    images.labels.clear();
    idx::write(&file, &images).unwrap();
    assert!(!idx::labels_path(&file).exists());
}

#[test]
fn grids_show_every_pixel_where_it_belongs() {
    let images = Images {
        height: 2,
        width: 3,
        channels: 1,
        pixels: (0..18).map(|value| value * 10).collect(),
        labels: Vec::new(),
    };
    let grid = picture::grid(&images, 2, 2);
    assert_eq!(grid.dimensions(), (2 + 2 * 8, 2 + 2 * 6));
    // The last pixel of the second image and the first of the third, in the next row.
    assert_eq!(grid.get_pixel(15, 5), &Rgb([110; 3]));
    assert_eq!(grid.get_pixel(2, 8), &Rgb([120; 3]));
    let both = picture::side_by_side(&grid, &grid);
    assert_eq!(both.dimensions(), (2 * 18 + 8, 14));
    assert_eq!(both.get_pixel(26 + 15, 5), &Rgb([110; 3]));
    let dir = tempdir().unwrap();
    let file = dir.path().join("grid.png");
    picture::save_png(&file, &both).unwrap();
    assert_eq!(image::open(&file).unwrap().into_rgb8(), both);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no part file stays"
    );
    let cell = RgbImage::from_fn(1, 2, |_, y| Rgb([y as u8, 2, 3]));
    let text = picture::to_terminal(&cell);
    assert_eq!(text, "\x1b[38;2;0;2;3;48;2;1;2;3m\u{2580}\x1b[0m\n");
    assert_eq!(picture::grid(&Images::default(), 4, 2).dimensions(), (4, 2));
}
