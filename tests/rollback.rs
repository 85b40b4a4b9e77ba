//! Runs that go wrong and back: the same bytes, whatever happens to them on the way.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dfdx::prelude::Cpu;
use gan_core::latent::Pcg32;
use host::config::Config;
use host::data::{Dataset, Images};
use host::run_folder::RunFolder;
use host::train::checkpoint;
use host::train::run::{Ending, Event, RunError, train};
use host::train::trainer::Trainer;
use tempfile::tempdir;

use crate::cli::safetensors_header;
use crate::interruption::TINY;

/// Steps between checkpoints.
const EVERY: u64 = 4;

/// Some steps at a rate of the discriminator that makes its weights leave the range of `f32`
/// on the way.
fn config(rate: f32) -> Config {
    let mut config = Config::parse(TINY, "test").unwrap();
    let training = &mut config.training;
    training.steps = 24;
    training.checkpoint_every = EVERY;
    training.discriminator_learning_rate = Some(rate);
    config
}

/// A rate at which the run goes wrong once, and the step that it goes back to, at least two
/// steps before it went wrong.
fn wild() -> (f32, u64) {
    static FOUND: OnceLock<(f32, u64)> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let rates = (0..120).map(|i| 1e8 * 1.05f32.powi(i));
        let mut found = rates.filter_map(|rate| {
            let dir = tempdir().unwrap();
            let mut last = 0;
            let mut wrong_at = 0;
            let (_, told) = begin(dir.path(), rate, |step| {
                if step <= last {
                    wrong_at = last + 1;
                }
                last = step;
                false
            })
            .ok()?;
            let back_to = wrong_at.saturating_sub(1) / EVERY * EVERY;
            let once = told == [format!("back to {back_to}")];
            (once && back_to >= EVERY && wrong_at >= back_to + 2).then_some((rate, back_to))
        });
        found
            .next()
            .expect("a rate that is too high, and not at its half")
    })
}

fn noise() -> Dataset {
    let mut rng = Pcg32::new(5);
    let mut images = |n: usize| Images {
        height: 8,
        width: 8,
        channels: 1,
        pixels: (0..64 * n).map(|_| rng.next_u32() as u8).collect(),
        labels: Vec::new(),
    };
    Dataset {
        name: "noise".into(),
        class_names: Vec::new(),
        train: images(20),
        held_out: images(4),
        ..Dataset::default()
    }
}

/// Begins the run in a folder or goes on with it; `at_step` is called behind each step and says
/// whether Ctrl-C comes now. Returns what was told beside the steps.
fn go_on(folder: &Path, at_step: impl FnMut(u64) -> bool) -> (Ending, Vec<String>) {
    begin(folder, wild().0, at_step).unwrap()
}

fn begin(
    folder: &Path,
    rate: f32,
    mut at_step: impl FnMut(u64) -> bool,
) -> Result<(Ending, Vec<String>), RunError> {
    fs::create_dir_all(folder.join("samples")).unwrap();
    let run = RunFolder::new(folder);
    let _lock = run.lock().unwrap();
    let mut trainer = match run.checkpoint().exists() {
        true => checkpoint::restore(&run.checkpoint(), None, Cpu::default()).unwrap(),
        false => Trainer::new(config(rate), Cpu::default()).unwrap(),
    };
    let stop = AtomicBool::new(false);
    let mut told = Vec::new();
    let notify = |event: Event<'_>| match event {
        Event::Step { report, .. } => stop.store(at_step(report.step), Ordering::Relaxed),
        Event::RolledBack { step, .. } => told.push(format!("back to {step}")),
        Event::NotSaved(error) => told.push(error.to_string()),
        _ => {}
    };
    let ending = train(&mut trainer, &noise(), &run, None, &stop, notify);
    Ok((ending?, told))
}

