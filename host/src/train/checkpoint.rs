//! Checkpoints: a safetensors file with everything that the rest of a run depends on.
//!
//! Tensors: `generator.*` and `discriminator.*` (parameters, and the generator's running
//! statistics), `ema.*` (the averaged generator), `adam1.*` and `adam2.*` (moments),
//! `spectral.*` (singular vectors, where spectra are normalized).
//! The metadata's one entry, `run`, holds a [`RunState`] as JSON. The random streams are
//! functions of the seed and the step, which are in there.
//!
//! A checkpoint of a step between two regular ones, which an interruption leaves, also holds
//! the file of the regular one before, `rollback` (`U8`), and with it the least risky generator
//! of then, `rollback_best`: a run that goes wrong later goes back to where it would have gone
//! without the interruption. A regular checkpoint is its own place to go back to.
//!
//! `generator.safetensors`, what a finished run leaves, is the same with `ema.*` only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::augment::Strength;
use super::loss::Anchors;
use super::trainer::{Budget, Trainer, TrainerError};
use crate::config::Config;
use crate::console::check_text;
use crate::data::DatasetFingerprint;
use crate::files::{FileError, MOST_BYTES, read_regular, write_atomic};
use crate::generator::FloatGenerator;
use crate::nn::Backend;

/// The part of a checkpoint that is not a tensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunState {
    /// Configuration of the run, with its defaults filled in.
    pub config: Config,
    /// Name of the data.
    pub dataset: String,
    /// Steps done.
    pub step: u64,
    /// Times that the run went back at half the rate.
    pub rollbacks: u32,
    /// Updates of the generator's optimizer, which a rollback begins anew; the steps, where
    /// older versions did not write them down.
    #[serde(default)]
    pub generator_updates: Option<u64>,
    /// Moving averages for the `LeCam` regularizer.
    #[serde(default)]
    pub anchors: Anchors,
    /// Strength of the augmentation; none where an older version changed every image.
    #[serde(default)]
    pub strength: Option<Strength>,
    /// The time that the run is to fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The step that the run ends at; `training.steps` where older versions did not write it down.
    #[serde(default)]
    pub end_step: Option<u64>,
    /// The step at which a finished run was last given more steps.
    #[serde(default)]
    pub extended_at: u64,
    /// Fingerprint of the training data; older versions did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DatasetFingerprint>,
}

impl RunState {
    /// The step that the run ends at.
    pub fn end_step(&self) -> u64 {
        self.end_step.unwrap_or(self.config.training.steps)
    }
}

/// The advice about a file that is not a usable checkpoint.
fn repair(path: &Path) -> &'static str {
    match path
        .extension()
        .is_some_and(|ending| ending == "safetensors")
    {
        true => "put a copy of it in its place, or begin the run again in another folder",
        false => "name a run folder, a .gan file or a .safetensors file",
    }
}

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not one of ours, or damaged.
    #[error("{path} is not a usable checkpoint: {reason}; {}", repair(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The state has no form in a file.
    #[error("the run's state cannot be written down: {0}")]
    Unwritable(String),
    /// The networks could not be built.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
}

/// A tensor on its way into a file: name, shape, values.
pub type Named = (String, Vec<usize>, Vec<f32>);

/// The state that a run goes back to when it goes wrong, as the bytes of files.
#[derive(Clone, Debug)]
pub struct RollbackPoint {
    /// A checkpoint of a step at which all was well.
    pub checkpoint: Vec<u8>,
    /// The least risky generator until then.
    pub best: Option<Vec<u8>>,
}

/// Names of a [`RollbackPoint`]'s files in a checkpoint.
const ROLLBACK: &str = "rollback";
const ROLLBACK_BEST: &str = "rollback_best";

