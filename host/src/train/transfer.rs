//! A run that begins with the networks of another one: few images suffice where both sets are
//! alike. The classes may differ.

use std::path::Path;

use super::checkpoint::{self, CheckpointError, ema_tensor};
use super::trainer::Trainer;
use crate::config::Config;
use crate::nn::Backend;
use crate::nn::network::Network;

/// Name of the discriminator's last block, which has a unit for each class.
const JUDGEMENT: &str = "judgement.";

/// Puts the averaged generator and the discriminator of the run in the file `path` in the place
/// of `trainer`'s random ones; the optimizers begin anew. Returns the run's configuration.
/// *Errors*: no checkpoint, or networks of another shape but for the classes.
pub fn begin_from<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    path: &Path,
) -> Result<Config, CheckpointError> {
    let (state, tensors) = checkpoint::load_tensors(path)?;
    let latent = state.config.generator.latent;
    let (had, has) = (&state.config.data, &trainer.config.data);
    // Groups of alike images have the same names in any set.
    let are_groups = had.groups.is_some() || has.groups.is_some();
    let keep_classes = had.class_names == has.class_names && !are_groups;
    let find = |name: String, len: usize, adapt: &dyn Fn(&[f32]) -> Vec<f32>| {
        let values = tensors.get(&name).map(|values| adapt(values));
        values
            .filter(|values| values.len() == len)
            .ok_or_else(|| CheckpointError::Invalid {
                path: path.to_owned(),
                reason: format!("its tensor {name} does not fit this run's networks"),
            })
    };
    let as_it_is = |values: &[f32]| values.to_vec();
    restore(&mut trainer.generator, |i, name, (rows, columns)| {
        let with_classes = |values: &[f32]| match keep_classes {
            true => values.to_vec(),
            false => with_class_rows(values, latent, rows, columns),
        };
        let adapt: &dyn Fn(&[f32]) -> Vec<f32> = match i {
            0 => &with_classes,
            _ => &as_it_is,
        };
        find(ema_tensor(name), rows * columns, adapt)
    })?;
    for (name, stats) in trainer.generator.running_mut() {
        *stats = find(ema_tensor(&name), stats.len(), &as_it_is)?;
    }
    restore(&mut trainer.discriminator, |_, name, (rows, columns)| {
        let of_judgement = |values: &[f32]| match keep_classes {
            true => values.to_vec(),
            false => with_class_columns(values, rows, columns),
        };
        let adapt: &dyn Fn(&[f32]) -> Vec<f32> = match name.starts_with(JUDGEMENT) {
            true => &of_judgement,
            false => &as_it_is,
        };
        find(format!("discriminator.{name}"), rows * columns, adapt)
    })?;
    trainer.begin_ema();
    Ok(state.config)
}

/// Puts the values that `find` has for a tensor's number, name and shape into a network.
fn restore<D: Backend<f32>>(
    network: &mut Network<f32, D>,
    find: impl Fn(usize, &str, (usize, usize)) -> Result<Vec<f32>, CheckpointError>,
) -> Result<(), CheckpointError> {
    let params = network.params().into_iter();
    let names: Vec<String> = params.map(|(name, _)| name).collect();
    for (i, (name, param)) in names.iter().zip(network.params_mut()).enumerate() {
        let left = param.singular_vector().map(<[f32]>::to_vec);
        param.restore(find(i, name, param.shape)?, left);
    }
    Ok(())
}

/// The generator's first weights with `rows` inputs: those of the latent stay, each class gets
/// the mean of the other run's classes. *Shape*: `[rows, columns]`.
fn with_class_rows(values: &[f32], latent: usize, rows: usize, columns: usize) -> Vec<f32> {
    let classes = values.get(latent * columns..).unwrap_or_default();
    let count = (classes.len() / columns).max(1) as f32;
    let mut mean = vec![0.0; columns];
    for row in classes.chunks_exact(columns) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, v)| *sum += v / count);
    }
    let kept = values.iter().copied().take(latent * columns);
    kept.chain((latent..rows).flat_map(|_| mean.iter().copied()))
        .collect()
}

/// The judgement's values with `columns` units: the first one, which judges any image, stays;
/// those of the classes begin at 0. *Shape*: `[rows, columns]`.
fn with_class_columns(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let had = values.len() / rows;
    let first = |row: &[f32]| {
        let classes = std::iter::repeat_n(0.0, columns - 1);
        row.first()
            .copied()
            .into_iter()
            .chain(classes)
            .collect::<Vec<_>>()
    };
    values.chunks_exact(had.max(1)).flat_map(first).collect()
}
