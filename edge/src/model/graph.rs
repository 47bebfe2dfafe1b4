//! Look-ups in an ONNX graph: which node makes a value, what a constant holds.

use std::cell::Cell;
use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::onnx;
use super::stock::Feed;

/// What was looked for, or why it was not found.
pub(super) type Found<T> = Result<T, String>;

/// A graph, with its nodes by output and its constants by name.
pub(super) struct Graph<'a> {
    proto: &'a GraphProto,
    makers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
    external: &'a Bytes,
    /// How many more numbers may be copied. A graph may refer to a constant often, but not to fill the memory.
    floats_left: Cell<usize>,
}

impl<'a> Graph<'a> {
    pub fn new(proto: &'a GraphProto, external: &'a Bytes) -> Graph<'a> {
        // further outputs, such as those of LayerNormalization, are never looked for
        let output = |node: &'a NodeProto| node.output.first().map(|o| (o.as_str(), node));
        Graph {
            proto,
            makers: proto.node.iter().filter_map(output).collect(),
            constants: proto.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            external,
            // four times what the file can hold
            floats_left: Cell::new(proto.encoded_len() + external.len()),
        }
    }

    /// Returns the only output of the graph.
    pub fn output(&self) -> Found<&'a str> {
        match &self.proto.output[..] {
            [one] => Ok(&one.name),
            all => Err(format!("{} outputs, not one", all.len())),
        }
    }

    /// Fails unless `value` is the input of the graph that takes `feed`.
    pub fn is_input(&self, value: &str, feed: Feed) -> Found<()> {
        let input = self.proto.input.iter().any(|i| i.name == value) && !self.constants.contains_key(value);
        expect(input, || format!("`{value}` is not an input of the graph"))?;
        let right = Feed::of(value, 0, self.proto.input.len()).is_ok_and(|found| found == feed);
        expect(right, || format!("input `{value}` stands where {feed:?} do"))
    }

    /// Returns whether a node of this type makes `value`.
    pub fn is(&self, value: &str, op_type: &str) -> bool {
        self.maker(value, op_type).is_ok()
    }

    /// Returns the node that makes `value`, which must be of this type.
    pub fn maker(&self, value: &str, op_type: &str) -> Found<&'a NodeProto> {
        let node = self.makers.get(value).ok_or_else(|| match self.constants.contains_key(value) {
            true => format!("`{value}` is a constant, not made by {op_type} as in an int8 model"),
            false => format!("`{value}` is made by no node"),
        })?;
        let standard = node.domain.is_empty() || node.domain == "ai.onnx";
        expect(standard && node.op_type == op_type, || {
            format!("`{}` is {}, not {op_type}", node.name, node.op_type)
        })?;
        let unknown = node.attribute.iter().find(|a| !is_known(op_type, a));
        expect(unknown.is_none(), || {
            let attribute = unknown.map_or("", |a| &a.name);
            format!("{op_type} `{}` has an unsupported attribute `{attribute}`", node.name)
        })?;
        Ok(node)
    }

    /// Returns the inputs of the node that makes `value`, which must be of this type and have `N` inputs.
    pub fn inputs<const N: usize>(&self, value: &str, op_type: &str) -> Found<[&'a str; N]> {
        inputs(self.maker(value, op_type)?)
    }

    /// Returns the only input of the node that makes `value`.
    pub fn unary(&self, value: &str, op_type: &str) -> Found<&'a str> {
        self.inputs(value, op_type).map(|[x]| x)
    }

    /// Returns the other input of a commutative node, one of whose inputs must be the constant `scalar`.
    pub fn with_scalar(&self, value: &str, op_type: &str, scalar: f32) -> Found<&'a str> {
        let [a, b] = self.inputs(value, op_type)?;
        if self.scalar(b) == Ok(scalar) {
            Ok(a)
        } else if self.scalar(a) == Ok(scalar) {
            Ok(b)
        } else {
            Err(format!("{op_type} `{value}` lacks the constant {scalar}"))
        }
    }

    /// Returns the input of a Cast to `to`.
    pub fn cast(&self, value: &str, to: DataType) -> Found<&'a str> {
        let node = self.maker(value, "Cast")?;
        let found = attribute(node, "to").map(|a| a.i);
        expect(found == Some(to as i64), || format!("Cast `{value}` is not to {to:?}"))?;
        inputs(node).map(|[x]| x)
    }

    /// Returns the input of a Transpose with this permutation.
    pub fn transpose(&self, value: &str, order: &[i64]) -> Found<&'a str> {
        let node = self.maker(value, "Transpose")?;
        let found = attribute(node, "perm").map(|a| &a.ints[..]);
        expect(found == Some(order), || format!("Transpose `{value}` is not {order:?}"))?;
        inputs(node).map(|[x]| x)
    }

    /// Returns the only value of an f32 constant.
    pub fn scalar(&self, name: &str) -> Found<f32> {
        floats(self.finite(name, 1)?).next().ok_or_else(|| format!("`{name}` is not a scalar"))
    }

    /// Returns a copy of an f32 constant of `count` finite values.
    pub fn floats(&self, name: &str, count: usize) -> Found<Vec<f32>> {
        let bytes = self.finite(name, count)?;
        let left = self.floats_left.get().checked_sub(count);
        self.floats_left.set(left.ok_or("constants are used too often")?);
        Ok(floats(bytes).collect())
    }

    /// Returns the bytes of an f32 constant of `count` finite values, in place.
    pub fn finite(&self, name: &str, count: usize) -> Found<&'a [u8]> {
        let bytes = self.bytes(name, DataType::Float)?;
        expect(bytes.len() == 4 * count, || format!("`{name}` does not have {count} values"))?;
        expect(floats(bytes).all(f32::is_finite), || format!("`{name}` holds NaN or infinity"))?;
        Ok(bytes)
    }

    /// Returns the values of a small int64 constant.
    pub fn integers(&self, name: &str) -> Found<Vec<i64>> {
        let bytes = self.bytes(name, DataType::Int64)?;
        Ok(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }

    /// Returns the numbers of rows and columns of a constant matrix.
    pub fn matrix(&self, name: &str) -> Found<(usize, usize)> {
        let shape = onnx::shape(self.constant(name)?).map_err(|e| e.to_string())?;
        match shape[..] {
            [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
            _ => Err(format!("`{name}` has shape {shape:?}, not that of a matrix")),
        }
    }

    /// Returns the bytes of a constant of this type, in place.
    pub fn bytes(&self, name: &str, data_type: DataType) -> Found<&'a [u8]> {
        let tensor = self.constant(name)?;
        expect(tensor.data_type == data_type as i32, || format!("`{name}` is not {data_type:?}"))?;
        let bytes = onnx::bytes(tensor, self.external).map_err(|e| e.to_string())?;
        bytes.ok_or_else(|| format!("`{name}` has no raw data"))
    }

    /// Returns the bytes of a constant of this type: shared if they are external, otherwise a copy.
    pub fn shared(&self, name: &str, data_type: DataType) -> Found<Bytes> {
        let bytes = self.bytes(name, data_type)?;
        Ok(match self.is_external(name) {
            true => self.external.slice_ref(bytes),
            false => Bytes::copy_from_slice(bytes),
        })
    }

    /// Returns whether a constant is stored outside the protobuf.
    pub fn is_external(&self, name: &str) -> bool {
        self.constant(name).is_ok_and(onnx::is_external)
    }

    fn constant(&self, name: &str) -> Found<&'a TensorProto> {
        self.constants.get(name).copied().ok_or_else(|| format!("`{name}` is not a constant"))
    }
}

