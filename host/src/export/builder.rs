//! Builder for the nodes and constants of an ONNX graph. Every node has the name of its output.

use super::proto::{Attribute, DataType, GraphProto, NodeProto, TensorProto};

#[derive(Default)]
pub(super) struct Builder {
    pub graph: GraphProto,
}

impl Builder {
    /// Adds a node and returns its output.
    pub fn node(&mut self, name: &str, op_type: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![name.into()],
            name: name.into(),
            op_type: op_type.into(),
            attribute,
        });
        name.into()
    }

    /// Adds the node `at.op_type` without attributes.
    pub fn op(&mut self, at: &str, op_type: &str, inputs: &[&str]) -> String {
        self.node(&format!("{at}.{op_type}"), op_type, inputs, vec![])
    }

    pub fn cast(&mut self, name: &str, x: &str, to: DataType) -> String {
        self.node(name, "Cast", &[x], vec![Attribute::int("to", to as i64)])
    }

    pub fn transpose(&mut self, name: &str, x: &str, order: &[i64]) -> String {
        self.node(name, "Transpose", &[x], vec![Attribute::ints("perm", order)])
    }

    /// Adds a constant tensor of little-endian bytes, unless the name is already taken.
    fn constant(&mut self, name: &str, element: DataType, dims: &[usize], bytes: Vec<u8>) -> String {
        if !self.graph.initializer.iter().any(|t| t.name == name) {
            self.graph.initializer.push(TensorProto {
                dims: dims.iter().map(|&d| d as i64).collect(),
                data_type: Some(element as i32),
                name: name.into(),
                raw_data: Some(bytes),
                ..Default::default()
            });
        }
        name.into()
    }

    pub fn floats(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.constant(name, DataType::Float, dims, bytes)
    }

    pub fn halves(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        let bytes = values.into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
        self.constant(name, DataType::Float16, dims, bytes)
    }

    pub fn int8(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = i8>) -> String {
        self.constant(name, DataType::Int8, dims, values.into_iter().map(|v| v as u8).collect())
    }

    pub fn bytes(&mut self, name: &str, dims: &[usize], values: Vec<u8>) -> String {
        self.constant(name, DataType::Uint8, dims, values)
    }

    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], [value])
    }

    pub fn byte(&mut self, name: &str, value: u8) -> String {
        self.constant(name, DataType::Uint8, &[], vec![value])
    }

    pub fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], bytes)
    }

    pub fn integer(&mut self, name: &str, value: i64) -> String {
        self.constant(name, DataType::Int64, &[], value.to_le_bytes().into())
    }
}
