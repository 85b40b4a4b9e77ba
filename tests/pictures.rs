//! Folders of images from anywhere: what is bad is named, and nothing takes the machine.

use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use tempfile::TempDir;

use crate::cli::{ok, program, safetensors_header};
use crate::interruption::folder;
use crate::programs::found;

/// Memory that no input may make the program take.
const PEAK_KIB: u64 = 1 << 20;

/// A run of the program and its largest memory, which has to stay below [`PEAK_KIB`].
fn bounded(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(args).current_dir(dir);
    // More than there are cores here: their memory is what is bounded.
    command.env("RAYON_NUM_THREADS", "8");
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.map(|peak| peak.trim().trim_end_matches(" kB").parse().unwrap());
        peak_kib = peak.unwrap_or(0).max(peak_kib);
        assert!(peak_kib < PEAK_KIB, "{args:?} takes {peak_kib} KiB");
        assert!(
            begin.elapsed() < Duration::from_secs(300),
            "{args:?} does not end"
        );
        sleep(Duration::from_millis(1));
    }
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let len = (data.len() as u32).to_be_bytes();
    [&len, &kind[..], data, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of a colour type and a depth, with some chunks before its data.
fn png(size: (u32, u32), depth: u8, colour: u8, before: &[u8], data: &[u8]) -> Vec<u8> {
    let (w, h) = (size.0.to_be_bytes(), size.1.to_be_bytes());
    let header = [&w[..], &h, &[depth, colour, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n",
        &chunk(b"IHDR", &header)[..],
        before,
        &chunk(b"IDAT", &zlib(data)),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    let len = (chunks.len() as u32 + 4).to_le_bytes();
    [b"RIFF", &len[..], b"WEBP", chunks].concat()
}

fn riff_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u32).to_le_bytes();
    let pad = &[0][..data.len() % 2];
    [kind, &len[..], data, pad].concat()
}

/// Two pixels wide and high; its one frame is the VP8L chunk of `picture`.
fn animated_webp(picture: &[u8]) -> Vec<u8> {
    let canvas = [2, 0, 0, 0, 1, 0, 0, 1, 0, 0];
    let frame = [
        &[0; 6][..],
        &[1, 0, 0, 1, 0, 0],
        &[9, 0, 0, 0],
        &picture[12..],
    ]
    .concat();
    riff(
        &[
            riff_chunk(b"VP8X", &canvas),
            riff_chunk(b"ANIM", &[0; 6]),
            riff_chunk(b"ANMF", &frame),
            riff_chunk(b"ANMF", &frame),
        ]
        .concat(),
    )
}

/// An 8x8 JPEG of four components, each a flat 128: one quantization table of ones, one code
/// for "no difference" and one for "end of block", both `0`.
fn cmyk_jpeg() -> Vec<u8> {
    let one_code = |class: u8| {
        let mut table = vec![0xff, 0xc4, 0, 20, class, 1];
        table.extend([0; 15]);
        table.push(0);
        table
    };
    let components = (1..=4).flat_map(|id| [id, 0x11, 0]);
    let frame = [0xff, 0xc0, 0, 20, 8, 0, 8, 0, 8, 4]
        .into_iter()
        .chain(components);
    let components = (1..=4).flat_map(|id| [id, 0]);
    let scan = [0xff, 0xda, 0, 14, 4]
        .into_iter()
        .chain(components)
        .chain([0, 63, 0]);
    [
        vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0],
        vec![1; 64],
        frame.collect(),
        one_code(0x00),
        one_code(0x10),
        scan.collect(),
        vec![0, 0xff, 0xd9],
    ]
    .concat()
}

/// A GIF of some canvas and one frame, without pixels.
fn gif((w, h): (u16, u16), frame: (u16, u16)) -> Vec<u8> {
    let sides = |(w, h): (u16, u16)| [w.to_le_bytes(), h.to_le_bytes()].concat();
    let palette = [0, 0, 0, 255, 255, 255];
    let canvas = [b"GIF89a", &sides((w, h))[..], &[0x80, 0, 0], &palette].concat();
    [
        &canvas,
        &[0x2c, 0, 0, 0, 0][..],
        &sides(frame),
        &[0, 2, 0, 0x3b],
    ]
    .concat()
}

