//! An ONNX graph that grows node by node, each reading what the one before wrote.

use gan_core::{Quant, Shape};
use prost::Message;

use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto, attribute_type, data_type,
};
use super::{IR_VERSION, OPSET};
use crate::export::graph::{Graph, GraphLayer, GraphOp};
use crate::nn::Activation;

/// The graph so far.
pub struct Chain {
    graph: GraphProto,
    /// Name of the value that the next node reads.
    last: String,
    /// Whether it is `[n, c, h, w]` rather than `[n, values]`.
    is_map: bool,
}

impl Chain {
    /// `input` `[n, len]`
    pub fn new(len: usize) -> Self {
        let graph = GraphProto {
            name: "generator".into(),
            input: vec![value_info("input", &[len])],
            ..GraphProto::default()
        };
        Self {
            graph,
            last: "input".into(),
            is_map: false,
        }
    }

    /// A constant; its name is what comes back.
    fn constant(&mut self, name: String, kind: i32, dims: &[usize], bytes: Vec<u8>) -> String {
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: kind,
            name: name.clone(),
            raw_data: Some(bytes),
        });
        name
    }

    /// A constant of floats.
    pub fn floats(&mut self, name: String, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, data_type::FLOAT, dims, bytes)
    }

    /// Constant bytes times a scale for each place of dimension `axis`.
    pub fn int8(&mut self, name: String, at: (Vec<usize>, i64), q: &[i8], scale: &[f32]) {
        let (dims, axis) = at;
        let bytes = q.iter().flat_map(|v| v.to_le_bytes()).collect();
        let q = self.constant(format!("{name}.q"), data_type::INT8, &dims, bytes);
        self.scaled(name, q, axis, scale);
    }

    /// Constant words `[n]`, each times its scale.
    pub fn int32(&mut self, name: String, q: &[i32], scale: &[f32]) {
        let bytes = q.iter().flat_map(|v| v.to_le_bytes()).collect();
        let q = self.constant(format!("{name}.q"), data_type::INT32, &[q.len()], bytes);
        self.scaled(name, q, 0, scale);
    }

    fn scaled(&mut self, name: String, q: String, axis: i64, scale: &[f32]) {
        let scale = self.floats(format!("{name}.scale"), &[scale.len()], scale);
        let axis = AttributeProto {
            i: Some(axis),
            ..attribute("axis", attribute_type::INT)
        };
        self.node("DequantizeLinear", vec![q, scale], name, vec![axis]);
    }

    fn node(&mut self, op: &str, input: Vec<String>, name: String, with: Vec<AttributeProto>) {
        self.graph.node.push(NodeProto {
            input,
            output: vec![name.clone()],
            name,
            op_type: op.into(),
            attribute: with,
        });
    }

    /// A node on the last value and these constants.
    fn then(&mut self, op: &str, name: String, constants: &[String], with: Vec<AttributeProto>) {
        let mut input = vec![std::mem::replace(&mut self.last, name.clone())];
        input.extend_from_slice(constants);
        self.node(op, input, name, with);
    }

    /// Makes the last value a map, or no map.
    fn reshape(&mut self, name: &str, map: Option<Shape>) {
        if self.is_map == map.is_some() {
            return;
        }
        // 0 keeps `n`; -1 is all that is left.
        let dims = match map {
            Some(Shape { h, w, c }) => vec![0, c as i64, h as i64, w as i64],
            None => vec![0, -1],
        };
        let bytes = dims
            .iter()
            .flat_map(|dim: &i64| dim.to_le_bytes())
            .collect();
        let shape = self.constant(
            format!("{name}.shape"),
            data_type::INT64,
            &[dims.len()],
            bytes,
        );
        self.then("Reshape", name.into(), &[shape], Vec::new());
        self.is_map = map.is_some();
    }

    /// A layer's sums, of the values `layerN.weight` and `layerN.bias`.
    pub fn linear<P>(&mut self, layer: &GraphLayer<P>) {
        let i = layer.index;
        let map = match layer.op {
            GraphOp::Dense => None,
            GraphOp::ConvTranspose(_) => Some(layer.input),
        };
        self.reshape(&format!("layer{i}.input"), map);
        let constants = ["weight", "bias"].map(|part| format!("layer{i}.{part}"));
        let ints = |name: &str, ints: &[usize]| AttributeProto {
            ints: ints.iter().map(|&v| v as i64).collect(),
            ..attribute(name, attribute_type::INTS)
        };
        let (op, with) = match layer.op {
            GraphOp::Dense => {
                let rows = AttributeProto {
                    i: Some(1),
                    ..attribute("transB", attribute_type::INT)
                };
                ("Gemm", vec![rows])
            }
            GraphOp::ConvTranspose(v) => {
                let crops = [v.crop_top, v.crop_left, v.crop_bottom, v.crop_right];
                let kernel = ints("kernel_shape", &[v.kernel, v.kernel]);
                let strides = ints("strides", &[v.stride, v.stride]);
                ("ConvTranspose", vec![kernel, ints("pads", &crops), strides])
            }
        };
        self.then(op, format!("layer{i}.linear"), &constants, with);
    }

    /// A layer's activation.
    pub fn activate(&mut self, i: usize, activation: Activation) {
        if activation == Activation::Linear {
            return;
        }
        let alpha = activation.negative_slope().map(|slope| AttributeProto {
            f: Some(slope as f32),
            ..attribute("alpha", attribute_type::FLOAT)
        });
        let with = alpha.into_iter().collect();
        self.then(activation.onnx(), format!("layer{i}.activation"), &[], with);
    }

    /// Moves each value away from zero by its channel's step.
    pub fn add_away(&mut self, name: &str, op: GraphOp, steps: &[f32]) {
        let dims = match op {
            GraphOp::Dense => vec![steps.len()],
            GraphOp::ConvTranspose(_) => vec![steps.len(), 1, 1],
        };
        let steps = self.floats(format!("{name}.steps"), &dims, steps);
        let [sign, away] = ["sign", "away"].map(|part| format!("{name}.{part}"));
        self.node("Sign", vec![self.last.clone()], sign.clone(), Vec::new());
        self.node("Mul", vec![sign, steps], away.clone(), Vec::new());
        self.then("Add", name.to_owned(), &[away], Vec::new());
    }

    /// Rounds to steps of 16 bits, of this scale, and back.
    pub fn round_wide(&mut self, name: String, scale: f32) {
        let scale = self.floats(format!("{name}.scale"), &[], &[scale]);
        let ends = [("low", -32768.0), ("high", 32767.0)];
        let ends = ends.map(|(end, v)| self.floats(format!("{name}.{end}"), &[], &[v]));
        self.then(
            "Div",
            format!("{name}.steps"),
            std::slice::from_ref(&scale),
            Vec::new(),
        );
        self.then("Round", format!("{name}.whole"), &[], Vec::new());
        self.then("Clip", format!("{name}.clipped"), &ends, Vec::new());
        self.then("Mul", name, &[scale], Vec::new());
    }

    /// Adds a number to every value.
    pub fn add(&mut self, name: String, number: f32) {
        let number = self.floats(format!("{name}.number"), &[], &[number]);
        self.then("Add", name, &[number], Vec::new());
    }

    /// Rounds the last value to int8 and back.
    pub fn round(&mut self, name: String, quant: &Quant) {
        let scale = self.floats(format!("{name}.scale"), &[], &[quant.scale]);
        let zero_point = quant.zero_point.to_le_bytes().to_vec();
        let zero_point_name = format!("{name}.zero_point");
        let zero_point = self.constant(zero_point_name, data_type::INT8, &[], zero_point);
        let constants = [scale, zero_point];
        self.then(
            "QuantizeLinear",
            format!("{name}.q"),
            &constants,
            Vec::new(),
        );
        self.then("DequantizeLinear", name, &constants, Vec::new());
    }

    /// The file of `graph`, whose `picture` is the last value.
    pub fn finish<P>(mut self, graph: &Graph<P>) -> Vec<u8> {
        let picture = "picture";
        let shape = graph.layers[graph.layers.len() - 1].output;
        self.reshape(picture, Some(shape));
        if let Some(node) = self.graph.node.last_mut() {
            node.output = vec![picture.into()];
        }
        let Shape { h, w, c } = shape;
        self.graph.output = vec![value_info(picture, &[c, h, w])];
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "gan-core host".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: OPSET,
            }],
            metadata_props: vec![
                entry("name", graph.name.clone()),
                entry("data_set", graph.dataset.clone()),
                entry("steps", graph.steps.to_string()),
                entry("seed", graph.seed.to_string()),
                entry("labels", graph.labels.join("\n")),
            ],
        };
        model.encode_to_vec()
    }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind,
        ..AttributeProto::default()
    }
}

/// Floats `[n, dims...]`.
fn value_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let open = DimensionProto {
        dim_param: Some("n".into()),
        ..DimensionProto::default()
    };
    let sizes = dims.iter().map(|&dim| DimensionProto {
        dim_value: Some(dim as i64),
        ..DimensionProto::default()
    });
    let tensor = TensorTypeProto {
        elem_type: data_type::FLOAT,
        shape: Some(TensorShapeProto {
            dim: std::iter::once(open).chain(sizes).collect(),
        }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}
