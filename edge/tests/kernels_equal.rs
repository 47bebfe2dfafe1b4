//! Every instruction set that this processor has gives the same bits as the portable kernels.
mod kernels_support;

use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, FloatLinear, Isa, Kernels, Linear, Norm, Rows,
    Weights,
};
use kernels_support::{Random, available, bits};
use proptest::prelude::*;
use std::io::Write;

/// Runs `work` on every instruction set, without and with weights fetched ahead, and compares its results with
/// the first, which is portable.
fn all_equal<T: PartialEq + std::fmt::Debug>(work: impl Fn(Kernels) -> T) -> Result<(), TestCaseError> {
    let mut available = available().into_iter();
    let want = work(available.next().expect("portable"));
    for kernels in available {
        prop_assert!(work(kernels) == want, "{} differs from portable", kernels.isa());
        let next = Linear::pack(kernels, Weights::new(&[1; 64 * 48], 64, 48).unwrap(), &[1.0], &[]).unwrap();
        prop_assert!(work(kernels.fetching(&next)) == want, "{} differs when fetching", kernels.isa());
    }
    Ok(())
}

fn integers(q: &Activations) -> (Vec<i8>, Vec<u32>) {
    ((0..q.rows()).flat_map(|r| q.row(r)).collect(), bits(q.scales()))
}

fn quantized(kernels: Kernels, x: &[f32], inputs: usize) -> Activations {
    let mut q = Activations::new(kernels, x.len() / inputs, inputs);
    kernels.quantize_rows(x, inputs, &mut q);
    q
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantize_rows(rows in 1usize..6, inputs in 1usize..512, seed: u64, extreme: bool) {
        let x = Random(seed).wild(rows * inputs, extreme);
        all_equal(|kernels| integers(&quantized(kernels, &x, inputs)))?;
    }

    #[test]
    fn linear(
        rows in 1usize..70, inputs in 1usize..300, outputs in 1usize..120, seed: u64, extreme: bool, gelu: bool,
    ) {
        let mut random = Random(seed);
        let x = random.wild(rows * inputs, extreme);
        let w = random.weights(inputs * outputs);
        let scales: Vec<f32> = random.floats(outputs).into_iter().map(|s| s.abs() * 0.01).collect();
        let bias = random.floats(outputs);
        let epilogue = if gelu { Epilogue::Gelu } else { Epilogue::None };
        all_equal(|kernels| {
            let weights = Weights::new(&w, inputs, outputs).unwrap();
            let layer = Linear::pack(kernels, weights, &scales, &bias).unwrap();
            let mut out = vec![0.0; rows * outputs];
            kernels.linear(&layer, &quantized(kernels, &x, inputs), epilogue, &mut out);
            bits(&out)
        })?;
    }

    #[test]
    fn float_linear(
        rows in 1usize..12, inputs in 1usize..300, outputs in 1usize..120, seed: u64, extreme: bool, gelu: bool,
    ) {
        let mut random = Random(seed);
        let (x, mut w) = (random.wild(rows * inputs, extreme), random.wild(inputs * outputs, extreme));
        w.iter_mut().filter(|w| !w.is_finite()).for_each(|w| *w = 0.5);
        let layer = FloatLinear::pack(w.iter().copied(), inputs, outputs, &random.floats(outputs)).unwrap();
        let epilogue = if gelu { Epilogue::Gelu } else { Epilogue::None };
        all_equal(|kernels| {
            let mut out = vec![0.0; rows * outputs];
            kernels.float_linear(&layer, &x, epilogue, &mut out);
            assert!(out.iter().all(|v| v.is_finite()));
            bits(&out)
        })?;
    }

    #[test]
    fn layer_norm(rows in 1usize..5, width in 1usize..512, seed: u64, extreme: bool, residual: bool) {
        let mut random = Random(seed);
        let x = random.wild(rows * width, extreme);
        let y = random.wild(rows * width, extreme);
        let (gamma, beta) = (random.wild(width, extreme), random.wild(width, extreme));
        let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
        all_equal(|kernels| {
            let mut x = x.clone();
            let mut q = Activations::new(kernels, rows, width);
            kernels.layer_norm(&mut x, residual.then_some(&y), &norm, Some(&mut q));
            assert!(x.iter().all(|v| v.is_finite()));
            (bits(&x), integers(&q))
        })?;
    }

    #[test]
    fn attention(
        keys in 1usize..80, queries in 1usize..80, heads in 1usize..4, head_size in 1usize..=128, seed: u64,
        extreme: bool,
    ) {
        same_attention(keys, queries.min(keys), heads, head_size, seed, extreme)?;
    }

    #[test]
    fn long_attention(keys in 80usize..=512, queries in 1usize..10, seed: u64, extreme: bool) {
        same_attention(keys, queries, 1, 32, seed, extreme)?;
    }

    #[test]
    fn functions(length in 1usize..512, seed: u64, extreme: bool) {
        let x = Random(seed).wild(length, extreme);
        for function in [Kernels::exp, Kernels::gelu, Kernels::tanh, Kernels::sigmoid, Kernels::softmax] {
            all_equal(|kernels| {
                let mut x = x.clone();
                function(kernels, &mut x);
                assert!(x.iter().all(|v| v.is_finite()));
                bits(&x)
            })?;
        }
    }

    #[test]
    fn embedding_rows(width in 1usize..512, seed: u64) {
        let mut random = Random(seed);
        let (word, position) = (random.weights(width), random.floats(width));
        all_equal(|kernels| {
            let mut row = vec![0.0; width];
            kernels.dequantize_row(&word, 0.0123, &mut row);
            kernels.add(&mut row, &position);
            bits(&row)
        })?;
    }
}

