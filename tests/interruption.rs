//! What ends a run before its time, and what it comes to when it goes on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gan_core::latent::Pcg32;
use image::GrayImage;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::cli::{assert_same, fails, host, ok, program, safetensors_header};
use crate::programs::found;

/// Three layers of a few channels and a checkpoint after every step, so that most of a run is
/// writing.
pub const TINY: &str = r#"
name = "tiny"
image = { height = 8, width = 8, channels = 1 }
generator = { latent = 4, dense = { height = 4, width = 4, channels = 2, norm = true, activation = "relu" }, conv_transpose = [
    { channels = 1, kernel = 4, stride = 2, crop = [1, 1, 1, 1], norm = false, activation = "tanh" },
] }
discriminator = { conv = [
    { channels = 2, kernel = 4, stride = 2, pad = [1, 1, 1, 1], norm = false, activation = "leaky_relu" },
] }
training = { steps = 24, batch = 4, checkpoint_every = 1, sample_every = 8 }
"#;

/// A folder with `tiny.toml` and 24 images of noise.
pub fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("tiny.toml"), TINY).unwrap();
    fs::create_dir(dir.path().join("pictures")).unwrap();
    let mut rng = Pcg32::new(5);
    for i in 0..24 {
        let picture = GrayImage::from_fn(8, 8, |_, _| [rng.next_u32() as u8].into());
        let path = dir.path().join(format!("pictures/{i:02}.png"));
        picture.save(path).unwrap();
    }
    dir
}

const TRAIN: [&str; 6] = [
    "train",
    "--config",
    "tiny.toml",
    "--data",
    "pictures",
    "--out",
];

/// Starts a run, or goes on with it where there is a checkpoint.
fn start(dir: &Path, out: &str) -> Child {
    let begun = dir.join(out).join("checkpoint.safetensors").exists();
    let args: &[&str] = if begun {
        &["train", "--resume"]
    } else {
        &TRAIN
    };
    let mut command = Command::new(program());
    command.args(args).arg(out).current_dir(dir);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::piped());
    quiet.spawn().unwrap()
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no {what}");
        sleep(Duration::from_millis(1));
    }
}

/// Sends a signal to a process.
fn signal(name: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(sent.success());
}

/// Half-written files in a run's folder.
fn parts(run: &Path) -> usize {
    let folders = [run.to_owned(), run.join("samples")];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "part"))
        .count()
}

/// Kills asked for by the environment variable `KILLS`; `cargo tools ci --full` asks for 200.
fn kills_wanted() -> usize {
    let kills = std::env::var("KILLS").ok();
    kills.map_or(12, |kills| kills.parse().expect("KILLS is a number"))
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_bytes_of_one_that_never_was() {
    let dir = folder();
    let dir = dir.path();
    program();
    let took_us = |out: &str| {
        let begin = Instant::now();
        ok(dir, &[&TRAIN[..], &[out]].concat());
        begin.elapsed().as_micros() as u64
    };
    // Of a busy machine the fastest, and less than that, so that most lives end by a kill.
    let whole_us = ["whole", "again", "once-more"].map(took_us);
    let life_us = whole_us.iter().min().unwrap() * 2 / 3;
    let mut rng = Pcg32::new(1);
    let mut below = |n: u64| (u64::from(rng.next_u32()) * n) >> 32;
    let (wanted, mut survived, mut in_writes) = (kills_wanted(), 0, 0);
    // Each round is one run, killed until it is done.
    for round in 0.. {
        let out = format!("killed-{round}");
        let mut kills = 0;
        while kills < wanted - survived {
            let mut run = start(dir, &out);
            sleep(Duration::from_micros(below(life_us)));
            // Every other one waits for a checkpoint to be half there.
            let run_folder = dir.join(&out);
            let until = Instant::now() + Duration::from_millis(50 * below(2));
            while Instant::now() < until && parts(&run_folder) == 0 {}
            run.kill().unwrap();
            let done = run.wait_with_output().unwrap();
            if done.status.code().is_some() {
                let error = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success(), "{error}");
                break;
            }
            kills += 1;
            in_writes += usize::from(parts(&dir.join(&out)) > 0);
        }
        let last = start(dir, &out).wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&last.stderr);
        assert!(last.status.success(), "after {kills} kills: {error}");
        assert_same(dir, "whole", &out);
        assert_eq!(parts(&dir.join(&out)), 0, "half-written files are left");
        survived += kills;
        if survived == wanted {
            break;
        }
    }
    found(
        "kills",
        &format!(
            "kills survived {survived}/{wanted} byte-identical, {in_writes} of them inside a write"
        ),
    );
    assert!(in_writes * 10 >= wanted, "{in_writes} inside a write");
}

