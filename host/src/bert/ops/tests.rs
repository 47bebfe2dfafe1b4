//! Every operator against f64 finite differences of itself, and its forward against a naive formula.

use super::*;
use candle_core::{Device, Var};
use std::sync::Arc;

fn random(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| elementwise::mix(i ^ seed.wrapping_mul(0x9e37_79b9)) as f32 / 2f32.powi(31) - 1.0).collect()
}

fn var(shape: &[usize], seed: u32) -> Var {
    let n = shape.iter().product();
    Var::from_tensor(&Tensor::from_vec(random(n, seed), shape, &Device::Cpu).unwrap()).unwrap()
}

/// Compares the gradient of `sum(f(inputs) * weights)` with central differences for every input element.
fn check_gradients(inputs: &[Var], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let evaluate = |tensors: &[Tensor]| -> Result<Tensor> {
        let y = f(tensors)?;
        let weights = Tensor::from_vec(random(y.elem_count(), 77), y.shape(), y.device())?;
        (y * weights)?.sum_all()
    };
    let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
    let grads = evaluate(&tensors).unwrap().backward().unwrap();
    for (which, input) in inputs.iter().enumerate() {
        let grad = grads.get(input).expect("every input receives a gradient").flatten_all().unwrap();
        let grad = grad.to_vec1::<f32>().unwrap();
        let base = input.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for i in 0..base.len() {
            let at = |delta: f32| {
                let mut x = base.clone();
                x[i] += delta;
                let mut tensors = tensors.clone();
                tensors[which] = Tensor::from_vec(x, input.shape(), input.device()).unwrap();
                f64::from(evaluate(&tensors).unwrap().to_scalar::<f32>().unwrap())
            };
            let h = 1e-2f32;
            let numeric = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * f64::from(h));
            let error = (numeric - f64::from(grad[i])).abs();
            assert!(error < 2e-3 * (1.0 + numeric.abs()), "input {which}[{i}]: {} but numerically {numeric}", grad[i]);
        }
    }
}

#[test]
fn linear_gradients() {
    check_gradients(&[var(&[5, 7], 1), var(&[3, 7], 2), var(&[3], 3)], |t| linear(&t[0], &t[1], &t[2]));
}

#[test]
fn layer_norm_gradients() {
    check_gradients(&[var(&[4, 37], 1), var(&[37], 2), var(&[37], 3)], |t| layer_norm(&t[0], &t[1], &t[2], 1e-12));
}

#[test]
fn gelu_gradients_and_values() {
    check_gradients(&[var(&[3, 11], 4)], |t| gelu(&(&t[0] * 3.0)?));
    let x = var(&[1, 101], 5);
    let ours = gelu(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let candles = x.gelu_erf().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (a, b) in ours.iter().zip(candles) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn dropout_gradients_and_rate() {
    check_gradients(&[var(&[4, 9], 6)], |t| dropout(&t[0], 0.3, 9));
    let ones = Tensor::ones(100_000, candle_core::DType::F32, &Device::Cpu).unwrap();
    let kept = dropout(&ones, 0.1, 5).unwrap().to_vec1::<f32>().unwrap();
    let zeros = kept.iter().filter(|x| **x == 0.0).count();
    assert!((9_500..10_500).contains(&zeros), "{zeros} of 100000 dropped");
    assert!(kept.iter().all(|x| *x == 0.0 || (x - 1.0 / 0.9).abs() < 1e-6));
}

#[test]
fn embedding_gradients() {
    let ids: Arc<[u32]> = [3, 0, 3, 1].into();
    check_gradients(&[var(&[5, 6], 7)], |t| embedding(&t[0], ids.clone()));
    assert!(embedding(&var(&[5, 6], 7), [5].into()).is_err());
}

fn attention_spec(dropout: f32) -> Attention {
    let mask: Arc<[f32]> = [0.0, 0.0, 0.0, -1e9, 0.0, 0.0, 0.0, 0.0].into();
    Attention { sequence: 4, heads: 3, head_size: 2, mask, dropout, seed: 3 }
}

#[test]
fn attention_gradients() {
    let qkv = [var(&[8, 6], 8), var(&[8, 6], 9), var(&[8, 6], 10)];
    for dropout in [0.0, 0.3] {
        check_gradients(&qkv, |t| attention(&t[0], &t[1], &t[2], attention_spec(dropout)));
    }
}

#[test]
fn attention_values() {
    let [q, k, v] = [8, 9, 10].map(|s| random(48, s));
    let tensor = |x: &[f32]| Tensor::from_vec(x.to_vec(), (8, 6), &Device::Cpu).unwrap();
    let spec = attention_spec(0.0);
    let out = attention(&tensor(&q), &tensor(&k), &tensor(&v), spec.clone()).unwrap();
    let out = out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (text, head, i) in (0..2).flat_map(|t| (0..3).flat_map(move |h| (0..4).map(move |i| (t, h, i)))) {
        let at = |x: &[f32], row: usize, e: usize| f64::from(x[(text * 4 + row) * 6 + head * 2 + e]);
        let scores: Vec<f64> = (0..4)
            .map(|j| {
                let dot = at(&q, i, 0) * at(&k, j, 0) + at(&q, i, 1) * at(&k, j, 1);
                (dot / 2f64.sqrt() + f64::from(spec.mask[text * 4 + j])).exp()
            })
            .collect();
        for e in 0..2 {
            let wanted = (0..4).map(|j| scores[j] * at(&v, j, e)).sum::<f64>() / scores.iter().sum::<f64>();
            let found = f64::from(out[(text * 4 + i) * 6 + head * 2 + e]);
            assert!((wanted - found).abs() < 1e-6, "{found} should be {wanted}");
        }
    }
}

#[test]
fn loss_gradients() {
    let logits = [var(&[4, 3], 11)];
    let targets = random(12, 12).iter().map(|x| x.abs()).collect::<Vec<_>>();
    let losses = [
        Loss::CrossEntropy { classes: vec![0, 2, 1, 2], smoothing: 0.0, weights: None },
        Loss::CrossEntropy { classes: vec![0, 2, 1, 2], smoothing: 0.1, weights: Some(vec![1.0, 2.0, 0.5]) },
        Loss::Binary { targets: targets.clone() },
        Loss::SquaredError { targets: targets.clone() },
        Loss::Distillation { teacher: targets, temperature: 2.0 },
    ];
    for l in losses {
        check_gradients(&logits, |t| loss(&t[0], l.clone()));
    }
}
