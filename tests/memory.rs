//! Numbers and files from outside that ask for more than there is: each is refused by name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tests::Noise;

use crate::cli::{host, ok, program};
use crate::files::{rich, stretched};
use crate::interruption::folder;

/// A run of the program in 1 GiB of addresses and ten seconds of processor time.
fn limited(dir: &Path, args: &[&str]) -> Output {
    let limits = "ulimit -v 1048576; ulimit -t 10; exec timeout 60 \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limits, "sh"]).arg(program()).args(args);
    command
        .env("RAYON_NUM_THREADS", "4")
        .env("RUST_BACKTRACE", "0");
    command.current_dir(dir).output().unwrap()
}

/// Checks that a command fails with `code` and an error that has `name` in it.
fn refused(dir: &Path, code: i32, args: &[&str], name: &str) {
    let output = limited(dir, args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(
        error.contains(name),
        "{args:?} does not name {name}: {error}"
    );
}

fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
    let header = [0, 0, 8, sizes.len() as u8].into_iter().chain(sizes_bytes);
    header.chain(content.iter().copied()).collect()
}

/// Two classes of 8x8 images, dark and light, with labels 1 and 2.
fn put_set(dir: &Path) {
    let mut noise = Noise(9);
    let mut pixels = Vec::new();
    for i in 0..600 {
        let level = if i % 2 == 0 { 60 } else { 190 };
        pixels.extend((0..64).map(|_| level + (noise.next_bits() % 50) as u8));
    }
    let labels = [1, 2].repeat(300);
    fs::write(
        dir.join("set-images-idx3-ubyte"),
        idx(&[600, 8, 8], &pixels),
    )
    .unwrap();
    fs::write(dir.join("set-labels-idx1-ubyte"), idx(&[600], &labels)).unwrap();
}

const SET: &str = "set-images-idx3-ubyte";
const LEARN: [&str; 7] = [
    "features",
    "--data",
    SET,
    "--format",
    "8x8",
    "--out",
    "f.safetensors",
];

#[test]
fn a_folder_is_judged_in_the_format_of_the_real_pictures_the_features_or_the_one_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    put_set(dir);
    ok(dir, &LEARN);
    fs::create_dir(dir.join("photos")).unwrap();
    for i in 0..24 {
        let photo = image::RgbImage::from_pixel(1200, 900, image::Rgb([10 * i, 20, 30]));
        photo.save(dir.join(format!("photos/{i}.png"))).unwrap();
    }
    for (args, format) in [
        (&["--data", SET][..], "8x8x1, that of set-images"),
        (
            &["--data", SET, "--features", "f.safetensors"],
            "8x8x1, that of --features",
        ),
        (&["--data", "photos", "--format", "8x8"], "8x8x1, --format"),
    ] {
        let output = limited(dir, &[&["evaluate", "photos"], args].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains(&format!("format: {format}")),
            "{args:?}: {told}"
        );
        assert!(output.status.success(), "{args:?}: {told}");
    }
    refused(
        dir,
        1,
        &["evaluate", "photos", "--data", "photos"],
        "900x1200 pixels: say",
    );
    // Labels as the set's own files have them, and as `gan sample` writes them.
    for labels in [[1, 2], [0, 1]] {
        let labels: Vec<u8> = (0..600).map(|i| labels[i % 2]).collect();
        let images = fs::read(dir.join(SET)).unwrap();
        fs::write(dir.join("drawn.idx"), images).unwrap();
        fs::write(dir.join("drawn.labels.idx"), idx(&[600], &labels)).unwrap();
        let judge = ["--data", SET, "--features", "f.safetensors", "--json"];
        let card = ok(dir, &[&["evaluate", "drawn.idx"], &judge[..]].concat());
        let card: Value = serde_json::from_str(&card).unwrap();
        let figures = card["cards"][0]["figures"].as_array().unwrap();
        let wrong = figures.iter().find(|f| f["key"] == "class_risk").unwrap();
        assert_eq!(wrong["value"], 0.0, "{wrong}");
    }
}

/// A safetensors file whose JSON of metadata says another number.
fn with_number(file: &[u8], key: &str, old: &str, new: u64) -> Vec<u8> {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[8..8 + len]).unwrap();
    let said = format!("\\\"{key}\\\":{old}");
    assert!(header.contains(&said), "{said}: {header}");
    let header = header.replacen(&said, &format!("\\\"{key}\\\":{new}"), 1);
    let new_len = (header.len() as u64).to_le_bytes();
    [&new_len, header.as_bytes(), &file[8 + len..]].concat()
}

