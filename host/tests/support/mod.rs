//! Small random BERT classifiers, and a reference forward pass in plain f64 loops for exports and kernels.
#![allow(dead_code)]

use std::collections::BTreeMap;

use goldcrest::bert::{Array, Checkpoint, Config, StudentShape, TokenizerFiles};
use goldcrest::export::{self, Onnx};
use goldcrest::quantize::{Bits, quantize};
use goldcrest_edge::bundle::{Licence, Manifest, Windows};
use goldcrest_edge::decision::Task;

/// Reports a skipped test even where the harness captures output.
#[allow(clippy::explicit_write)]
pub fn skip(why: std::fmt::Arguments) {
    use std::io::Write;
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

/// The splitmix64 generator (Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Uniform within ±1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// The shape of a classifier; layers as (heads, intermediate).
pub struct Shape {
    pub name: &'static str,
    pub vocabulary: usize,
    pub hidden: usize,
    pub head_size: usize,
    pub layers: &'static [(usize, usize)],
    pub rank: Option<usize>,
    pub pooler: Option<usize>,
    pub positions: usize,
    pub labels: usize,
}

/// Shapes of plain models and of every kind of student.
pub const SHAPES: [Shape; 6] = [
    Shape {
        name: "one plain layer",
        vocabulary: 97,
        hidden: 32,
        head_size: 16,
        layers: &[(2, 64)],
        rank: None,
        pooler: None,
        positions: 40,
        labels: 2,
    },
    Shape {
        name: "nine plain layers, regression",
        vocabulary: 50,
        hidden: 48,
        head_size: 12,
        layers: &[(4, 96); 9],
        rank: None,
        pooler: None,
        positions: 24,
        labels: 1,
    },
    Shape {
        name: "large constants, longer than a block",
        vocabulary: 700,
        hidden: 128,
        head_size: 32,
        layers: &[(4, 256), (4, 256)],
        rank: None,
        pooler: None,
        positions: 150,
        labels: 5,
    },
    Shape {
        name: "student: fewer heads",
        vocabulary: 120,
        hidden: 64,
        head_size: 16,
        layers: &[(3, 128), (2, 128), (1, 128)],
        rank: None,
        pooler: None,
        positions: 33,
        labels: 3,
    },
    Shape {
        name: "student: factorised embeddings",
        vocabulary: 300,
        hidden: 64,
        head_size: 32,
        layers: &[(2, 100), (2, 100)],
        rank: Some(20),
        pooler: Some(24),
        positions: 70,
        labels: 4,
    },
    Shape {
        name: "student: everything, odd sizes",
        vocabulary: 211,
        hidden: 60,
        head_size: 10,
        layers: &[(5, 77), (2, 33), (6, 130), (1, 17)],
        rank: Some(13),
        pooler: Some(7),
        positions: 67,
        labels: 3,
    },
];

/// Makes a checkpoint of this shape with random weights.
pub fn checkpoint(shape: &Shape, seed: u64) -> Checkpoint {
    let plain = shape.hidden.is_multiple_of(shape.head_size)
        && shape.rank.is_none()
        && shape.pooler.is_none()
        && shape.layers.iter().all(|l| *l == shape.layers[0] && l.0 * shape.head_size == shape.hidden);
    let student = StudentShape {
        head_size: shape.head_size,
        heads: shape.layers.iter().map(|l| l.0).collect(),
        intermediate: shape.layers.iter().map(|l| l.1).collect(),
        embedding_rank: shape.rank,
        pooler: shape.pooler,
    };
    let config = Config {
        vocab_size: shape.vocabulary,
        hidden_size: shape.hidden,
        num_hidden_layers: shape.layers.len(),
        num_attention_heads: shape.hidden / shape.head_size,
        intermediate_size: shape.layers.iter().map(|l| l.1).max().unwrap(),
        hidden_act: "gelu".into(),
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        max_position_embeddings: shape.positions,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
        classifier_dropout: None,
        id2label: (0..shape.labels).map(|i| (i, format!("label {i}"))).collect(),
        label2id: BTreeMap::new(),
        problem_type: None,
        compares_pairs: false,
        input: None,
        goldcrest: (!plain).then_some(student),
        relative_attention_num_buckets: None,
        extra: Default::default(),
    };
    let mut random = Random(seed);
    let mut tensors = BTreeMap::new();
    for (name, dims) in Checkpoint::shapes(&config) {
        let (centre, spread) = match () {
            _ if name.ends_with("LayerNorm.weight") => (1.0, 0.2),
            _ if name.ends_with("bias") => (0.0, 0.2),
            _ if name.contains("embeddings.weight") => (0.0, 1.0),
            _ => (0.0, 2.5 / (dims[1] as f32).sqrt()),
        };
        let data = (0..dims.iter().product()).map(|_| centre + spread * random.float()).collect();
        tensors.insert(name, Array { shape: dims, data });
    }
    let tokenizer = TokenizerFiles {
        vocab: String::new(),
        lowercase: true,
        strip_accents: None,
        chinese_chars: true,
        max_length: shape.positions,
    };
    Checkpoint { config, tensors, tokenizer }
}

/// Makes ids and token type ids of a random text.
pub fn text(random: &mut Random, vocabulary: usize, tokens: usize) -> (Vec<u32>, Vec<u8>) {
    let second = random.below(tokens + 1);
    let ids = (0..tokens).map(|_| random.below(vocabulary) as u32).collect();
    (ids, (0..tokens).map(|i| u8::from(i >= second)).collect())
}

type Matrix = Vec<Vec<f64>>;

/// The forward pass in f64. With `int8`, weights and the inputs of linear layers are rounded to the numeric contract.
pub struct Naive<'a> {
    pub checkpoint: &'a Checkpoint,
    pub int8: bool,
    /// Keeps the word embeddings unrounded even with `int8`.
    pub words_as_they_are: bool,
}

