//! The command line, as a user types it, on the embedded data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use host::config::Config;
use host::data::{DataRequest, load};
use host::nn::op;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::programs::build;

pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // With the features of this binary, whose build of `host` is then the same.
    let features: &[&str] = match cfg!(feature = "onnx") {
        true => &["--features", "onnx"],
        false => &[],
    };
    PROGRAM.get_or_init(|| build(&[&["--package", "host"], features].concat()))
}

pub fn host(dir: &Path, args: &[&str]) -> Output {
    let run = Command::new(program()).args(args).current_dir(dir).output();
    run.expect("the program starts")
}

/// Standard output of a command that has to succeed.
pub fn ok(dir: &Path, args: &[&str]) -> String {
    let output = host(dir, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that has to fail with `code`.
pub fn fails(dir: &Path, code: i32, args: &[&str]) -> String {
    let output = host(dir, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    assert!(output.stdout.is_empty() || code == 1);
    String::from_utf8(output.stderr).unwrap()
}

/// The fashion preset with a checkpoint every ten steps, in a new folder.
fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/presets/fashion.toml");
    let text = fs::read_to_string(preset).unwrap();
    // The preset ends in [training].
    let training = "checkpoint_every = 10\nsample_every = 20\n";
    fs::write(dir.path().join("often.toml"), text + training).unwrap();
    dir
}

/// A folder of square colour images, each another one.
fn save_pictures(folder: &Path, count: u8, side: u32) {
    fs::create_dir(folder).unwrap();
    for i in 0..count {
        let shade = |at: u32| (at * 256 / side) as u8;
        let pixel = |x, y| image::Rgb([shade(x), shade(y), 10 * i]);
        let picture = image::RgbImage::from_fn(side, side, pixel);
        picture.save(folder.join(format!("{i}.png"))).unwrap();
    }
}

const TRAIN: [&str; 7] = [
    "train",
    "--config",
    "often.toml",
    "--steps",
    "40",
    "--seed",
    "7",
];

fn train(dir: &Path, out: &str) {
    ok(dir, &[&TRAIN[..], &["--out", out]].concat());
}

/// Starts a run and waits until `lines` steps are in its metrics.
fn start(dir: &Path, out: &str, lines: usize) -> std::process::Child {
    let mut child = Command::new(program())
        .args(TRAIN)
        .args(["--out", out])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = dir.join(out).join("metrics.jsonl");
    while fs::read_to_string(&metrics)
        .unwrap_or_default()
        .lines()
        .count()
        < lines
    {
        assert_eq!(child.try_wait().unwrap(), None, "ended before step {lines}");
        sleep(Duration::from_millis(5));
    }
    child
}

pub fn assert_same(dir: &Path, a: &str, b: &str) {
    for file in [
        "generator.gan",
        "generator.safetensors",
        "checkpoint.safetensors",
        "metrics.jsonl",
    ] {
        let read = |run: &str| fs::read(dir.join(run).join(file)).unwrap();
        assert!(read(a) == read(b), "{file} of {a} and {b} differ");
    }
}

/// The arguments that train a configuration on the folder `pictures` into the run `out`.
pub fn train_args<'a>(config: &'a str, out: &'a str) -> [&'a str; 7] {
    let data = "pictures";
    ["train", "--config", config, "--data", data, "--out", out]
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_threads_and_after_a_kill_or_an_interrupt() {
    let dir = folder();
    let dir = dir.path();
    train(dir, "whole");
    train(dir, "again");
    assert_same(dir, "whole", "again");

    let one_thread = Command::new(program())
        .args(TRAIN)
        .args(["--out", "one-thread"])
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(dir)
        .output();
    assert!(one_thread.unwrap().status.success());
    assert_same(dir, "whole", "one-thread");

    let mut killed = start(dir, "killed", 20);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!dir.join("killed/generator.gan").exists());
    ok(dir, &["train", "--resume", "killed"]);
    assert_same(dir, "whole", "killed");

    let mut interrupted = start(dir, "interrupted", 10);
    let pid = interrupted.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(interrupted.wait().unwrap().success());
    assert!(!dir.join("interrupted/generator.gan").exists());
    ok(dir, &["train", "--resume", "interrupted"]);
    assert_same(dir, "whole", "interrupted");
}

#[test]
fn a_run_can_be_quantized_inspected_sampled_and_compared() {
    // Over 70 lines: one run is followed through every command.
    let dir = folder();
    let dir = dir.path();
    train(dir, "run");
    for file in [
        "config.toml",
        "samples/step-000020.png",
        "samples/step-000040.png",
        "grid.png",
    ] {
        assert!(dir.join("run").join(file).exists(), "{file}");
    }
    let gan = fs::read(dir.join("run/generator.gan")).unwrap();
    let choices = ok(dir, &["quantize", "run"]);
    assert_eq!(fs::read(dir.join("run/generator.gan")).unwrap(), gan);
    assert_eq!(choices.matches(" dB  0.").count(), 4, "{choices}");
    let four_bits = ["quantize", "run", "--dense-bits", "4", "--finetune", "30"];
    let choices = ok(dir, &four_bits);
    let psnr = |mark: &str| -> f64 {
        let line = choices.lines().find(|line| line.contains(mark));
        let words: Vec<_> = line.expect(mark).split_whitespace().collect();
        words[5].parse().unwrap()
    };
    assert!(
        psnr("fine-tuned") > psnr(" 4 bits      16 bits"),
        "{choices}"
    );
    let small = fs::read(dir.join("run/generator.gan")).unwrap();
    assert!(small.len() < gan.len() * 7 / 10, "{} bytes", small.len());
    fails(dir, 2, &["quantize", "run", "--dense-bits", "5"]);
    ok(dir, &["quantize", "run", "--calibration-images", "16"]);

    let report: Value =
        serde_json::from_str(&ok(dir, &["inspect", "run/generator.gan", "--json"])).unwrap();
    assert_eq!(report["steps"], 40);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["macs"], 2_737_696);
    assert_eq!(report["labels"][9], "Ankle boot");
    let table = ok(dir, &["inspect", "run/generator.gan"]);
    assert!(
        table.contains("Fashion-MNIST 10k, 40 steps, seed 7"),
        "{table}"
    );

    let found: Value =
        serde_json::from_str(&ok(dir, &["compare", "run", "--json", "--count", "50"])).unwrap();
    assert!(found["psnr_db"].as_f64().unwrap() > 35.0, "{found}");
    assert_eq!(found["layer_snr_db"].as_array().unwrap().len(), 4);

    let classes = ["--count", "30", "--class", "bag", "--out"];
    for (file, out) in [
        ("run/generator.gan", "int8.idx.gz"),
        ("run/generator.safetensors", "float.idx"),
    ] {
        ok(dir, &[&["sample", file], &classes[..], &[out]].concat());
        let path = Some(dir.join(out));
        let request = DataRequest {
            path,
            height: 28,
            width: 28,
            channels: 1,
            ..Default::default()
        };
        let images = load(&request, &|_, _| ()).unwrap();
        assert_eq!(images.train.len() + images.held_out.len(), 30);
    }
    assert!(dir.join("int8.labels.idx.gz").exists());
    ok(
        dir,
        &[
            "sample",
            "run/checkpoint.safetensors",
            "--out",
            "grid.png",
            "--count",
            "20",
        ],
    );
    assert_eq!(
        image::open(dir.join("grid.png")).unwrap().width(),
        10 * 58 + 2
    );
    assert!(ok(dir, &["doctor"]).contains("processor"));
}

