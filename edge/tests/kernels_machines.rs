//! The same bits on every machine: the results of a fixed workload are hashed and compared with the constants
//! below, for every instruction set available. Run on x86-64 and, emulated or not, on aarch64.
mod kernels_support;

use goldcrest_edge::kernels::{Epilogue, FloatLinear, Kernels};
use kernels_support::encoder::{Encoder, Shape};
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

/// From embeddings to logits: every operator, also with widths that are not multiples of sixteen.
#[test]
fn encoders() {
    let even = Shape { layers: 2, hidden: 64, heads: 2, head_size: 32, ffn: 128 };
    let odd = Shape { layers: 3, hidden: 90, heads: 5, head_size: 12, ffn: 101 };
    for kernels in available() {
        let mut state = START;
        for shape in [even, odd] {
            let encoder = Encoder::random(kernels, shape, 70);
            let mut scratch = encoder.scratch(70);
            for tokens in [1, 2, 7, 16, 17, 31, 70] {
                let ids: Vec<usize> = (0..tokens).map(|t| t * 31 + tokens).collect();
                encoder.run(&ids, &mut scratch);
                assert!(scratch.logits.iter().all(|l| l.is_finite()));
                state = hash(&scratch.logits, state);
            }
        }
        assert_eq!(state, ENCODERS, "{}", kernels.isa());
    }
}

const FUNCTIONS: u64 = 9309786937784750228;
const FLOAT_LINEAR: u64 = 4669039297278167285;
const ENCODERS: u64 = 589187132567156148;
