//! The images of displays that README.md shows, in docs/.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::root;

/// Draws the images of displays in docs/ anew: an emulated board's, and the simulator's
/// interpolation between seeds.
#[derive(clap::Args)]
pub struct Docs {
    /// Fail if they are not what is committed, instead of writing them.
    #[arg(long)]
    check: bool,
}

/// An image and the command that draws it, whose last argument is the file.
const PICTURES: [(&str, &str); 2] = [
    ("display.png", "tools qemu --keys down --screenshot"),
    (
        "interpolation.gif",
        "run -q -p firmware -- --class sneaker --keys left,left,select --frame-ms 60 --frames 67 \
         --record",
    ),
];

/// Columns and rows of display.png that hold the time, which one compilation of the program
/// and the next differ in.
const TIME: [std::ops::Range<u32>; 2] = [244..512, 112..152];

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
            draw(command, &new)?;
            let is_same = have_same_pixels(&new, &committed)?;
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

/// Whether two PNGs are the same but for the time on them; others, whether they have the
/// same bytes.
fn have_same_pixels(new: &Path, committed: &Path) -> anyhow::Result<bool> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (new, committed) = (read(new)?, read(committed)?);
    if new.starts_with(b"GIF") {
        return Ok(new == committed);
    }
    let timeless = |bytes: &[u8]| -> anyhow::Result<image::RgbImage> {
        let mut picture = image::load_from_memory(bytes)?.into_rgb8();
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            if TIME[0].contains(&x) && TIME[1].contains(&y) {
                pixel.0 = [0; 3];
            }
        }
        Ok(picture)
    };
    Ok(timeless(&new)? == timeless(&committed)?)
}