fn assert_same(whole: &Path, other: &Path, what: &str) {
    for file in ["checkpoint.safetensors", "metrics.jsonl"] {
        let [whole, other] = [whole, other].map(|run| fs::read(run.join(file)).unwrap());
        assert!(whole == other, "{file} differs after {what}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_run_that_goes_back_ends_with_the_same_bytes_after_any_interruption() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let whole = path("whole");
    // A copy of the folder at each step is what a kill leaves.
    let mut copies = Vec::new();
    let (_, told) = go_on(&whole, |step| {
        let to = path(&format!("killed-{}-{step}", copies.len()));
        copy(&whole, &to);
        copies.push(to);
        false
    });
    let back_to = wild().1;
    assert_eq!(told, [format!("back to {back_to}")]);
    for killed in copies.iter().step_by(3) {
        go_on(killed, |_| false);
        assert_same(&whole, killed, &format!("{}", killed.display()));
    }
    // Ctrl-C at one step, and at each one that follows in the next process.
    for at in [
        1,
        3,
        back_to - 1,
        back_to,
        back_to + 1,
        back_to + 2,
        back_to + 4,
        22,
    ] {
        for again in [u64::MAX, at + 1, at + 3] {
            let run = path(&format!("stopped-{at}-{again}"));
            let (ending, _) = go_on(&run, |step| step == at);
            assert_eq!(ending, Ending::Interrupted { step: at });
            if let (Ending::Interrupted { .. }, _) = go_on(&run, |step| step == again) {
                go_on(&run, |_| false);
            }
            assert_same(&whole, &run, &format!("Ctrl-C at {at} and {again}"));
        }
    }
}

#[test]
fn a_save_that_fails_does_not_move_the_place_to_go_back_to() {
    let dir = tempdir().unwrap();
    let whole = dir.path().join("whole");
    go_on(&whole, |_| false);
    // A folder in the checkpoint's place, while that step is to be saved; with Ctrl-C, too.
    let back_to = wild().1;
    for stopped_at in [u64::MAX, back_to + 1] {
        let run = dir.path().join(format!("failed-{stopped_at}"));
        let [file, aside] = ["checkpoint.safetensors", "aside"].map(|name| run.join(name));
        let (_, told) = go_on(&run, |step| {
            if step == back_to - 1 && !aside.exists() {
                fs::rename(&file, &aside).unwrap();
                fs::create_dir(&file).unwrap();
                fs::write(file.join("full"), "").unwrap();
            } else if step == back_to + 1 && file.is_dir() {
                fs::remove_dir_all(&file).unwrap();
                fs::rename(&aside, &file).unwrap();
                fs::write(&aside, "").unwrap();
            }
            step == stopped_at
        });
        assert!(told[0].contains("cannot write"), "{told:?}");
        go_on(&run, |_| false);
        assert_same(
            &whole,
            &run,
            &format!("a failed save, Ctrl-C at {stopped_at}"),
        );
    }
}

/// The `f32` values of a tensor.
fn tensor(file: &[u8], name: &str) -> Vec<f32> {
    let header = safetensors_header(file);
    let offsets: Vec<usize> = serde_json::from_value(header[name]["data_offsets"].clone()).unwrap();
    let begin = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let values = file[begin + offsets[0]..begin + offsets[1]].chunks_exact(4);
    values
        .map(|v| f32::from_le_bytes(v.try_into().unwrap()))
        .collect()
}

#[test]
fn the_first_update_after_going_back_is_at_most_the_new_rate() {
    let dir = tempdir().unwrap();
    let run = dir.path().join("run");
    let path = run.join("checkpoint.safetensors");
    // Ctrl-C comes at the first step behind the place to go back to, for the second time.
    let first = wild().1 + 1;
    let (mut times, mut before) = (0, Vec::new());
    go_on(&run, |step| {
        if step == first {
            before = fs::read(&path).unwrap();
            times += 1;
        }
        times == 2
    });
    let after = fs::read(&path).unwrap();
    let header = safetensors_header(&before);
    let (mut values, mut moved) = (0, 0.0f32);
    for name in header.as_object().unwrap().keys() {
        let Some(name) = name.strip_prefix("adam1.generator.") else {
            continue;
        };
        let average = tensor(&before, &format!("ema.{name}"));
        let updated = tensor(&after, &format!("generator.{name}"));
        for (a, b) in average.iter().zip(updated) {
            (values, moved) = (values + 1, moved.max((a - b).abs()));
        }
    }
    let rate = config(1.0).training.learning_rate / 2.0;
    assert!(values > 100 && moved > 0.0, "{values} values, {moved}");
    assert!(moved <= 1.01 * rate, "moved by {moved}, the rate is {rate}");
}
