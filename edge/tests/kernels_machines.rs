//! The same bits on every machine: the results of a fixed workload are hashed and compared with the constants
//! below, for every instruction set available. Run on x86-64 and, emulated or not, on aarch64.
mod kernels_support;

use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, FloatLinear, Kernels, Linear, Norm, Rows,
    Weights,
};
use kernels_support::{Random, available};

/// FNV-1a, 64 bits.
fn hash(x: &[f32], mut state: u64) -> u64 {
    for byte in x.iter().flat_map(|v| v.to_bits().to_le_bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    state
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

#[test]
fn functions() {
    for kernels in available() {
        let mut state = START;
        for function in [Kernels::exp, Kernels::gelu, Kernels::tanh, Kernels::sigmoid, Kernels::softmax] {
            for length in [1, 15, 16, 33, 511] {
                for extreme in [false, true] {
                    let mut x = Random(length as u64).wild(length, extreme);
                    function(kernels, &mut x);
                    state = hash(&x, state);
                }
            }
        }
        assert_eq!(state, FUNCTIONS, "{}", kernels.isa());
    }
}

#[test]
fn float_linear() {
    for kernels in available() {
        let mut state = START;
        for (rows, inputs, outputs) in [(1, 90, 101), (3, 101, 90), (7, 64, 33)] {
            let mut random = Random(rows as u64);
            let (x, w) = (random.floats(rows * inputs), random.floats(inputs * outputs));
            let layer =
                FloatLinear::pack(w.iter().copied(), inputs, outputs, &random.floats(outputs)).unwrap();
            let mut out = vec![0.0; rows * outputs];
            kernels.float_linear(&layer, &x, Epilogue::Gelu, &mut out);
            state = hash(&out, state);
        }
        assert_eq!(state, FLOAT_LINEAR, "{}", kernels.isa());
    }
}

/// Also with numbers of rows and columns that fill no tile and no lanes.
const SHAPES: [(usize, usize, usize); 5] =
    [(1, 64, 48), (2, 90, 101), (7, 101, 90), (17, 64, 33), (70, 384, 96)];

#[test]
fn linear() {
    for kernels in available() {
        let mut state = START;
        for (rows, inputs, outputs) in SHAPES {
            let mut random = Random(rows as u64);
            let (x, w) = (random.floats(rows * inputs), random.weights(inputs * outputs));
            let scales: Vec<f32> = random.floats(outputs).iter().map(|s| 0.001 * s.abs()).collect();
            let weights = Weights::new(&w, inputs, outputs).unwrap();
            let layer = Linear::pack(kernels, weights, &scales, &random.floats(outputs)).unwrap();
            let mut q = Activations::new(kernels, rows, inputs);
            kernels.quantize_rows(&x, inputs, &mut q);
            state = hash(q.scales(), state);
            for epilogue in [Epilogue::None, Epilogue::Gelu] {
                let mut out = vec![0.0; rows * outputs];
                kernels.linear(&layer, &q, epilogue, &mut out);
                state = hash(&out, state);
            }
        }
        assert_eq!(state, LINEAR, "{}", kernels.isa());
    }
}

/// Embeddings, and LayerNorm with and without the residual.
#[test]
fn rows() {
    for kernels in available() {
        let mut state = START;
        for (rows, width, _) in SHAPES {
            let mut random = Random(width as u64);
            let mut x = vec![0.0; rows * width];
            for row in x.chunks_exact_mut(width) {
                kernels.dequantize_row(&random.weights(width), 0.0123, row);
                kernels.add(row, &random.floats(width));
            }
            let (y, gamma, beta) = (random.floats(rows * width), random.floats(width), random.floats(width));
            let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
            let mut q = Activations::new(kernels, rows, width);
            for residual in [None, Some(&y[..])] {
                kernels.layer_norm(&mut x, residual, &norm, Some(&mut q));
                state = hash(q.scales(), hash(&x, state));
            }
        }
        assert_eq!(state, ROWS, "{}", kernels.isa());
    }
}

#[test]
fn attention() {
    for kernels in available() {
        let mut state = START;
        for (keys, heads, head_size) in
            [(1, 2, 32), (2, 5, 12), (16, 2, 32), (17, 1, 64), (31, 3, 7), (70, 2, 32)]
        {
            let width = heads * head_size;
            let data = Random(keys as u64).floats(keys * 3 * width);
            let part = |at: usize| Rows { data: &data[at * width..], stride: 3 * width };
            for query_count in [1, keys] {
                let input = AttentionInput {
                    queries: part(0),
                    keys: part(1),
                    values: part(2),
                    query_count,
                    key_count: keys,
                    heads,
                    head_size,
                    scale: 0.3,
                };
                let mut out = vec![0.0; query_count * width];
                kernels.attention(&input, &mut AttentionScratch::new(keys, head_size), &mut out);
                state = hash(&out, state);
            }
        }
        assert_eq!(state, ATTENTION, "{}", kernels.isa());
    }
}

const FUNCTIONS: u64 = 9309786937784750228;
const FLOAT_LINEAR: u64 = 4669039297278167285;
const LINEAR: u64 = 10592865252426546494;
const ROWS: u64 = 12150570740022318169;
const ATTENTION: u64 = 3563553856582057564;
