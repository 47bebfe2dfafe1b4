//! `BertForSequenceClassification` as an ONNX graph, in f32 or in int8 by the numeric contract.
//!
//! Shapes: hidden states [batch, sequence, hidden], heads [batch, heads, sequence, head size]. The int8 graph
//! expresses, in standard operators and in the same order, what the device's kernels compute. Each row of
//! activations is quantized by itself: `q = round(x * (127 / absmax))`, `y = sum(q * w) * x_scale * w_scale +
//! bias`.

use std::collections::{BTreeMap, HashMap};

use crate::bert::{Array, Config, LayerShape};
use crate::quantize::{Bits, Int8Matrix};

use super::builder::Builder;
use super::proto::{Attribute, DataType, GraphProto, ValueInfo};

/// Source and format of the linear layers and of the word and position embeddings.
pub(super) enum Matrices<'a> {
    Float,
    Int8(&'a BTreeMap<String, Int8Matrix>),
    /// int8, written as uint8 with zero point 128.
    Uint8(&'a BTreeMap<String, Int8Matrix>),
}

/// Builds the graph. `tensors` holds every f32 tensor by its Hugging Face name.
pub(super) fn graph<'a>(
    config: &Config,
    tensors: BTreeMap<String, &'a Array>,
    matrices: Matrices<'a>,
) -> GraphProto {
    let mut writer = Writer { builder: Builder::default(), tensors, matrices, quantized: HashMap::new() };
    let mut x = writer.embeddings(config);
    writer.mask();
    for (i, shape) in config.layers().into_iter().enumerate() {
        x = writer.layer(&format!("bert.encoder.layer.{i}"), shape, config, &x);
    }
    writer.head(&x);
    let mut graph = writer.builder.graph;
    graph.name = "bert".into();
    let text = [Err("batch"), Err("sequence")];
    let input = |name| ValueInfo::tensor(name, DataType::Int64, &text);
    graph.input = ["input_ids", "attention_mask", "token_type_ids"].map(input).into();
    let logits = [Err("batch"), Ok(config.num_labels())];
    graph.output = vec![ValueInfo::tensor("logits", DataType::Float, &logits)];
    graph
}

struct Writer<'a> {
    builder: Builder,
    tensors: BTreeMap<String, &'a Array>,
    matrices: Matrices<'a>,
    /// Integers and scale of each activation already quantized: queries, keys and values share one.
    quantized: HashMap<String, (String, String)>,
}

