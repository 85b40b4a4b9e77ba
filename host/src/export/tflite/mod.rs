//! TensorFlow Lite: int8 operators with our scales, which give the same bytes.
//!
//! Source of the file format: TensorFlow's `schema.fbs`, version 3; of the arithmetic: its
//! reference kernels. Batch 1; input `input` `[1, latent + classes]` as
//! [`Model::fill_input`] fills it, output `picture` `[1, h, w, c]`.
//!
//! | layer | operators |
//! |---|---|
//! | dense | `RESHAPE`, `CONV_2D` of one pixel, `RESHAPE` |
//! | transposed convolution | `TRANSPOSE_CONV` (`SAME` where its crops are those, else `VALID` and `SLICE`) |
//! | ReLU | fused |
//! | tanh, sigmoid, leaky ReLU | `TANH`, `LOGISTIC`, `LEAKY_RELU` |
//!
//! A dense layer is no `FULLY_CONNECTED`: LiteRT's reference kernel of that has come to
//! requantize in floating point (seen in 2.1.0 and 2.3.0).

mod legalize;
mod schema;

use gan_core::types::Window;
use gan_core::{Activation as CoreActivation, Model, Quant, Shape};

use self::schema::{CONV, Options, RESHAPE, SLICE, TRANSPOSE_CONV, Tensor, Writer};
use super::graph::{Graph, GraphLayer, GraphOp, INPUT_QUANT, Int8Parameters};
use super::{ExportError, Exported, Format, Rewritten};
use crate::nn::activation::TfliteActivation;

pub use legalize::legalize;

/// TensorFlow Lite, int8.
pub const FORMAT: Format = Format {
    name: "tflite",
    about: "TensorFlow Lite, int8; where it lacks an operator of the model, the nearest one is \
            used, and OUT.gan is the model that draws the same bytes",
    writer: super::Writer::Model(export),
};

/// The file of a model, and the model that it computes.
fn export(model: &Model<'_>) -> Result<Exported, ExportError> {
    let gan = legalize(model)?;
    let legal = Model::parse(&gan)?;
    Ok(Exported {
        bytes: write(&legal)?,
        rewritten: (legal.crc32() != model.crc32()).then(|| Rewritten {
            changes: changes(model, &legal),
            gan: gan.clone(),
        }),
    })
}

