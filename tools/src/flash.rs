//! The application onto a board.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use gan_core::Model;

use crate::boards::{self, BoardSpec, Loader};
use crate::elf::Elf;

/// Builds the application and flashes it: by probe-rs, espflash, or as a UF2 file.
#[derive(clap::Args)]
pub struct Flash {
    /// The board.
    #[arg(long, value_parser = boards::parse)]
    board: BoardSpec,
    /// A .gan file, or a run folder with one, in place of the default model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Write a UF2 file instead, for a Pico board without a probe: hold BOOTSEL while you
    /// plug it in, and copy the file onto the drive that appears.
    #[arg(long)]
    uf2: Option<PathBuf>,
}

impl Flash {
    pub fn run(self) -> anyhow::Result<()> {
        let (name, loader) = (self.board.name, self.board.loader);
        if matches!(loader, Loader::None) {
            bail!("{name} is only emulated: cargo tools qemu --board {name}");
        }
        let model = self.model.as_deref().map(gan_of).transpose()?;
        // Everything that is missing is said before the minutes of the build.
        let family = match (&self.uf2, loader) {
            (None, _) => None,
            (Some(_), Loader::ProbeOrUf2 { family, .. }) => Some(family),
            (Some(_), _) => bail!("{name} takes no UF2 files: leave --uf2 out"),
        };
        match (&self.uf2, loader) {
            (Some(file), _) => ensure_writable(file)?,
            (None, Loader::Probe { .. } | Loader::ProbeOrUf2 { .. }) => ensure_starts("probe-rs")?,
            (None, _) => ensure_starts("espflash")?,
        }
        let path = self.board.build(model.as_deref())?;
        if let (Some(file), Some(family)) = (&self.uf2, family) {
            let data = std::fs::read(&path).context("cannot read the program")?;
            let bytes = uf2(&Elf::parse(&data, &path)?, family);
            std::fs::write(file, &bytes)
                .with_context(|| format!("cannot write {}", file.display()))?;
            println!(
                "{}: {} bytes; copy it onto the board's drive",
                file.display(),
                bytes.len()
            );
            return Ok(());
        }
        match loader {
            Loader::Probe { chip } | Loader::ProbeOrUf2 { chip, .. } => {
                start("probe-rs", &["run", "--chip", chip], &path)
            }
            _ => start(
                "espflash",
                &["flash", "--monitor", "--log-format", "defmt"],
                &path,
            ),
        }
    }
}

/// The model that a path names, a run folder's own for a folder; it has to be a good one.
fn gan_of(path: &Path) -> anyhow::Result<PathBuf> {
    let path = match path.is_dir() {
        true => path.join("generator.gan"),
        false => path.to_owned(),
    };
    let name = path.display();
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
    Model::parse(&bytes).with_context(|| format!("{name} is not usable"))?;
    Ok(path)
}

fn ensure_writable(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    ensure!(
        folder.is_dir() && !file.is_dir(),
        "cannot write {}: there is no folder {} or a folder of that name",
        file.display(),
        folder.display()
    );
    Ok(())
}

fn ensure_starts(program: &str) -> anyhow::Result<()> {
    let output = Command::new(program).arg("--version").output();
    output.with_context(|| format!("cannot start {program}: see `cargo tools setup`"))?;
    Ok(())
}

fn start(program: &str, args: &[&str], elf: &Path) -> anyhow::Result<()> {
    eprintln!("{program} {} {}", args.join(" "), elf.display());
    let status = Command::new(program).args(args).arg(elf).status();
    let status =
        status.with_context(|| format!("cannot start {program}: see `cargo tools setup`"))?;
    ensure!(status.success(), "{program} failed");
    Ok(())
}

/// Bytes of the program in one block.
const PAYLOAD_BYTES: u32 = 256;

/// The flash image in UF2 blocks (github.com/microsoft/uf2): 32 bytes of header, the
/// payload, padding, a last magic number. Pages between segments are left out.
fn uf2(elf: &Elf<'_>, family: u32) -> Vec<u8> {
    let mut pages = std::collections::BTreeMap::<u32, [u8; PAYLOAD_BYTES as usize]>::new();
    for (address, bytes) in elf.image() {
        for (address, &byte) in (address..).zip(bytes) {
            let page = pages.entry(address / PAYLOAD_BYTES).or_insert([0; _]);
            page[(address % PAYLOAD_BYTES) as usize] = byte;
        }
    }
    let count = pages.len() as u32;
    let block = |(number, (page, payload)): (u32, (&u32, &[u8; PAYLOAD_BYTES as usize]))| {
        /// A family's number is in place of the file's size.
        const HAS_FAMILY: u32 = 0x2000;
        let header = [
            0x0A32_4655,
            0x9E5D_5157,
            HAS_FAMILY,
            page * PAYLOAD_BYTES,
            PAYLOAD_BYTES,
            number,
            count,
            family,
        ];
        let mut block: Vec<u8> = header
            .iter()
            .flat_map(|word: &u32| word.to_le_bytes())
            .collect();
        block.extend(payload);
        block.resize(508, 0);
        block.extend(0x0AB1_6F30u32.to_le_bytes());
        block
    };
    (0..).zip(&pages).flat_map(block).collect()
}
