//! PyTorch generators: from a safetensors file in PyTorch's names and layouts to a run's
//! float generator.
//!
//! [`net`] reads what the network is, [`weights`] the file, [`names`] finds which module of it
//! is which layer, [`convert`] takes the layers, in our [`layout`]. Nothing is used before all
//! of it fits.

pub mod convert;
pub mod kind;
pub mod layout;
pub mod names;
pub mod net;
pub mod reparam;
pub mod select;
pub mod unsupported;
pub mod weights;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::convert::{Converter, Layer};
use self::net::{Net, Section};
use crate::config::{Config, ConfigError};
use crate::files::{MOST_BYTES, read_regular};
use crate::generator::FloatGenerator;
use crate::nn::Activation;
use crate::nn::network::GeneratorBlock;
use crate::nn::op::Op;
use crate::train::augment::Strength;
use crate::train::checkpoint::{Named, RunState, ema_tensor};
use crate::train::loss::Anchors;

/// Why a generator was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The network's description is refused.
    #[error(transparent)]
    Net(#[from] ConfigError),
    /// The weights cannot be read.
    #[error("cannot read the weights {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Not safetensors.
    #[error("{path} is not a safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The weights are not those of the network.
    #[error(
        "{weights} does not fit {net}:\n  {}\nmend [generator] in {net}, or say in its [import] \
         which modules the layers are: layers = [\"main.0\", ...], norms = [\"main.1\", ..., \"\"]",
        problems.join("\n  ")
    )]
    Misfit {
        /// The file of weights.
        weights: PathBuf,
        /// The network's file.
        net: PathBuf,
        /// One line each.
        problems: Vec<String>,
    },
}

/// A generator in our names and layouts.
pub struct Imported {
    /// The metadata of a run's file.
    pub state: RunState,
    /// Tensors as in a run's `generator.safetensors`.
    pub tensors: Vec<Named>,
    /// Lines that say which module each layer is, and what was changed.
    pub notes: Vec<String>,
}

/// Name of the data, which a file of weights does not tell.
const DATASET: &str = "unknown pictures, imported from PyTorch";

/// Reads the network `net` and its `weights`; an error lists everything that does not fit.
pub fn import(net: &Path, weights: &Path) -> Result<Imported, ImportError> {
    let Net {
        mut config,
        mut section,
        halved,
    } = Net::load(net)?;
    let origin = net.display().to_string();
    let shape = |message| ConfigError::Shape { origin, message };
    let blocks = config.generator_blocks().map_err(shape.clone())?;
    let (mut layers, unused) = take_layers(weights, net, &config, &mut section, &blocks)?;
    let mut notes: Vec<String> = layers.iter().map(|layer| layer.note.clone()).collect();
    if !unused.is_empty() {
        notes.push(format!("not used: {}", unused.join(", ")));
    }
    notes.extend(slopes_note(&blocks));
    let at = config.generator.hidden.len();
    let (first, values) = (
        &mut config.generator.dense,
        Op::from(blocks[at].op).output_len(),
    );
    if !first.per_value && layers[at].has_len(values) && values > first.channels {
        notes.push(
            "dense: has a bias or BatchNorm for each value, so per_value = true was set".into(),
        );
        first.per_value = true;
    }
    if first.per_value {
        layers[at].spread(values);
    }
    if let (true, Some(last)) = (halved, layers.last_mut()) {
        notes.push(
            "last layer: sigmoid draws from 0 to 1; as tanh with half the weights it draws the \
             same from -1 to 1"
                .into(),
        );
        last.halve();
    }
    let blocks = config.generator_blocks().map_err(shape.clone())?;
    carry_phases(&mut config, &blocks, &mut layers, &mut notes);
    let blocks = config.generator_blocks().map_err(shape)?;
    let layers = layers.into_iter().zip(&blocks);
    let tensors = layers.flat_map(|(layer, spec)| layer.named(spec)).collect();
    Ok(Imported {
        state: RunState {
            config,
            dataset: DATASET.into(),
            step: 0,
            rollbacks: 0,
            generator_updates: None,
            budget: None,
            end_step: None,
            extended_at: 0,
            anchors: Anchors::default(),
            strength: Some(Strength::always()),
            data: None,
        },
        tensors,
        notes,
    })
}