impl Naive<'_> {
    pub fn logits(&self, ids: &[u32], types: &[u8]) -> Vec<f64> {
        let e = "bert.embeddings";
        let name = format!("{e}.word_embeddings.weight");
        let words = if self.words_as_they_are { self.table(&name) } else { self.weights(&name) };
        let mut x: Matrix = ids.iter().map(|&id| words[id as usize].clone()).collect();
        if self.checkpoint.config.embedding_rank().is_some() {
            x = self.linear(&format!("{e}.word_embeddings_projection"), &x);
        }
        let type_table = self.table(&format!("{e}.token_type_embeddings.weight"));
        let positions = self.weights(&format!("{e}.position_embeddings.weight"));
        for (i, row) in x.iter_mut().enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v += type_table[usize::from(types[i])][j] + positions[i][j];
            }
        }
        self.norm(&format!("{e}.LayerNorm"), &mut x);
        for (i, shape) in self.checkpoint.config.layers().into_iter().enumerate() {
            let at = format!("bert.encoder.layer.{i}");
            let [q, k, v] =
                ["query", "key", "value"].map(|n| self.linear(&format!("{at}.attention.self.{n}"), &x));
            let context = attention(&q, &k, &v, shape.heads, shape.head_size);
            let y = self.linear(&format!("{at}.attention.output.dense"), &context);
            add(&mut x, &y);
            self.norm(&format!("{at}.attention.output.LayerNorm"), &mut x);
            let mut y = self.linear(&format!("{at}.intermediate.dense"), &x);
            y.iter_mut().flatten().for_each(|v| *v *= 0.5 * (1.0 + erf(*v / 2f64.sqrt())));
            add(&mut x, &self.linear(&format!("{at}.output.dense"), &y));
            self.norm(&format!("{at}.output.LayerNorm"), &mut x);
        }
        let mut pooled = self.linear("bert.pooler.dense", &x[..1].to_vec());
        pooled[0].iter_mut().for_each(|v| *v = v.tanh());
        self.linear("classifier", &pooled).remove(0)
    }

    fn table(&self, name: &str) -> Matrix {
        let array = &self.checkpoint.tensors[name];
        let (_, columns) = array.dims2();
        array.data.chunks(columns).map(|r| r.iter().map(|&v| v.into()).collect()).collect()
    }

    fn weights(&self, name: &str) -> Matrix {
        let mut table = self.table(name);
        if self.int8 {
            table.iter_mut().for_each(|row| round_to_int8(row));
        }
        table
    }

    fn linear(&self, at: &str, x: &Matrix) -> Matrix {
        let weights = self.weights(&format!("{at}.weight"));
        let bias = self.checkpoint.tensors.get(&format!("{at}.bias"));
        let row = |x: &Vec<f64>| {
            let mut x = x.clone();
            if self.int8 {
                round_to_int8(&mut x);
            }
            let dot = |w: &Vec<f64>| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
            let y = weights.iter().map(dot);
            y.enumerate().map(|(j, y)| y + bias.map_or(0.0, |b| b.data[j].into())).collect()
        };
        x.iter().map(row).collect()
    }

    fn norm(&self, at: &str, x: &mut Matrix) {
        let [gamma, beta] = ["weight", "bias"].map(|n| self.table(&format!("{at}.{n}")).remove(0));
        let epsilon = self.checkpoint.config.layer_norm_eps;
        for row in x {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            for (j, v) in row.iter_mut().enumerate() {
                *v = (*v - mean) / (variance + epsilon).sqrt() * gamma[j] + beta[j];
            }
        }
    }
}

