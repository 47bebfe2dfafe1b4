//! The memory that a protobuf will take, found before it is decoded.
//!
//! An empty message takes two bytes in the file but up to 1.5 KB in memory, so a small file could be crafted to fill the
//! memory of any board.

use std::mem::size_of;

use prost::DecodeError;
// hidden from the documentation, but what prost's derived decoders call: both read alike
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tract_onnx::pb;

use super::Error;

/// A kind of message in an ONNX model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Segment,
    SparseTensor,
    ValueInfo,
    ValueType,
    TensorType,
    Shape,
    Dimension,
    Annotation,
    Training,
    Function,
    OperatorSet,
    Entry,
}

/// What a field with a length holds.
enum Field {
    Message(Kind),
    /// Packed numbers, with the maximum of bytes that one byte of them takes in memory.
    Numbers(usize),
    /// Text, bytes, or something unknown that the decoder skips.
    Bytes,
}

impl Kind {
    /// Returns the size of a decoded message without what it points to.
    fn size(self) -> usize {
        match self {
            Kind::Model => size_of::<pb::ModelProto>(),
            Kind::Graph => size_of::<pb::GraphProto>(),
            Kind::Node => size_of::<pb::NodeProto>(),
            Kind::Attribute => size_of::<pb::AttributeProto>(),
            Kind::Tensor => size_of::<pb::TensorProto>(),
            Kind::Segment => size_of::<pb::tensor_proto::Segment>(),
            Kind::SparseTensor => size_of::<pb::SparseTensorProto>(),
            Kind::ValueInfo => size_of::<pb::ValueInfoProto>(),
            Kind::ValueType => size_of::<pb::TypeProto>(),
            Kind::TensorType => size_of::<pb::type_proto::Tensor>(),
            Kind::Shape => size_of::<pb::TensorShapeProto>(),
            Kind::Dimension => size_of::<pb::tensor_shape_proto::Dimension>(),
            Kind::Annotation => size_of::<pb::TensorAnnotation>(),
            Kind::Training => size_of::<pb::TrainingInfoProto>(),
            Kind::Function => size_of::<pb::FunctionProto>(),
            Kind::OperatorSet => size_of::<pb::OperatorSetIdProto>(),
            Kind::Entry => size_of::<pb::StringStringEntryProto>(),
        }
    }

    /// Returns what the field `tag` of such a message holds, as in `onnx.proto`.
    fn field(self, tag: u32) -> Field {
        use Field::{Message, Numbers};
        match (self, tag) {
            (Kind::Model, 7) => Message(Kind::Graph),
            (Kind::Model, 8) | (Kind::Function, 9) => Message(Kind::OperatorSet),
            (Kind::Model, 14) | (Kind::Training, 3 | 4) => Message(Kind::Entry),
            (Kind::Model, 20) => Message(Kind::Training),
            (Kind::Model, 25) => Message(Kind::Function),
            (Kind::Training, 1 | 2) => Message(Kind::Graph),
            (Kind::Function, 7) | (Kind::Graph, 1) => Message(Kind::Node),
            (Kind::Graph, 5) => Message(Kind::Tensor),
            (Kind::Graph, 11..=13) => Message(Kind::ValueInfo),
            (Kind::Graph, 14) => Message(Kind::Annotation),
            (Kind::Graph, 15) => Message(Kind::SparseTensor),
            (Kind::Annotation, 2) => Message(Kind::Entry),
            (Kind::Node, 5) => Message(Kind::Attribute),
            (Kind::Attribute, 5 | 10) => Message(Kind::Tensor),
            (Kind::Attribute, 6 | 11) => Message(Kind::Graph),
            (Kind::Attribute, 22 | 23) => Message(Kind::SparseTensor),
            (Kind::Attribute, 15) => Message(Kind::ValueType),
            (Kind::Attribute, 7) => Numbers(1),
            (Kind::Attribute, 8) => Numbers(8),
            (Kind::SparseTensor, 1 | 2) => Message(Kind::Tensor),
            (Kind::SparseTensor, 3) => Numbers(8),
            (Kind::Tensor, 3) => Message(Kind::Segment),
            (Kind::Tensor, 13) => Message(Kind::Entry),
            (Kind::Tensor, 4 | 10) => Numbers(1),
            (Kind::Tensor, 5) => Numbers(4),
            (Kind::Tensor, 1 | 7 | 11) => Numbers(8),
            (Kind::ValueInfo, 2) => Message(Kind::ValueType),
            (Kind::ValueType, 1) => Message(Kind::TensorType),
            (Kind::TensorType, 2) => Message(Kind::Shape),
            (Kind::Shape, 1) => Message(Kind::Dimension),
            _ => Field::Bytes,
        }
    }
}

/// Minimum of the limit for [`check`], in bytes. A BERT of 12 layers takes 1.5 MB.
const ROOM: usize = 16 << 20;
/// Maximum bytes in memory for each byte of a protobuf, above [`ROOM`].
const GROWTH: usize = 8;
/// Maximum depth of messages within messages: that of prost.
const DEPTH: usize = 100;

