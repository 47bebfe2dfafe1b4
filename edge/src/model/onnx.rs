//! The protobuf side of a model: decoding, and constants read in place.
//!
//! A bundle's `model.onnx` holds the graph and small constants; everything from 1 KiB up is *external data*
//! (ONNX external data specification) in the section beside it. Offsets refer to that section only: a
//! location that names another file is refused, so no model can access the file system.

use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::{Error, decoded_size};

/// The only external location that a model may name.
pub const EXTERNAL_LOCATION: &str = crate::bundle::section::EXTERNAL;

/// Decodes `onnx`, and drops shape annotations: those of other tools contain symbols that clash with ours.
/// Refuses what would take too much memory, axes beyond [`MAX_AXIS`], and orders of axes that name one twice.
pub(super) fn decode(onnx: &[u8]) -> Result<ModelProto, Error> {
    decoded_size::check(onnx)?;
    let mut model = ModelProto::decode(onnx).map_err(Error::Decode)?;
    let Some(graph) = &mut model.graph else {
        return Err(Error::Unsupported("the ONNX model holds no graph".into()));
    };
    graph.value_info.clear();
    for node in nodes(graph) {
        // tract would look for the steps to such an order without end
        let mut orders = node.attribute.iter().filter(|a| a.name == "perm").map(|a| &a.ints);
        if let Some(order) = orders.find(|order| !is_permutation(order)) {
            return Err(Error::Unsupported(format!("`{}` has the order of axes {order:?}", node.name)));
        }
        let axes = node.attribute.iter().filter(|a| matches!(&a.name[..], "axis" | "axes" | "perm"));
        let mut numbers = axes.flat_map(|a| a.ints.iter().chain([&a.i]));
        if let Some(axis) = numbers.find(|axis| axis.unsigned_abs() > MAX_AXIS) {
            return Err(Error::Unsupported(format!("`{}` has axis {axis}", node.name)));
        }
    }
    Ok(model)
}

/// Returns whether these are the numbers from 0, each once.
fn is_permutation(numbers: &[i64]) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    (0..).zip(sorted).all(|(index, number)| index == number)
}

/// Returns all nodes of a graph, those in branches and loops included.
pub(super) fn nodes(graph: &GraphProto) -> impl Iterator<Item = &NodeProto> {
    let mut waiting: Vec<&NodeProto> = graph.node.iter().collect();
    std::iter::from_fn(move || {
        let node = waiting.pop()?;
        let graphs = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
        waiting.extend(graphs.flat_map(|graph| &graph.node));
        Some(node)
    })
}

/// Maximum axis; no tensor has more dimensions. tract counts up to an axis one by one, so a damaged one could
/// take years.
const MAX_AXIS: u64 = 64;

/// Returns the shape of an initializer.
pub(super) fn shape(tensor: &TensorProto) -> Result<Vec<usize>, Error> {
    let dim = |&d: &i64| usize::try_from(d).map_err(|_| bad(tensor, format!("negative dimension {d}")));
    tensor.dims.iter().map(dim).collect()
}

/// Returns the little-endian bytes of an initializer, in place: its own `raw_data`, or its range of
/// `external`. Their number must match the shape. Returns `None` for data in the typed fields of the protobuf
/// (`float_data` …), which are not plain bytes.
pub(super) fn bytes<'a>(tensor: &'a TensorProto, external: &'a [u8]) -> Result<Option<&'a [u8]>, Error> {
    let bytes = if is_external(tensor) {
        &external[external_range(tensor, external.len())?]
    } else if !tensor.raw_data.is_empty() {
        &tensor.raw_data
    } else {
        return Ok(None);
    };
    let count = shape(tensor)?.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let expected = count.and_then(|n| n.checked_mul(element_size(tensor.data_type)?));
    match expected {
        Some(n) if n == bytes.len() => Ok(Some(bytes)),
        Some(n) => Err(bad(tensor, format!("{} bytes, its shape asks for {n}", bytes.len()))),
        None => Err(bad(tensor, format!("data type {} of shape {:?}", tensor.data_type, tensor.dims))),
    }
}

/// Returns whether the initializer's bytes are stored outside the protobuf.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

/// Copies external data into the protobuf, where tract's own loader finds it. Tensors may share bytes, as
/// long as the copies take at most twice the size of `external`.
pub(super) fn inline_external(model: &mut ModelProto, external: &[u8]) -> Result<(), Error> {
    let mut room = external.len().saturating_mul(2);
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        if is_external(tensor) {
            let data = bytes(tensor, external)?.unwrap_or_default();
            let left = room.checked_sub(data.len());
            room = left.ok_or_else(|| bad(tensor, "too many tensors over the same data".into()))?;
            tensor.raw_data = data.to_vec();
            tensor.data_location = None;
            tensor.external_data.clear();
        }
    }
    Ok(())
}

