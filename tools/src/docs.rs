//! The README's pictures of displays.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::root;

/// Draws the pictures of displays in docs/ anew: an emulated board's, and the simulator's
/// walk between seeds.
#[derive(clap::Args)]
pub struct Docs {
    /// Fail if they are not what is committed, instead of writing them.
    #[arg(long)]
    check: bool,
}

/// A picture and the command that draws it, whose last argument is the file.
const PICTURES: [(&str, &str); 2] = [
    (
        "display.png",
        "tools qemu --board lm3s6965evb --keys down --screenshot",
    ),
    (
        "walk.gif",
        "run -q -p firmware -- --class sneaker --keys left,left,select --frame-ms 60 --frames 67 \
         --record",
    ),
];

/// The moment of a key can move the time on an emulated display by a millisecond.
const TRIES: usize = 5;

impl Docs {
    pub fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        for (name, command) in PICTURES {
            let (new, committed) = (folder.path().join(name), root().join("docs").join(name));
            if !self.check {
                draw(command, &committed)?;
                println!("docs/{name}");
                continue;
            }
            let mut is_same = false;
            for _ in 0..TRIES {
                draw(command, &new)?;
                is_same = have_same_pixels(&new, &committed)?;
                if is_same {
                    break;
                }
            }
            ensure!(is_same, "docs/{name} is stale: cargo tools docs");
        }
        Ok(())
    }
}

fn draw(command: &str, file: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(command.split_whitespace())
        .arg(file)
        .current_dir(root());
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {command} failed");
    Ok(())
}

/// Whether two files have the same pixels, or the same bytes where they are no PNGs.
fn have_same_pixels(new: &Path, committed: &Path) -> anyhow::Result<bool> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (new, committed) = (read(new)?, read(committed)?);
    if new.starts_with(b"GIF") {
        return Ok(new == committed);
    }
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).map(image::DynamicImage::into_rgb8);
    Ok(pixels(&new)? == pixels(&committed)?)
}