/// Returns whether an attribute of such a node is taken into account, or has its default value (opset 17).
fn is_known(op_type: &str, attribute: &AttributeProto) -> bool {
    match (op_type, &attribute.name[..]) {
        ("Gather" | "Softmax" | "LayerNormalization" | "Concat", "axis") => true,
        ("ReduceMax", "axes" | "keepdims") | ("Cast", "to") | ("Transpose", "perm") => true,
        ("LayerNormalization", "epsilon") => true,
        ("LayerNormalization", "stash_type") => attribute.i == 1,
        ("Reshape", "allowzero") => attribute.i == 0,
        _ => false,
    }
}

/// Decodes the little-endian bytes of an f32 constant.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))
}

/// Decodes the little-endian bytes of an f16 constant.
pub(super) fn halves(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())
}

/// Fails with `reason` unless `holds`.
pub(super) fn expect(holds: bool, reason: impl FnOnce() -> String) -> Found<()> {
    if holds { Ok(()) } else { Err(reason()) }
}

/// Returns an attribute of a node, if it has it.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Returns the inputs of a node, which must have `N` of them.
pub(super) fn inputs<const N: usize>(node: &NodeProto) -> Found<[&str; N]> {
    let all: Vec<&str> = node.input.iter().map(String::as_str).collect();
    all.try_into().map_err(|_| format!("`{}` does not have {N} inputs", node.name))
}
