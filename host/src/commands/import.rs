//! `gan import`: a PyTorch generator becomes a run.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use host::import::import;
use host::quant::{self, Options};
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint;

use crate::cli::Import;

pub fn run(args: &Import) -> anyhow::Result<()> {
    let imported = import(&args.config, &args.weights)?;
    let generator = imported.generator().map_err(anyhow::Error::msg)?;
    let bytes = quant::quantize(&generator, &Options::default())?;
    let config = &imported.state.config;
    let out = args.out.clone();
    let folder = RunFolder::new(out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name)));
    let path = folder.path().display();
    std::fs::create_dir_all(folder.path()).with_context(|| format!("cannot make {path}"))?;
    let _lock = folder.lock()?;
    ensure!(
        !folder.holds_run(),
        "{path} holds a run: name another folder with --out"
    );
    imported.notes.iter().for_each(|note| say!("{note}"));
    super::train::write_config(&folder, config)?;
    let file = folder.final_generator();
    checkpoint::write(
        &file,
        &checkpoint::encode(&imported.state, imported.tensors)?,
    )?;
    super::quantize::write(&folder, &bytes)?;
    super::quantize::write_pages(&folder)
}