impl Writer<'_> {
    fn embeddings(&mut self, config: &Config) -> String {
        let at = "bert.embeddings";
        let words = self.word_embeddings(config);
        let name = format!("{at}.token_type_embeddings");
        let table = self.tensor(&format!("{name}.weight"));
        let types = self.builder.op(&name, "Gather", &[&table, "token_type_ids"]);
        let sum = self.builder.node(&format!("{at}.words_and_types"), "Add", &[&words, &types], vec![]);

        let name = format!("{at}.position_embeddings");
        let table = self.positions(&name);
        let shape = self.builder.op("input_ids", "Shape", &["input_ids"]);
        let (zero, one) = (self.builder.integers("zero", &[0]), self.builder.integers("one", &[1]));
        let two = self.builder.integers("two", &[2]);
        let length = self.builder.node("sequence_length", "Slice", &[&shape, &one, &two], vec![]);
        let positions = self.builder.op(&name, "Slice", &[&table, &zero, &length, &zero]);
        let sum = self.builder.op(at, "Add", &[&sum, &positions]);
        self.layer_norm(&format!("{at}.LayerNorm"), config, &sum)
    }

    fn word_embeddings(&mut self, config: &Config) -> String {
        let at = "bert.embeddings.word_embeddings";
        let key = format!("{at}.weight");
        let words = match self.matrices {
            Matrices::Float => {
                let table = self.tensor(&key);
                self.builder.op(at, "Gather", &[&table, "input_ids"])
            }
            Matrices::Int8(matrices) | Matrices::Uint8(matrices) => {
                let m = &matrices[&key];
                let b = &mut self.builder;
                let scales = b.floats(&format!("{key}_scale"), &[m.rows, 1], m.scales.iter().copied());
                let scale = b.node(&format!("{at}.scale"), "Gather", &[&scales, "input_ids"], vec![]);
                let row = match m.bits {
                    Bits::Eight => {
                        let table =
                            b.int8(&format!("{key}_int8"), &[m.rows, m.columns], m.values.iter().copied());
                        let row = b.op(at, "Gather", &[&table, "input_ids"]);
                        b.cast(&format!("{at}.Cast"), &row, DataType::Float)
                    }
                    Bits::Four => {
                        let table = b.bytes(&format!("{key}_int4"), &[m.rows, m.columns / 2], nibbles(m));
                        let row = b.op(at, "Gather", &[&table, "input_ids"]);
                        self.unpack(at, &row)
                    }
                };
                self.builder.op(at, "Mul", &[&row, &scale])
            }
        };
        match config.embedding_rank() {
            Some(_) => self.linear("bert.embeddings.word_embeddings_projection", &words),
            None => words,
        }
    }

    /// Unpacks rows of two integers per byte to f32 rows of twice the width: first the low halves of all
    /// bytes, then the high ones. Uses float arithmetic, which is exact here, because opset 17 has no 4-bit
    /// type and few runtimes can shift bytes.
    fn unpack(&mut self, at: &str, row: &str) -> String {
        let b = &mut self.builder;
        let row = b.cast(&format!("{at}.Cast"), row, DataType::Float);
        let (sixteenth, sixteen, eight) =
            (b.scalar("1/16.0", 0.0625), b.scalar("16.0", 16.0), b.scalar("8.0", 8.0));
        let shifted = b.node(&format!("{at}.shifted"), "Mul", &[&row, &sixteenth], vec![]);
        let high = b.op(at, "Floor", &[&shifted]);
        let cleared = b.node(&format!("{at}.cleared"), "Mul", &[&high, &sixteen], vec![]);
        let low = b.node(&format!("{at}.low"), "Sub", &[&row, &cleared], vec![]);
        let both =
            b.node(&format!("{at}.Concat"), "Concat", &[&low, &high], vec![Attribute::int("axis", -1)]);
        b.op(at, "Sub", &[&both, &eight])
    }

    /// Emits the position table in f32.
    fn positions(&mut self, at: &str) -> String {
        let key = format!("{at}.weight");
        let (Matrices::Int8(matrices) | Matrices::Uint8(matrices)) = self.matrices else {
            return self.tensor(&key);
        };
        let (m, b) = (&matrices[&key], &mut self.builder);
        let table = b.int8(&format!("{key}_int8"), &[m.rows, m.columns], m.values.iter().copied());
        let scales = b.floats(&format!("{key}_scale"), &[m.rows, 1], m.scales.iter().copied());
        let table = b.cast(&format!("{at}.Cast"), &table, DataType::Float);
        b.op(at, "Mul", &[&table, &scales])
    }

    /// Emits the attention bias: 0 where the mask is 1, -1e9 where it is 0.
    fn mask(&mut self) {
        let b = &mut self.builder;
        let axes = b.integers("mask_axes", &[1, 2]);
        let mask = b.op("attention_mask", "Unsqueeze", &["attention_mask", &axes]);
        let mask = b.cast("attention_mask.Cast", &mask, DataType::Float);
        let (one, far) = (b.scalar("1.0", 1.0), b.scalar("-1e9", -1e9));
        let absent = b.op("attention_mask", "Sub", &[&one, &mask]);
        b.node("mask_bias", "Mul", &[&absent, &far], vec![]);
    }

    fn layer(&mut self, at: &str, shape: LayerShape, config: &Config, x: &str) -> String {
        let context = self.attention(&format!("{at}.attention.self"), shape, x);
        let y = self.linear(&format!("{at}.attention.output.dense"), &context);
        let y = self.builder.op(&format!("{at}.attention.output"), "Add", &[&y, x]);
        let x = self.layer_norm(&format!("{at}.attention.output.LayerNorm"), config, &y);
        let y = self.linear(&format!("{at}.intermediate.dense"), &x);
        let y = self.gelu(&format!("{at}.intermediate"), &y);
        let y = self.linear(&format!("{at}.output.dense"), &y);
        let y = self.builder.op(&format!("{at}.output"), "Add", &[&y, &x]);
        self.layer_norm(&format!("{at}.output.LayerNorm"), config, &y)
    }

    fn attention(&mut self, at: &str, shape: LayerShape, x: &str) -> String {
        let LayerShape { heads, head_size, .. } = shape;
        let [q, k, v] = ["query", "key", "value"].map(|name| self.linear(&format!("{at}.{name}"), x));
        let b = &mut self.builder;
        let split =
            b.integers(&format!("heads_{heads}x{head_size}"), &[0, 0, heads as i64, head_size as i64]);
        let joined = b.integers(&format!("width_{}", heads * head_size), &[0, 0, (heads * head_size) as i64]);
        let scale = b.scalar(&format!("1/sqrt({head_size})"), 1.0 / (head_size as f32).sqrt());
        let q = b.node(&format!("{at}.query.scaled"), "Mul", &[&q, &scale], vec![]);
        // keys end up transposed, ready for the product
        let orders = [("query", q, [0, 2, 1, 3]), ("key", k, [0, 2, 3, 1]), ("value", v, [0, 2, 1, 3])];
        let [q, k, v] = orders.map(|(name, x, order)| {
            let x = b.op(&format!("{at}.{name}"), "Reshape", &[&x, &split]);
            b.transpose(&format!("{at}.{name}.Transpose"), &x, &order)
        });
        let scores = b.node(&format!("{at}.scores"), "MatMul", &[&q, &k], vec![]);
        let scores = b.op(&format!("{at}.scores"), "Add", &[&scores, "mask_bias"]);
        let softmax = vec![Attribute::int("axis", -1)];
        let weights = b.node(&format!("{at}.Softmax"), "Softmax", &[&scores], softmax);
        let context = b.node(&format!("{at}.context"), "MatMul", &[&weights, &v], vec![]);
        let context = b.transpose(&format!("{at}.context.Transpose"), &context, &[0, 2, 1, 3]);
        b.op(&format!("{at}.context"), "Reshape", &[&context, &joined])
    }

    /// Emits `x * (1 + erf(x / √2)) * 0.5`.
    fn gelu(&mut self, at: &str, x: &str) -> String {
        let b = &mut self.builder;
        let root = b.scalar("1/sqrt(2.0)", std::f32::consts::FRAC_1_SQRT_2);
        let (one, half) = (b.scalar("1.0", 1.0), b.scalar("0.5", 0.5));
        let y = b.op(at, "Mul", &[x, &root]);
        let y = b.op(at, "Erf", &[&y]);
        let y = b.op(at, "Add", &[&y, &one]);
        let y = b.node(&format!("{at}.product"), "Mul", &[x, &y], vec![]);
        b.node(&format!("{at}.gelu"), "Mul", &[&y, &half], vec![])
    }

    /// Emits the pooler over [CLS], then the classifier.
    fn head(&mut self, x: &str) {
        let first = self.builder.integer("first", 0);
        let cls =
            self.builder.node("bert.pooler.cls", "Gather", &[x, &first], vec![Attribute::int("axis", 1)]);
        let pooled = self.linear("bert.pooler.dense", &cls);
        let pooled = self.builder.op("bert.pooler", "Tanh", &[&pooled]);
        self.linear_to("classifier", &pooled, "logits");
    }

    fn layer_norm(&mut self, at: &str, config: &Config, x: &str) -> String {
        let (weight, bias) = (self.tensor(&format!("{at}.weight")), self.tensor(&format!("{at}.bias")));
        let epsilon = Attribute::float("epsilon", config.layer_norm_eps as f32);
        self.builder.node(
            at,
            "LayerNormalization",
            &[x, &weight, &bias],
            vec![Attribute::int("axis", -1), epsilon],
        )
    }

    fn linear(&mut self, at: &str, x: &str) -> String {
        self.linear_to(at, x, &format!("{at}.output"))
    }

    /// Emits `output = x Wᵀ + bias`, without the bias if the checkpoint has none.
    fn linear_to(&mut self, at: &str, x: &str, output: &str) -> String {
        let bias = format!("{at}.bias");
        let bias = self.tensors.contains_key(&bias).then(|| self.tensor(&bias));
        let product = match &bias {
            Some(_) => format!("{at}.product"),
            None => output.into(),
        };
        let weight = format!("{at}.weight");
        let y = match self.matrices {
            Matrices::Float => {
                let (dims, w) = self.transposed_weight(&weight);
                let w = self.builder.floats(&format!("{weight}_transposed"), &dims, w);
                self.builder.node(&product, "MatMul", &[x, &w], vec![])
            }
            // matrices not in int8 are stored in half precision
            Matrices::Int8(matrices) | Matrices::Uint8(matrices) if !matrices.contains_key(&weight) => {
                let (dims, w) = self.transposed_weight(&weight);
                let w = self.builder.halves(&format!("{weight}_half"), &dims, w);
                let w = self.builder.cast(&weight, &w, DataType::Float);
                self.builder.node(&product, "MatMul", &[x, &w], vec![])
            }
            Matrices::Int8(matrices) | Matrices::Uint8(matrices) => {
                let unsigned = matches!(self.matrices, Matrices::Uint8(_));
                let m = &matrices[&weight];
                let (q, x_scale) = self.quantize(x);
                let b = &mut self.builder;
                let w = transposed(&m.values, m.rows, m.columns);
                let (name, dims) = (format!("{weight}_int8"), [m.columns, m.rows]);
                let w = match unsigned {
                    true => b.bytes(&name, &dims, w.map(|v| v as u8 ^ 128).collect()),
                    false => b.int8(&name, &dims, w),
                };
                let w_scale = b.floats(&format!("{weight}_scale"), &[m.rows], m.scales.iter().copied());
                let zero = b.byte("128_uint8", 128);
                let inputs: [&str; 4] = [&q, &w, &zero, &zero];
                let sum = b.op(at, "MatMulInteger", &inputs[..if unsigned { 4 } else { 3 }]);
                let sum = b.cast(&format!("{at}.Cast"), &sum, DataType::Float);
                // Not by the product of both scales: ONNX Runtime (1.32) fuses that form into
                // MatMulIntegerToFloat and loses the bias.
                let sum = b.op(at, "Mul", &[&sum, &x_scale]);
                b.node(&product, "Mul", &[&sum, &w_scale], vec![])
            }
        };
        match bias {
            Some(bias) => self.builder.node(output, "Add", &[&y, &bias], vec![]),
            None => y,
        }
    }

    /// Returns a weight matrix [n, k] as [k, n].
    fn transposed_weight(&self, name: &str) -> ([usize; 2], Vec<f32>) {
        let weight = self.tensors[name];
        let (n, k) = weight.dims2();
        ([k, n], transposed(&weight.data, n, k).collect())
    }

    /// Quantizes the rows of `x` to uint8 with zero point 128, which holds the integers ±127; returns these
    /// and the scale of each row. (ONNX Runtime has no fast path for int8 activations.)
    fn quantize(&mut self, x: &str) -> (String, String) {
        if let Some(done) = self.quantized.get(x) {
            return done.clone();
        }
        let b = &mut self.builder;
        let at = format!("{x}.quantized");
        let (floor, full, zero) =
            (b.scalar("1e-12", 1e-12), b.scalar("127.0", 127.0), b.scalar("128.0", 128.0));
        let low = b.scalar("-127.0", -127.0);
        let absmax = b.op(&at, "Abs", &[x]);
        let last = vec![Attribute::ints("axes", &[-1]), Attribute::int("keepdims", 1)];
        let absmax = b.node(&format!("{at}.ReduceMax"), "ReduceMax", &[&absmax], last);
        let absmax = b.node(&format!("{at}.absmax"), "Max", &[&absmax, &floor], vec![]);
        let scale = b.node(&format!("{at}.scale"), "Div", &[&absmax, &full], vec![]);
        let inverse = b.node(&format!("{at}.inverse"), "Div", &[&full, &absmax], vec![]);
        let q = b.op(&at, "Mul", &[x, &inverse]);
        let q = b.op(&at, "Round", &[&q]);
        let q = b.op(&at, "Clip", &[&q, &low, &full]);
        let q = b.op(&at, "Add", &[&q, &zero]);
        let q = b.cast(&at, &q, DataType::Uint8);
        self.quantized.insert(x.into(), (q.clone(), scale.clone()));
        (q, scale)
    }

    /// Returns the f32 tensor of this name as a constant.
    fn tensor(&mut self, name: &str) -> String {
        let array = self.tensors[name];
        self.builder.floats(name, &array.shape, array.data.iter().copied())
    }
}

/// Packs two integers, offset by 8, per byte: the left half of a row in the low bits, the right half in the
/// high bits.
fn nibbles(m: &Int8Matrix) -> Vec<u8> {
    let nibble = |q: &i8| (q + 8) as u8;
    let row = |row: &[i8]| -> Vec<u8> {
        let (low, high) = row.split_at(m.columns / 2);
        low.iter().zip(high).map(|(low, high)| nibble(low) | nibble(high) << 4).collect()
    };
    m.values.chunks_exact(m.columns).flat_map(row).collect()
}

/// Transposes [n, k] to [k, n], the order of ONNX's MatMul.
fn transposed<T: Copy>(data: &[T], n: usize, k: usize) -> impl Iterator<Item = T> {
    (0..n * k).map(move |i| data[i % n * k + i / n])
}