/// Returns the range of an external tensor within the data section of `size` bytes.
pub(super) fn external_range(tensor: &TensorProto, size: usize) -> Result<std::ops::Range<usize>, Error> {
    let field = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    match field("location") {
        Some(EXTERNAL_LOCATION) => {}
        other => {
            let found = other.unwrap_or("nowhere");
            return Err(bad(tensor, format!("stored in `{found}`, only `{EXTERNAL_LOCATION}` is read")));
        }
    }
    // both are optional; by default, from the beginning and to the end
    let number = |key: &str, usual: usize| field(key).map_or(Some(usual), |v| v.parse::<usize>().ok());
    let offset = number("offset", 0);
    let length = number("length", size.saturating_sub(offset.unwrap_or(0)));
    let range = offset.zip(length).and_then(|(o, n)| Some(o..o.checked_add(n)?));
    match range {
        Some(r) if r.end <= size => Ok(r),
        _ => Err(bad(tensor, format!("bytes {offset:?} + {length:?} of a data section of {size}"))),
    }
}

fn element_size(data_type: i32) -> Option<usize> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

fn bad(tensor: &TensorProto, reason: String) -> Error {
    Error::Tensor { name: tensor.name.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

    /// A few tensors may share their data, as tied weights do; copies of many would take many times the
    /// bundle's size.
    #[test]
    fn tensors_over_the_same_data_are_bounded() {
        let tensor = TensorProto {
            data_type: DataType::Int8 as i32,
            dims: vec![4],
            data_location: Some(DataLocation::External as i32),
            external_data: vec![tract_onnx::pb::StringStringEntryProto {
                key: "location".into(),
                value: EXTERNAL_LOCATION.into(),
            }],
            ..Default::default()
        };
        let inlined = |count| {
            let graph = GraphProto { initializer: vec![tensor.clone(); count], ..Default::default() };
            let mut model = ModelProto { graph: Some(graph), ..Default::default() };
            inline_external(&mut model, &[1, 2, 3, 4]).map(|()| model)
        };
        assert_eq!(inlined(2).unwrap().graph.unwrap().initializer[1].raw_data, [1, 2, 3, 4]);
        assert!(inlined(3).unwrap_err().to_string().contains("too many tensors over the same data"));
    }

    #[test]
    fn an_impossible_axis_is_refused() {
        let model = |axis: i64| {
            let attribute = AttributeProto { name: "axis".into(), i: axis, ..Default::default() };
            let node = NodeProto { name: "norm".into(), attribute: vec![attribute], ..Default::default() };
            let graph = GraphProto { node: vec![node], ..Default::default() };
            ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()
        };
        assert!(decode(&model(-1)).is_ok());
        for axis in [i64::MIN, -65, 65, i64::MAX] {
            assert!(decode(&model(axis)).unwrap_err().to_string().contains("axis"), "{axis}");
        }
        // in the branch of a node
        let inner = ModelProto::decode(&model(65)[..]).unwrap().graph;
        let attribute = AttributeProto { name: "then_branch".into(), g: inner, ..Default::default() };
        let node = NodeProto { op_type: "If".into(), attribute: vec![attribute], ..Default::default() };
        let graph = GraphProto { node: vec![node], ..Default::default() };
        let model = ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec();
        assert!(decode(&model).unwrap_err().to_string().contains("`norm` has axis 65"));
    }

    #[test]
    fn an_order_that_names_an_axis_twice_is_refused() {
        let model = |order: &[i64]| {
            let attribute =
                AttributeProto { name: "perm".into(), ints: order.to_vec(), ..Default::default() };
            let node = NodeProto { name: "heads".into(), attribute: vec![attribute], ..Default::default() };
            let graph = GraphProto { node: vec![node], ..Default::default() };
            ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()
        };
        for order in [&[0, 2, 1, 3][..], &[1, 0], &[]] {
            assert!(decode(&model(order)).is_ok(), "{order:?}");
        }
        for order in [&[0, 1, 1, 3][..], &[0, -1], &[1, 2, 3]] {
            assert!(decode(&model(order)).unwrap_err().to_string().contains("order of axes"), "{order:?}");
        }
    }

    #[test]
    fn a_model_without_a_graph_is_refused() {
        assert!(decode(&[]).unwrap_err().to_string().contains("no graph"));
    }

    #[test]
    fn tensors_have_the_bytes_that_their_shape_asks_for() {
        let tensor = |dims: &[i64], data_type: DataType, bytes: usize| TensorProto {
            dims: dims.to_vec(),
            data_type: data_type as i32,
            raw_data: vec![1; bytes],
            ..Default::default()
        };
        assert_eq!(bytes(&tensor(&[2, 3], DataType::Int8, 6), &[]).unwrap().unwrap(), [1; 6]);
        for wrong in [
            tensor(&[2, 3], DataType::Int8, 5),
            tensor(&[2, 3], DataType::Int8, 7),
            tensor(&[2, 3], DataType::Float, 6),
            tensor(&[2, 3], DataType::String, 6),
            tensor(&[-2, -3], DataType::Int8, 6),
            tensor(&[i64::MAX, i64::MAX], DataType::Int8, 1),
        ] {
            assert!(bytes(&wrong, &[]).is_err(), "{:?}", wrong.dims);
        }
    }
}