/// A folder with a run of `tiny.toml`, a set of images and its features.
fn with_run() -> TempDir {
    let dir = folder();
    put_set(dir.path());
    ok(dir.path(), &LEARN);
    let train = ["train", "--config", "tiny.toml", "--data", "pictures"];
    ok(
        dir.path(),
        &[&train[..], &["--steps", "2", "--out", "run"]].concat(),
    );
    dir
}

/// Numbers that ask for too much of whatever they count.
const HUGE: [u64; 3] = [1 << 31, 1 << 40, 1 << 63];
const ON: [&str; 4] = ["train", "--config", "tiny.toml", "--data"];

#[test]
fn every_number_of_a_command_that_asks_for_too_much_memory_is_refused_by_name() {
    let dir = with_run();
    let dir = dir.path();
    let sheet = image::GrayImage::new(7600, 7600);
    sheet.save(dir.join("sheet.png")).unwrap();
    let gan = "run/generator.gan";
    for number in HUGE {
        let n = &*u64::to_string(&number);
        for out in ["a.png", "a.idx", "a.npy"] {
            refused(
                dir,
                1,
                &["sample", gan, "--count", n, "--out", out],
                "--count",
            );
        }
        refused(
            dir,
            1,
            &["sample", "run/generator.safetensors", "--count", n],
            "--count",
        );
        refused(
            dir,
            1,
            &["vet", gan, "--data", SET, "--count", n],
            "--count",
        );
        refused(dir, 1, &["compare", "run", "--count", n], "--count");
        let many = ["quantize", "run", "--calibration-images", n];
        refused(dir, 1, &many, "--calibration-images");
        refused(
            dir,
            1,
            &[&ON[..], &["pictures", "--batch", n]].concat(),
            "training.batch",
        );
        refused(
            dir,
            1,
            &[&ON[..], &["pictures", "--channels", n]].concat(),
            "image.channels",
        );
        let tile = format!("{n}x{n}");
        refused(
            dir,
            1,
            &[&ON[..], &["sheet.png", "--tile", &tile]].concat(),
            "--tile",
        );
        let format = format!("{n}x8");
        refused(
            dir,
            2,
            &["features", "--data", SET, "--format", &format],
            "--format",
        );
    }
    refused(
        dir,
        1,
        &[&ON[..], &["sheet.png", "--tile", "1x1"]].concat(),
        "--tile",
    );
}

