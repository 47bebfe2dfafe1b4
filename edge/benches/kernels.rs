//! Each kernel at the sizes of MiniLM-L6; `goldcrest-edge bench` measures whole models.
//!
//! `GOLDCREST_ISA=avx2 cargo bench -p goldcrest-edge --bench kernels`
#[path = "../tests/kernels_support/mod.rs"]
mod kernels_support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, Kernels, Linear, Norm, Rows, Weights,
};
use kernels_support::Random;

const TOKENS: [usize; 5] = [8, 16, 32, 64, 128];

fn kernels() -> Kernels {
    Kernels::from_env().unwrap_or_else(|error| panic!("{error}"))
}

fn linear(c: &mut Criterion) {
    let kernels = kernels();
    let mut random = Random(1);
    let layers = [
        ("query", 384, 384, Epilogue::None),
        ("key and value", 384, 768, Epilogue::None),
        ("attention out", 384, 384, Epilogue::None),
        ("up, gelu", 384, 1536, Epilogue::Gelu),
        ("down", 1536, 384, Epilogue::None),
    ];
    for (name, inputs, outputs, epilogue) in layers {
        let w = random.weights(inputs * outputs);
        let weights = Weights::new(&w, inputs, outputs).unwrap();
        let layer = Linear::pack(kernels, weights, &[0.01], &[]).unwrap();
        let mut group = c.benchmark_group(format!("linear {name}/{}", kernels.isa()));
        for tokens in TOKENS {
            let mut q = Activations::new(kernels, tokens, inputs);
            kernels.quantize_rows(&random.floats(tokens * inputs), inputs, &mut q);
            let mut out = vec![0.0; tokens * outputs];
            group.throughput(Throughput::Elements((tokens * inputs * outputs) as u64));
            group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
                b.iter(|| kernels.linear(&layer, &q, epilogue, &mut out))
            });
        }
    }
}

fn rows(c: &mut Criterion) {
    let kernels = kernels();
    let (tokens, width) = (16, 384);
    let mut random = Random(2);
    let (mut x, y) = (random.floats(tokens * width), random.floats(tokens * width));
    let (gamma, beta) = (random.floats(width), random.floats(width));
    let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let mut q = Activations::new(kernels, tokens, width);
    let mut group = c.benchmark_group(format!("16 rows of 384/{}", kernels.isa()));
    group.throughput(Throughput::Elements((tokens * width) as u64));
    group.bench_function("quantize", |b| b.iter(|| kernels.quantize_rows(&y, width, &mut q)));
    group.bench_function("add, layer norm, quantize", |b| {
        b.iter(|| kernels.layer_norm(&mut x, Some(&y), &norm, Some(&mut q)))
    });
    group.bench_function("gelu", |b| b.iter(|| kernels.gelu(&mut x)));
}

fn attention(c: &mut Criterion) {
    let kernels = kernels();
    let mut group = c.benchmark_group(format!("attention, 12 heads of 32/{}", kernels.isa()));
    for tokens in TOKENS {
        let qkv = Random(3).floats(tokens * 3 * 384);
        let part = |i: usize| Rows { data: &qkv[i * 384..], stride: 3 * 384 };
        let input = AttentionInput {
            queries: part(0),
            keys: part(1),
            values: part(2),
            query_count: tokens,
            key_count: tokens,
            heads: 12,
            head_size: 32,
            scale: 0.177,
        };
        let mut scratch = AttentionScratch::new(tokens, 32);
        let mut out = vec![0.0; tokens * 384];
        group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
            b.iter(|| kernels.attention(&input, &mut scratch, &mut out))
        });
    }
}

criterion_group!(benches, linear, rows, attention);
criterion_main!(benches);