/// Fails if `onnx` would take more than 16 MiB of memory once decoded and, if it is larger than 2 MiB as no graph
/// in a bundle is, also more than eight times its own size.
///
/// # Errors
/// [`Error::Unsupported`]; [`Error::Decode`] if it cannot be decoded at all.
pub(super) fn check(onnx: &[u8]) -> Result<(), Error> {
    let limit = ROOM.max(onnx.len().saturating_mul(GROWTH));
    match decoded_size(onnx).map_err(Error::Decode)? {
        Some(size) if size <= limit => Ok(()),
        _ => Err(Error::Unsupported(format!(
            "the graph (model.onnx) would take more than {} MiB of memory once decoded: it was crafted for that, or \
             must be simplified before it is packed",
            limit >> 20
        ))),
    }
}

/// Returns the bytes that `onnx` takes once decoded: its messages, numbers and text, a little too much rather than
/// too little, but without the room in which vectors grow, which is up to twice as much again. `None`
/// if it is nested deeper than prost allows.
fn decoded_size(onnx: &[u8]) -> Result<Option<usize>, DecodeError> {
    let mut size = Kind::Model.size();
    Ok(add(Kind::Model, onnx, DEPTH, &mut size)?.then_some(size))
}

/// Adds the size of what the fields of a message point to. Returns `false` if they are nested too deep.
fn add(message: Kind, mut bytes: &[u8], depth: usize, size: &mut usize) -> Result<bool, DecodeError> {
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        let mut field = bytes;
        // a field that reaches past its message fails here; prost would first decode it
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
        if wire_type != WireType::LengthDelimited {
            // a number, perhaps one of many
            *size += size_of::<u64>();
            continue;
        }
        let length = decode_varint(&mut field)? as usize;
        let content = &field[..length];
        match message.field(tag) {
            Field::Message(inner) => {
                *size += inner.size();
                if depth == 0 || !add(inner, content, depth - 1, size)? {
                    return Ok(false);
                }
            }
            Field::Numbers(growth) => *size += growth * length,
            Field::Bytes => *size += size_of::<String>() + length,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::{
        AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        SparseTensorProto, StringStringEntryProto, TensorAnnotation, TensorProto, TensorShapeProto,
        TrainingInfoProto, TypeProto, ValueInfoProto,
    };
    use prost::Message;

    /// Bytes of text in each text of [`whole`].
    const TEXT: usize = 5;

    fn text() -> String {
        "x".repeat(TEXT)
    }

    fn entry() -> StringStringEntryProto {
        StringStringEntryProto { key: text(), value: text() }
    }

    fn tensor() -> TensorProto {
        TensorProto {
            dims: vec![1],
            data_type: 1,
            segment: Some(pb::tensor_proto::Segment { begin: 1, end: 1 }),
            float_data: vec![1.0],
            int32_data: vec![1],
            string_data: vec![text().into()],
            int64_data: vec![1],
            name: text(),
            doc_string: text(),
            raw_data: text().into(),
            double_data: vec![1.0],
            uint64_data: vec![1],
            data_location: Some(1),
            external_data: vec![entry()],
        }
    }

    fn sparse() -> SparseTensorProto {
        SparseTensorProto { values: Some(tensor()), indices: Some(tensor()), dims: vec![1] }
    }

    fn type_of_value() -> TypeProto {
        let value = pb::tensor_shape_proto::dimension::Value::DimParam(text());
        let dim = pb::tensor_shape_proto::Dimension { denotation: text(), value: Some(value) };
        let shape = Some(TensorShapeProto { dim: vec![dim] });
        let tensor = pb::type_proto::Tensor { elem_type: 1, shape };
        TypeProto { denotation: text(), value: Some(pb::type_proto::Value::TensorType(tensor)) }
    }

    fn value() -> ValueInfoProto {
        ValueInfoProto { name: text(), r#type: Some(type_of_value()), doc_string: text() }
    }

    fn node(attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto {
            input: vec![text()],
            output: vec![text()],
            name: text(),
            op_type: text(),
            domain: text(),
            attribute,
            doc_string: text(),
        }
    }

    fn graph(node: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            node,
            name: text(),
            initializer: vec![tensor()],
            sparse_initializer: vec![sparse()],
            doc_string: text(),
            input: vec![value()],
            output: vec![value()],
            value_info: vec![value()],
            quantization_annotation: vec![TensorAnnotation {
                tensor_name: Some(text()),
                quant_parameter_tensor_names: vec![entry()],
            }],
        }
    }

    fn attribute() -> AttributeProto {
        AttributeProto {
            name: text(),
            ref_attr_name: text(),
            doc_string: text(),
            r#type: 1,
            f: 1.0,
            i: 1,
            s: text().into(),
            t: Some(tensor()),
            g: Some(graph(vec![])),
            sparse_tensor: Some(sparse()),
            floats: vec![1.0],
            ints: vec![1],
            strings: vec![text().into()],
            tensors: vec![tensor()],
            graphs: vec![graph(vec![])],
            sparse_tensors: vec![sparse()],
            type_protos: vec![type_of_value()],
        }
    }

    /// A model with one of everything. Each field is named, so that a field which tract adds does not compile
    /// before it is counted.
    fn whole() -> ModelProto {
        let operators = OperatorSetIdProto { domain: text(), version: 1 };
        let function = FunctionProto {
            name: Some(text()),
            input: vec![text()],
            output: vec![text()],
            attribute: vec![text()],
            node: vec![node(vec![])],
            doc_string: Some(text()),
            opset_import: vec![operators.clone()],
            domain: Some(text()),
        };
        let training = TrainingInfoProto {
            initialization: Some(graph(vec![])),
            algorithm: Some(graph(vec![])),
            initialization_binding: vec![entry()],
            update_binding: vec![entry()],
        };
        ModelProto {
            ir_version: 1,
            opset_import: vec![operators],
            producer_name: text(),
            producer_version: text(),
            domain: text(),
            model_version: 1,
            doc_string: text(),
            graph: Some(graph(vec![node(vec![attribute()])])),
            metadata_props: vec![entry()],
            training_info: vec![training],
            functions: vec![function],
        }
    }

    /// Returns the contents of all fields that count as text.
    fn texts<'a>(message: Kind, mut bytes: &'a [u8], found: &mut Vec<&'a [u8]>) {
        while !bytes.is_empty() {
            let (tag, wire_type) = decode_key(&mut bytes).unwrap();
            if wire_type != WireType::LengthDelimited {
                skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).unwrap();
                continue;
            }
            let length = decode_varint(&mut bytes).unwrap();
            let content = bytes.split_off(..length as usize).unwrap();
            match message.field(tag) {
                Field::Message(inner) => texts(inner, content, found),
                Field::Numbers(growth) => assert!(growth * content.len() >= size_of::<f32>()),
                Field::Bytes => found.push(content),
            }
        }
    }

    #[test]
    fn every_message_is_known() {
        let (bytes, mut found) = (whole().encode_to_vec(), vec![]);
        texts(Kind::Model, &bytes, &mut found);
        let shown = format!("{:?}", whole());
        assert!(found.iter().all(|content| *content == text().as_bytes()), "a message was taken for text");
        assert!(found.len() > shown.matches(&text()).count(), "{shown}");
    }

    #[test]
    fn sizes_are_those_in_memory() {
        let graph = GraphProto { node: vec![node(vec![AttributeProto::default(); 3])], ..Default::default() };
        let model = ModelProto { graph: Some(graph), ..Default::default() };
        let structs = size_of::<ModelProto>() + size_of::<GraphProto>() + size_of::<NodeProto>();
        let texts = 6 * (size_of::<String>() + TEXT);
        let found = decoded_size(&model.encode_to_vec()).unwrap();
        assert_eq!(found, Some(structs + 3 * size_of::<AttributeProto>() + texts));
    }

    fn refused(onnx: &[u8]) -> String {
        check(onnx).unwrap_err().to_string()
    }

    #[test]
    fn small_files_that_would_fill_the_memory_are_refused() {
        // each attribute takes two bytes in the file
        let attributes = |count: usize| {
            let graph =
                GraphProto { node: vec![node(vec![Default::default(); count])], ..Default::default() };
            ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()
        };
        let most = ROOM / size_of::<AttributeProto>();
        assert!(check(&attributes(most - 10)).is_ok());
        let crafted = attributes(most + 1);
        assert!(crafted.len() < 30_000);
        assert!(
            refused(&crafted).contains("(model.onnx) would take more than 16 MiB of memory once decoded")
        );
        // a larger file may take more
        let mut padded = ModelProto::decode(&attributes(2 * most)[..]).unwrap();
        assert!(check(&padded.encode_to_vec()).is_err());
        padded.doc_string = "x".repeat(5 << 20);
        assert!(check(&padded.encode_to_vec()).is_ok());
    }

    #[test]
    fn what_prost_refuses_is_refused_before_it_is_decoded() {
        // a graph of two bytes, with a node that would reach past it
        let mut past = vec![0x3a, 2, 0x0a, 100];
        past.extend([0x2a, 0].repeat(50));
        assert!(ModelProto::decode(&past[..]).is_err());
        assert!(matches!(check(&past), Err(Error::Decode(_))));
        // graphs within attributes of nodes of graphs
        let nested = |depth: usize| {
            let mut inner = GraphProto::default();
            for _ in 0..depth {
                let attribute = AttributeProto { g: Some(inner), ..Default::default() };
                inner = GraphProto { node: vec![node(vec![attribute])], ..Default::default() };
            }
            ModelProto { graph: Some(inner), ..Default::default() }.encode_to_vec()
        };
        for depth in 1..50 {
            let bytes = nested(depth);
            assert_eq!(check(&bytes).is_ok(), ModelProto::decode(&bytes[..]).is_ok(), "{depth}");
        }
        assert!(check(&nested(50)).is_err());
    }
}
