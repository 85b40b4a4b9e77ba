//! A generator as all export formats see it: layers with shapes, named activations and weights.
//!
//! Maps are NHWC and weights `[c_out][kernel][kernel][c_in]` (dense: `[n_out][n_in]`), as in
//! gan-core, C and TensorFlow Lite. ONNX and PyTorch have the channels first:
//! [`GraphLayer::channels_first_weights`] and its neighbours give their order.

use gan_core::latent::LATENT_SCALE;
use gan_core::types::Window;
use gan_core::{
    Activation as CoreActivation, Layer, Model, ModelError, Multiplier, Op, Quant, Shape,
};

use crate::generator::{FloatGenerator, FloatLayer};
use crate::nn::Activation;
use crate::quant::{map_shape, rows_of, runtime_op};

/// Why a generator cannot be exported. Layers are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A weight or a bias is infinite or not a number.
    #[error("layer {layer} has values that are not numbers: the training has diverged")]
    NotANumber {
        /// The layer's number.
        layer: usize,
    },
    /// No format has the operator; `GraphOp` lists those that all formats have.
    #[error("layer {layer}, {kind}, has no form in other runtimes")]
    Operator {
        /// The layer's number.
        layer: usize,
        /// The layer's operator.
        kind: &'static str,
    },
    /// A multiplier has no scale in `f32`.
    #[error("layer {layer}, {kind}, has a multiplier that `f32` cannot hold")]
    Scale {
        /// The layer's number.
        layer: usize,
        /// The layer's operator.
        kind: &'static str,
    },
    /// A clamp that is neither ReLU nor the whole range.
    #[error(
        "layer {layer}, {kind}, clamps to {min}..={max}; the format has {zero_point}..=127 (ReLU) \
         and -128..=127 (no activation)"
    )]
    Clamp {
        /// The layer's number.
        layer: usize,
        /// The layer's operator.
        kind: &'static str,
        /// Smallest output.
        min: i8,
        /// Largest output.
        max: i8,
        /// Zero point of the output.
        zero_point: i8,
    },
    /// A table whose function the file does not name.
    #[error(
        "layer {layer}, {kind}, has a table, and the file does not name its function; files of \
         version 3 name none: `gan quantize RUN` writes the model anew"
    )]
    UnnamedActivation {
        /// The layer's number.
        layer: usize,
        /// The layer's operator.
        kind: &'static str,
    },
    /// The model that a format can express would be refused by gan-core.
    #[error("the rewritten model would be refused: {0}")]
    Refused(#[from] ModelError),
    /// A file of weights cannot be written.
    #[error("the weights cannot be written: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
}

/// A generator with parameters of type `P`.
pub struct Graph<P> {
    /// The model's name.
    pub name: String,
    /// Name of the data that it was trained on.
    pub dataset: String,
    /// Steps that it was trained for.
    pub steps: u64,
    /// Seed of its training.
    pub seed: u64,
    /// One for each class.
    pub labels: Vec<String>,
    /// Values of the latent, which is followed by the class, one-hot.
    pub latent_len: usize,
    /// First to last; a generator has at least one.
    pub layers: Vec<GraphLayer<P>>,
}

/// An operator that every format can write.
///
/// An operator of gan-core is exported once it has a variant here; the compiler then asks each
/// format for its form. Until then [`Graph`] refuses it with [`ExportError::Operator`].
#[derive(Clone, Copy)]
pub enum GraphOp {
    /// A dense layer, see [`Op::Dense`].
    Dense,
    /// A transposed convolution, see [`Op::ConvTranspose`].
    ConvTranspose(Window),
}

impl GraphOp {
    /// The operator of a layer, counted from 0. *Errors*: one that is not exported.
    fn of(layer: usize, op: Op) -> Result<Self, ExportError> {
        match op {
            Op::Dense => Ok(Self::Dense),
            Op::ConvTranspose(window) => Ok(Self::ConvTranspose(window)),
            #[expect(
                unreachable_patterns,
                reason = "all operators of gan-core are exported"
            )]
            _ => Err(ExportError::Operator {
                layer,
                kind: op.name(),
            }),
        }
    }
}

