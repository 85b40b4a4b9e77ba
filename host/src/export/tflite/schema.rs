//! The parts of TensorFlow's `schema.fbs` that a generator takes, written field by field.

use flatbuffers::{
    FlatBufferBuilder, Push, PushAlignment, TableFinishedWIPOffset, VOffsetT, WIPOffset,
};
use gan_core::Quant;

use crate::nn::activation::TfliteOperator;

/// The operators of layers. Those of activations are
/// [`Activation::tflite`](crate::nn::Activation::tflite)'s.
pub const CONV: TfliteOperator = operator(3, 3);
pub const RESHAPE: TfliteOperator = operator(22, 1);
pub const SLICE: TfliteOperator = operator(65, 2);
pub const TRANSPOSE_CONV: TfliteOperator = operator(67, 4);

const fn operator(code: i32, version: i32) -> TfliteOperator {
    TfliteOperator { code, version }
}

/// Options of an operator, beside its tensors.
#[derive(Clone, Copy, Debug)]
pub enum Options {
    Conv {
        relu: bool,
    },
    TransposeConv {
        same: bool,
        stride: usize,
        relu: bool,
    },
    LeakyRelu {
        alpha: f32,
    },
}

/// Numbers of `TensorType`.
const INT32: i8 = 2;
const INT8: i8 = 9;

/// Numbers of `Padding`.
const SAME: i8 = 0;
const VALID: i8 = 1;

/// Int8 values that are computed.
pub struct Tensor<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    pub quant: Quant,
}

/// Scales, zero points, and the axis that they are along.
struct Quantization<'a> {
    scales: &'a [f32],
    zero_points: &'a [i64],
    axis: i32,
}

type Table = WIPOffset<TableFinishedWIPOffset>;

/// A file in the making. Tensors and buffers are named by their numbers.
#[derive(Default)]
pub struct Writer<'f> {
    builder: FlatBufferBuilder<'f>,
    buffers: Vec<Table>,
    tensors: Vec<Table>,
    operators: Vec<Table>,
    builtins: Vec<TfliteOperator>,
}

/// A byte of a buffer, whose first one lies at a multiple of 16, as the schema asks.
#[derive(Clone, Copy)]
struct Aligned(u8);

impl Push for Aligned {
    type Output = u8;

    #[expect(
        unsafe_code,
        reason = "the trait's own signature; nothing unsafe is done"
    )]
    unsafe fn push(&self, to: &mut [u8], _: usize) {
        to[0] = self.0;
    }

    fn size() -> usize {
        1
    }

    fn alignment() -> PushAlignment {
        PushAlignment::new(16)
    }
}

/// Place of a table's field in its list of offsets.
const fn field(number: VOffsetT) -> VOffsetT {
    4 + 2 * number
}

