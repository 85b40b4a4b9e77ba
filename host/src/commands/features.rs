//! `gan features`: the classifier by whose features images are judged.

use anyhow::Context;
use host::files::write_atomic;
use host::risk::features::Extractor;
use host::say;

use crate::cli::Features;

pub fn run(args: &Features) -> anyhow::Result<()> {
    let _lock = super::lock_run_of(&args.out)?;
    let mut data = args.reading.data(args.data.clone());
    data.labels.clone_from(&args.labels);
    let dataset = super::load_data(&data, args.format)?;
    let bytes = Extractor::train(&dataset, args.seed, &mut super::stages()?)?;
    let out = args.out.display();
    write_atomic(&args.out, &bytes).with_context(|| format!("cannot write {out}"))?;
    let extractor = Extractor::parse(&bytes).map_err(anyhow::Error::msg)?;
    say!("{out}: {}, {} bytes", extractor.describe(), bytes.len());
    Ok(())
}
