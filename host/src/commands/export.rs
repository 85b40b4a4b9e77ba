//! `gan export`: a model for other runtimes.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gan_core::Model;
use host::export::{ExportError, c, onnx, pytorch, tflite};
use host::files::write_atomic;
use host::generator::FloatGenerator;
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint::load_generator;

use crate::cli::{Export, Format};

pub fn run(args: &Export) -> anyhow::Result<()> {
    let (from, out) = (&args.model, &args.out);
    ensure!(
        args.name.is_none() || args.format == Format::C,
        "--name is for --format c: no other format has names of its own"
    );
    let _lock = super::lock_run_of(out)?;
    let no = |form: &str| format!("{} has no {form} form", from.display());
    match args.format {
        Format::C => of_gan(from, |model, _| {
            let name = args.name.as_deref().unwrap_or(model.name());
            write(out, c::header(model, name).as_bytes())
        }),
        Format::OnnxFloat => {
            let generator = floats(from)?;
            write(out, &onnx::float(&generator).with_context(|| no("ONNX"))?)
        }
        Format::OnnxQdq => of_gan(from, |model, _| {
            write(out, &onnx::qdq(model).with_context(|| no("ONNX"))?)
        }),
        Format::Pytorch => write(out, &pytorch::safetensors(&floats(from)?)?),
        Format::Tflite => of_gan(from, |model, bytes| {
            let (legal, tflite) = tflite_of(model).with_context(|| no("TensorFlow Lite"))?;
            write(out, &tflite)?;
            if legal == bytes {
                return Ok(());
            }
            let mut beside = out.as_os_str().to_owned();
            beside.push(".gan");
            say!(
                "TensorFlow Lite has no 16-bit sums before tanh, critic or vetted seeds; the \
                 .gan file has the model that it draws, byte by byte"
            );
            write(&PathBuf::from(beside), &legal)
        }),
    }
}

/// Exports the model of a `.gan` file, or of a run's, and its bytes.
fn of_gan(
    model: &Path,
    export: impl Fn(&Model<'_>, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = super::gan_of(model);
    let bytes = super::read_gan(&file)?;
    export(&super::parse_gan(&bytes, &file)?, &bytes)
}

/// The generator of a run or of a file of ours.
fn floats(model: &Path) -> anyhow::Result<FloatGenerator> {
    let is_gan = model.extension().is_some_and(|ending| ending == "gan");
    ensure!(!is_gan, "{} has no floats: give the run", model.display());
    let file = match model.is_dir() {
        true => RunFolder::new(model).generator(),
        false => model.to_owned(),
    };
    Ok(load_generator(&file)?)
}

/// The model as TensorFlow Lite can have it, and its file.
fn tflite_of(model: &Model<'_>) -> Result<(Vec<u8>, Vec<u8>), ExportError> {
    let legal = tflite::legalize(model)?;
    let tflite = tflite::write(&Model::parse(&legal)?)?;
    Ok((legal, tflite))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.display();
    write_atomic(path, bytes).with_context(|| format!("cannot write {name}"))?;
    say!("{name}: {} bytes", bytes.len());
    Ok(())
}