#[test]
fn a_small_folder_is_augmented_previewed_listed_and_reported() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    save_pictures(&dir.join("faces"), 24, 16);
    let train = [
        "train", "--preset", "avatar", "--data", "faces", "--batch", "8",
    ];
    let rest = ["--steps", "3", "--preview", "--out", "runs/faces"];
    let told = ok(dir, &[&train[..], &rest].concat());
    assert!(
        told.contains("few images: the better the discriminator knows them"),
        "{told}"
    );
    assert!(told.contains('\u{2580}'), "no preview: {told}");
    let config = fs::read_to_string(dir.join("runs/faces/config.toml")).unwrap();
    assert!(
        config.contains("augment = [\"translation\", \"color\"]"),
        "{config}"
    );
    let page = fs::read_to_string(dir.join("runs/faces/report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(page.contains("data:image/png;base64,iVBOR"), "no image");
    assert!(!page.contains("NaN") && !page.contains("src=\"samples"));
    let table = ok(dir, &["runs"]);
    assert!(
        table.lines().count() == 2 && table.contains("3/3"),
        "{table}"
    );
    let list: Value = serde_json::from_str(&ok(dir, &["runs", "--json"])).unwrap();
    assert_eq!(
        (&list[0]["step"], &list[0]["rollbacks"]),
        (&json!(3), &json!(0))
    );
    assert!(fails(dir, 1, &["runs", "faces"]).contains("faces holds no runs"));
}

/// A folder in the place of the checkpoint: none can be written, as on a full disk.
#[test]
fn what_cannot_be_saved_is_told_and_saved_later() {
    let dir = folder();
    let dir = dir.path();
    let blocked = dir.join("run/checkpoint.safetensors");
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut child = Command::new(program())
        .args(TRAIN)
        .args(["--out", "run"])
        .current_dir(dir)
        .stdout(log)
        .spawn()
        .unwrap();
    while !blocked.exists() {
        sleep(Duration::from_millis(5));
    }
    fs::remove_file(&blocked).unwrap();
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("full"), "").unwrap();
    let log = || fs::read_to_string(dir.join("log")).unwrap();
    let told = "checkpoint.safetensors: ";
    while !log().contains(told) {
        assert_eq!(child.try_wait().unwrap(), None, "{}", log());
        sleep(Duration::from_millis(20));
    }
    assert!(log().contains("nothing is lost yet"), "{}", log());
    fs::remove_dir_all(&blocked).unwrap();
    assert!(child.wait().unwrap().success(), "{}", log());
    train(dir, "undisturbed");
    assert_same(dir, "undisturbed", "run");
}

