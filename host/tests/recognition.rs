//! Which graphs are fused, and which are refused or left to stock operators.

mod support;

use goldcrest::export::{self, Onnx};
use goldcrest::quantize::{Bits, quantize};
use goldcrest_edge::bundle::{self, Manifest};
use goldcrest_edge::decision::Task;
use goldcrest_edge::kernels::Isa;
use goldcrest_edge::model::{Bytes, Error, Model, Options};
use goldcrest_edge::{Classifier, classifier};
use prost::Message;
use std::collections::HashSet;
use support::{SHAPES, Shape, checkpoint, checkpoint_with_pieces, int8, manifest};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto, attribute_proto};

/// An exported graph, to be edited. The end of a name stands for the only node or constant whose name ends so.
struct Graph(ModelProto);

impl Graph {
    fn of(onnx: Onnx) -> Graph {
        Graph(ModelProto::decode(&*onnx.to_bytes()).unwrap())
    }

    fn nodes(&mut self) -> &mut Vec<NodeProto> {
        &mut self.0.graph.as_mut().unwrap().node
    }

    fn constants(&mut self) -> &mut Vec<TensorProto> {
        &mut self.0.graph.as_mut().unwrap().initializer
    }

    fn node(&mut self, name: &str) -> &mut NodeProto {
        let mut found = self.nodes().iter_mut().filter(|node| node.name.ends_with(name));
        let node = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "two {name}");
        node
    }

    fn constant(&mut self, name: &str) -> &mut TensorProto {
        let mut found = self.constants().iter_mut().filter(|tensor| tensor.name.ends_with(name));
        let tensor = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "two {name}");
        tensor
    }

    /// Lets an input of a node be another value.
    fn input(&mut self, node: &str, number: usize, value: &str) {
        self.node(node).input[number] = value.into();
    }

    /// Lets all nodes whose names begin with `nodes` read another value.
    fn rename(&mut self, nodes: &str, from: &str, to: &str) {
        let all = self.nodes().iter_mut().filter(|node| node.name.starts_with(nodes));
        for input in all.flat_map(|node| &mut node.input).filter(|input| *input == from) {
            *input = to.into();
        }
    }

    fn attribute(&mut self, node: &str, name: &str) -> &mut AttributeProto {
        let attributes = &mut self.node(node).attribute;
        let at = attributes.iter().position(|attribute| attribute.name == name).unwrap_or_else(|| {
            let r#type = attribute_proto::AttributeType::Int as i32;
            attributes.push(AttributeProto { name: name.into(), r#type, ..Default::default() });
            attributes.len() - 1
        });
        &mut attributes[at]
    }

    fn add(&mut self, name: &str, data_type: DataType, dims: &[i64], raw_data: Vec<u8>) {
        let (name, data_type, dims) = (name.into(), data_type as i32, dims.to_vec());
        self.constants().push(TensorProto { name, data_type, dims, raw_data, ..Default::default() });
    }

    /// Gives a constant another shape, by cutting it off or adding zeros.
    fn resize(&mut self, constant: &str, dims: &[i64]) {
        let tensor = self.constant(constant);
        let size = tensor.raw_data.len() / tensor.dims.iter().product::<i64>() as usize;
        tensor.raw_data.resize(size * dims.iter().product::<i64>() as usize, 0);
        tensor.dims = dims.to_vec();
    }

    /// Puts zeros in half precision in the place of an int8 matrix of attention.
    fn halve(&mut self, part: &str) {
        self.add("half", DataType::Float16, &[32, 32], vec![0; 2 * 32 * 32]);
        let mut wide = self.node("value.Cast").clone();
        (wide.name, wide.input, wide.output) = ("wide".into(), vec!["half".into()], vec!["wide".into()]);
        self.nodes().push(wide);
        let product = self.node(&format!("{part}.product"));
        product.op_type = "MatMul".into();
        product.input = ["bert.embeddings.LayerNorm", "wide"].map(String::from).into();
    }

    /// Checks that every value which a node reads is there.
    fn is_whole(&self) -> bool {
        let graph = self.0.graph.as_ref().unwrap();
        let given =
            graph.input.iter().map(|value| &value.name).chain(graph.initializer.iter().map(|t| &t.name));
        let given: HashSet<&String> = given.chain(graph.node.iter().flat_map(|node| &node.output)).collect();
        graph.node.iter().flat_map(|node| &node.input).all(|name| name.is_empty() || given.contains(name))
    }

    fn load(&self, options: &Options) -> Result<Model, Error> {
        Model::load(&self.0.encode_to_vec(), Bytes::new(), options)
    }
}

fn raw(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

type Edits<'a> = &'a [(&'a str, fn(&mut Graph))];

/// Each edit makes another function of the graph, or one that only looks like a classifier.
#[test]
fn different_computations_are_not_fused() {
    let any: Edits = &[
        ("another opset", |g| g.0.opset_import[0].version = 18),
        ("no mask", |g| g.rename("", "attention_mask", "token_type_ids")),
        ("a mask counted from 2", |g| {
            g.add("2.0", DataType::Float, &[], 2f32.to_le_bytes().into());
            g.input("attention_mask.Sub", 0, "2.0");
        }),
        ("ids and types exchanged", |g| {
            g.rename("", "input_ids", "x");
            g.rename("", "token_type_ids", "input_ids");
            g.rename("", "x", "token_type_ids");
        }),
        ("types that are a constant", |g| g.add("token_type_ids", DataType::Int64, &[1, 1], raw(&[0]))),
        ("scales of other ids", |g| g.input("word_embeddings.scale", 1, "token_type_ids")),
        ("columns of a table", |g| g.attribute("token_type_embeddings.Gather", "axis").i = 1),
        ("positions from 1", |g| g.input("position_embeddings.Slice", 1, "one")),
        ("a slice of the width", |g| g.input("position_embeddings.Slice", 3, "one")),
        ("the number of texts", |g| g.input("sequence_length", 1, "zero")),
        ("nothing of the shape", |g| g.input("sequence_length", 2, "one")),
        ("the length of the types", |g| g.input("input_ids.Shape", 0, "token_type_ids")),
        ("no layer", |g| g.input("pooler.cls", 0, "bert.embeddings.LayerNorm")),
        ("the second token", |g| g.constant("first").raw_data = raw(&[1])),
        ("the first text", |g| g.attribute("pooler.cls", "axis").i = 0),
        ("a norm over the tokens", |g| g.attribute("embeddings.LayerNorm", "axis").i = 1),
        ("a norm in half precision", |g| g.attribute("embeddings.LayerNorm", "stash_type").i = 10),
        ("a negative epsilon", |g| g.attribute("embeddings.LayerNorm", "epsilon").f = -1.0),
        ("an infinite epsilon", |g| g.attribute("embeddings.LayerNorm", "epsilon").f = f32::INFINITY),
        ("the mean of a norm", |g| {
            let norm = g.node("0.output.LayerNorm");
            let normalized = norm.output[0].clone();
            norm.output.push("mean".into());
            g.rename("", &normalized, "mean");
        }),
        ("a cycle", |g| g.rename("", "bert.embeddings.LayerNorm", "bert.encoder.layer.0.output.LayerNorm")),
        ("a softmax of someone else", |g| g.node("Softmax").domain = "com.example".into()),
        ("a softmax over the queries", |g| g.attribute("Softmax", "axis").i = 2),
        ("zeros in a shape", |g| g.attribute("query.Reshape", "allowzero").i = 1),
        ("other heads of keys", |g| {
            g.add("heads", DataType::Int64, &[4], raw(&[0, 0, 4, 8]));
            g.input("key.Reshape", 1, "heads");
        }),
        ("other heads of values", |g| {
            g.add("heads", DataType::Int64, &[4], raw(&[0, 0, 4, 8]));
            g.input("value.Reshape", 1, "heads");
        }),
        ("heads that become tokens", |g| g.constant("width_32").raw_data = raw(&[0, -1, 16])),
        ("attention to another value", |g| {
            g.rename(
                "bert.embeddings.LayerNorm.quantized",
                "bert.embeddings.LayerNorm",
                "bert.embeddings.Add",
            );
        }),
        ("an intermediate layer that skips attention", |g| {
            let attended = "bert.encoder.layer.0.attention.output.LayerNorm";
            g.rename(&format!("{attended}.quantized"), attended, "bert.embeddings.LayerNorm");
        }),
        ("values in half precision", |g| g.halve("value")),
        ("another activation", |g| {
            g.input("intermediate.Mul", 0, "bert.encoder.layer.0.intermediate.dense.product");
        }),
        ("another zero point", |g| g.constant("128_uint8").raw_data = vec![127]),
        ("a lower bound of nothing", |g| g.input("embeddings.LayerNorm.quantized.Clip", 1, "-1e9")),
        ("an upper bound of 128", |g| g.input("embeddings.LayerNorm.quantized.Clip", 2, "128.0")),
        ("127 integers", |g| g.input("embeddings.LayerNorm.quantized.inverse", 0, "128.0")),
        ("a scale of 128", |g| g.input("embeddings.LayerNorm.quantized.scale", 1, "128.0")),
        ("a scale without a floor", |g| {
            let largest = "bert.embeddings.LayerNorm.quantized.ReduceMax";
            g.input("embeddings.LayerNorm.quantized.scale", 0, largest);
        }),
        ("scales of columns", |g| {
            g.attribute("embeddings.LayerNorm.quantized.ReduceMax", "axes").ints = vec![1];
        }),
        ("scales of all but a dimension", |g| {
            g.attribute("embeddings.LayerNorm.quantized.ReduceMax", "keepdims").i = 0;
        }),
        ("scales of another value", |g| {
            g.input("embeddings.LayerNorm.quantized.Abs", 0, "bert.embeddings.Add");
        }),
        ("a number that is none", |g| {
            g.constant("pooler.dense.bias").raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
        ("a scale that is none", |g| {
            let scales = g.constant("word_embeddings.weight_scale");
            scales.raw_data[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        }),
        ("a position that is none", |g| {
            g.add("table", DataType::Float, &[40, 32], f32::NAN.to_le_bytes().repeat(40 * 32));
            g.input("position_embeddings.Slice", 0, "table");
        }),
    ];
    // constants that do not fit each other
    let sizes: Edits = &[
        ("too few scales of words", |g| g.resize("word_embeddings.weight_scale", &[96, 1])),
        ("one row of scales of words", |g| g.resize("word_embeddings.weight_scale", &[1, 97])),
        ("narrow words", |g| g.resize("word_embeddings.weight_int8", &[97, 16])),
        ("narrow types", |g| g.resize("token_type_embeddings.weight", &[2, 16])),
        ("narrow positions", |g| g.resize("position_embeddings.weight_int8", &[40, 16])),
        ("too few scales of positions", |g| g.resize("position_embeddings.weight_scale", &[20, 1])),
        ("one row of scales of positions", |g| g.resize("position_embeddings.weight_scale", &[1, 40])),
        ("narrow positions in f32", |g| {
            g.add("table", DataType::Float, &[40, 16], vec![0; 4 * 40 * 16]);
            g.input("position_embeddings.Slice", 0, "table");
        }),
        ("a short query", |g| g.resize("query.weight_int8", &[16, 32])),
        ("a short attention output", |g| g.resize("attention.output.dense.weight_int8", &[16, 32])),
        ("a short intermediate layer", |g| g.resize("intermediate.dense.weight_int8", &[16, 64])),
        ("a short output", |g| g.resize("0.output.dense.weight_int8", &[32, 32])),
        ("a wide pooler", |g| {
            g.resize("pooler.dense.weight_int8", &[32, 64]);
            g.resize("pooler.dense.weight_scale", &[64]);
            g.resize("pooler.dense.bias", &[64]);
            g.resize("classifier.weight_int8", &[64, 2]);
        }),
        ("a short classifier", |g| g.resize("classifier.weight_int8", &[16, 2])),
    ];
    let four_bits: Edits = &[
        ("low halves of other bytes", |g| {
            g.input("word_embeddings.shifted", 0, "bert.embeddings.token_type_embeddings.Gather");
        }),
        ("eight instead of sixteen", |g| g.input("word_embeddings.cleared", 1, "8.0")),
        ("bytes that are not cleared", |g| {
            g.input("word_embeddings.cleared", 0, "bert.embeddings.word_embeddings.shifted");
        }),
        ("halves one after the other", |g| g.attribute("word_embeddings.Concat", "axis").i = 1),
        ("sixteen instead of eight", |g| g.input("word_embeddings.Sub", 1, "16.0")),
    ];
    let projected: Edits =
        &[("a short projection", |g| g.resize("word_embeddings_projection.weight_int8", &[10, 64]))];
    let four = || export::int8(&quantize(&checkpoint(&SHAPES[0], 7), Bits::Four).unwrap());
    let eight = |shape| move || int8(&SHAPES[shape]);
    let tables: [(&dyn Fn() -> Onnx, Edits); 4] =
        [(&eight(0), any), (&eight(0), sizes), (&four, four_bits), (&eight(4), projected)];
    let fused =
        |graph: &Graph| graph.load(&Options::default()).is_ok_and(|model| model.describe().fused.is_some());
    for (onnx, edits) in tables {
        assert!(fused(&Graph::of(onnx())));
        for (name, edit) in edits {
            let mut graph = Graph::of(onnx());
            edit(&mut graph);
            assert!(graph.is_whole() && !fused(&graph), "{name}");
        }
    }
}

/// They are computed together. The kernels would refuse them too, but not before everything is packed.
#[test]
fn keys_and_values_are_of_one_precision() {
    for part in ["key", "value"] {
        let mut graph = Graph::of(int8(&SHAPES[0]));
        graph.halve(part);
        let stock = graph.load(&Options::default()).unwrap().describe().stock;
        assert!(stock.as_deref().is_some_and(|why| why.contains("not of one precision")), "{stock:?}");
    }
}

/// Returns a graph whose layers all use the constants of the first, and the length at which a file of it is as
/// large as its weights may be.
fn with_shared_layers(shape: &Shape) -> (Vec<u8>, usize) {
    let mut graph = Graph::of(int8(shape));
    for layer in 1..shape.layers.len() {
        let own = format!("bert.encoder.layer.{layer}.");
        let is_constant = |tensor: &TensorProto| tensor.name.starts_with(&own);
        let names: Vec<_> = graph.constants().extract_if(.., |tensor| is_constant(tensor)).collect();
        for tensor in names {
            graph.rename(&own, &tensor.name, &tensor.name.replace(&own, "bert.encoder.layer.0."));
        }
    }
    let hidden = shape.hidden;
    let layers: usize = shape.layers.iter().map(|(_, inner)| 4 * hidden * hidden + 2 * hidden * inner).sum();
    (graph.0.encode_to_vec(), (layers + hidden * hidden + hidden * shape.labels) / 4)
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

fn is_fused(graph: &[u8], external: usize, isa: Isa) -> bool {
    let options = Options { isa: Some(isa), ..Default::default() };
    let model = Model::load(graph, vec![0; external].into(), &options).unwrap();
    model.describe().fused.is_some()
}

const SHARED: Shape = Shape {
    name: "layers that share their weights",
    vocabulary: 8,
    hidden: 120,
    head_size: 30,
    layers: &[(4, 2000); 6],
    rank: None,
    pooler: None,
    positions: 4,
    labels: 2,
};

/// A small file must not take many times its size once it is packed. All processors agree on which is too small.
#[test]
fn shared_weights_are_not_multiplied() {
    let (graph, least) = with_shared_layers(&SHARED);
    for isa in available() {
        assert!(is_fused(&graph, least - graph.len(), isa), "{isa}");
        assert!(!is_fused(&graph, least - graph.len() - 1, isa), "{isa}");
    }
}

/// Kernels that pad rows to 64 weights take eight times as many.
#[test]
fn a_tiny_model_is_fused_despite_padding() {
    let tiny = Shape { hidden: 8, head_size: 4, layers: &[(2, 16000); 10], ..SHARED };
    let (graph, least) = with_shared_layers(&tiny);
    for isa in available() {
        assert!(is_fused(&graph, least - graph.len(), isa), "{isa}");
    }
}

/// Bounds on what is copied before anything is packed.
#[test]
fn a_graph_does_not_fill_the_memory_while_it_is_looked_at() {
    let with_outputs = |outputs: i64| {
        let mut graph = Graph::of(int8(&SHAPES[0]));
        graph.resize("0.intermediate.dense.weight_int8", &[32, outputs]);
        graph.resize("0.intermediate.dense.weight_scale", &[outputs]);
        graph.resize("0.intermediate.dense.bias", &[outputs]);
        graph.resize("0.output.dense.weight_int8", &[outputs, 32]);
        graph.load(&Options::default()).unwrap().describe().stock
    };
    assert_eq!(with_outputs(60_000), None);
    let stock = with_outputs(70_000).unwrap();
    assert!(stock.contains("is 70000 by 32"), "{stock}");
    // scales and biases that all layers share are copied for each
    let (graph, _) =
        with_shared_layers(&Shape { hidden: 8, head_size: 4, layers: &[(2, 60_000); 16], ..SHARED });
    let stock = Model::load(&graph, Bytes::new(), &Options::default()).unwrap().describe().stock;
    assert!(stock.as_deref().is_some_and(|why| why.contains("constants are used too often")), "{stock:?}");
}

#[test]
fn too_many_nodes_are_refused() {
    let mut graph = Graph::of(int8(&SHAPES[0]));
    graph.nodes().resize(8001, NodeProto::default());
    let error = graph.load(&Options::default()).unwrap_err().to_string();
    assert!(error.contains("8001 nodes, more than 8000"), "{error}");
}

/// A text could need any row that the bundle asks for.
#[test]
fn a_bundle_asks_for_no_more_rows_than_its_model_has() {
    let whole = checkpoint_with_pieces(&SHAPES[0], 7);
    let mut graph = Graph::of(int8(&SHAPES[0]));
    graph.resize("token_type_embeddings.weight", &[1, 32]);
    let missing = |more: &str, alter: fn(&mut Manifest)| {
        let mut manifest = manifest(&whole, Task::SingleLabel);
        alter(&mut manifest);
        let vocabulary = whole.tokenizer.vocab.clone() + more;
        let graph = graph.0.encode_to_vec();
        let bytes = bundle::write(&manifest, &graph, &[], vocabulary.as_bytes(), &[]).unwrap();
        match Classifier::new(bytes, &Default::default()) {
            Ok(_) => None,
            Err(classifier::Error::Rows { what, asked, rows }) => Some((what, asked, rows)),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(missing("", |_| ()), None);
    assert_eq!(missing("another\n", |_| ()), Some(("word pieces", 98, 97)));
    assert_eq!(missing("", |m| m.pair = true), Some(("token types", 2, 1)));
    assert_eq!(missing("", |m| m.max_tokens = 41), Some(("positions", 41, 40)));
}
