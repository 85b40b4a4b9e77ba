//! The program as a part of a pipeline: closed pipes, full disks, folders for files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{fails, host, ok, program, train_args};
use crate::interruption::folder;
use crate::programs::build;

/// A folder with a finished run, `runs/tiny`.
fn run_folder() -> TempDir {
    let dir = folder();
    let train = ["train", "--config", "tiny.toml", "--data", "pictures"];
    ok(dir.path(), &train);
    dir
}

/// Runs a command whose output nobody reads.
fn unread(dir: &Path, program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn a_closed_pipe_ends_no_command_and_a_full_one_is_told() {
    let dir = run_folder();
    let dir = dir.path();
    let train = train_args("tiny.toml", "unread");
    for args in [
        &train[..],
        &["quantize", "runs/tiny"],
        &["compare", "runs/tiny", "--json", "--count", "2"],
        &["sample", "runs/tiny", "--terminal"],
        &["inspect", "runs/tiny"],
        &["export", "runs/tiny", "--format", "c", "--out", "x.h"],
        &["runs"],
        &["doctor"],
        &["--help"],
    ] {
        let ended = unread(dir, program(), args);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{args:?}: {error}");
    }
    let generated = |run: &str| fs::read(dir.join(run).join("generator.safetensors")).unwrap();
    assert!(
        generated("unread") == generated("runs/tiny"),
        "training did not go on"
    );
    let simulator = build(&["--package", "firmware"]);
    let ended = unread(dir, &simulator, &["--terminal", "--out", "screen.png"]);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    if cfg!(target_os = "linux") {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut inspect = Command::new(program());
        inspect
            .args(["inspect", "runs/tiny"])
            .current_dir(dir)
            .stdout(full);
        let ended = inspect.output().unwrap();
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{error}");
        assert!(error.contains("cannot write to standard output"), "{error}");
    }
}

#[test]
fn a_run_folder_stands_for_its_model() {
    let dir = run_folder();
    let dir = dir.path();
    let by_file = ok(dir, &["inspect", "runs/tiny/generator.gan"]);
    assert_eq!(ok(dir, &["inspect", "runs/tiny"]), by_file);
    for (file, out) in [
        ("runs/tiny", "run.png"),
        ("runs/tiny/generator.gan", "file.png"),
    ] {
        ok(dir, &["sample", file, "--out", out]);
    }
    let picture = |name: &str| fs::read(dir.join(name)).unwrap();
    assert!(picture("run.png") == picture("file.png"));
    fs::remove_file(dir.join("runs/tiny/generator.gan")).unwrap();
    let error = fails(dir, 1, &["inspect", "runs/tiny"]);
    assert!(error.contains("gan quantize runs/tiny"), "{error}");
}

#[test]
fn runs_lists_imported_runs_and_survives_damaged_ones() {
    let dir = run_folder();
    let dir = dir.path();
    for name in ["imported", "damaged"] {
        fs::create_dir(dir.join("runs").join(name)).unwrap();
    }
    let generator = dir.join("runs/tiny/generator.safetensors");
    fs::copy(&generator, dir.join("runs/imported/generator.safetensors")).unwrap();
    fs::write(dir.join("runs/damaged/checkpoint.safetensors"), "none").unwrap();
    let table = ok(dir, &["runs"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.contains("damaged/checkpoint.safetensors is not a usable"),
        "{table}"
    );
    let list: Vec<Value> = serde_json::from_str(&ok(dir, &["runs", "--json"])).unwrap();
    assert!(list[0]["error"].is_string(), "{}", list[0]);
    assert_eq!(list[1]["preset"], "tiny");
}

#[test]
fn an_error_names_its_cause_once_and_a_typo_its_remedy() {
    let dir = run_folder();
    let dir = dir.path();
    fs::write(dir.join("short.gan"), "GAN8").unwrap();
    for args in [
        &["train", "--config", "nowhere.toml"][..],
        &["import", "--weights", "nowhere", "--config", "tiny.toml"],
        &["inspect", "short.gan"],
        &["inspect", "nowhere.gan"],
        &["sample", "nowhere.safetensors"],
    ] {
        let error = fails(dir, 1, args);
        for part in error.trim().split(": ").skip(1) {
            assert_eq!(error.matches(part).count(), 1, "`{part}` twice in: {error}");
        }
    }
    let error = fails(dir, 1, &["train", "--preset", "fashon"]);
    assert!(error.contains("did you mean `fashion`?"), "{error}");
    let simulator = build(&["--package", "firmware"]);
    let still = Command::new(simulator)
        .args(["--frame-ms", "0"])
        .output()
        .unwrap();
    assert_eq!(still.status.code(), Some(2), "a clock that stands still");
}

#[test]
fn quantizing_again_renews_everything_that_is_about_the_model() {
    let dir = run_folder();
    let dir = dir.path();
    let read = |name: &str| fs::read_to_string(dir.join("runs/tiny").join(name)).unwrap();
    let before = ["compare.json", "report.html"].map(read);
    ok(dir, &["quantize", "runs/tiny", "--dense-bits", "4"]);
    let after = ["compare.json", "report.html"].map(read);
    assert!(
        before[0] != after[0] && before[1] != after[1],
        "old figures are left"
    );
    let figures: Value = serde_json::from_str(&after[0]).unwrap();
    let compared = ok(dir, &["compare", "runs/tiny", "--json"]);
    assert_eq!(figures, serde_json::from_str::<Value>(&compared).unwrap());
    fails(
        dir,
        2,
        &["quantize", "runs/tiny", "--calibration-images", "0"],
    );
    let output = host(dir, &["quantize", "pictures"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("pictures holds no run"));
}
