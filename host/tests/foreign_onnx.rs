//! ONNX models exported by other tools run on tract's stock operators. The files, and the logits that PyTorch
//! gives, were recorded by `scripts/record-foreign-onnx.py`.

use goldcrest_edge::bundle::{self, Licence, Manifest, Windows};
use goldcrest_edge::decision::Task;
use goldcrest_edge::model::{Bytes, Model, Options};
use goldcrest_edge::{Classifier, classifier, tokenizer};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, attribute_proto,
    type_proto,
};

const TRANSFORMERS: &[u8] = include_bytes!("data/transformers-bert.onnx");

fn check(onnx: &[u8], types: [u8; 11], wanted: [f32; 3]) {
    let mut model = Model::load(onnx, Bytes::new(), &Options::default()).unwrap();
    let description = model.describe();
    assert!(description.fused.is_none() && description.stock.is_some(), "{description}");
    let ids: Vec<u32> = (1..12).collect();
    let mut logits = [0.0; 3];
    model.run(&ids, &types, &mut logits).unwrap();
    let difference = logits.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-5, "{logits:?}, PyTorch {wanted:?}");
    for tokens in 1..=ids.len() {
        model.run(&ids[..tokens], &types[..tokens], &mut logits).unwrap();
        assert!(logits.iter().all(|l| l.is_finite()));
    }
}

#[test]
fn a_transformers_export_runs() {
    let types = std::array::from_fn(|i| u8::from(i >= 6));
    check(TRANSFORMERS, types, [-1.619372, 1.209622, 0.685778]);
}

#[test]
fn int32_inputs_in_another_order_without_token_types_run() {
    check(include_bytes!("data/transformers-two-inputs.onnx"), [0; 11], [-1.754772, 0.647866, 0.489644]);
}

/// Returns the export of Transformers with an edit of its graph.
fn edited(edit: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(TRANSFORMERS).unwrap();
    edit(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

/// Lets the pooler read the token of this number.
fn pool(graph: &mut GraphProto, token: i64) {
    let tanh = graph.node.iter().find(|node| node.op_type == "Tanh").unwrap().input[0].clone();
    let dense = graph.node.iter().find(|node| node.output[0] == tanh).unwrap().input[0].clone();
    let pooled = graph.node.iter_mut().find(|node| node.output[0] == dense).unwrap();
    assert_eq!(pooled.op_type, "Gather");
    pooled.input[1] = "token".into();
    let (data_type, raw_data) = (DataType::Int64 as i32, token.to_le_bytes().into());
    let tensor = TensorProto { name: "token".into(), data_type, raw_data, ..Default::default() };
    graph.initializer.push(tensor);
}

/// Loads a bundle of the model, whose vocabulary has `pieces`.
fn open(onnx: &[u8], pieces: usize, max_tokens: u32, pair: bool) -> Result<Classifier, classifier::Error> {
    let manifest = Manifest {
        name: "test".into(),
        version: "0.1.0".into(),
        task: Task::SingleLabel,
        pair,
        labels: ["a", "b", "c"].map(String::from).into(),
        tokenizer: tokenizer::Settings::uncased(),
        max_tokens,
        windows: Windows::Truncate,
        decision: Default::default(),
        measured: vec![],
        licence: Licence { base_model: "none".into(), data: "none".into() },
        created_by: "a test".into(),
    };
    let mut vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n".to_string();
    (4..pieces).for_each(|i| vocabulary += &format!("piece{i}\n"));
    let bytes = bundle::write(&manifest, onnx, &[], vocabulary.as_bytes(), &[]).unwrap();
    Classifier::new(bytes, &Default::default())
}

fn is_refused(opened: Result<Classifier, classifier::Error>) -> bool {
    matches!(opened, Err(classifier::Error::Model(_)))
}

/// The model has 40 word pieces and 24 positions, but its graph does not say so.
#[test]
fn foreign_graphs_are_tried_at_both_lengths() {
    open(TRANSFORMERS, 40, 24, true).unwrap();
    assert!(is_refused(open(TRANSFORMERS, 40, 25, true)));
    // an empty text has two tokens, an empty pair three
    for (token, pair) in [(1, false), (2, true)] {
        open(&edited(|graph| pool(graph, token)), 40, 24, pair).unwrap();
        assert!(is_refused(open(&edited(|graph| pool(graph, token + 1)), 40, 24, pair)), "{token}");
    }
}

#[test]
fn foreign_graphs_are_tried_at_the_highest_id() {
    assert!(is_refused(open(TRANSFORMERS, 41, 24, true)));
    let one_type = edited(|graph| {
        let name = "bert.embeddings.token_type_embeddings.weight";
        let types = graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
        types.raw_data.truncate(types.raw_data.len() / 2);
        types.dims[0] = 1;
    });
    open(&one_type, 40, 24, false).unwrap();
    assert!(is_refused(open(&one_type, 40, 24, true)));
}

#[test]
fn unusable_foreign_graphs_are_named() {
    fn input(graph: &mut GraphProto, number: usize) -> &mut type_proto::Tensor {
        let r#type = graph.input[number].r#type.as_mut().unwrap();
        let Some(type_proto::Value::TensorType(tensor)) = &mut r#type.value else { panic!("no tensor") };
        tensor
    }
    fn rename(graph: &mut GraphProto, from: &str, to: &str) {
        let inputs = graph.input.iter_mut().map(|input| &mut input.name);
        for name in inputs.chain(graph.node.iter_mut().flat_map(|node| &mut node.input)) {
            if name == from {
                *name = to.into();
            }
        }
    }
    /// Passes the logits through another node.
    fn last(graph: &mut GraphProto, op_type: &str, more: &[&str], attribute: Vec<AttributeProto>) {
        graph.node.push(NodeProto {
            op_type: op_type.into(),
            input: ["logits"].iter().chain(more).map(|name| name.to_string()).collect(),
            output: vec!["last".into()],
            attribute,
            ..Default::default()
        });
        graph.output[0] = ValueInfoProto { name: "last".into(), ..Default::default() };
    }
    type Edit = fn(&mut GraphProto);
    let edits: [(&str, Edit); 6] = [
        ("`input_ids` has a fixed sequence length", |graph| {
            let shape = input(graph, 0).shape.as_mut().unwrap();
            shape.dim[1].value = Some(dimension::Value::DimValue(11));
        }),
        ("`attention_mask` holds F32, not integers", |graph| {
            input(graph, 1).elem_type = DataType::Float as i32;
        }),
        ("`position_ids` is not given here", |graph| rename(graph, "attention_mask", "position_ids")),
        ("`other_ids` seems to be the same as another one", |graph| {
            rename(graph, "token_type_ids", "other_ids");
        }),
        ("the first output holds F64", |graph| {
            let to = AttributeProto {
                name: "to".into(),
                r#type: attribute_proto::AttributeType::Int as i32,
                i: DataType::Double as i64,
                ..Default::default()
            };
            last(graph, "Cast", &[], vec![to]);
        }),
        ("a classifier's logits are [batch, labels]", |graph| {
            let (data_type, raw_data) = (DataType::Int64 as i32, 0i64.to_le_bytes().into());
            let axes =
                TensorProto { name: "axes".into(), dims: vec![1], data_type, raw_data, ..Default::default() };
            graph.initializer.push(axes);
            last(graph, "Unsqueeze", &["axes"], vec![]);
        }),
    ];
    for (reason, edit) in edits {
        let error = Model::load(&edited(edit), Bytes::new(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
}
