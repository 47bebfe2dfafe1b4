//! The portable kernels compute the same as plain formulas in f64.
mod kernels_support;

use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, FloatLinear, Isa, Kernels, Linear, Norm, Rows,
    Weights,
};
use kernels_support::{Random, available};

fn portable() -> Kernels {
    Kernels::new(Isa::Portable).unwrap()
}

#[test]
fn linear_is_the_integer_product() {
    let kernels = portable();
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 7, 5), (5, 33, 16), (9, 64, 49), (2, 4096, 3)] {
        let mut random = Random(rows as u64);
        let (x, w) = (random.floats(rows * inputs), random.weights(inputs * outputs));
        let (scales, bias) = (random.floats(outputs), random.floats(outputs));
        let scales: Vec<f32> = scales.into_iter().map(f32::abs).collect();
        let mut q = Activations::new(kernels, rows, inputs);
        kernels.quantize_rows(&x, inputs, &mut q);
        let weights = Weights::new(&w, inputs, outputs).unwrap();
        let layer = Linear::pack(kernels, weights, &scales, &bias).unwrap();
        let mut out = vec![0.0; rows * outputs];
        kernels.linear(&layer, &q, Epilogue::None, &mut out);
        for r in 0..rows {
            let row: Vec<i32> = q.row(r).map(i32::from).collect();
            let scale = q.scales()[r];
            let absmax = x[r * inputs..][..inputs].iter().fold(0f32, |m, v| m.max(v.abs()));
            assert_eq!(scale, absmax / 127.0);
            for (k, &v) in row.iter().enumerate() {
                assert_eq!(v as f32, (x[r * inputs + k] * (127.0 / absmax)).round_ties_even());
            }
            for c in 0..outputs {
                let sum: i32 = (0..inputs).map(|k| row[k] * i32::from(w[k * outputs + c])).sum();
                assert_eq!(out[r * outputs + c], (sum as f32).mul_add(scales[c] * scale, bias[c]));
            }
        }
    }
}

#[test]
fn float_linear_is_a_chain_of_multiply_adds() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 7, 5), (5, 33, 16), (9, 64, 49), (2, 4096, 3)] {
        let mut random = Random(rows as u64);
        let (x, w) = (random.floats(rows * inputs), random.floats(inputs * outputs));
        let bias = random.floats(outputs);
        let layer = FloatLinear::pack(w.iter().copied(), inputs, outputs, &bias).unwrap();
        let mut out = vec![0.0; rows * outputs];
        portable().float_linear(&layer, &x, Epilogue::None, &mut out);
        let mut gelu = out.clone();
        portable().gelu(&mut gelu);
        for (i, v) in out.iter().enumerate() {
            let (row, c) = (&x[i / outputs * inputs..][..inputs], i % outputs);
            let sum = |sum: f32, (k, x): (usize, &f32)| x.mul_add(w[k * outputs + c], sum);
            assert_eq!(*v, row.iter().enumerate().fold(bias[c], sum));
        }
        portable().float_linear(&layer, &x, Epilogue::Gelu, &mut out);
        assert_eq!(out, gelu);
        assert_eq!(layer.bytes(), 4 * (inputs + 1) * outputs.next_multiple_of(16));
    }
    let refused = |w: &[f32], bias: &[f32]| FloatLinear::pack(w.iter().copied(), 2, 3, bias).is_err();
    assert!(refused(&[0.0; 5], &[]) && refused(&[0.0; 6], &[0.0; 2]) && refused(&[0.0; 6], &[f32::NAN; 3]));
    assert!(refused(&[f32::INFINITY; 6], &[]) && FloatLinear::pack([].into_iter(), 0, 3, &[]).is_err());
}

#[test]
fn layer_norm_is_the_formula() {
    let kernels = portable();
    for width in [1, 15, 16, 17, 384] {
        let mut random = Random(width as u64);
        let (x, y) = (random.floats(3 * width), random.floats(3 * width));
        let (gamma, beta) = (random.floats(width), random.floats(width));
        let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
        let mut got = x.clone();
        let mut q = Activations::new(kernels, 3, width);
        kernels.layer_norm(&mut got, Some(&y), &norm, Some(&mut q));
        let mut again = Activations::new(kernels, 3, width);
        kernels.quantize_rows(&got, width, &mut again);
        for r in 0..3 {
            assert!(q.row(r).eq(again.row(r)) && q.scales() == again.scales());
            let sum: Vec<f64> = (0..width).map(|i| f64::from(x[r * width + i] + y[r * width + i])).collect();
            let mean = sum.iter().sum::<f64>() / width as f64;
            let variance = sum.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
            for i in 0..width {
                let want =
                    (sum[i] - mean) / (variance + 1e-12).sqrt() * f64::from(gamma[i]) + f64::from(beta[i]);
                assert!((f64::from(got[r * width + i]) - want).abs() < 1e-5, "width {width}, element {i}");
            }
        }
    }
}