fn round_to_int8(row: &mut [f64]) {
    let absmax = row.iter().fold(0f64, |m, v| m.max(v.abs()));
    if absmax > 0.0 {
        row.iter_mut().for_each(|v| *v = (*v / absmax * 127.0).round_ties_even() * absmax / 127.0);
    }
}

fn attention(q: &Matrix, k: &Matrix, v: &Matrix, heads: usize, size: usize) -> Matrix {
    let mut out = vec![vec![0.0; heads * size]; q.len()];
    for head in 0..heads {
        let part = head * size..(head + 1) * size;
        for (q, out) in q.iter().zip(&mut out) {
            let dot = |k: &Vec<f64>| part.clone().map(|j| q[j] * k[j]).sum::<f64>() / (size as f64).sqrt();
            let scores: Vec<f64> = k.iter().map(dot).collect();
            let highest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for j in part.clone() {
                out[j] = v.iter().zip(&weights).map(|(v, w)| v[j] * w / sum).sum();
            }
        }
    }
    out
}

fn add(x: &mut Matrix, y: &Matrix) {
    for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
        *x += y;
    }
}

/// Computes erf x = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!, with all terms of one sign (Abramowitz and Stegun
/// 7.1.6).
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp()
}

/// Returns the largest absolute difference of two vectors.
pub fn difference(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

/// Makes a checkpoint with a vocabulary that texts can be written in: `piece5`, `piece6`, … after the special
/// pieces.
pub fn checkpoint_with_pieces(shape: &Shape, seed: u64) -> Checkpoint {
    let mut model = checkpoint(shape, seed);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let pieces = (special.len()..shape.vocabulary).map(|i| format!("piece{i}"));
    model.tokenizer.vocab = special.into_iter().chain(pieces).map(|piece| piece + "\n").collect();
    model
}

/// The matrices of a [`spoiled`] model.
pub const SPOILED: [&str; 2] =
    ["bert.encoder.layer.0.intermediate.dense.weight", "bert.encoder.layer.1.intermediate.dense.weight"];

/// Makes a random classifier in which two matrices have large weights for an input that is always zero. They
/// are harmless in f32, but determine the int8 scale of all other weights, and no training changes them.
pub fn spoiled() -> Checkpoint {
    let shape = &SHAPES[2];
    let mut model = checkpoint_with_pieces(shape, 7);
    model
        .config
        .set_labels(&(0..shape.labels).map(|i| format!("label{i}")).collect::<Vec<_>>(), Task::SingleLabel);
    for matrix in SPOILED {
        let layer = matrix.strip_suffix("intermediate.dense.weight").unwrap();
        for part in ["weight", "bias"] {
            let name = format!("{layer}attention.output.LayerNorm.{part}");
            model.tensors.get_mut(&name).unwrap().data[0] = 0.0;
        }
        let rows = model.tensors.get_mut(matrix).unwrap().data.chunks_exact_mut(shape.hidden);
        rows.for_each(|row| row[0] = 500.0);
    }
    model
}

/// Returns the int8 graph of a checkpoint of this shape.
pub fn int8(shape: &Shape) -> Onnx {
    export::int8(&quantize(&checkpoint(shape, 7), Bits::Eight).unwrap())
}

/// Returns a manifest that fits a checkpoint.
pub fn manifest(checkpoint: &Checkpoint, task: Task) -> Manifest {
    Manifest {
        name: "test".into(),
        version: "0.1.0".into(),
        task,
        pair: false,
        labels: checkpoint.config.labels(),
        tokenizer: checkpoint.tokenizer.settings(),
        max_tokens: checkpoint.config.max_position_embeddings as u32,
        windows: Windows::Truncate,
        decision: Default::default(),
        measured: Vec::new(),
        licence: Licence { base_model: "none".into(), data: "none".into() },
        created_by: "a test".into(),
    }
}
