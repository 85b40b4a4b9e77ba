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

impl Docs {
    pub fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        for (name, command) in PICTURES {
            let new = folder.path().join(name);
            let status = Command::new("cargo")
                .args(command.split_whitespace())
                .arg(&new)
                .current_dir(root())
                .status()?;
            ensure!(status.success(), "cargo {command} failed");
            let committed = root().join("docs").join(name);
            if self.check {
                ensure!(
                    is_same(&new, &committed)?,
                    "docs/{name} is stale: cargo tools docs"
                );
            } else {
                std::fs::copy(&new, &committed)?;
                println!("docs/{name}");
            }
        }
        Ok(())
    }
}

/// Whether two files have the same pixels, or the same bytes where they are no PNGs.
fn is_same(new: &Path, committed: &Path) -> anyhow::Result<bool> {
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