impl Writer<'_> {
    /// A tensor of int8 values that are computed.
    pub fn activations(&mut self, tensor: &Tensor<'_>) -> i32 {
        let quantization = Quantization {
            scales: &[tensor.quant.scale],
            zero_points: &[i64::from(tensor.quant.zero_point)],
            axis: 0,
        };
        self.tensor(tensor.name, tensor.shape, INT8, &[], Some(&quantization))
    }

    /// Weights with a scale for each of the first axis.
    pub fn weights(&mut self, name: &str, shape: &[usize], values: &[i8], scales: &[f32]) -> i32 {
        let bytes: Vec<u8> = values.iter().map(|&w| w as u8).collect();
        let quantization = Quantization {
            scales,
            zero_points: &vec![0; scales.len()],
            axis: 0,
        };
        self.tensor(name, shape, INT8, &bytes, Some(&quantization))
    }

    /// Biases, a scale for each.
    pub fn bias(&mut self, name: &str, values: &[i32], scales: &[f32]) -> i32 {
        let bytes: Vec<u8> = values.iter().flat_map(|b| b.to_le_bytes()).collect();
        let quantization = Quantization {
            scales,
            zero_points: &vec![0; scales.len()],
            axis: 0,
        };
        self.tensor(name, &[values.len()], INT32, &bytes, Some(&quantization))
    }

    /// A shape or a position.
    pub fn integers(&mut self, name: &str, values: &[usize]) -> i32 {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|&v| (v as i32).to_le_bytes())
            .collect();
        self.tensor(name, &[values.len()], INT32, &bytes, None)
    }

    fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        element: i8,
        bytes: &[u8],
        quantization: Option<&Quantization<'_>>,
    ) -> i32 {
        let buffer = self.buffer(bytes);
        let quantization = quantization.map(|q| self.quantization(q));
        let shape: Vec<i32> = shape.iter().map(|&n| n as i32).collect();
        let shape = self.builder.create_vector(&shape);
        let name = self.builder.create_string(name);
        let table = self.builder.start_table();
        self.builder.push_slot_always(field(0), shape);
        self.builder.push_slot(field(1), element, 0);
        self.builder.push_slot(field(2), buffer, 0);
        self.builder.push_slot_always(field(3), name);
        if let Some(quantization) = quantization {
            self.builder.push_slot_always(field(4), quantization);
        }
        self.tensors.push(self.builder.end_table(table));
        self.tensors.len() as i32 - 1
    }

    /// The number of a buffer with these bytes; 0 is the empty one.
    fn buffer(&mut self, bytes: &[u8]) -> u32 {
        if self.buffers.is_empty() {
            let empty = self.builder.start_table();
            self.buffers.push(self.builder.end_table(empty));
        }
        if bytes.is_empty() {
            return 0;
        }
        let bytes: Vec<Aligned> = bytes.iter().map(|&byte| Aligned(byte)).collect();
        let data = self.builder.create_vector(&bytes);
        let table = self.builder.start_table();
        self.builder.push_slot_always(field(0), data);
        self.buffers.push(self.builder.end_table(table));
        self.buffers.len() as u32 - 1
    }

    fn quantization(&mut self, q: &Quantization<'_>) -> Table {
        let scales = self.builder.create_vector(q.scales);
        let zero_points = self.builder.create_vector(q.zero_points);
        let table = self.builder.start_table();
        self.builder.push_slot_always(field(2), scales);
        self.builder.push_slot_always(field(3), zero_points);
        self.builder.push_slot(field(6), q.axis, 0);
        self.builder.end_table(table)
    }

    /// Adds an operator that computes `output`.
    pub fn operator(
        &mut self,
        builtin: TfliteOperator,
        inputs: &[i32],
        output: i32,
        options: Option<Options>,
    ) {
        let known = self.builtins.iter().position(|&b| b == builtin);
        let code = known.unwrap_or_else(|| {
            self.builtins.push(builtin);
            self.builtins.len() - 1
        });
        let options = options.map(|options| self.options(options));
        let inputs = self.builder.create_vector(inputs);
        let outputs = self.builder.create_vector(&[output]);
        let table = self.builder.start_table();
        self.builder.push_slot(field(0), code as u32, 0);
        self.builder.push_slot_always(field(1), inputs);
        self.builder.push_slot_always(field(2), outputs);
        if let Some((kind, options)) = options {
            self.builder.push_slot(field(3), kind, 0);
            self.builder.push_slot_always(field(4), options);
        }
        self.operators.push(self.builder.end_table(table));
    }

    /// Number in `BuiltinOptions`, and the table.
    fn options(&mut self, options: Options) -> (u8, Table) {
        let table = self.builder.start_table();
        let kind = match options {
            Options::Conv { relu } => {
                self.builder.push_slot(field(0), VALID, 0);
                for (number, step) in [(1, 1i32), (2, 1)] {
                    self.builder.push_slot(field(number), step, 0);
                }
                self.builder.push_slot(field(3), i8::from(relu), 0);
                1
            }
            Options::TransposeConv { same, stride, relu } => {
                self.builder
                    .push_slot(field(0), if same { SAME } else { VALID }, 0);
                self.builder.push_slot(field(1), stride as i32, 0);
                self.builder.push_slot(field(2), stride as i32, 0);
                self.builder.push_slot(field(3), i8::from(relu), 0);
                49
            }
            Options::LeakyRelu { alpha } => {
                self.builder.push_slot(field(0), alpha, 0.0);
                75
            }
        };
        (kind, self.builder.end_table(table))
    }

    /// The file: one graph from `input` to `output`, with a signature of their names.
    pub fn finish(mut self, description: &str, input: i32, output: i32) -> Vec<u8> {
        let builder = &mut self.builder;
        let vectors = [&self.tensors, &self.operators].map(|tables| builder.create_vector(tables));
        let inputs = builder.create_vector(&[input]);
        let outputs = builder.create_vector(&[output]);
        let graph = builder.start_table();
        builder.push_slot_always(field(0), vectors[0]);
        builder.push_slot_always(field(1), inputs);
        builder.push_slot_always(field(2), outputs);
        builder.push_slot_always(field(3), vectors[1]);
        let graph = builder.end_table(graph);
        let graphs = builder.create_vector(&[graph]);
        let codes: Vec<Table> = self
            .builtins
            .iter()
            .map(|&builtin| operator_code(builder, builtin))
            .collect();
        let codes = builder.create_vector(&codes);
        let buffers = builder.create_vector(&self.buffers);
        let signature = signature(builder, input as u32, output as u32);
        let signatures = builder.create_vector(&[signature]);
        let description = builder.create_string(description);
        let model = builder.start_table();
        builder.push_slot(field(0), 3u32, 0);
        builder.push_slot_always(field(1), codes);
        builder.push_slot_always(field(2), graphs);
        builder.push_slot_always(field(3), description);
        builder.push_slot_always(field(4), buffers);
        builder.push_slot_always(field(7), signatures);
        let model = builder.end_table(model);
        builder.finish(model, Some("TFL3"));
        builder.finished_data().to_vec()
    }
}

fn operator_code(builder: &mut FlatBufferBuilder<'_>, builtin: TfliteOperator) -> Table {
    let table = builder.start_table();
    // Once for readers from before there were more than 127 operators.
    builder.push_slot(field(0), builtin.code as i8, 0);
    builder.push_slot(field(2), builtin.version, 1);
    builder.push_slot(field(3), builtin.code, 0);
    builder.end_table(table)
}

fn signature(builder: &mut FlatBufferBuilder<'_>, input: u32, output: u32) -> Table {
    let maps = [("input", input), ("picture", output)].map(|(name, tensor)| {
        let name = builder.create_string(name);
        let table = builder.start_table();
        builder.push_slot_always(field(0), name);
        builder.push_slot(field(1), tensor, 0);
        let map = builder.end_table(table);
        builder.create_vector(&[map])
    });
    let key = builder.create_string("serving_default");
    let table = builder.start_table();
    builder.push_slot_always(field(0), maps[0]);
    builder.push_slot_always(field(1), maps[1]);
    builder.push_slot_always(field(2), key);
    builder.end_table(table)
}
