//! `host quantize`: the int8 form of a run's generator.

use anyhow::Context;
use host::files::write_atomic;
use host::quant;
use host::train::checkpoint::load_generator;
use host::train::run::RunFolder;

use crate::cli::Quantize;

pub fn run(args: &Quantize) -> anyhow::Result<()> {
    write_gan(&RunFolder::new(&args.run), args.calibration_images)
}

/// Quantizes the averaged generator of a run's checkpoint into its `generator.gan`.
pub fn write_gan(folder: &RunFolder, calibration_images: usize) -> anyhow::Result<()> {
    let generator = load_generator(&folder.checkpoint())?;
    let bytes = quant::quantize(&generator, calibration_images)?;
    let path = folder.file("generator.gan");
    write_atomic(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}
