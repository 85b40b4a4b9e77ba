//! `gan export`: a model for other runtimes.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gan_core::Model;
use host::export::{Rewritten, Writer};
use host::files::write_atomic;
use host::generator::FloatGenerator;
use host::run_folder::RunFolder;
use host::say;
use host::train::checkpoint::load_generator;

use crate::cli::Export;

pub fn run(args: &Export) -> anyhow::Result<()> {
    let (from, out, format) = (&args.model, &args.out, args.format.name);
    ensure!(
        args.name.is_none() || matches!(args.format.writer, Writer::Code(_)),
        "--name is for --format c: {format} has no names of its own"
    );
    if let Some(name) = &args.name {
        ensure_in_ascii(name)?;
    }
    let mut beside = out.as_os_str().to_owned();
    beside.push(".gan");
    let beside = PathBuf::from(beside);
    for path in [out, &beside] {
        ensure_new(path, from)?;
    }
    let _lock = super::lock_run_of(out)?;
    let no = || format!("{} cannot be exported as {format}", from.display());
    match args.format.writer {
        Writer::Generator(export) => write(out, &export(&floats(from)?).with_context(no)?),
        Writer::Code(export) => of_gan(from, |model| {
            let name = args.name.as_deref().unwrap_or(model.name());
            write(out, &export(model, name).with_context(no)?)
        }),
        Writer::Model(export) => of_gan(from, |model| {
            let exported = export(model).with_context(no)?;
            write(out, &exported.bytes)?;
            let Some(Rewritten { gan, changes }) = exported.rewritten else {
                return Ok(());
            };
            say!(
                "{format} cannot express all of this model. The .gan file beside it draws the \
                 same bytes; it has {}",
                changes.join(", ")
            );
            write(&beside, &gan)
        }),
    }
}

/// Checks that the names of a C header keep all of `name`.
fn ensure_in_ascii(name: &str) -> anyhow::Result<()> {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
    ensure!(
        !name.trim().is_empty() && name.chars().all(is_kept),
        "--name {name:?}: the names in a C header have letters and digits of ASCII, - and _"
    );
    Ok(())
}

/// Checks that a file to write is neither the model that is exported nor a part of a run.
fn ensure_new(path: &Path, from: &Path) -> anyhow::Result<()> {
    let is_input = match (path.canonicalize(), from.canonicalize()) {
        (Ok(path), Ok(from)) => path == from,
        _ => false,
    };
    ensure!(
        !is_input && !RunFolder::owns(path),
        "--out would replace {}: name another file",
        path.display()
    );
    Ok(())
}

/// Exports the model of a `.gan` file, or of a run.
fn of_gan(model: &Path, export: impl Fn(&Model<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let file = super::gan_of(model);
    let bytes = super::read_gan(&file)?;
    export(&super::parse_gan(&bytes, &file)?)
}

/// The generator of a run or of a file of ours.
fn floats(model: &Path) -> anyhow::Result<FloatGenerator> {
    let is_gan = model.extension().is_some_and(|ending| ending == "gan");
    ensure!(!is_gan, "{} has no floats: give the run", model.display());
    Ok(load_generator(&super::generator_of(model))?)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.display();
    write_atomic(path, bytes).with_context(|| format!("cannot write {name}"))?;
    say!("{name}: {} bytes", bytes.len());
    Ok(())
}