#[test]
fn a_budget_sets_the_number_of_steps() {
    let dir = tempdir().unwrap();
    let told = ok(dir.path(), &["train", "--budget", "10s", "--out", "run"]);
    assert!(told.contains("steps fit the budget"), "{told}");
    let model = dir.path().join("run/generator.gan");
    let report = ok(dir.path(), &["inspect", model.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    // Twenty are timed first; no machine does the preset's 4,000 in ten seconds.
    let steps = report["steps"].as_u64().unwrap();
    assert!((20..4_000).contains(&steps), "{steps}");
}

#[test]
fn errors_say_what_where_and_how_to_mend_it() {
    // Over 70 lines: a table of errors.
    let dir = folder();
    let dir = dir.path();
    let text = fs::read_to_string(dir.join("often.toml")).unwrap();
    let line = text
        .lines()
        .position(|line| line.starts_with("checkpoint_every"))
        .unwrap()
        + 1;
    fs::write(
        dir.join("typo.toml"),
        text.replace("checkpoint_every", "checkpoint_evry"),
    )
    .unwrap();
    let error = fails(dir, 1, &["train", "--config", "typo.toml"]);
    assert!(
        error.contains(&format!("typo.toml, line {line}")),
        "{error}"
    );
    assert!(
        error.contains("did you mean `checkpoint_every`?"),
        "{error}"
    );

    fs::write(
        dir.join("shape.toml"),
        text.replacen("kernel = 4", "kernel = 5", 1),
    )
    .unwrap();
    let error = fails(dir, 1, &["train", "--config", "shape.toml"]);
    assert!(error.contains("[image] says 28x28x1"), "{error}");

    let wild = text.replace("learning_rate = 8e-4", "learning_rate = 1e30");
    fs::write(dir.join("wild.toml"), wild).unwrap();
    let output = host(
        dir,
        &[
            "train",
            "--config",
            "wild.toml",
            "--steps",
            "30",
            "--out",
            "wild",
        ],
    );
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("back to the averaged generator of step 0, at half the rate"),
        "{told}"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("a loss is not a number at step"), "{error}");
    assert_eq!(output.status.code(), Some(1));

    let error = fails(dir, 1, &["train", "--preset", "article"]);
    assert!(error.contains("--data"), "{error}");
    let labels = ["train", "--data", "pictures", "--labels", "cat,dog"];
    fs::create_dir(dir.join("pictures")).unwrap();
    let picture = image::RgbImage::from_pixel(28, 28, image::Rgb([9, 9, 9]));
    for name in ["a.png", "b.png", "c.png"] {
        picture.save(dir.join("pictures").join(name)).unwrap();
    }
    let error = fails(dir, 1, &labels);
    assert!(error.contains("2 classes, the data has 0"), "{error}");
    let error = fails(dir, 1, &["train", "--data", "nowhere"]);
    assert!(error.contains("nowhere"), "{error}");
    let error = fails(dir, 1, &["train", "--preset", "faces"]);
    assert!(error.contains("fashion, avatar"), "{error}");
    let avatar = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/avatar.gan");
    let error = fails(dir, 1, &["evaluate", avatar, "--gate", "4"]);
    assert!(error.contains("has no critic"), "{error}");
    let error = fails(dir, 1, &["train", "--resume", "nowhere"]);
    assert!(error.contains("checkpoint.safetensors"), "{error}");
    fs::write(dir.join("damaged.gan"), b"GAN8 and nothing").unwrap();
    for command in ["inspect", "sample"] {
        let error = fails(dir, 1, &[command, "damaged.gan"]);
        assert!(error.contains("damaged.gan"), "{error}");
    }
    fails(dir, 2, &["train", "--stepps", "5"]);
    fails(dir, 2, &["train", "--budget", "soon"]);
    fails(dir, 2, &[]);
}

#[test]
fn the_article_presets_are_the_articles_network_and_its_mended_form() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    save_pictures(&dir.join("photos"), 12, 64);
    // Kernels of 5x5, from 100 values to 8x8x256, 128, 128, 64 and 3 channels.
    let weights = 100 * 16_384 + 25 * (256 * 128 + 128 * 128 + 128 * 64 + 64 * 3);
    let biases = 16_384 + 128 + 128 + 64 + 3;
    assert_eq!(weights + biases, 3_093_507);
    let sizes = [
        "--data", "photos", "--steps", "2", "--batch", "4", "--out", "run",
    ];
    ok(
        dir,
        &[&["train", "--preset", "article"], &sizes[..]].concat(),
    );
    let report: Value =
        serde_json::from_str(&ok(dir, &["inspect", "run/generator.gan", "--json"])).unwrap();
    assert_eq!(report["parameters"], 3_093_507, "{report}");
    // Taps that land inside, along one axis: 8 x 5 without the 3 + 3 that SAME cuts off at
    // stride 1, and without 1 + 2 at stride 2.
    let [first, second, third, last] = [34, 37, 77, 157].map(|taps| taps * taps);
    let macs = 128 * (first * 256 + second * 128 + third * 64) + last * 64 * 3;
    assert_eq!(report["macs"], 100 * 16_384 + macs);
    let found: Value =
        serde_json::from_str(&ok(dir, &["compare", "run", "--json", "--count", "4"])).unwrap();
    assert!(found["psnr_db"].as_f64().unwrap() > 30.0, "{found}");
    let checkpoint = fs::read(dir.join("run/checkpoint.safetensors")).unwrap();
    let tensors = safetensors_header(&checkpoint);
    let trained = |name: &str| tensors[format!("generator.{name}")]["shape"].clone();
    assert_eq!(trained("dense.weight"), json!([100, 16_384]));
    assert_eq!(trained("dense.beta"), json!([1, 16_384]));

    let mended = Config::preset("article-bn").unwrap();
    assert!(
        Config::preset("seed-relu").unwrap() == mended,
        "the old name"
    );
    let blocks = mended.generator_blocks().unwrap();
    let counts = blocks
        .iter()
        .map(|block| op::Op::from(block.op).weight_shape());
    assert_eq!(
        counts.map(|(rows, columns)| rows * columns).sum::<usize>(),
        weights
    );
    assert!(blocks[..4].iter().all(|block| block.norm));
}