/// The layers of a file of weights, and the names of tensors that none of them uses.
fn take_layers(
    weights: &Path,
    net: &Path,
    config: &Config,
    section: &mut Section,
    blocks: &[GeneratorBlock],
) -> Result<(Vec<Layer>, Vec<String>), ImportError> {
    let path = || weights.to_owned();
    let bytes = read_regular(weights, MOST_BYTES).map_err(|source| ImportError::Unreadable {
        path: path(),
        source,
    })?;
    let read = weights::read(&bytes);
    let read = read.map_err(|reason| ImportError::Format {
        path: path(),
        reason,
    })?;
    let (mut problems, classes) = (Vec::new(), config.data.class_names.len());
    let select::Selected {
        mut tensors,
        mut unused,
    } = select::select(read, section, &mut problems);
    reparam::fold(&mut tensors, &mut problems);
    unsupported::refuse(&mut tensors, section, classes, &mut problems);
    let modules = names::assign(&tensors, blocks, section, &mut problems);
    let mut converter = Converter::new(&tensors, section, classes, problems);
    let layers = blocks.iter().zip(&modules).enumerate();
    let layers = layers.map(|(i, (spec, modules))| {
        let map = config.generator.dense_map(i);
        converter.layer(i, spec, &map, modules)
    });
    let layers: Vec<_> = layers.collect();
    let (problems, left) = converter.finish();
    unused.extend(left);
    if !problems.is_empty() {
        return Err(ImportError::Misfit {
            weights: path(),
            net: net.to_owned(),
            problems,
        });
    }
    Ok((layers.into_iter().flatten().collect(), unused))
}

/// The slopes of the layers with leaky `ReLU`, which a file does not tell.
fn slopes_note(blocks: &[GeneratorBlock]) -> Option<String> {
    let slopes = blocks.iter().filter_map(|spec| match spec.activation {
        Activation::LeakyRelu(slope) => Some(format!("{slope} ({})", spec.name)),
        _ => None,
    });
    let slopes: Vec<String> = slopes.collect();
    (!slopes.is_empty()).then(|| {
        format!(
            "leaky_relu: of slope {}; PyTorch's own is 0.01 where none is given",
            slopes.join(", ")
        )
    })
}

/// Brings the biases that differ before a `PixelShuffle` to where they belong: the layer before
/// writes one more channel, which is always the same.
fn carry_phases(
    config: &mut Config,
    blocks: &[GeneratorBlock],
    layers: &mut [Layer],
    notes: &mut Vec<String>,
) {
    let before = blocks.len() - config.generator.conv_transpose.len();
    for (i, spec) in blocks.iter().enumerate().skip(before) {
        config.generator.conv_transpose[i - before].norm = layers[i].is_normed();
        let Some(offsets) = layers[i].take_phases() else {
            continue;
        };
        let from = &blocks[i - 1];
        let value = from.activation.apply(1f32);
        let channels = match i - before {
            0 => &mut config.generator.dense.channels,
            i => &mut config.generator.conv_transpose[i - 1].channels,
        };
        layers[i].add_input(&offsets, value);
        layers[i - 1].add_constant(*channels, Op::from(from.op).c_out());
        *channels += 1;
        notes.push(format!(
            "{}: one more channel, always {value}, with which {} adds what its biases differ by \
             before PixelShuffle",
            from.name, spec.name
        ));
    }
}

impl Imported {
    /// The generator, as it would be loaded from a file.
    pub fn generator(&self) -> Result<FloatGenerator, String> {
        let tensors = self.tensors.iter();
        let tensors: HashMap<&str, &Vec<f32>> = tensors
            .map(|(name, _, values)| (name.as_str(), values))
            .collect();
        let find = |name: &str| {
            let values = tensors.get(ema_tensor(name).as_str())?;
            Some((*values).clone())
        };
        let RunState {
            config,
            dataset,
            step,
            ..
        } = self.state.clone();
        FloatGenerator::fold(config, dataset, step, find)
    }
}
