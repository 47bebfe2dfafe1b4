//! A BERT encoder with random weights that uses only the kernels: for the benchmark
//! and for comparing machines.
use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, Kernels, Linear, Norm, Rows, Weights,
};

use super::Random;

#[derive(Clone, Copy)]
pub struct Shape {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub head_size: usize,
    pub ffn: usize,
}

/// The shape of all-MiniLM-L6-v2 and similar models.
pub const MINILM_L6: Shape = Shape { layers: 6, hidden: 384, heads: 12, head_size: 32, ffn: 1536 };

struct Layer {
    query: Linear,
    key_value: Linear,
    attention_out: Linear,
    attention_norm: Affine,
    up: Linear,
    down: Linear,
    norm: Affine,
}

struct Affine {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Affine {
    fn random(random: &mut Random, width: usize) -> Affine {
        let gamma = random.floats(width).iter().map(|g| 1.0 + 0.2 * g).collect();
        Affine { gamma, beta: random.floats(width).iter().map(|b| 0.1 * b).collect() }
    }

    fn norm(&self) -> Norm<'_> {
        Norm { gamma: &self.gamma, beta: &self.beta, epsilon: 1e-12 }
    }
}

pub struct Encoder {
    kernels: Kernels,
    shape: Shape,
    words: Vec<i8>,
    positions: Vec<f32>,
    embedding_norm: Affine,
    layers: Vec<Layer>,
    pooler: Linear,
    head: Linear,
}

pub struct Scratch {
    x: Vec<f32>,
    qkv: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    q: Activations,
    attention: AttentionScratch,
    pub logits: [f32; 2],
}

const WORDS: usize = 1000;

impl Encoder {
    pub fn random(kernels: Kernels, shape: Shape, max_tokens: usize) -> Encoder {
        let mut random = Random(1);
        let Shape { hidden, heads, head_size, ffn, .. } = shape;
        let width = heads * head_size;
        let mut parts = |inputs: usize, outputs: usize| {
            let w: Vec<i8> = random.weights(inputs * outputs).into_iter().map(|w| w.max(-127)).collect();
            let scales: Vec<f32> = random
                .floats(outputs)
                .iter()
                .map(|s| (1.0 + 0.3 * s) * 0.02 / (inputs as f32).sqrt())
                .collect();
            let bias: Vec<f32> = random.floats(outputs).iter().map(|b| 0.1 * b).collect();
            (w, scales, bias)
        };
        let mut dense = |inputs, outputs| {
            let (w, scales, bias) = parts(inputs, outputs);
            Linear::pack(kernels, Weights::new(&w, inputs, outputs).unwrap(), &scales, &bias).unwrap()
        };
        let mut layers = Vec::new();
        for _ in 0..shape.layers {
            layers.push(Layer {
                query: dense(hidden, width),
                key_value: dense(hidden, 2 * width),
                attention_out: dense(width, hidden),
                attention_norm: Affine::random(&mut Random(2), hidden),
                up: dense(hidden, ffn),
                down: dense(ffn, hidden),
                norm: Affine::random(&mut Random(3), hidden),
            });
        }
        let (pooler, head) = (dense(hidden, hidden), dense(hidden, 2));
        Encoder {
            kernels,
            shape,
            layers,
            pooler,
            head,
            words: random.weights(WORDS * hidden),
            positions: random.floats(max_tokens * hidden),
            embedding_norm: Affine::random(&mut random, hidden),
        }
    }

    pub fn scratch(&self, max_tokens: usize) -> Scratch {
        let Shape { hidden, heads, head_size, ffn, .. } = self.shape;
        let width = heads * head_size;
        Scratch {
            x: vec![0.0; max_tokens * hidden],
            qkv: vec![0.0; max_tokens * 3 * width],
            wide: vec![0.0; max_tokens * ffn.max(width)],
            narrow: vec![0.0; max_tokens * hidden],
            q: Activations::new(self.kernels, max_tokens, hidden.max(ffn).max(width)),
            attention: AttentionScratch::new(max_tokens, head_size),
            logits: [0.0; 2],
        }
    }

    /// Computes the logits of word ids; the last layer runs for \[CLS\] only.
    pub fn run(&self, ids: &[usize], scratch: &mut Scratch) {
        let Shape { hidden, heads, head_size, ffn, .. } = self.shape;
        let (kernels, tokens, width) = (self.kernels, ids.len(), heads * head_size);
        let Scratch { x, qkv, wide, narrow, q, attention, logits } = scratch;
        let x = &mut x[..tokens * hidden];
        for (t, (row, &id)) in x.chunks_exact_mut(hidden).zip(ids).enumerate() {
            kernels.dequantize_row(&self.words[id % WORDS * hidden..][..hidden], 0.01, row);
            kernels.add(row, &self.positions[t * hidden..][..hidden]);
        }
        kernels.layer_norm(x, None, &self.embedding_norm.norm(), Some(q));
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            let rows = if last { 1 } else { tokens };
            let (query, key_value) = qkv[..(2 * tokens + rows) * width].split_at_mut(rows * width);
            kernels.linear(&layer.query, q, Epilogue::None, query);
            kernels.linear(&layer.key_value, q, Epilogue::None, key_value);
            let part = |at| Rows { data: &key_value[at..], stride: 2 * width };
            let input = AttentionInput {
                queries: Rows { data: query, stride: width },
                keys: part(0),
                values: part(width),
                query_count: rows,
                key_count: tokens,
                heads,
                head_size,
                scale: 1.0 / (head_size as f32).sqrt(),
            };
            let context = &mut wide[..rows * width];
            kernels.attention(&input, attention, context);
            kernels.quantize_rows(context, width, q);
            let (x, narrow) = (&mut x[..rows * hidden], &mut narrow[..rows * hidden]);
            kernels.linear(&layer.attention_out, q, Epilogue::None, narrow);
            kernels.layer_norm(x, Some(narrow), &layer.attention_norm.norm(), Some(q));
            let wide = &mut wide[..rows * ffn];
            kernels.linear(&layer.up, q, Epilogue::Gelu, wide);
            kernels.quantize_rows(wide, ffn, q);
            kernels.linear(&layer.down, q, Epilogue::None, narrow);
            kernels.layer_norm(x, Some(narrow), &layer.norm.norm(), Some(q));
        }
        let pooled = &mut narrow[..hidden];
        kernels.linear(&self.pooler, q, Epilogue::None, pooled);
        kernels.tanh(pooled);
        kernels.quantize_rows(pooled, hidden, q);
        kernels.linear(&self.head, q, Epilogue::None, logits);
    }
}
