//! `gan quantize`: the int8 form of a run's generator.

use anyhow::Context;
use gan_core::Model;
use gan_core::types::WeightBits;
use host::compare::{COMPARE_IMAGES, compare};
use host::files::write_atomic;
use host::finetune::finetune;
use host::generator::FloatGenerator;
use host::memory::reserved;
use host::nn::op::Op;
use host::quant::{self, Options};
use host::run_folder::RunFolder;
use host::train::checkpoint::load_generator;
use host::train::run;
use host::{note, say};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Quantize;

pub fn run(args: &Quantize) -> anyhow::Result<()> {
    let options = Options {
        calibration_images: args.calibration_images,
        dense_bits: match args.dense_bits {
            4 => WeightBits::Four,
            _ => WeightBits::Eight,
        },
        use_lut16: args.tanh_bits == 16,
    };
    let folder = RunFolder::new(&args.run);
    let _lock = super::lock_run(&folder)?;
    let generator = load_generator(&folder.generator())?;
    let values = generator
        .layers
        .iter()
        .map(|layer| Op::from(layer.op).output_len());
    let values = values.sum::<usize>() + generator.config.input_len();
    reserved::<f32>("--calibration-images", &[args.calibration_images, values])?;
    let mut plain = None;
    say!("dense weights  before tanh     bytes      PSNR    SSIM");
    for dense_bits in [WeightBits::Eight, WeightBits::Four] {
        for use_lut16 in [true, false] {
            let other = Options {
                dense_bits,
                use_lut16,
                ..options
            };
            let bytes = quant::quantize(&generator, &other)?;
            let chosen = other == options && args.finetune == 0;
            let mark = if chosen { "  <- chosen" } else { "" };
            print_choice(&generator, &bytes, &other, mark)?;
            if chosen {
                plain = Some(bytes);
            }
        }
    }
    if let Some(bytes) = plain {
        write(&folder, &bytes)?;
        return write_pages(&folder);
    }
    let tuned = tune(&generator, &options, args.finetune)?;
    let bytes = quant::quantize_tuned(&generator, &tuned, &options)?;
    print_choice(&generator, &bytes, &options, "  <- chosen, fine-tuned")?;
    write(&folder, &bytes)?;
    write_pages(&folder)
}

/// Images that a choice is judged by.
const JUDGED_IMAGES: usize = 256;

/// Quantizes the averaged generator of a run's checkpoint into its `generator.gan`.
pub fn write_gan(folder: &RunFolder) -> anyhow::Result<()> {
    let generator = load_generator(&folder.generator())?;
    write(folder, &quant::quantize(&generator, &Options::default())?)
}

/// Whether a run has an int8 model of the generator after `step` steps.
pub fn is_of_step(folder: &RunFolder, step: u64) -> bool {
    let bytes = super::read_gan(&folder.int8_generator()).unwrap_or_default();
    Model::parse(&bytes).is_ok_and(|model| u64::from(model.steps()) == step)
}

/// Writes a run's `generator.gan`. The critic and the vetted seeds of an older one are lost.
pub fn write(folder: &RunFolder, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.int8_generator();
    let old = super::read_gan(&path).unwrap_or_default();
    let had_gate = |model: Model<'_>| model.critic().is_some() || model.vetted_count() > 0;
    if Model::parse(&old).is_ok_and(had_gate) {
        let program = super::program();
        note!(
            "the critic and the vetted seeds of {} are gone: `{program} critic` and \
             `{program} vet` make them again",
            path.display()
        );
    }
    write_atomic(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    say!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

/// Writes everything in a run's folder that is about its `generator.gan`.
pub fn write_pages(folder: &RunFolder) -> anyhow::Result<()> {
    super::compare::report(folder, COMPARE_IMAGES, false)?;
    let page = run::write_page(folder)?;
    say!("curves and images: {}", page.display());
    Ok(())
}

fn print_choice(
    generator: &FloatGenerator,
    bytes: &[u8],
    options: &Options,
    mark: &str,
) -> anyhow::Result<()> {
    let found = compare(generator, &Model::parse(bytes)?, JUDGED_IMAGES)?;
    say!(
        "{:>6} bits    {:>4} bits    {:>8}  {:5.2} dB  {:.4}{mark}",
        match options.dense_bits {
            WeightBits::Eight => 8,
            WeightBits::Four => 4,
        },
        if options.use_lut16 { 16 } else { 8 },
        bytes.len(),
        found.psnr_db,
        found.ssim
    );
    Ok(())
}

fn tune(
    generator: &FloatGenerator,
    options: &Options,
    steps: u64,
) -> anyhow::Result<FloatGenerator> {
    let bar = ProgressBar::new(steps).with_prefix("fine-tuning");
    bar.set_style(ProgressStyle::with_template(
        "{prefix} {wide_bar} {pos}/{len} {eta} left",
    )?);
    let tuned = finetune(generator, options, steps, |step| bar.set_position(step));
    bar.finish_and_clear();
    Ok(tuned?)
}
