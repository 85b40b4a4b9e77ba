//! `host export`: a model for other runtimes.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gan_core::Model;
use host::export::{c, onnx, tflite};
use host::files::write_atomic;
use host::generator::FloatGenerator;
use host::train::checkpoint::load_generator;
use host::train::run::RunFolder;

use crate::cli::{Export, Format};

pub fn run(args: &Export) -> anyhow::Result<()> {
    let (from, out) = (&args.model, &args.out);
    let no = |form: &str| format!("{} has no {form} form", from.display());
    match args.format {
        Format::C => of_gan(from, |model, _| write(out, c::header(model).as_bytes())),
        Format::OnnxFloat => {
            let generator = floats(from)?;
            write(out, &onnx::float(&generator).with_context(|| no("ONNX"))?)
        }
        Format::OnnxQdq => of_gan(from, |model, _| {
            write(out, &onnx::qdq(model).with_context(|| no("ONNX"))?)
        }),
        Format::Tflite => of_gan(from, |model, bytes| {
            write_tflite(model, bytes, out).with_context(|| no("TensorFlow Lite"))
        }),
    }
}

/// Exports the model of a `.gan` file, or of a run's, and its bytes.
fn of_gan(
    model: &Path,
    export: impl Fn(&Model<'_>, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = match model.is_dir() {
        true => RunFolder::new(model).file("generator.gan"),
        false => model.to_owned(),
    };
    let bytes = super::read_gan(&file)?;
    export(&super::parse_gan(&bytes, &file)?, &bytes)
}

/// The generator of a run or of a file of ours.
fn floats(model: &Path) -> anyhow::Result<FloatGenerator> {
    let is_gan = model.extension().is_some_and(|ending| ending == "gan");
    ensure!(!is_gan, "{} has no floats: give the run", model.display());
    let file = match model.is_dir() {
        true => RunFolder::new(model).file("generator.safetensors"),
        false => model.to_owned(),
    };
    Ok(load_generator(&file)?)
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