/// The largest file that may be written ends the metrics inside a line, and no report fits:
/// what a full disk does, without one.
#[test]
fn a_full_disk_is_told_with_the_file_and_costs_no_byte_of_the_run() {
    let dir = folder();
    let dir = dir.path();
    // Seldom saved, or what it says of that fills its log, too.
    let long = TINY.replace("steps = 24", "steps = 120");
    let long = long.replace("checkpoint_every = 1", "checkpoint_every = 20");
    fs::write(dir.join("tiny.toml"), long).unwrap();
    ok(dir, &[&TRAIN[..], &["whole"]].concat());
    let metrics = fs::metadata(dir.join("whole/metrics.jsonl")).unwrap().len();
    let checkpoint = fs::metadata(dir.join("whole/checkpoint.safetensors"))
        .unwrap()
        .len();
    assert!(
        checkpoint < 12 << 10 && metrics > 14 << 10,
        "{checkpoint} {metrics}"
    );
    let start_full = |out: &str| {
        let log = fs::File::create(dir.join(out).with_extension("log")).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' XFSZ; ulimit -S -f 12; exec \"$0\" \"$@\""]);
        command.arg(program()).args(TRAIN).arg(out).current_dir(dir);
        let mut run = command.stdout(log).stderr(Stdio::piped()).spawn().unwrap();
        let told = || fs::read_to_string(dir.join(out).with_extension("log")).unwrap();
        // It waits at the end for space, ten minutes.
        wait_for("line of the last step", || told().contains("step 120/120"));
        assert!(told().contains("/metrics.jsonl: "), "{}", told());
        assert!(told().contains("nothing is lost yet"), "{}", told());
        assert_eq!(run.try_wait().unwrap(), None, "ended unsaved");
        run
    };
    let run = start_full("ended");
    signal("-TERM", &run);
    let ended = run.wait_with_output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(
        error.contains("ended/metrics.jsonl: ") && error.contains("free some space"),
        "{error}"
    );
    ok(dir, &["train", "--resume", "ended"]);
    assert_same(dir, "whole", "ended");

    if !crate::firmware::has("a_full_disk_is_told", &["prlimit"], &[]) {
        return;
    }
    let run = start_full("freed");
    let pid = run.id().to_string();
    let freed = ["--fsize=unlimited", "--pid", &pid];
    assert!(
        Command::new("prlimit")
            .args(freed)
            .status()
            .unwrap()
            .success()
    );
    let ended = run.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{error}");
    assert_same(dir, "whole", "freed");
}

#[test]
fn a_disk_that_is_full_from_the_start_or_not_writable_ends_a_run_at_once() {
    let dir = folder();
    let dir = dir.path();
    let full = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
        .arg(program())
        .args([&TRAIN[..], &["full"]].concat())
        .current_dir(dir)
        .output()
        .unwrap();
    let error = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{error}");
    assert!(
        error.contains("full/checkpoint.safetensors: ") && error.contains("free some space"),
        "{error}"
    );
    // Nobody may write into /proc, root included.
    let error = fails(dir, 1, &[&TRAIN[..], &["/proc/run"]].concat());
    assert!(error.contains("cannot make /proc/run"), "{error}");
    ok(dir, &[&TRAIN[..], &["run"]].concat());
    fs::remove_file(dir.join("run/lock")).unwrap();
    fs::create_dir(dir.join("run/lock")).unwrap();
    let error = fails(dir, 1, &["train", "--resume", "run"]);
    assert!(error.contains("cannot write run/lock"), "{error}");
}

/// Puts another `run` entry into a safetensors file.
fn edit_state(file: &Path, edit: impl FnOnce(&mut Value)) {
    let bytes = fs::read(file).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = safetensors_header(&bytes);
    let state = header["__metadata__"]["run"].as_str().unwrap();
    let mut state: Value = serde_json::from_str(state).unwrap();
    edit(&mut state);
    header["__metadata__"]["run"] = json!(state.to_string());
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let start = (header.len() as u64).to_le_bytes();
    fs::write(
        file,
        [&start[..], header.as_bytes(), &bytes[8 + len..]].concat(),
    )
    .unwrap();
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_named_and_nothing_is_written() {
    let dir = folder();
    let dir = dir.path();
    ok(dir, &[&TRAIN[..], &["run"]].concat());
    let file = dir.join("run/checkpoint.safetensors");
    let whole = fs::read(&file).unwrap();
    let metrics = fs::read(dir.join("run/metrics.jsonl")).unwrap();
    let refused = |says: &str| {
        let error = fails(dir, 1, &["train", "--resume", "run"]);
        assert!(error.contains("run/checkpoint.safetensors"), "{error}");
        assert!(
            error.contains(says) && error.contains("put a copy of it"),
            "{error}"
        );
        assert_eq!(fs::read(dir.join("run/metrics.jsonl")).unwrap(), metrics);
    };
    for len in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..len]).unwrap();
        refused("not a usable checkpoint");
    }
    // The smallest one of another program.
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let foreign = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    fs::write(&file, foreign).unwrap();
    refused("it holds no `run` entry");
    fs::copy(dir.join("run/generator.safetensors"), &file).unwrap();
    refused("its networks have");
    let edited = |edit: fn(&mut Value)| {
        fs::write(&file, &whole).unwrap();
        edit_state(&file, edit);
    };
    // Networks of sixteen gigabytes, and of a size whose products are no numbers.
    for (size, says) in [
        (16_000_u64, "the number of weights"),
        (1 << 50, "the largest is"),
    ] {
        edited(|_| ());
        edit_state(&file, |state| {
            state["config"]["generator"]["latent"] = json!(size);
            state["config"]["generator"]["dense"]["channels"] = json!(size);
        });
        refused(says);
    }
    for part in ["generator", "discriminator"] {
        edited(|_| ());
        edit_state(&file, |state| match part {
            "generator" => state["config"][part]["latent"] = json!(5),
            _ => state["config"][part]["conv"][0]["channels"] = json!(1),
        });
        refused("is missing or has the wrong size");
    }
    edited(|state| state["step"] = json!("three"));
    refused("invalid type");
}

