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
use gan_core::{Activation as CoreActivation, Layer, Model, Op, Quant, Shape};

use self::schema::{Builtin, Options, Tensor, Writer};
use super::function::function;
use crate::nn::Activation;

pub use legalize::legalize;

/// What of a model TensorFlow Lite has no operator for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TfliteError {
    /// A clamp that is neither none nor ReLU.
    #[error(
        "layer {layer} clamps to {min}..={max}, and its zero point is {zero_point}: TensorFlow \
         Lite has none (-128..=127) and ReLU (from the zero point to 127)"
    )]
    Clamp {
        /// Counted from 0.
        layer: usize,
        /// Smallest output.
        min: i8,
        /// Largest output.
        max: i8,
        /// Of the output.
        zero_point: i8,
    },
    /// A table of no function that is known here.
    #[error("layer {layer} has a table that is none of tanh, sigmoid and leaky ReLU")]
    Table {
        /// Counted from 0.
        layer: usize,
    },
    /// The rewritten model would be refused.
    #[error("the rewritten model would be refused: {0}")]
    Refused(#[from] gan_core::ModelError),
}

/// The file of the `model` that [`legalize`] has made of `whole`; the picture of an input is the one
/// that gan-core draws, bit by bit.
pub fn write(model: &Model<'_>, whole: &Model<'_>) -> Result<Vec<u8>, TfliteError> {
    let description = format!(
        "{}, trained on {}, {} steps, seed {}; CRC-32 of its .gan file {:08x}",
        model.name(),
        model.dataset(),
        model.steps(),
        model.seed(),
        model.crc32()
    );
    let mut writer = Writer::default();
    let latent = Tensor {
        name: "input",
        shape: &[1, model.input_len()],
        quant: model.layers()[0].input,
    };
    let input = writer.activations(&latent);
    let mut x = input;
    let last = model.layers().len() - 1;
    for (i, (layer, of)) in model.layers().iter().zip(whole.layers()).enumerate() {
        let name = if i == last {
            "picture".to_owned()
        } else {
            format!("layer{i}")
        };
        x = write_layer(&mut writer, layer, activation(i, layer, of)?, &name, x);
    }
    Ok(writer.finish(&description, input, x))
}

fn write_layer(
    writer: &mut Writer<'_>,
    layer: &Layer<'_>,
    act: Option<(Builtin, Option<Options>)>,
    name: &str,
    x: i32,
) -> i32 {
    let sum_name = format!("{name}.sum");
    let sum_name = if act.is_some() { &sum_name } else { name };
    let sum = match layer.op {
        Op::Dense => dense(writer, layer, sum_name, x),
        Op::ConvTranspose(window) => conv_transpose(writer, layer, window, sum_name, x),
    };
    let Some((op, options)) = act else {
        return sum;
    };
    let output = writer.activations(&Tensor {
        name,
        shape: &nhwc(layer.output_shape),
        quant: layer.output,
    });
    writer.operator(op, &[sum], output, options);
    output
}

/// The operator of its own that a layer's activation takes. The table of `of`, from which the
/// layer was made, tells the function: its own may be of fewer bits, which leave slopes open.
fn activation(
    i: usize,
    layer: &Layer<'_>,
    of: &Layer<'_>,
) -> Result<Option<(Builtin, Option<Options>)>, TfliteError> {
    if let CoreActivation::Clamp { min, max } = layer.activation {
        let zero_point = layer.output.zero_point;
        return match (min, max) {
            (-128, 127) => Ok(None),
            (min, 127) if min == zero_point => Ok(None),
            _ => Err(TfliteError::Clamp {
                layer: i,
                min,
                max,
                zero_point,
            }),
        };
    }
    match function(of) {
        Some(Activation::Tanh) => Ok(Some((Builtin::Tanh, None))),
        Some(Activation::Sigmoid) => Ok(Some((Builtin::Logistic, None))),
        Some(Activation::LeakyRelu(slope)) => {
            let options = Options::LeakyRelu {
                alpha: slope as f32,
            };
            Ok(Some((Builtin::LeakyRelu, Some(options))))
        }
        _ => Err(TfliteError::Table { layer: i }),
    }
}

/// Whether the layer's clamp is a ReLU that changes anything.
fn is_relu(layer: &Layer<'_>) -> bool {
    matches!(layer.activation, CoreActivation::Clamp { min, .. } if min > -128)
}

/// A convolution of the one pixel that the inputs are.
fn dense(writer: &mut Writer<'_>, layer: &Layer<'_>, name: &str, x: i32) -> i32 {
    let (inputs, outputs) = (layer.input_shape.len(), layer.output_shape.len());
    let pixel = [1, 1, 1, inputs];
    let x = reshape(writer, &format!("{name}.pixel"), &pixel, layer.input, x);
    let (weights, bias) = parameters(writer, layer, name, &[outputs, 1, 1, inputs]);
    let flat = writer.activations(&Tensor {
        name: &format!("{name}.flat"),
        shape: &[1, 1, 1, outputs],
        quant: layer.pre_activation,
    });
    let options = Options::Conv {
        relu: is_relu(layer),
    };
    writer.operator(Builtin::Conv, &[x, weights, bias], flat, Some(options));
    reshape(
        writer,
        name,
        &nhwc(layer.output_shape),
        layer.pre_activation,
        flat,
    )
}

fn reshape(writer: &mut Writer<'_>, name: &str, shape: &[usize; 4], quant: Quant, x: i32) -> i32 {
    let reshaped = writer.activations(&Tensor { name, shape, quant });
    let to = writer.integers(&format!("{name}.shape"), shape);
    writer.operator(Builtin::Reshape, &[x, to], reshaped, None);
    reshaped
}

fn conv_transpose(
    writer: &mut Writer<'_>,
    layer: &Layer<'_>,
    window: Window,
    name: &str,
    x: i32,
) -> i32 {
    let (input, output, k) = (layer.input_shape, layer.output_shape, window.kernel);
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
        quant: layer.pre_activation,
    });
    let shape = writer.integers(&format!("{name}.shape"), &nhwc(drawn));
    let options = Options::TransposeConv {
        same,
        stride: window.stride,
        relu: is_relu(layer),
    };
    let inputs = [shape, weights, x, bias];
    writer.operator(Builtin::TransposeConv, &inputs, map, Some(options));
    if !cropped {
        return map;
    }
    let sliced = writer.activations(&Tensor {
        name,
        shape: &nhwc(output),
        quant: layer.pre_activation,
    });
    let begin = [0, window.crop_top, window.crop_left, 0];
    let begin = writer.integers(&format!("{name}.begin"), &begin);
    let size = writer.integers(&format!("{name}.size"), &nhwc(output));
    writer.operator(Builtin::Slice, &[map, begin, size], sliced, None);
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
    let (input, sum) = (layer.input.scale, layer.pre_activation.scale);
    let (bias, scales): (Vec<i32>, Vec<f32>) = layer
        .channels(0)
        .map(|(bias, m)| (bias, legalize::filter_scale(m, input, sum)))
        .unzip();
    let weights: Vec<i8> = layer.weights().collect();
    let bias_scales: Vec<f32> = scales.iter().map(|scale| input * scale).collect();
    (
        writer.weights(&format!("{name}.weights"), shape, &weights, &scales),
        writer.bias(&format!("{name}.bias"), &bias, &bias_scales),
    )
}

const fn nhwc(shape: Shape) -> [usize; 4] {
    [1, shape.h, shape.w, shape.c]
}
