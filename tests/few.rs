//! Sets of so few images that hardly any are held out.

use std::fs;
use std::path::Path;

use crate::cli::{fails, host, ok, train_args};
use crate::interruption::folder;

/// Copies the first `count` of 24 images of noise into one folder, or in turn into those of
/// five classes.
fn set(dir: &Path, count: usize, classes: usize) -> String {
    let name = format!("set-{classes}-{count}");
    for i in 0..count {
        let mut folder = dir.join(&name);
        if classes > 1 {
            folder.push((i % classes).to_string());
        }
        fs::create_dir_all(&folder).unwrap();
        let picture = dir.join(format!("pictures/{i:02}.png"));
        fs::copy(picture, folder.join(format!("{i:02}.png"))).unwrap();
    }
    name
}

#[test]
fn a_set_of_any_size_is_judged_by_what_there_is_or_told_what_it_lacks() {
    let dir = folder();
    let dir = dir.path();
    ok(dir, &train_args("tiny.toml", "run"));
    // A run is judged by the images that it was trained on: none of this size are embedded.
    for command in ["vet", "critic"] {
        let error = fails(dir, 1, &[command, "run"]);
        assert!(
            error.contains("held out") && !error.contains("embedded"),
            "{error}"
        );
    }
    fs::copy(dir.join("run/generator.gan"), dir.join("tiny.gan")).unwrap();
    for count in [1, 2, 3, 5, 10, 19] {
        for classes in [1, 5] {
            let set = set(dir, count, classes);
            let watched = format!("watched-{set}");
            let features = ["features", "--data", &set, "--format", "8x8"];
            let evaluate = ["evaluate", "tiny.gan", "--data", &set];
            let vet = [
                "vet", "tiny.gan", "--count", "2", "--out", "v.gan", "--data", &set,
            ];
            let critic = ["critic", "tiny.gan", "--out", "c.gan", "--data", &set];
            let train = [
                "train",
                "--config",
                "tiny.toml",
                "--data",
                &set,
                "--out",
                &watched,
            ];
            let watch = [&train[..], &["--watch-risk", "12"]].concat();
            // The least number of images with which each has something to say.
            for (args, fewest) in [
                (&features[..], 2),
                (&evaluate, 4),
                (&vet, 480),
                (&critic, 108),
                (&watch, 4),
            ] {
                let output = host(dir, args);
                let error = String::from_utf8_lossy(&output.stderr);
                let code = i32::from(count < fewest);
                assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
                let says_what_there_is = count == 1 || error.contains("held out");
                assert!(code == 0 || says_what_there_is, "{args:?}: {error}");
                if args[0] == "evaluate" && code == 0 {
                    let card = String::from_utf8_lossy(&output.stdout);
                    assert!(card.contains("training ones of"), "{card}");
                    assert!(card.contains("copies cannot be told"), "{card}");
                }
            }
        }
    }
}