#[test]
fn sigterm_saves_and_a_second_run_in_the_folder_is_told_who_is_first() {
    let dir = folder();
    let dir = dir.path();
    let long = "steps = 6000, watch = false";
    let long = TINY
        .replace("steps = 24", long)
        .replace("checkpoint_every = 1", "checkpoint_every = 2000");
    fs::write(dir.join("tiny.toml"), &long).unwrap();
    let first = start(dir, "run");
    wait_for("checkpoint", || {
        dir.join("run/checkpoint.safetensors").exists()
    });
    let told = format!(
        "run is in use by another command (process {}): ",
        first.id()
    );
    for args in [&["train", "--resume"][..], &TRAIN] {
        let error = fails(dir, 1, &[args, &["run"]].concat());
        assert!(error.contains(&told) && error.contains("--out"), "{error}");
    }
    signal("-TERM", &first);
    let ended = first.wait_with_output().unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(
        !dir.join("run/generator.gan").exists(),
        "it was to end early"
    );
    ok(dir, &["train", "--resume", "run"]);
    ok(dir, &[&TRAIN[..], &["whole"]].concat());
    assert_same(dir, "whole", "run");
}

#[test]
fn a_run_goes_on_with_the_pictures_that_it_began_with_unless_told_otherwise() {
    let dir = folder();
    let dir = dir.path();
    ok(dir, &[&TRAIN[..], &["whole"]].concat());
    let file = dir.join("whole/checkpoint.safetensors");
    let resume = ["train", "--resume", "whole"];
    ok(dir, &resume);
    // The same count, another pixel.
    let picture = dir.join("pictures/03.png");
    let old = fs::read(&picture).unwrap();
    GrayImage::new(8, 8).save(&picture).unwrap();
    let error = fails(dir, 1, &resume);
    assert!(
        error.contains("20 images to train on, 4 held out"),
        "{error}"
    );
    assert!(error.matches("SHA-256").count() == 2, "{error}");
    assert!(error.contains("--accept-changed-data"), "{error}");
    // An image less.
    fs::remove_file(&picture).unwrap();
    let error = fails(dir, 1, &resume);
    assert!(
        error.contains("there are 20 images to train on, 3 held out"),
        "{error}"
    );
    let accept = [&resume[..], &["--accept-changed-data"]].concat();
    assert!(ok(dir, &accept).contains("going on with changed images"));
    fails(dir, 2, &["train", "--accept-changed-data"]);
    fs::write(&picture, old).unwrap();
    // A version before this one wrote no hash.
    edit_state(&file, |state| {
        let removed = state.as_object_mut().unwrap().remove("data");
        assert!(removed.unwrap()["sha256"].as_str().unwrap().len() == 64);
    });
    let told = host(dir, &resume);
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
}

