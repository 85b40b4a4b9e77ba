//! `gan compare`: the same latents through floats and integers.

use anyhow::Context;
use host::compare::compare;
use host::console::counted;
use host::files::write_atomic;
use host::memory::reserved;
use host::picture;
use host::quant::dominant_constants;
use host::run_folder::RunFolder;
use host::sample::{self, SampleKey};
use host::train::checkpoint::load_generator;
use host::train::run::{grid_columns, grid_order};
use host::{console, note, say};

use crate::cli::Compare;

pub fn run(args: &Compare) -> anyhow::Result<()> {
    anyhow::ensure!(args.count > 0, "--count must be 1 or more");
    let folder = RunFolder::new(&args.run);
    let _lock = super::lock_run(&folder)?;
    report(&folder, args.count, args.json)
}

/// Compares a run's two generators, prints the figures, and leaves `compare.json` and
/// `grid.png` (float left, int8 right) in its folder.
pub fn report(folder: &RunFolder, count: usize, json: bool) -> anyhow::Result<()> {
    let generator = load_generator(&folder.generator())?;
    let path = folder.int8_generator();
    let bytes = super::read_gan(&path).context("quantize the run first")?;
    let model = super::parse_gan(&bytes, &path)?;
    super::ensure_drawable(&model, &path)?;
    // Of each latent: its inputs, two images and their likeness.
    let each = size_of::<SampleKey>() + 4 * model.input_len() + 2 * model.output_shape().len() + 8;
    reserved::<u8>("--count", &[count, each])?;
    let found = compare(&generator, &model, count)?;

    let classes = model.class_count();
    let (order, columns) = (grid_order(classes), grid_columns(classes));
    let float = picture::grid(&sample::float(&generator, &order), columns, 2);
    let int8 = picture::grid(&sample::int8(&model, &order)?, columns, 2);
    let grid = folder.grid();
    picture::save_png(&grid, &picture::side_by_side(&float, &int8))
        .with_context(|| format!("cannot write {}", grid.display()))?;
    let text = serde_json::to_string_pretty(&found)? + "\n";
    let path = folder.comparison();
    write_atomic(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    for constant in dominant_constants(&generator) {
        note!(
            "warning: layer {}, channel {}: it is always {}, the layer's others reach {} at most, and \
             int8 has one scale for all: remove the channel, or make its bias smaller",
            constant.layer,
            constant.channel,
            constant.value,
            constant.others
        );
    }
    if json {
        console::print(&text);
        return Ok(());
    }
    say!(
        "int8 against float over {}:",
        counted(found.images, "latent")
    );
    say!("  PSNR                {:8.2} dB", found.psnr_db);
    say!("  SSIM                {:8.4}", found.ssim);
    say!(
        "  mean absolute error {:8.3} grey levels",
        found.mean_abs_error
    );
    say!(
        "  max absolute error  {:8} grey levels",
        found.max_abs_error
    );
    for (i, snr) in found.layer_snr_db.iter().enumerate() {
        say!("  layer {i} SNR         {snr:8.2} dB");
    }
    say!("images, float left and int8 right: {}", grid.display());
    Ok(())
}
