//! `gan vet`: seeds whose images pass, into the `.gan` file.

use anyhow::{Context, ensure};
use gan_core::encode::encode_seeds;
use host::console::counted;
use host::files::write_atomic;
use host::memory::reserved;
use host::risk::judge::Judge;
use host::risk::vet::vet;
use host::say;

use crate::cli::Vet;

pub fn run(args: &Vet) -> anyhow::Result<()> {
    ensure!(args.count > 0, "--count must be 1 or more");
    let risk = 0.0..1.0;
    ensure!(
        risk.contains(&args.min_p_value),
        "--min-p-value goes from 0 to below 1"
    );
    let file = super::gan_of(&args.file);
    let path = args.out.as_ref().unwrap_or(&file);
    let _lock = super::lock_run_of(path)?;
    let bytes = super::read_gan(&file)?;
    let model = super::parse_gan(&bytes, &file)?;
    super::ensure_drawable(&model, &file)?;
    let each = model.output_shape().len() + size_of::<u32>();
    reserved::<u8>("--count", &[args.count, each])?;
    let mut progress = super::stages()?;
    let (dataset, extractor) = super::judging(&args.judge, &model, &args.file, &mut progress)?;
    let judge = Judge::new(&extractor, &[], &dataset, usize::MAX, &mut progress)?;
    if args.min_p_value > 0.0 {
        let able = judge.ensure_can_flag(args.min_p_value, dataset.held_out.len());
        able.context("--min-p-value")?;
    }
    let classes = model.class_count().max(1);
    let per_class = args.count.div_ceil(classes);
    let seeds = vet(&model, &judge, per_class, args.min_p_value, &mut progress)?;
    drop(progress);
    let mut out = vec![0; bytes.len() + 4 * seeds.len() + 64];
    let len = encode_seeds(&bytes, &seeds, &mut out)?;
    let name = path.display();
    write_atomic(path, &out[..len]).with_context(|| format!("cannot write {name}"))?;
    let tried: u64 = seeds
        .chunks(per_class)
        .filter_map(|of_class| of_class.last())
        .map(|&last| u64::from(last))
        .sum();
    let of_each = match model.class_count() {
        0 => String::new(),
        _ => format!(", {per_class} of each class"),
    };
    say!(
        "{name}: {}{of_each}, out of {tried} that were tried; {len} bytes",
        counted(seeds.len(), "seed")
    );
    Ok(())
}