fn same_attention(
    keys: usize,
    queries: usize,
    heads: usize,
    head_size: usize,
    seed: u64,
    extreme: bool,
) -> Result<(), TestCaseError> {
    let width = heads * head_size;
    let data = Random(seed).wild(keys * 3 * width, extreme);
    let part = |i: usize| Rows { data: &data[i * width..], stride: 3 * width };
    let input = AttentionInput {
        queries: part(0),
        keys: part(1),
        values: part(2),
        query_count: queries,
        key_count: keys,
        heads,
        head_size,
        scale: 0.17,
    };
    all_equal(|kernels| {
        let mut out = vec![0.0; queries * width];
        kernels.attention(&input, &mut AttentionScratch::new(keys, head_size), &mut out);
        assert!(out.iter().all(|v| v.is_finite()));
        bits(&out)
    })
}

/// Sums at their limits: the largest products of both signs over the maximum number of inputs, and over that
/// of BERT large.
#[test]
fn extreme_sums() {
    for inputs in [4096, 4099, Linear::MAX_INPUTS] {
        for (weight, value) in [(127i8, 1.0f32), (-128, 1.0), (127, -1.0), (-128, -1.0)] {
            let (w, x) = (vec![weight; inputs], vec![value; inputs]);
            for kernels in available() {
                let weights = Weights::new(&w, inputs, 1).unwrap();
                let layer = Linear::pack(kernels, weights, &[1.0], &[]).unwrap();
                let mut out = [0.0];
                kernels.linear(&layer, &quantized(kernels, &x, inputs), Epilogue::None, &mut out);
                let sum = inputs as i32 * i32::from(weight) * 127 * value as i32;
                assert_eq!(out[0], sum as f32 * (1.0 / 127.0), "{} with {inputs} inputs", kernels.isa());
            }
        }
    }
}

/// Rows do not depend on their neighbours or on the number of rows.
#[test]
fn rows_are_independent() {
    let mut random = Random(3);
    let (inputs, outputs) = (70, 50);
    let (x, w) = (random.floats(19 * inputs), random.weights(inputs * outputs));
    for kernels in available() {
        let weights = Weights::new(&w, inputs, outputs).unwrap();
        let layer = Linear::pack(kernels, weights, &[0.01], &[]).unwrap();
        let q = quantized(kernels, &x, inputs);
        let mut all = vec![0.0; 19 * outputs];
        kernels.linear(&layer, &q, Epilogue::Gelu, &mut all);
        for rows in 1..19 {
            let mut some = vec![0.0; rows * outputs];
            kernels.linear(&layer, &q, Epilogue::Gelu, &mut some);
            assert_eq!(bits(&some), bits(&all[..some.len()]));
        }
        let mut last = vec![0.0; outputs];
        kernels.linear(&layer, &quantized(kernels, &x[18 * inputs..], inputs), Epilogue::Gelu, &mut last);
        assert_eq!(bits(&last), bits(&all[18 * outputs..]));

        let layer =
            FloatLinear::pack(random.floats(inputs * outputs).into_iter(), inputs, outputs, &[]).unwrap();
        kernels.float_linear(&layer, &x, Epilogue::Gelu, &mut all);
        for rows in 1..19 {
            let mut some = vec![0.0; rows * outputs];
            kernels.float_linear(&layer, &x, Epilogue::Gelu, &mut some);
            assert_eq!(bits(&some), bits(&all[..some.len()]));
        }
    }
}

#[test]
fn instruction_sets_are_named_and_refused() {
    assert!(Isa::best().available());
    // all tests of this file compare only what is there
    let of_this_machine = |isa: &Isa| isa.name().starts_with("neon") == cfg!(target_arch = "aarch64");
    let missing = Isa::ALL.into_iter().filter(of_this_machine).filter(|isa| !isa.available());
    let missing: Vec<&str> = missing.map(Isa::name).collect();
    if !missing.is_empty() {
        // directly, because the test harness captures what tests print
        std::io::stderr().write_all(format!("skipped: no {} here\n", missing.join(", ")).as_bytes()).unwrap();
    }
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse::<Isa>().unwrap(), isa);
        match Kernels::new(isa) {
            Ok(kernels) => assert!(isa.available() && kernels.isa() == isa),
            Err(error) => assert!(!isa.available() && error.to_string().contains(isa.name())),
        }
    }
}