/// A layer: linear part, then an activation.
pub struct GraphLayer<P> {
    /// The layer's number, counted from 0.
    pub index: usize,
    /// The linear part.
    pub op: GraphOp,
    /// Name of the linear part, for errors.
    pub kind: &'static str,
    /// Shape of its input.
    pub input: Shape,
    /// Shape of its output.
    pub output: Shape,
    /// The function behind the linear part; `None` where a `.gan` file does not name it.
    pub activation: Option<Activation>,
    /// Weights and what belongs to them.
    pub parameters: P,
}

/// Parameters of a layer in floats.
pub struct FloatParameters {
    /// The weights, in gan-core's order.
    pub weights: Vec<f32>,
    /// One for each output channel (dense: value).
    pub bias: Vec<f32>,
}

/// Parameters of a layer in integers.
pub struct Int8Parameters<'a> {
    /// The weights, in gan-core's order.
    pub weights: Vec<i8>,
    /// One for each output channel (dense: value), in steps of its products.
    pub bias: Vec<i32>,
    /// One for each output channel (dense: value).
    pub multipliers: Vec<Multiplier>,
    /// Scale and zero point of the input.
    pub input: Quant,
    /// Scale and zero point of the values before the activation.
    pub pre_activation: Quant,
    /// Scale and zero point of the output.
    pub output: Quant,
    /// The activation as the runtime computes it.
    pub activation: CoreActivation<'a>,
}

impl Graph<FloatParameters> {
    /// The graph of a float generator. Its input has the latent as real numbers and 1 in the
    /// class's place. *Errors*: a value that is not a number.
    pub fn of_generator(generator: &FloatGenerator) -> Result<Self, ExportError> {
        let config = &generator.config;
        let mut input = Shape {
            h: 1,
            w: 1,
            c: config.input_len(),
        };
        let mut layers = Vec::new();
        for (index, layer) in generator.layers.iter().enumerate() {
            let mut values = layer.weight.iter().chain(&layer.bias);
            if !values.all(|v| v.is_finite()) {
                return Err(ExportError::NotANumber { layer: index });
            }
            let map = map_shape(config.generator.dense_map(index));
            let (op, output) = runtime_op(layer.op, |_| map);
            layers.push(GraphLayer {
                index,
                op: GraphOp::of(index, op)?,
                kind: op.name(),
                input,
                output,
                activation: Some(layer.activation),
                parameters: FloatParameters::of(layer),
            });
            input = output;
        }
        Ok(Self {
            name: config.name.clone(),
            dataset: generator.dataset.clone(),
            steps: generator.step,
            seed: config.training.seed,
            labels: config.data.class_names.clone(),
            latent_len: config.generator.latent,
            layers,
        })
    }
}

impl FloatParameters {
    fn of(layer: &FloatLayer) -> Self {
        // Classes are ones, as in training: no input has a unit of its own.
        let (n, places) = rows_of(layer.op, usize::MAX);
        let weights = (0..n).flat_map(places).map(|(at, _)| layer.weight[at]);
        Self {
            weights: weights.collect(),
            bias: layer.bias.iter().copied().cycle().take(n).collect(),
        }
    }
}