/// A TIFF of 2^32 - 1 pixels a side, in one strip.
fn vast_tiff() -> Vec<u8> {
    // Width, height, bits, no compression, grey, where the strip begins, rows and bytes in it.
    let most = u32::MAX;
    let tags = [
        (256, most),
        (257, most),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (278, most),
        (279, most),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x08\0".to_vec();
    for (tag, value) in tags {
        bytes.extend((tag as u16).to_le_bytes());
        bytes.extend([4, 0, 1, 0, 0, 0]);
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// 16x16, grey from dark to light.
fn plain() -> GrayImage {
    GrayImage::from_fn(16, 16, |x, y| [(x * 8 + y * 7) as u8].into())
}

/// Unusual images that are whole, by file name.
fn unusual() -> Vec<(&'static [u8], Vec<u8>)> {
    let webp = encoded(RgbImage::new(2, 2), ImageFormat::WebP);
    let frame = |number: u8| [&[0, 0, 0, number, 0, 0, 0, 2, 0, 0, 0, 2][..], &[0; 14]].concat();
    let animation = [
        chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]),
        chunk(b"fcTL", &frame(0)),
    ];
    let rows = [[0, 200, 200], [0, 200, 200]].concat();
    let large = png((8_000, 8_000), 8, 0, &[], &vec![0; 8_001 * 8_000]);
    vec![
        (b"1-bit.png", png((8, 2), 1, 0, &[], &[0, 0xaa, 0, 0x55])),
        (
            b"16-bit.png",
            png((1, 1), 16, 2, &[], &[0, 1, 2, 3, 4, 5, 6]),
        ),
        (b"cmyk.jpg", cmyk_jpeg()),
        (
            b"animated.png",
            png((2, 2), 8, 0, &animation.concat(), &rows),
        ),
        (b"animated.webp", animated_webp(&webp)),
        (b"jpeg.png", encoded(plain(), ImageFormat::Jpeg)),
        (b"png.webp", encoded(plain(), ImageFormat::Png)),
        (
            b"high.png",
            encoded(RgbaImage::new(1, 30_000), ImageFormat::Png),
        ),
        (
            b"wide.png",
            encoded(RgbaImage::new(30_000, 1), ImageFormat::Png),
        ),
        // 64 million pixels in 64 KB each, for several threads at once.
        (b"0-large.png", large.clone()),
        (b"m-large.png", large.clone()),
        (b"x-large.png", large),
        (
            b"more-data-than-pixels.png",
            png((2, 2), 8, 0, &[], &vec![0; 99_000_000]),
        ),
        (b"caf\xe9.png", encoded(plain(), ImageFormat::Png)),
        (b".hidden.png", b"not looked at".to_vec()),
    ]
}

/// Bad files, by file name.
fn bad() -> Vec<(&'static [u8], Vec<u8>)> {
    let jpeg = encoded(plain(), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    let mut vast_jpeg = jpeg.clone();
    vast_jpeg[frame + 5..frame + 9].fill(0xff);
    let whole_png = encoded(plain(), ImageFormat::Png);
    let webp = encoded(RgbImage::new(9, 9), ImageFormat::WebP);
    let profile = [b"bomb\0\0", &zlib(&vec![0; 99_000_000])[..]].concat();
    let vast_rows = png((60_000, 60_000), 8, 2, &[], &[0; 999]);
    let sides = i32::MAX.to_le_bytes();
    let bmp_sizes = [&sides[..], &sides, &[1, 0, 24, 0], &[0; 24]].concat();
    let mut flipped = whole_png.clone();
    flipped[45] ^= 1;
    vec![
        (b"vast.png", vast_rows),
        (
            b"vast-1-bit.png",
            png((200_000, 200_000), 1, 0, &[], &[0; 999]),
        ),
        (b"vast.jpg", vast_jpeg),
        (
            b"vast.webp",
            riff(&riff_chunk(b"VP8L", &[0x2f, 0xff, 0xff, 0xff, 0x0f, 0])),
        ),
        (
            b"profile.png",
            png((9, 9), 8, 0, &chunk(b"iCCP", &profile), &[0; 9]),
        ),
        (b"negative.png", png((0x8000_0001, 1), 8, 0, &[], &[0; 9])),
        (b"no-pixels.png", png((0, 4), 8, 0, &[], &[])),
        (b"zero.png", Vec::new()),
        (b"words.png", b"just words\n".to_vec()),
        (b"page.jpg", b"<!doctype html><title>404</title>".to_vec()),
        (b"cut.png", whole_png[..whole_png.len() / 2].to_vec()),
        (b"cut.jpg", jpeg[..jpeg.len() - 30].to_vec()),
        (b"cut.webp", webp[..webp.len() - 8].to_vec()),
        (b"start.png", whole_png[..8].to_vec()),
        (b"flipped.png", flipped),
        (b"vast.gif", gif((u16::MAX, u16::MAX), (1, 1))),
        (b"frame.gif", gif((2, 2), (u16::MAX, u16::MAX))),
        (
            b"vast.bmp",
            [
                &b"BM\xff\xff\xff\x7f\0\0\0\0\x36\0\0\0\x28\0\0\0"[..],
                &bmp_sizes,
            ]
            .concat(),
        ),
        (b"vast.tif", vast_tiff()),
        (b"vast.ppm", b"P6 4294967295 4294967295 255\n".to_vec()),
        (b"clip.mp4", b"a film".to_vec()),
        (b"qoi.png", b"qoif\0\0\0\x01\0\0\0\x01\x03\0".to_vec()),
        (b"bytes\xff\xfe.png", b"words".to_vec()),
        (b"\x1b[2J\nok.png", b"words".to_vec()),
    ]
}

/// Bad things that are not bytes in a file: their names, and how they come about.
type Thing = (&'static str, fn(&Path));
const BAD_THINGS: [Thing; 8] = [
    ("folder.png", |path| fs::create_dir(path).unwrap()),
    ("circle.png", |path| symlink(path, path).unwrap()),
    ("nothing.png", |path| {
        symlink("not-there.png", path).unwrap();
    }),
    ("memory.png", |path| {
        symlink("/proc/self/mem", path).unwrap();
    }),
    ("zeros.png", |path| symlink("/dev/zero", path).unwrap()),
    ("back", |path| symlink("..", path).unwrap()),
    ("pipe.png", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("sparse.png", |path| {
        fs::File::create(path).unwrap().set_len(10 << 30).unwrap();
    }),
];

fn train(dir: &TempDir, data: &str, more: &[&str]) -> Output {
    let _ = fs::remove_dir_all(dir.path().join("run"));
    let train = [
        "train",
        "--config",
        "tiny.toml",
        "--steps",
        "2",
        "--out",
        "run",
        "--data",
        data,
    ];
    bounded(dir.path(), &[&train[..], more].concat())
}

/// How a name is shown: as the terminal cannot be steered by it.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.replace(|c: char| c.is_control(), "\u{fffd}")
}

#[test]
fn every_hostile_input_is_answered_with_an_error_that_names_it() {
    let dir = folder();
    let path = dir.path().join("pictures");
    let mut answered = Vec::new();
    let mut refused = |name: &str, data: &str, more: &[&str]| {
        let output = train(&dir, data, more);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        assert!(
            error.lines().any(|line| line.contains(name)),
            "{name}: {error}"
        );
        assert!(!error.contains("panicked"), "{name}: {error}");
        assert!(
            !dir.path().join("run").exists(),
            "{name}: something was written"
        );
        answered.push(error);
    };
    let (bad, bad_idx) = (bad(), bad_idx());
    let inputs = bad.len() + BAD_THINGS.len() + bad_idx.len() + 3;
    for (name, bytes) in bad {
        let file = path.join(OsStr::from_bytes(name));
        fs::write(&file, bytes).unwrap();
        refused(&shown(name), "pictures", &[]);
        fs::remove_file(&file).unwrap();
    }
    for (name, make) in BAD_THINGS {
        let file = path.join(name);
        make(&file);
        refused(name, "pictures", &[]);
        let removed = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        removed.unwrap();
    }
    for (name, bytes) in bad_idx {
        fs::write(dir.path().join(name), bytes).unwrap();
        refused(name, name, &[]);
    }
    let clear = encoded(RgbaImage::new(32, 32), ImageFormat::Png);
    fs::write(dir.path().join("no-tiles.png"), clear).unwrap();
    refused("no-tiles.png", "no-tiles.png", &["--tile", "8x8"]);
    refused("no-tiles.png", "no-tiles.png", &["--tile", "64x64"]);
    fs::write(
        dir.path().join("vast-sheet.png"),
        png((60_000, 60_000), 8, 2, &[], &[0; 999]),
    )
    .unwrap();
    refused("vast-sheet.png", "vast-sheet.png", &["--tile", "8x8"]);
    found(
        "hostile inputs",
        &format!(
            "hostile inputs {}/{inputs} answered with an error naming the file",
            answered.len()
        ),
    );
}

/// IDX files whose headers lie.
fn bad_idx() -> Vec<(&'static str, Vec<u8>)> {
    let header = |sizes: &[u32]| {
        let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
        [vec![0, 0, 8, sizes.len() as u8], sizes_bytes.collect()].concat()
    };
    let gzip = |start: &[u8], zeros_mb: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(start).unwrap();
        (0..zeros_mb).for_each(|_| encoder.write_all(&[0; 1_000_000]).unwrap());
        encoder.finish().unwrap()
    };
    vec![
        ("many.idx", header(&[u32::MAX, 8, 8])),
        ("overflow.idx", header(&[u32::MAX; 200])),
        ("bomb.idx.gz", gzip(&header(&[4, 8, 8]), 1_300)),
        (
            "honest-bomb.idx.gz",
            gzip(&header(&[1_300, 1_000, 1_000]), 1_300),
        ),
        ("cut.idx.gz", gzip(&header(&[1 << 30, 1, 1]), 1)),
        // Sixty-four times as many bytes at the size asked for.
        ("dust.idx.gz", gzip(&header(&[64_000_000, 1, 1]), 64)),
        ("pane.idx.gz", gzip(&header(&[1, 30_000, 30_000]), 900)),
    ]
}

#[test]
fn unusual_pictures_are_used_and_a_few_bad_ones_are_left_out_and_counted() {
    let dir = folder();
    let path = dir.path().join("pictures");
    for (name, bytes) in unusual() {
        fs::write(path.join(OsStr::from_bytes(name)), bytes).unwrap();
    }
    // One of them is hidden.
    let usable = 24 + unusual().len() - 1;
    let output = train(&dir, "pictures", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let train_count = usable - usable / 6;
    let counted = format!(
        "{train_count} images to train on, {} held out, no classes, 0 files left out",
        usable / 6
    );
    assert!(
        text(&output.stdout).contains(&counted),
        "{}",
        text(&output.stdout)
    );

    // They take a second each.
    for name in ["0-large.png", "m-large.png", "x-large.png"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    let bad = bad();
    for i in 0..300 {
        fs::hard_link(path.join("00.png"), path.join(format!("more-{i:03}.png"))).unwrap();
    }
    for (name, bytes) in &bad[..3] {
        fs::write(path.join(OsStr::from_bytes(name)), bytes).unwrap();
    }
    let output = train(&dir, "pictures", &[]);
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("3 files of pictures left out"), "{error}");
    for name in ["vast.png: ", "vast-1-bit.png: ", "vast.jpg: "] {
        assert!(error.contains(name), "{error}");
    }
    let state = |run: &str| -> serde_json::Value {
        let checkpoint = fs::read(dir.path().join(run).join("checkpoint.safetensors")).unwrap();
        let header = safetensors_header(&checkpoint);
        serde_json::from_str(header["__metadata__"]["run"].as_str().unwrap()).unwrap()
    };
    assert_eq!(state("run")["data"]["left_out"], 3);

    for (name, bytes) in &bad {
        fs::write(path.join(OsStr::from_bytes(name)), bytes).unwrap();
    }
    let output = train(&dir, "pictures", &[]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let (lost, files) = (bad.len(), usable - 3 + 300 + bad.len());
    assert!(
        error.contains(&format!("{lost} of {files} files cannot be used")),
        "{error}"
    );
    assert!(
        error.contains(&format!("and {} more", lost - 10)),
        "{error}"
    );
    assert!(error.contains("--skip-invalid"), "{error}");
    let output = train(&dir, "pictures", &["--skip-invalid"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(state("run")["data"]["left_out"], lost);
    // The run has it written down.
    ok(dir.path(), &["train", "--resume", "run"]);
}

/// Files asked for by the environment variable `FOLDER_FILES`; `cargo tools ci --full` asks for
/// 100,000.
#[test]
fn a_folder_of_very_many_files_takes_bounded_memory_and_time() {
    let files = std::env::var("FOLDER_FILES").ok();
    let files = files.map_or(20_000, |files| {
        files.parse().expect("FOLDER_FILES is a number")
    });
    let dir = folder();
    let path = dir.path().join("pictures");
    // A file system allows some 65,000 links to one file.
    for i in 24..files {
        let one = path.join(format!("{:02}.png", i % 24));
        fs::hard_link(one, path.join(format!("link-{i}.png"))).unwrap();
    }
    // Building it does not count.
    program();
    let begin = Instant::now();
    let output = train(&dir, "pictures", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let counted = format!("{} images to train on", files - files / 6);
    assert!(
        text(&output.stdout).contains(&counted),
        "{}",
        text(&output.stdout)
    );
    assert!(begin.elapsed() < Duration::from_secs(240));
}