/// The bytes of a file with everything needed to go on.
pub fn encode_trainer<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &str,
    rollback: Option<&RollbackPoint>,
) -> Result<Vec<u8>, CheckpointError> {
    let mut tensors = ema_tensors(trainer);
    let Trainer {
        generator,
        discriminator,
        generator_moments,
        discriminator_moments,
        ..
    } = trainer;
    for (name, stats) in generator.running_mut() {
        tensors.push((
            format!("generator.{name}"),
            vec![stats.len()],
            stats.clone(),
        ));
    }
    let networks = [
        ("generator", &*generator, &*generator_moments),
        ("discriminator", discriminator, discriminator_moments),
    ];
    for (network, net, moments) in networks {
        for (i, (name, param)) in net.params().into_iter().enumerate() {
            let shape = vec![param.shape.0, param.shape.1];
            let mut push = |prefix: String, v: Vec<f32>| {
                tensors.push((format!("{prefix}.{name}"), shape.clone(), v));
            };
            push(network.to_owned(), param.trained().to_vec());
            push(format!("adam1.{network}"), moments.first[i].clone());
            push(format!("adam2.{network}"), moments.second[i].clone());
            if let Some(vector) = param.singular_vector() {
                let name = format!("spectral.{network}.{name}");
                tensors.push((name, vec![vector.len()], vector.to_vec()));
            }
        }
    }
    let checkpoint = rollback.map(|point| (ROLLBACK, point.checkpoint.as_slice()));
    let best = rollback.and_then(|point| Some((ROLLBACK_BEST, point.best.as_deref()?)));
    let files: Vec<_> = checkpoint.into_iter().chain(best).collect();
    encode_with(&state_of(trainer, dataset), tensors, &files)
}

/// Writes the averaged generator alone.
pub fn save_generator<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &str,
    path: &Path,
) -> Result<(), CheckpointError> {
    write(path, &generator_file(trainer, dataset)?)
}

/// The bytes of a file with the averaged generator alone.
pub fn generator_file<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &str,
) -> Result<Vec<u8>, CheckpointError> {
    let tensors = ema_tensors(trainer);
    encode(&state_of(trainer, dataset), tensors)
}

fn state_of<D: Backend<f32>>(trainer: &Trainer<D>, dataset: &str) -> RunState {
    RunState {
        config: trainer.config.clone(),
        dataset: dataset.to_owned(),
        step: trainer.step,
        rollbacks: trainer.rollbacks,
        generator_updates: Some(trainer.generator_moments.updates),
        anchors: trainer.anchors,
        strength: Some(trainer.strength),
        budget: trainer.budget,
        end_step: Some(trainer.end_step),
        extended_at: trainer.extended_at,
        data: trainer.data.clone(),
    }
}

/// The averaged generator, as it would be loaded from a file.
pub fn averaged<D: Backend<f32>>(
    trainer: &mut Trainer<D>,
    dataset: &str,
) -> Result<FloatGenerator, String> {
    let tensors = ema_tensors(trainer);
    let tensors: HashMap<String, Vec<f32>> =
        tensors.into_iter().map(|(name, _, v)| (name, v)).collect();
    let find = |name: &str| tensors.get(&ema_tensor(name)).cloned();
    FloatGenerator::fold(
        trainer.config.clone(),
        dataset.to_owned(),
        trainer.step,
        find,
    )
}

/// Name of a tensor of the averaged generator, the exponential moving average (EMA).
pub fn ema_tensor(name: &str) -> String {
    format!("ema.{name}")
}

fn ema_tensors<D: Backend<f32>>(trainer: &mut Trainer<D>) -> Vec<Named> {
    let params = trainer.generator.params().into_iter();
    let mut shapes: Vec<_> = params
        .map(|(name, param)| (name, vec![param.shape.0, param.shape.1]))
        .collect();
    let running = trainer.generator.running_mut().into_iter();
    shapes.extend(running.map(|(name, stats)| (name, vec![stats.len()])));
    let named = shapes.into_iter().zip(&trainer.ema);
    named
        .map(|((name, shape), v)| (ema_tensor(&name), shape, v.clone()))
        .collect()
}

/// A file of tensors and what else there is to say about their run.
pub fn encode(state: &RunState, tensors: Vec<Named>) -> Result<Vec<u8>, CheckpointError> {
    encode_with(state, tensors, &[])
}