impl<'a> Graph<Int8Parameters<'a>> {
    /// The graph of an int8 model. Its input is the one that [`Model::fill_input`] writes.
    /// *Errors*: an operator that is not exported.
    pub fn of_model(model: &Model<'a>) -> Result<Self, ExportError> {
        let layers = model.layers().iter().enumerate();
        Ok(Self {
            name: model.name().to_owned(),
            dataset: model.dataset().to_owned(),
            steps: model.steps().into(),
            seed: model.seed(),
            labels: model.labels().map(str::to_owned).collect(),
            latent_len: model.latent_len(),
            layers: layers
                .map(|(index, layer)| GraphLayer::of(index, layer))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> GraphLayer<Int8Parameters<'a>> {
    fn of(index: usize, layer: &Layer<'a>) -> Result<Self, ExportError> {
        let (bias, multipliers) = layer.channels(0).unzip();
        Ok(Self {
            index,
            op: GraphOp::of(index, layer.op)?,
            kind: layer.op.name(),
            input: layer.input_shape,
            output: layer.output_shape,
            activation: named_activation(layer),
            parameters: Int8Parameters {
                weights: layer.weights().collect(),
                bias,
                multipliers,
                input: layer.input,
                pre_activation: layer.pre_activation,
                output: layer.output,
                activation: layer.activation,
            },
        })
    }

    /// The function behind the linear part, for formats that have operators instead of tables.
    /// *Errors*: a clamp or a table of no known function.
    pub fn function(&self) -> Result<Activation, ExportError> {
        let (layer, kind) = (self.index, self.kind);
        self.activation.ok_or(match self.parameters.activation {
            CoreActivation::Clamp { min, max } => ExportError::Clamp {
                layer,
                kind,
                min,
                max,
                zero_point: self.parameters.output.zero_point,
            },
            CoreActivation::Lut8(_) | CoreActivation::Lut16(_) => {
                ExportError::UnnamedActivation { layer, kind }
            }
        })
    }
}

/// The function of a layer: the one that the file names, or the one that a clamp amounts to.
fn named_activation(layer: &Layer<'_>) -> Option<Activation> {
    let named = Activation::from_gan(layer.function);
    named.or(match layer.activation {
        CoreActivation::Clamp { min, max: i8::MAX } if min == layer.output.zero_point => {
            Some(Activation::Relu)
        }
        CoreActivation::Clamp {
            min: i8::MIN,
            max: i8::MAX,
        } => Some(Activation::Linear),
        CoreActivation::Clamp { .. } | CoreActivation::Lut8(_) | CoreActivation::Lut16(_) => None,
    })
}

/// The real numbers of an int8 model's input.
pub const INPUT_QUANT: Quant = Quant {
    scale: LATENT_SCALE,
    zero_point: 0,
};

impl<P> Graph<P> {
    /// Values of the input: the latent, then one for each class.
    pub fn input_len(&self) -> usize {
        self.latent_len + self.labels.len()
    }
}

impl<P> GraphLayer<P> {
    /// Weights in the order of ONNX and PyTorch: `[n_out, n_in]`, where both sides are
    /// `[c, h, w]`, or `[c_in, c_out, kernel, kernel]`.
    pub fn channels_first_weights<T: Copy>(&self, weights: &[T]) -> Vec<T> {
        let at: Vec<usize> = match self.op {
            GraphOp::Dense => {
                let row = |o| channels_first(self.input).map(move |i| o * self.input.len() + i);
                channels_first(self.output).flat_map(row).collect()
            }
            GraphOp::ConvTranspose(window) => {
                let (taps, c_in) = (window.kernel * window.kernel, self.input.c);
                let tap = move |i, o| (0..taps).map(move |tap| (o * taps + tap) * c_in + i);
                let outputs = |i| (0..self.output.c).flat_map(move |o| tap(i, o));
                (0..c_in).flat_map(outputs).collect()
            }
        };
        at.into_iter().map(|at| weights[at]).collect()
    }

    /// Dimensions of [`channels_first_weights`](Self::channels_first_weights).
    pub fn channels_first_dims(&self) -> Vec<usize> {
        match self.op {
            GraphOp::Dense => vec![self.output.len(), self.input.len()],
            GraphOp::ConvTranspose(v) => vec![self.input.c, self.output.c, v.kernel, v.kernel],
        }
    }

    /// The dimension of the outputs in [`channels_first_dims`](Self::channels_first_dims).
    pub fn channels_first_output_axis(&self) -> i64 {
        match self.op {
            GraphOp::Dense => 0,
            GraphOp::ConvTranspose(_) => 1,
        }
    }

    /// One value for each output channel (dense: value), in the order of ONNX and PyTorch.
    pub fn channels_first_values<T: Copy>(&self, values: &[T]) -> Vec<T> {
        match self.op {
            GraphOp::Dense => channels_first(self.output).map(|at| values[at]).collect(),
            GraphOp::ConvTranspose(_) => values.to_vec(),
        }
    }
}

/// For each value of a map `[c, h, w]` its place in `[h, w, c]`.
fn channels_first(shape: Shape) -> impl Iterator<Item = usize> {
    let plane = move |c| (0..shape.h * shape.w).map(move |pixel| pixel * shape.c + c);
    (0..shape.c).flat_map(plane)
}
