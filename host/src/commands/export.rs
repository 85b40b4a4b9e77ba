//! `host export`: a model for other runtimes.

use anyhow::Context;
use host::export;
use host::files::write_atomic;
use host::train::run::RunFolder;

use crate::cli::{Export, Format};

pub fn run(args: &Export) -> anyhow::Result<()> {
    let file = match args.model.is_dir() {
        true => RunFolder::new(&args.model).file("generator.gan"),
        false => args.model.clone(),
    };
    let bytes = super::read_gan(&file)?;
    let model = super::parse_gan(&bytes, &file)?;
    let written = match args.format {
        Format::C => export::c::header(&model).into_bytes(),
    };
    let name = args.out.display();
    write_atomic(&args.out, &written).with_context(|| format!("cannot write {name}"))?;
    println!("{name}: {} bytes", written.len());
    Ok(())
}