/// The same with whole files, by name, beside the tensors.
fn encode_with(
    state: &RunState,
    tensors: Vec<Named>,
    files: &[(&str, &[u8])],
) -> Result<Vec<u8>, CheckpointError> {
    let failed = |e: &dyn std::fmt::Display| CheckpointError::Unwritable(e.to_string());
    let config = &state.config;
    let state = serde_json::to_string(state).map_err(|e| failed(&e))?;
    // JSON has no form for every number.
    let read: RunState = serde_json::from_str(&state).map_err(|e| failed(&e))?;
    if read.config != *config {
        return Err(failed(&"its configuration would not be read back"));
    }
    let bytes: Vec<_> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
    });
    let files = files.iter().map(|&(name, bytes)| {
        let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes);
        view.map(|view| (name, view))
    });
    let views = views.map(|view| view.map(|(name, view)| (name.as_str(), view)));
    let views: Result<Vec<_>, _> = views.chain(files).collect();
    let views = views.map_err(|e| failed(&e))?;
    // One entry only: a map's order would differ from run to run.
    let metadata = HashMap::from([("run".to_owned(), state)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| failed(&e))
}

/// Writes a file of tensors.
pub fn write(path: &Path, file: &[u8]) -> Result<(), CheckpointError> {
    Ok(write_atomic(path, file).map_err(FileError::writing(path))?)
}

/// An opened checkpoint.
struct Opened {
    state: RunState,
    tensors: HashMap<String, Vec<f32>>,
    /// Whole files.
    files: HashMap<String, Vec<u8>>,
}

fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    Ok(read_regular(path, MOST_BYTES).map_err(FileError::reading(path))?)
}

/// Opens the bytes of a checkpoint, which came from `path`.
fn open(bytes: &[u8], path: &Path) -> Result<Opened, CheckpointError> {
    let invalid = |reason: String| CheckpointError::Invalid {
        path: path.to_owned(),
        reason,
    };
    let parse = |e: safetensors::SafeTensorError| invalid(e.to_string());
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(parse)?;
    let state = metadata.metadata().as_ref().and_then(|m| m.get("run"));
    let state = state.ok_or_else(|| invalid("it holds no `run` entry".into()))?;
    let mut state: RunState = serde_json::from_str(state).map_err(|e| invalid(e.to_string()))?;
    if state.strength.is_none() {
        state.config.training.augment_target = 0.0;
    }
    let origin = path.display().to_string();
    state
        .config
        .check(&origin)
        .map_err(|e| invalid(e.to_string()))?;
    check_text("its data set's name", &state.dataset).map_err(invalid)?;
    let file = SafeTensors::deserialize(bytes).map_err(parse)?;
    let (mut tensors, mut files) = (HashMap::new(), HashMap::new());
    for (name, view) in file.iter() {
        if [ROLLBACK, ROLLBACK_BEST].contains(&name) && view.dtype() == Dtype::U8 {
            files.insert(name.to_owned(), view.data().to_vec());
            continue;
        }
        if view.dtype() != Dtype::F32 {
            return Err(invalid(format!("tensor {name} is not F32")));
        }
        let chunks = view.data().chunks_exact(4);
        let values = chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        // Programs before 0.1.0 wrote `average.*`.
        let name = match name.strip_prefix("average.") {
            Some(name) => ema_tensor(name),
            None => name.to_owned(),
        };
        tensors.insert(name, values.collect());
    }
    Ok(Opened {
        state,
        tensors,
        files,
    })
}

/// Reads the averaged generator of a checkpoint or of a `generator.safetensors`.
pub fn load_generator(path: &Path) -> Result<FloatGenerator, CheckpointError> {
    let Opened {
        state, mut tensors, ..
    } = open(&read(path)?, path)?;
    let find = |name: &str| tensors.remove(&ema_tensor(name));
    FloatGenerator::fold(state.config, state.dataset, state.step, find).map_err(|reason| {
        CheckpointError::Invalid {
            path: path.to_owned(),
            reason,
        }
    })
}

/// Reads the tensors of a checkpoint by their names, and what it says about its run.
pub fn load_tensors(path: &Path) -> Result<(RunState, HashMap<String, Vec<f32>>), CheckpointError> {
    let opened = open(&read(path)?, path)?;
    Ok((opened.state, opened.tensors))
}

/// Reads what a checkpoint says about its run.
pub fn load_state(path: &Path) -> Result<RunState, CheckpointError> {
    state_in(&read(path)?, path)
}

/// The state of the run in the bytes of a checkpoint, which belongs at `path`.
pub fn state_in(bytes: &[u8], path: &Path) -> Result<RunState, CheckpointError> {
    open(bytes, path).map(|opened| opened.state)
}