#[test]
fn every_number_of_a_file_that_asks_for_too_much_memory_is_refused_by_name() {
    // Over 70 lines: a table of numbers.
    let dir = with_run();
    let dir = dir.path();
    let tiny = fs::read_to_string(dir.join("tiny.toml")).unwrap();
    let learned = fs::read(dir.join("f.safetensors")).unwrap();
    let checkpoint = fs::read(dir.join("run/checkpoint.safetensors")).unwrap();
    for number in HUGE {
        // TOML's numbers end before 2^63.
        let n = number.min(i64::MAX as u64);
        for (said, name) in [
            ("batch = 4", "training.batch"),
            ("latent = 4", "generator.latent"),
            ("height = 8", "image.height"),
            ("width = 4", "generator.dense.width"),
            ("kernel = 4", "conv_transpose number 1, kernel"),
            ("stride = 2, pad", "discriminator.conv number 1, stride"),
            ("crop = [1", "conv_transpose number 1, crop"),
        ] {
            let old = said
                .split(|c: char| !c.is_ascii_digit())
                .find(|n| !n.is_empty());
            let said_now = said.replacen(old.unwrap(), &n.to_string(), 1);
            fs::write(dir.join("huge.toml"), tiny.replacen(said, &said_now, 1)).unwrap();
            refused(
                dir,
                1,
                &["train", "--config", "huge.toml", "--data", "pictures"],
                name,
            );
        }
        for (key, old, name) in [
            ("height", "8", "image"),
            ("width", "8", "image"),
            ("channels", "1", "image"),
            ("classes", "2", "classes"),
        ] {
            let file = with_number(&learned, key, old, number);
            fs::write(dir.join("huge.safetensors"), file).unwrap();
            let judge = [
                "evaluate",
                SET,
                "--data",
                SET,
                "--features",
                "huge.safetensors",
            ];
            refused(dir, 1, &judge, name);
        }
        for (key, old) in [("batch", "4"), ("latent", "4")] {
            fs::create_dir_all(dir.join("huge")).unwrap();
            let file = with_number(&checkpoint, key, old, number);
            fs::write(dir.join("huge/checkpoint.safetensors"), file).unwrap();
            refused(dir, 1, &["train", "--resume", "huge"], key);
        }
        fs::create_dir_all(dir.join("wide")).unwrap();
        for header in [format!("P5 {n} 1 255\n"), format!("P5 1 {n} 255\n")] {
            fs::write(dir.join("wide/wide.pgm"), header).unwrap();
            refused(dir, 1, &[&ON[..], &["wide"]].concat(), "wide.pgm: ");
        }
    }
    fs::write(dir.join("arena.gan"), stretched(200, 220).0).unwrap();
    refused(dir, 1, &["sample", "arena.gan"], "the arena of arena.gan");
    // A file of labels that is larger than its images need, gzipped to a thousandth.
    let mut labels = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    labels
        .write_all(&idx(&[1 << 31], &vec![0; 1 << 26]))
        .unwrap();
    fs::create_dir(dir.join("bomb")).unwrap();
    let images = dir.join("bomb/train-images-idx3-ubyte");
    fs::copy(dir.join(SET), images).unwrap();
    let name = "train-labels-idx1-ubyte.gz";
    fs::write(dir.join("bomb").join(name), labels.finish().unwrap()).unwrap();
    refused(dir, 1, &[&ON[..], &["bomb"]].concat(), name);
}

#[test]
fn pipes_and_devices_in_the_place_of_data_files_are_refused_by_name() {
    let dir = with_run();
    let dir = dir.path();
    for name in ["set", "other", "fake"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    for part in ["images-idx3", "labels-idx1"] {
        let from = dir.join(format!("set-{part}-ubyte"));
        fs::copy(from, dir.join(format!("set/train-{part}-ubyte"))).unwrap();
    }
    fs::copy(dir.join("tiny.toml"), dir.join("net.toml")).unwrap();
    let judge = [
        "evaluate",
        SET,
        "--data",
        SET,
        "--features",
        "fake/f.safetensors",
    ];
    let import = [
        "import",
        "--config",
        "net.toml",
        "--weights",
        "fake/w.safetensors",
    ];
    let resume = ["train", "--resume", "run", "--steps", "9"];
    let cases: [(&str, &[&str]); 11] = [
        ("set/classes.txt", &[&ON[..], &["set"]].concat()),
        ("set/train-labels-idx1-ubyte", &[&ON[..], &["set"]].concat()),
        ("fake/x.idx", &[&ON[..], &["fake/x.idx"]].concat()),
        ("fake/x.gan", &["inspect", "fake/x.gan"]),
        ("fake/x.toml", &["train", "--config", "fake/x.toml"]),
        (
            "fake/checkpoint.safetensors",
            &["train", "--resume", "fake"],
        ),
        ("run/metrics.jsonl", &resume),
        ("run/risk.jsonl", &resume),
        ("run/best.safetensors", &resume),
        ("fake/f.safetensors", &judge),
        ("fake/w.safetensors", &import),
    ];
    for (name, args) in cases {
        let path = dir.join(name);
        let was = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        let pipe = || {
            let made = Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
        };
        let device = || symlink("/dev/zero", &path).unwrap();
        for make in [&pipe as &dyn Fn(), &device] {
            make();
            refused(dir, 1, args, name);
            fs::remove_file(&path).unwrap();
        }
        if let Some(was) = was {
            fs::write(path, was).unwrap();
        }
    }
    assert!(
        host(dir, &[&ON[..], &["set", "--steps", "2"]].concat())
            .status
            .success()
    );
}

#[test]
fn labels_are_walked_in_one_pass() {
    let model = gan_core::Model::parse(rich()).unwrap();
    assert_eq!(model.labels().collect::<Vec<_>>(), ["left", "right"]);
    let plain = gan_core::Model::parse(crate::files::plain()).unwrap();
    assert_eq!(plain.labels().count(), 0);
}