#[test]
fn a_budget_outlives_a_kill_before_the_first_checkpoint() {
    let dir = folder();
    let dir = dir.path();
    let long = TINY.replace("steps = 24", "steps = 1000000, watch = false");
    let long = long.replace("checkpoint_every = 1", "checkpoint_every = 1000000");
    fs::write(dir.join("tiny.toml"), long).unwrap();
    let mut run = Command::new(program())
        .args(TRAIN)
        .args(["run", "--budget", "2s"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("checkpoint", || {
        dir.join("run/checkpoint.safetensors").exists()
    });
    run.kill().unwrap();
    run.wait().unwrap();
    let told = ok(dir, &["train", "--resume", "run"]);
    assert!(told.contains("steps fit the budget"), "{told}");
    let config = fs::read_to_string(dir.join("run/config.toml")).unwrap();
    assert!(!config.contains("steps = 1000000\n"), "{config}");
}

#[test]
fn a_run_is_finished_without_its_metrics_and_trained_on_with_more_steps() {
    let dir = folder();
    let dir = dir.path();
    ok(dir, &[&TRAIN[..], &["run"]].concat());
    ok(dir, &["quantize", "run", "--dense-bits", "4"]);
    let gan = dir.join("run/generator.gan");
    let quantized = fs::read(&gan).unwrap();
    ok(dir, &["train", "--resume", "run"]);
    assert!(fs::read(gan).unwrap() == quantized, "its options are kept");
    for file in ["metrics.jsonl", "generator.gan", "report.html"] {
        fs::remove_file(dir.join("run").join(file)).unwrap();
    }
    ok(dir, &["train", "--resume", "run"]);
    assert!(dir.join("run/generator.gan").exists() && dir.join("run/report.html").exists());
    let error = fails(dir, 1, &["train", "--resume", "run", "--steps", "24"]);
    assert!(error.contains("24 steps behind it"), "{error}");
    // The folder has moved; other images are refused there, too.
    fs::rename(dir.join("pictures"), dir.join("moved")).unwrap();
    let more = ["train", "--resume", "run", "--steps", "40", "--data"];
    ok(dir, &[&more[..], &["moved"]].concat());
    let metrics = fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 16, "steps 25 to 40");
    let gan = fs::read(dir.join("run/generator.gan")).unwrap();
    assert_eq!(gan_core::Model::parse(&gan).unwrap().steps(), 40);
    fs::remove_file(dir.join("moved/03.png")).unwrap();
    let error = fails(dir, 1, &["train", "--resume", "run", "--data", "moved"]);
    assert!(error.contains("--accept-changed-data"), "{error}");
}

#[test]
fn a_run_stopped_before_its_first_step_says_how_to_go_on() {
    let dir = folder();
    let dir = dir.path();
    let long = TINY.replace("steps = 24", "steps = 6000, watch = false");
    fs::write(dir.join("tiny.toml"), long).unwrap();
    for i in 0..5 {
        let out = format!("run-{i}");
        let run = start(dir, &out);
        // The lock comes before the first checkpoint, and signals are caught by then or not yet.
        wait_for("lock", || dir.join(&out).join("config.toml").exists());
        sleep(Duration::from_millis(i));
        signal("-TERM", &run);
        let ended = run.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&ended.stderr);
        let caught = ended.status.code().is_some();
        assert!(!caught || ended.status.success(), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_run_are_not_followed_and_every_writer_takes_the_lock() {
    use std::os::unix::fs::symlink;
    let dir = folder();
    let dir = dir.path();
    ok(dir, &[&TRAIN[..], &["run"]].concat());
    let victim = dir.join("victim");
    fs::write(&victim, "precious").unwrap();
    for name in ["lock", "metrics.jsonl", "compare.json", "compare.json.part"] {
        let place = dir.join("run").join(name);
        let _ = fs::remove_file(&place);
        symlink(&victim, &place).unwrap();
        // Whether it is refused or the link is replaced.
        for args in [
            &["compare", "run", "--count", "2"][..],
            &["train", "--resume", "run"],
        ] {
            host(dir, args);
            assert_eq!(
                fs::read_to_string(&victim).unwrap(),
                "precious",
                "{name}: {args:?}"
            );
        }
        let _ = fs::remove_file(&place);
    }
    let lock = fs::File::open(dir.join("run/lock")).unwrap();
    lock.try_lock().unwrap();
    for args in [
        &["quantize", "run"][..],
        &["compare", "run"],
        &["train", "--resume", "run"],
        &["sample", "run", "--out", "run/grid.png"],
        &["export", "run", "--format", "c", "--out", "run/run.h"],
        &[
            "features",
            "--data",
            "pictures",
            "--format",
            "8x8",
            "--out",
            "run/best.safetensors",
        ],
    ] {
        let error = fails(dir, 1, args);
        assert!(
            error.contains("run is in use by another command"),
            "{error}"
        );
    }
}

#[test]
fn commands_that_write_one_file_at_once_do_not_disturb_each_other() {
    let dir = tempdir().unwrap();
    let gan = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/avatar.gan");
    let gan = gan.to_str().unwrap();
    for _ in 0..6 {
        let export = || {
            let mut export = Command::new(program());
            export.args(["export", gan, "--format", "c", "--out", "one.h"]);
            export
                .current_dir(dir.path())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        for export in [export(), export(), export()] {
            let ended = export.wait_with_output().unwrap();
            assert!(
                ended.status.success(),
                "{}",
                String::from_utf8_lossy(&ended.stderr)
            );
        }
    }
    let files = fs::read_dir(dir.path()).unwrap();
    assert_eq!(files.count(), 1, "temporary files are left");
}