/// Rebuilds the trainer of a run's checkpoint; `best` is the least risky generator beside it.
pub fn restore<D: Backend<f32>>(
    path: &Path,
    best: Option<Vec<u8>>,
    device: D,
) -> Result<Trainer<D>, CheckpointError> {
    let bytes = read(path)?;
    let mut opened = open(&bytes, path)?;
    let rollback = match opened.files.remove(ROLLBACK) {
        Some(checkpoint) => RollbackPoint {
            checkpoint,
            best: opened.files.remove(ROLLBACK_BEST),
        },
        None => RollbackPoint {
            checkpoint: bytes,
            best,
        },
    };
    let mut trainer = rebuild(opened, path, device)?;
    trainer.rollback = Some(rollback);
    Ok(trainer)
}

/// Rebuilds the trainer of a place to go back to in the run whose checkpoint is `path`.
pub fn restore_point<D: Backend<f32>>(
    point: RollbackPoint,
    path: &Path,
    device: D,
) -> Result<Trainer<D>, CheckpointError> {
    let mut trainer = rebuild(open(&point.checkpoint, path)?, path, device)?;
    trainer.rollback = Some(point);
    Ok(trainer)
}

/// Checks that a checkpoint has as many values as its networks have weights, before memory is
/// taken for networks that are not in the file.
fn ensure_holds_networks(opened: &Opened, path: &Path) -> Result<(), CheckpointError> {
    let values = opened.tensors.values().map(Vec::len).sum::<usize>();
    let needed = opened
        .state
        .config
        .weights()
        .map_err(TrainerError::Config)?;
    if values < needed {
        return Err(CheckpointError::Invalid {
            path: path.to_owned(),
            reason: format!("its networks have {needed} weights, it holds {values} values"),
        });
    }
    Ok(())
}

fn rebuild<D: Backend<f32>>(
    opened: Opened,
    path: &Path,
    device: D,
) -> Result<Trainer<D>, CheckpointError> {
    ensure_holds_networks(&opened, path)?;
    let Opened {
        state, mut tensors, ..
    } = opened;
    let end_step = state.end_step();
    let mut trainer = Trainer::new(state.config, device)?;
    trainer.end_step = end_step;
    (trainer.step, trainer.rollbacks) = (state.step, state.rollbacks);
    trainer.data = state.data;
    trainer.anchors = state.anchors;
    trainer.strength = state.strength.unwrap_or(Strength::always());
    trainer.budget = state.budget;
    trainer.extended_at = state.extended_at;
    trainer.discriminator_moments.updates = state.step;
    trainer.generator_moments.updates = state.generator_updates.unwrap_or(state.step);
    let mut take = |name: String, into: &mut [f32]| match tensors.remove(&name) {
        Some(values) if values.len() == into.len() => {
            into.copy_from_slice(&values);
            Ok(())
        }
        _ => Err(CheckpointError::Invalid {
            path: path.to_owned(),
            reason: format!("tensor {name} is missing or has the wrong size"),
        }),
    };
    let ema_names = ema_tensors(&mut trainer);
    for ((name, ..), ema) in ema_names.into_iter().zip(&mut trainer.ema) {
        take(name, ema)?;
    }
    for (name, stats) in trainer.generator.running_mut() {
        take(format!("generator.{name}"), stats)?;
    }
    let networks = [
        (
            "generator",
            &mut trainer.generator,
            &mut trainer.generator_moments,
        ),
        (
            "discriminator",
            &mut trainer.discriminator,
            &mut trainer.discriminator_moments,
        ),
    ];
    for (network, net, moments) in networks {
        let names: Vec<String> = net.params().into_iter().map(|(name, _)| name).collect();
        for (i, (name, param)) in names.into_iter().zip(net.params_mut()).enumerate() {
            let mut value = param.trained().to_vec();
            take(format!("{network}.{name}"), &mut value)?;
            let mut vector = param.singular_vector().map(<[f32]>::to_vec);
            if let Some(vector) = &mut vector {
                take(format!("spectral.{network}.{name}"), vector)?;
            }
            param.restore(value, vector);
            take(format!("adam1.{network}.{name}"), &mut moments.first[i])?;
            take(format!("adam2.{network}.{name}"), &mut moments.second[i])?;
        }
    }
    Ok(trainer)
}