#[test]
fn more_keys_than_the_scratch_memory_holds_are_refused() {
    let kernels = portable();
    let (data, mut out) = ([0.5; 8], [0.0; 8]);
    let mut refused = |key_count| {
        let rows = || Rows { data: &data, stride: 0 };
        let (queries, keys, values) = (rows(), rows(), rows());
        let input = AttentionInput {
            queries,
            keys,
            values,
            query_count: 1,
            key_count,
            heads: 1,
            head_size: 8,
            scale: 1.0,
        };
        let run = || kernels.attention(&input, &mut AttentionScratch::new(8, 8), &mut out);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    assert!(!refused(8));
    // the products of the last three overflow
    assert!([65, 1 << 61, 1 << 62, usize::MAX].into_iter().all(refused));
}

#[test]
fn attention_is_the_formula() {
    let kernels = portable();
    for (queries, keys, heads, size) in
        [(1, 1, 1, 1), (1, 9, 2, 32), (5, 17, 3, 24), (20, 20, 1, 64), (3, 33, 2, 128)]
    {
        let width = heads * size;
        let data = Random(keys as u64).floats(keys * 3 * width);
        let part = |i: usize| Rows { data: &data[i * width..], stride: 3 * width };
        let scale = 1.0 / (size as f32).sqrt();
        let input = AttentionInput {
            queries: part(0),
            keys: part(1),
            values: part(2),
            query_count: queries,
            key_count: keys,
            heads,
            head_size: size,
            scale,
        };
        let mut got = vec![0.0; queries * width];
        kernels.attention(&input, &mut AttentionScratch::new(keys, size), &mut got);
        let at = |i: usize, row: usize, c: usize| f64::from(data[row * 3 * width + i * width + c]);
        for q in 0..queries {
            for h in 0..heads {
                let columns = h * size..(h + 1) * size;
                let weights: Vec<f64> = (0..keys)
                    .map(|k| columns.clone().map(|c| at(0, q, c) * at(1, k, c)).sum::<f64>())
                    .map(|score| (score * f64::from(scale)).exp())
                    .collect();
                let total: f64 = weights.iter().sum();
                for c in columns.clone() {
                    let want = (0..keys).map(|k| weights[k] * at(2, k, c)).sum::<f64>() / total;
                    assert!((f64::from(got[q * width + c]) - want).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn embedding_rows() {
    let kernels = portable();
    let mut random = Random(7);
    let (word, position) = (random.weights(50), random.floats(50));
    let mut row = vec![0.0; 50];
    kernels.dequantize_row(&word, 0.25, &mut row);
    assert!(row.iter().zip(&word).all(|(&r, &w)| r == f32::from(w) * 0.25));
    kernels.add(&mut row, &position);
    assert!((0..50).all(|i| row[i] == f32::from(word[i]) * 0.25 + position[i]));
}

#[test]
fn errors_say_what_is_wrong() {
    let kernels = portable();
    let text = |result: Result<Linear, goldcrest_edge::kernels::KernelError>| match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    let weights = Weights::new(&[1; 6], 2, 3).unwrap();
    assert_eq!(text(Linear::pack(kernels, weights, &[1.0; 2], &[])), "expected 3 scales, found 2");
    assert_eq!(text(Linear::pack(kernels, weights, &[1.0; 3], &[0.0])), "expected 3 biases, found 1");
    assert!(text(Linear::pack(kernels, weights, &[f32::NAN; 3], &[])).contains("scale NaN"));
    assert!(text(Linear::pack(kernels, weights, &[1.0; 3], &[f32::INFINITY; 3])).contains("bias inf"));
    assert!(Weights::new(&[1; 6], 2, 2).unwrap_err().to_string().contains("found 6"));
    assert!(Weights::new(&[], 0, 2).is_err());
    assert!("sse9".parse::<Isa>().unwrap_err().to_string().contains("known: portable, avx2"));
}

#[test]
fn softmax_of_nan_and_infinity() {
    for kernels in available() {
        for high in [0.0, 1000.0, f32::INFINITY] {
            let mut x = [0.0; 40];
            (x[0], x[3], x[24], x[39]) = (high, f32::NAN, f32::NAN, f32::NEG_INFINITY);
            kernels.softmax(&mut x);
            assert!(x.iter().all(|p| (0.0..=1.0).contains(p)), "{}: {x:?}", kernels.isa());
        }
    }
}
