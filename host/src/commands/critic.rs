//! `gan critic`: a judge for the device, into the `.gan` file.

use anyhow::{Context, ensure};
use host::files::write_atomic;
use host::risk::critic::teach;
use host::risk::judge::Judge;
use host::say;

use crate::cli::Critic;

pub fn run(args: &Critic) -> anyhow::Result<()> {
    let share = 0.0..=1.0;
    ensure!(share.contains(&args.passing), "--passing goes from 0 to 1");
    let file = super::gan_of(&args.file);
    let path = args.out.as_ref().unwrap_or(&file);
    let _lock = super::lock_run_of(path)?;
    let bytes = super::read_gan(&file)?;
    let model = super::parse_gan(&bytes, &file)?;
    super::ensure_drawable(&model, &file)?;
    let mut progress = super::stages()?;
    let (dataset, extractor) = super::judging(&args.judge, &model, &args.file, &mut progress)?;
    let judge = Judge::new(&extractor, &[], &dataset, usize::MAX, &mut progress)?;
    let taught = teach(
        &bytes,
        &judge,
        &dataset.held_out,
        args.passing,
        &mut progress,
    )?;
    drop(progress);
    let name = path.display();
    write_atomic(path, &taught.bytes).with_context(|| format!("cannot write {name}"))?;
    let (all, passing) = (taught.flagged, taught.flagged_of_passing);
    let critic = super::parse_gan(&taught.bytes, path)?.critic().copied();
    let critic_bytes = critic.map_or(0, |critic| critic.flash_bytes());
    say!(
        "{name}: {} bytes, {} of them the critic; of fresh images {:.1} % are flagged, of those \
         that pass {:.1} %",
        taught.bytes.len(),
        critic_bytes,
        100.0 * all.value,
        100.0 * passing.value
    );
    if model.vetted_count() > 0 {
        say!(
            "the vetted seeds are gone: `{} vet` finds them again",
            super::program()
        );
    }
    Ok(())
}
