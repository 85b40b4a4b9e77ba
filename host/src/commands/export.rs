//! `host export`: a model for other runtimes.

use std::path::Path;

use anyhow::Context;
use host::export;
use host::files::write_atomic;
use host::train::checkpoint::load_generator;
use host::train::run::RunFolder;

use crate::cli::{Export, Format};

pub fn run(args: &Export) -> anyhow::Result<()> {
    let written = match args.format {
        Format::C => header(&args.model)?.into_bytes(),
        Format::Pytorch => {
            let file = match args.model.is_dir() {
                true => RunFolder::new(&args.model).generator(),
                false => args.model.clone(),
            };
            export::pytorch::safetensors(&load_generator(&file)?)?
        }
    };
    let name = args.out.display();
    write_atomic(&args.out, &written).with_context(|| format!("cannot write {name}"))?;
    println!("{name}: {} bytes", written.len());
    Ok(())
}

fn header(model: &Path) -> anyhow::Result<String> {
    let file = match model.is_dir() {
        true => RunFolder::new(model).file("generator.gan"),
        false => model.to_owned(),
    };
    let bytes = super::read_gan(&file)?;
    Ok(export::c::header(&super::parse_gan(&bytes, &file)?))
}