/// The differences of a legalized model from the one that it was made of.
fn changes(model: &Model<'_>, legal: &Model<'_>) -> Vec<&'static str> {
    let multipliers = |model: &Model<'_>| -> Vec<_> {
        let layers = model.layers().iter();
        layers.flat_map(|layer| layer.channels(0)).collect()
    };
    let mut layers = model.layers().iter();
    let is_wide = layers.any(|layer| matches!(layer.activation, CoreActivation::Lut16(_)));
    [
        (
            is_wide,
            "8 bits instead of 16 before tanh, sigmoid or leaky ReLU",
        ),
        (
            !is_wide && multipliers(model) != multipliers(legal),
            "multipliers that are quotients of f32 scales",
        ),
        (model.critic().is_some(), "no critic"),
        (model.vetted_count() > 0, "no vetted seeds"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect()
}

type Layer<'a> = GraphLayer<Int8Parameters<'a>>;

/// The file of a `model` that [`legalize`] made; the image of an input is the one that gan-core
/// draws, bit by bit.
pub fn write(model: &Model<'_>) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of_model(model)?;
    let description = format!(
        "{}, trained on {}, {} steps, seed {}; CRC-32 of its .gan file {:08x}",
        graph.name,
        graph.dataset,
        graph.steps,
        graph.seed,
        model.crc32()
    );
    let mut writer = Writer::default();
    let input = writer.activations(&Tensor {
        name: "input",
        shape: &[1, graph.input_len()],
        quant: INPUT_QUANT,
    });
    let mut x = input;
    let last = graph.layers.len() - 1;
    for layer in &graph.layers {
        let name = match layer.index == last {
            true => "picture".to_owned(),
            false => format!("layer{}", layer.index),
        };
        x = write_layer(&mut writer, layer, &name, x)?;
    }
    Ok(writer.finish(&description, input, x))
}

fn write_layer(
    writer: &mut Writer<'_>,
    layer: &Layer<'_>,
    name: &str,
    x: i32,
) -> Result<i32, ExportError> {
    let activation = layer.function()?;
    let form = activation.tflite();
    let linear_name = match form {
        TfliteActivation::Fused => name.to_owned(),
        TfliteActivation::Operator(_) => format!("{name}.sum"),
    };
    let linear = match layer.op {
        GraphOp::Dense => dense(writer, layer, &linear_name, x),
        GraphOp::ConvTranspose(window) => conv_transpose(writer, layer, window, &linear_name, x),
    };
    let TfliteActivation::Operator(operator) = form else {
        return Ok(linear);
    };
    let output = writer.activations(&Tensor {
        name,
        shape: &nhwc(layer.output),
        quant: layer.parameters.output,
    });
    let options = activation.negative_slope().map(|slope| Options::LeakyRelu {
        alpha: slope as f32,
    });
    writer.operator(operator, &[linear], output, options);
    Ok(output)
}

/// Whether the layer's clamp is a ReLU that changes anything.
fn is_relu(layer: &Layer<'_>) -> bool {
    matches!(layer.parameters.activation, CoreActivation::Clamp { min, .. } if min > -128)
}

/// A convolution of the one pixel that the inputs are.
fn dense(writer: &mut Writer<'_>, layer: &Layer<'_>, name: &str, x: i32) -> i32 {
    let (inputs, outputs) = (layer.input.len(), layer.output.len());
    let pixel = [1, 1, 1, inputs];
    let x = reshape(
        writer,
        &format!("{name}.pixel"),
        &pixel,
        layer.parameters.input,
        x,
    );
    let (weights, bias) = parameters(writer, layer, name, &[outputs, 1, 1, inputs]);
    let flat = writer.activations(&Tensor {
        name: &format!("{name}.flat"),
        shape: &[1, 1, 1, outputs],
        quant: layer.parameters.pre_activation,
    });
    let options = Options::Conv {
        relu: is_relu(layer),
    };
    writer.operator(CONV, &[x, weights, bias], flat, Some(options));
    reshape(
        writer,
        name,
        &nhwc(layer.output),
        layer.parameters.pre_activation,
        flat,
    )
}

fn reshape(writer: &mut Writer<'_>, name: &str, shape: &[usize; 4], quant: Quant, x: i32) -> i32 {
    let reshaped = writer.activations(&Tensor { name, shape, quant });
    let to = writer.integers(&format!("{name}.shape"), shape);
    writer.operator(RESHAPE, &[x, to], reshaped, None);
    reshaped
}

fn conv_transpose(
    writer: &mut Writer<'_>,
    layer: &Layer<'_>,
    window: Window,
    name: &str,
    x: i32,
) -> i32 {
    let (input, output, k) = (layer.input, layer.output, window.kernel);
    let (weights, bias) = parameters(writer, layer, name, &[output.c, k, k, input.c]);
    let same = is_same(window, output);
    let full = |n: usize| (n - 1) * window.stride + k;
    let drawn = if same {
        output
    } else {
        Shape {
            h: full(input.h),
            w: full(input.w),
            c: output.c,
        }
    };
    let cropped = drawn != output;
    let full_name = format!("{name}.full");
    let map = writer.activations(&Tensor {
        name: if cropped { &full_name } else { name },
        shape: &nhwc(drawn),
        quant: layer.parameters.pre_activation,
    });
    let shape = writer.integers(&format!("{name}.shape"), &nhwc(drawn));
    let options = Options::TransposeConv {
        same,
        stride: window.stride,
        relu: is_relu(layer),
    };
    let inputs = [shape, weights, x, bias];
    writer.operator(TRANSPOSE_CONV, &inputs, map, Some(options));
    if !cropped {
        return map;
    }
    let sliced = writer.activations(&Tensor {
        name,
        shape: &nhwc(output),
        quant: layer.parameters.pre_activation,
    });
    let begin = [0, window.crop_top, window.crop_left, 0];
    let begin = writer.integers(&format!("{name}.begin"), &begin);
    let size = writer.integers(&format!("{name}.size"), &nhwc(output));
    writer.operator(SLICE, &[map, begin, size], sliced, None);
    sliced
}

/// Whether `SAME` crops what the window does: of `pad` rows in all, half, rounded down, above.
fn is_same(window: Window, output: Shape) -> bool {
    let side = |len: usize, before: usize, after: usize| {
        let full = (len.div_ceil(window.stride) - 1) * window.stride + window.kernel;
        let pad = full.saturating_sub(len);
        before == pad / 2 && after == pad - pad / 2
    };
    side(output.h, window.crop_top, window.crop_bottom)
        && side(output.w, window.crop_left, window.crop_right)
}

/// Weights and bias of a layer.
fn parameters(
    writer: &mut Writer<'_>,
    layer: &Layer<'_>,
    name: &str,
    shape: &[usize],
) -> (i32, i32) {
    let of = &layer.parameters;
    let (input, sum) = (of.input.scale, of.pre_activation.scale);
    let scales = of.multipliers.iter();
    let scales: Vec<f32> = scales
        .map(|&m| legalize::filter_scale(m, input, sum))
        .collect();
    let bias_scales: Vec<f32> = scales.iter().map(|scale| input * scale).collect();
    (
        writer.weights(&format!("{name}.weights"), shape, &of.weights, &scales),
        writer.bias(&format!("{name}.bias"), &of.bias, &bias_scales),
    )
}

const fn nhwc(shape: Shape) -> [usize; 4] {
    [1, shape.h, shape.w, shape.c]
}
