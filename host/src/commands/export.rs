//! `host export`: a model for other runtimes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use gan_core::Model;
use host::export::{c, tflite};
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
    match args.format {
        Format::C => write(&args.out, c::header(&model).as_bytes()),
        Format::Tflite => write_tflite(&model, &bytes, &args.out)
            .with_context(|| format!("{} has no TensorFlow Lite form", file.display())),
    }
}

fn write_tflite(model: &Model<'_>, bytes: &[u8], out: &Path) -> anyhow::Result<()> {
    let form = tflite::form(model)?;
    let tflite = tflite::write(&Model::parse(&form)?)?;
    write(out, &tflite)?;
    if form != bytes {
        let mut beside = out.as_os_str().to_owned();
        beside.push(".gan");
        write(&PathBuf::from(beside), &form)?;
        println!(
            "TensorFlow Lite has no 16-bit sums before tanh, critic or vetted seeds: the .gan \
             file is the model that it draws, byte by byte"
        );
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.display();
    write_atomic(path, bytes).with_context(|| format!("cannot write {name}"))?;
    println!("{name}: {} bytes", bytes.len());
    Ok(())
}