/// What a safetensors file says of its tensors: a length, then JSON.
pub fn safetensors_header(file: &[u8]) -> Value {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[8..8 + len]).unwrap()
}

#[test]
fn a_run_is_evaluated_as_float_and_int8_with_their_differences_and_a_page() {
    let dir = folder();
    train(dir.path(), "run");
    let args = ["evaluate", "run", "--count", "40"];
    let json = ok(
        dir.path(),
        &[&args[..], &["--html", "card.html", "--json"]].concat(),
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    let subjects: Vec<_> = json["cards"].as_array().unwrap().iter().collect();
    assert_eq!(subjects[0]["subject"], "run (float)");
    assert_eq!(subjects[1]["subject"], "run (int8)");
    // Forty steps draw nothing that looks like clothes.
    assert_eq!(subjects[1]["rating"], "high");
    assert_eq!(subjects[1]["n"], 40);
    assert!(json["rule"].as_str().unwrap().contains("coverage below"));
    let pictures = |side: usize| json["pictures"][side].as_array().unwrap();
    let pairs = pictures(0).iter().zip(pictures(1));
    let alike = pairs.filter(|(float, int8)| float["nearest"] == int8["nearest"]);
    assert!(alike.count() > 30, "floats and integers draw one latent");
    for difference in json["differences"].as_array().unwrap() {
        let [float, int8] = ["float", "int8"].map(|side| difference[side].as_f64().unwrap());
        let found = difference["difference"]["value"].as_f64().unwrap();
        assert!((int8 - float - found).abs() < 1e-9, "{difference}");
    }
    let text = ok(dir.path(), &args);
    assert!(
        text.contains("rating: high risk") && text.contains("what int8 changes"),
        "{text}"
    );
    shown_by_a_browser(&dir.path().join("card.html"));
}

#[test]
fn a_run_that_watches_its_risk_keeps_the_least_risky_generator_and_goes_on_as_it_was() {
    let dir = folder();
    let watching = [&TRAIN[..], &["--watch-risk", "20", "--out", "run"]].concat();
    let log = ok(dir.path(), &watching);
    assert!(log.contains("at step 40 (R "), "{log}");
    let run = dir.path().join("run");
    let text = fs::read_to_string(run.join("risk.jsonl")).unwrap();
    let readings: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let steps: Vec<_> = readings
        .iter()
        .map(|r| r["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [20, 40]);
    for r in &readings {
        let of = |key: &str| r[key].as_f64().unwrap();
        let mean = (of("two_sample_risk") + 2.0 - of("precision") - of("coverage")) / 3.0;
        assert!((of("risk") - mean).abs() < 1e-9, "{r}");
    }
    let least = readings.iter().min_by(|a, b| {
        a["risk"]
            .as_f64()
            .unwrap()
            .total_cmp(&b["risk"].as_f64().unwrap())
    });
    let best = least.unwrap()["step"].as_u64().unwrap();
    let gan = fs::read(run.join("generator.gan")).unwrap();
    assert_eq!(
        u64::from(gan_core::Model::parse(&gan).unwrap().steps()),
        best
    );
    assert!(
        fs::read_to_string(run.join("report.html"))
            .unwrap()
            .contains("Confidence risk")
    );
    assert_eq!(
        fs::read(run.join("best.safetensors")).unwrap(),
        fs::read(run.join("generator.safetensors")).unwrap()
    );
    // It does not change what is learned.
    train(dir.path(), "plain");
    let metrics = |run: &str| fs::read(dir.path().join(run).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("run"), metrics("plain"));
    let none = fails(
        dir.path(),
        1,
        &[&TRAIN[..], &["--watch-risk", "5", "--data", "nowhere"]].concat(),
    );
    assert!(none.contains("nowhere"), "{none}");
}

#[test]
fn vetted_seeds_pass_and_a_critic_halves_what_is_flagged() {
    let dir = tempdir().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/fashion.gan");
    fs::copy(model, dir.path().join("m.gan")).unwrap();
    ok(
        dir.path(),
        &["vet", "m.gan", "--count", "100", "--out", "vetted.gan"],
    );
    let holds = ok(dir.path(), &["inspect", "vetted.gan", "--json"]);
    let holds: Value = serde_json::from_str(&holds).unwrap();
    assert_eq!(holds["vetted_seeds"], 100);
    let card = ["evaluate", "vetted.gan", "--count", "100", "--json"];
    let card: Value = serde_json::from_str(&ok(dir.path(), &card)).unwrap();
    let figures = card["cards"][0]["figures"].as_array().unwrap();
    let value = |key| figures.iter().find(|f| f["key"] == key).unwrap()["value"].as_f64();
    // The judge has other calibration images at another count.
    assert!(value("flagged").unwrap() <= 0.02);
    assert!(value("class_risk").unwrap() < 0.0);
    // The critic passes over some of the hundred; none of the others is shown twice.
    let gated = ["evaluate", "vetted.gan", "--gate", "4", "--json"];
    let gated: Value = serde_json::from_str(&ok(dir.path(), &gated)).unwrap();
    let n = gated["cards"][0]["n"].as_u64().unwrap();
    assert!((50..100).contains(&n), "{n}");

    let said = ok(dir.path(), &["critic", "vetted.gan", "--out", "critic.gan"]);
    let percent = |after: &str| -> f64 {
        let number = said.split(after).nth(1).unwrap().trim_start();
        number.split(' ').next().unwrap().parse().unwrap()
    };
    let (all, passing) = (percent("of fresh images"), percent("of those that pass"));
    assert!(passing < all / 2.0, "{said}");
    let size = said.split(" bytes, ").nth(1).unwrap();
    let size: usize = size.split(' ').next().unwrap().parse().unwrap();
    assert!((10_000..20_000).contains(&size), "{said}");
    assert!(said.contains("the vetted seeds are gone"), "{said}");

    let wrong = fails(dir.path(), 1, &["vet", "m.gan", "--min-p-value", "1"]);
    assert!(wrong.contains("--min-p-value"), "{wrong}");
    let none = fails(
        dir.path(),
        1,
        &["vet", "m.gan", "--count", "10", "--min-p-value", "0.9999"],
    );
    assert!(none.contains("a lower --min-p-value"), "{none}");

    // A folder that holds the int8 model only.
    fs::create_dir(dir.path().join("bare")).unwrap();
    fs::copy(
        dir.path().join("m.gan"),
        dir.path().join("bare/generator.gan"),
    )
    .unwrap();
    ok(
        dir.path(),
        &["vet", "bare", "--count", "2", "--out", "bare.gan"],
    );
}

/// Whether a browser draws the page: its text, its curve and all of its images.
fn shown_by_a_browser(page: &Path) {
    if !crate::firmware::has("a_run_is_evaluated", &["chromium"], &[]) {
        return;
    }
    let shot = page.with_extension("png");
    let status = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args(["--force-device-scale-factor=1", "--window-size=900,6000"])
        .arg(format!(
            "--user-data-dir={}",
            page.with_extension("profile").display()
        ))
        .arg(format!("--screenshot={}", shot.display()))
        .arg(format!("file://{}", page.display()))
        .output();
    let output = status.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let shot = image::open(&shot).unwrap().to_rgb8();
    // The ground of every grid stands between its images, in a line as wide as the grid.
    let ground = image::Rgb([96, 96, 112]);
    let lines = (0..shot.height()).filter(|&y| {
        let on = (0..shot.width()).filter(|&x| *shot.get_pixel(x, y) == ground);
        on.count() > 500
    });
    // Two grids of four rows for either card, one of three for the differences.
    assert!(lines.count() >= 4 * 5 + 4, "grids are missing");
    let colours: std::collections::HashSet<_> = shot.pixels().collect();
    assert!(colours.len() > 100, "curves and text are missing");
}
