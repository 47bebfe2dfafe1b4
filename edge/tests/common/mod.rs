//! A bundle so small that its answers are easy to predict: the logits are the mean of the tokens' embeddings.
#![allow(dead_code)]
use goldcrest_edge::bundle::{Bundle, Golden, Licence, Manifest, Windows, write};
use goldcrest_edge::decision::{Settings, Task};
use goldcrest_edge::tokenizer;
use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto, tensor_proto, type_proto,
};

/// Word pieces and their embeddings.
const PIECES: [(&str, [f32; 2]); 9] = [
    ("[PAD]", [0., 0.]),
    ("[UNK]", [0., 0.]),
    ("[CLS]", [0., 0.]),
    ("[SEP]", [0., 0.]),
    ("good", [-6., 6.]),
    ("bad", [6., -6.]),
    ("day", [0., 0.]),
    ("##s", [0., 0.]),
    (",", [0., 0.]),
];

pub const LABELS: [&str; 2] = ["negative", "positive"];

pub fn vocabulary() -> String {
    PIECES.map(|(piece, _)| piece).join("\n") + "\n"
}

/// With this manifest, `good` gives logits -2, 2: the mean of three tokens, two of which are zero.
pub fn manifest() -> Manifest {
    Manifest {
        name: "moods".into(),
        version: "1.0.0".into(),
        task: Task::SingleLabel,
        pair: false,
        labels: LABELS.map(str::to_owned).into(),
        tokenizer: tokenizer::Settings::uncased(),
        max_tokens: 32,
        windows: Windows::Truncate,
        decision: Settings::default(),
        measured: vec![],
        licence: Licence { base_model: "none".into(), data: "none".into() },
        created_by: "test".into(),
    }
}

/// Returns the shipped model, which is fused.
pub fn shipped() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sentiment/sentiment.bundle")).unwrap()
}

/// Returns a bundle with a changed manifest.
pub fn altered(bytes: &[u8], alter: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let bundle = Bundle::read(bytes).unwrap();
    let mut manifest = bundle.manifest().clone();
    alter(&mut manifest);
    write(&manifest, bundle.model(), bundle.external(), bundle.vocabulary(), &[]).unwrap()
}

pub fn bundle(manifest: &Manifest) -> Vec<u8> {
    let two = Golden {
        text: "good".into(),
        pair: manifest.pair.then(|| "good".into()),
        // not for pairs: with five tokens, the rounding of the mean is not specified
        logits: [-2f32, 2.].map(f32::to_bits)[..manifest.labels.len()].into(),
    };
    let golden = if manifest.pair || manifest.labels.len() != 2 { vec![] } else { vec![two] };
    with_golden(manifest, &golden)
}

pub fn with_golden(manifest: &Manifest, golden: &[Golden]) -> Vec<u8> {
    write(manifest, &onnx(manifest.labels.len()), &[], vocabulary().as_bytes(), golden).unwrap()
}

/// Returns a bundle whose model fails on a comma, the last piece, unless it is the first token. Loading tries it only
/// there, and so does not notice.
pub fn failing_on_commas(manifest: &Manifest) -> Vec<u8> {
    let mut model = ModelProto::decode(&*onnx(manifest.labels.len())).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let embeddings = &mut graph.initializer[0];
    embeddings.dims[0] -= 1;
    embeddings.float_data.truncate((embeddings.dims[0] * embeddings.dims[1]) as usize);
    let integer = |name: &str, i| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: tensor_proto::DataType::Int64 as i32,
        int64_data: vec![i],
        ..Default::default()
    };
    graph.initializer.extend([integer("one", 1), integer("end", i64::MAX)]);
    let slice = NodeProto {
        op_type: "Slice".into(),
        name: "Slice".into(),
        input: ["input_ids", "one", "end", "one"].map(String::from).into(),
        output: vec!["but the first".into()],
        ..Default::default()
    };
    graph.node[0].input[1] = "but the first".into();
    graph.node.insert(0, slice);
    write(manifest, &model.encode_to_vec(), &[], vocabulary().as_bytes(), &[]).unwrap()
}

/// Returns a graph that gathers embeddings and takes the mean over the tokens.
fn onnx(classes: usize) -> Vec<u8> {
    let rows = PIECES.iter().flat_map(|(_, row)| &row[2 - classes..]).copied().collect();
    let embeddings = TensorProto {
        name: "embeddings".into(),
        dims: vec![PIECES.len() as i64, classes as i64],
        data_type: tensor_proto::DataType::Float as i32,
        float_data: rows,
        ..Default::default()
    };
    let node = |operator: &str, inputs: &[&str], output: &str, attribute| NodeProto {
        op_type: operator.into(),
        name: operator.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    };
    let integer = |name: &str, i| AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i,
        ..Default::default()
    };
    let axes = AttributeProto {
        name: "axes".into(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: vec![1],
        ..Default::default()
    };
    let graph = GraphProto {
        name: "moods".into(),
        node: vec![
            node("Gather", &["embeddings", "input_ids"], "tokens", vec![]),
            node("ReduceMean", &["tokens"], "logits", vec![axes, integer("keepdims", 0)]),
        ],
        initializer: vec![embeddings],
        input: vec![value("input_ids", tensor_proto::DataType::Int64, &[Err("batch"), Err("sequence")])],
        output: vec![value("logits", tensor_proto::DataType::Float, &[Err("batch"), Ok(classes as i64)])],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
        .encode_to_vec()
}

fn value(name: &str, element: tensor_proto::DataType, shape: &[Result<i64, &str>]) -> ValueInfoProto {
    let dim = |dim: &Result<i64, &str>| Dimension {
        denotation: String::new(),
        value: Some(match dim {
            Ok(size) => dimension::Value::DimValue(*size),
            Err(symbol) => dimension::Value::DimParam((*symbol).into()),
        }),
    };
    let tensor = type_proto::Tensor {
        elem_type: element as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            denotation: String::new(),
            value: Some(type_proto::Value::TensorType(tensor)),
        }),
        doc_string: String::new(),
    }
}
