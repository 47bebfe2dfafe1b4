//! Checks every backward against finite differences of its forward, and forwards against naive formulas.

use super::*;

fn random(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| elementwise::mix(i ^ seed.wrapping_mul(0x9e37_79b9)) as f32 / 2f32.powi(31) - 1.0)
        .collect()
}

/// Compares the gradients from `backward` with central differences of `sum(forward(inputs) * upstream)`, for
/// every element of every input.
fn check_gradients(
    inputs: &[Vec<f32>],
    forward: impl Fn(&[Vec<f32>]) -> Vec<f32>,
    backward: impl Fn(&[Vec<f32>], &[f32]) -> Vec<Vec<f32>>,
) {
    let upstream = random(forward(inputs).len(), 77);
    let evaluate = |inputs: &[Vec<f32>]| -> f64 {
        forward(inputs).iter().zip(&upstream).map(|(y, u)| f64::from(*y) * f64::from(*u)).sum()
    };
    let gradients = backward(inputs, &upstream);
    assert_eq!(gradients.len(), inputs.len(), "every input receives a gradient");
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), inputs[which].len());
        for i in 0..gradient.len() {
            let at = |delta: f32| {
                let mut inputs = inputs.to_vec();
                inputs[which][i] += delta;
                evaluate(&inputs)
            };
            let h = 1e-2f32;
            let numeric = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * f64::from(h));
            let error = (numeric - f64::from(gradient[i])).abs();
            assert!(
                error < 2e-3 * (1.0 + numeric.abs()),
                "input {which}[{i}]: {} but numerically {numeric}",
                gradient[i]
            );
        }
    }
}

/// Returns a gradient of `n` values written by `f`, after checking that `f` both overwrites and adds as
/// asked.
fn gradient(n: usize, f: impl Fn(Slot)) -> Vec<f32> {
    let (mut fresh, mut sum) = (vec![f32::NAN; n], vec![1.0; n]);
    f(Slot::new(&mut fresh));
    f(Slot::adding(&mut sum));
    assert!(fresh.iter().zip(&sum).all(|(f, s)| (f + 1.0 - s).abs() < 1e-5), "{fresh:?} {sum:?}");
    fresh
}

#[test]
fn linear_gradients() {
    check_gradients(
        &[random(35, 1), random(21, 2), random(3, 3)],
        |t| {
            let mut y = vec![0.0; 15];
            linear(Precision::F32, &t[0], &t[1], &t[2], &mut y);
            y
        },
        |t, g| {
            vec![
                gradient(35, |dx| input_gradient(Precision::F32, g, &t[1], 3, dx)),
                gradient(21, |dw| weight_gradient(Precision::F32, g, &t[0], 3, dw)),
                gradient(3, |db| bias_gradient(g, db)),
            ]
        },
    );
}

#[test]
fn linear_values() {
    let (x, w, b) = (random(35, 1), random(21, 2), random(3, 3));
    let mut y = vec![f32::NAN; 15];
    linear(Precision::F32, &x, &w, &b, &mut y);
    for (i, y) in y.iter().enumerate() {
        let (row, out) = (i / 3, i % 3);
        let wanted: f32 = (0..7).map(|k| x[row * 7 + k] * w[out * 7 + k]).sum::<f32>() + b[out];
        assert!((y - wanted).abs() < 1e-5);
    }
}

/// Inputs are [rows, 37].
#[test]
fn layer_norm_gradients() {
    let forward = |t: &[Vec<f32>]| {
        let (mut x, rows) = (t[0].clone(), t[0].len() / 37);
        let (mut y, mut inverse) = (vec![0.0; x.len()], vec![0.0; rows]);
        layer_norm(&mut x, &t[1], &t[2], 1e-12, &mut inverse, &mut y);
        (x, inverse, y)
    };
    let backward = |t: &[Vec<f32>], g: &[f32]| {
        let (normal, inverse, _) = forward(t);
        let mut dx = g.to_vec();
        let (mut dw, mut db) = (vec![f32::NAN; 37], vec![f32::NAN; 37]);
        let slots = [Slot::new(&mut dw), Slot::new(&mut db)];
        layer_norm_backward(&normal, &inverse, &t[1], &mut dx, slots);
        vec![dx, dw, db]
    };
    let inputs = [random(4 * 37, 1), random(37, 2), random(37, 3)];
    check_gradients(&inputs, |t| forward(t).2, backward);

    // many rows, split over several tasks, give what each row gives by itself
    let rows = 600;
    let inputs = [random(rows * 37, 1), random(37, 2), random(37, 3)];
    let g = random(rows * 37, 4);
    let together = backward(&inputs, &g);
    let mut sums = [vec![0.0; 37], vec![0.0; 37]];
    for row in 0..rows {
        let one = |x: &[f32]| x[row * 37..][..37].to_vec();
        let alone = backward(&[one(&inputs[0]), inputs[1].clone(), inputs[2].clone()], &one(&g));
        assert!(one(&together[0]).iter().zip(&alone[0]).all(|(a, b)| (a - b).abs() < 1e-5));
        let parts = sums.iter_mut().flatten().zip(alone[1..].iter().flatten());
        parts.for_each(|(sum, part)| *sum += part);
    }
    assert!(sums.iter().flatten().zip(together[1..].iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn gelu_gradients_and_values() {
    let forward = |t: &[Vec<f32>]| {
        let (mut derivative, mut y) = (t[0].clone(), vec![0.0; t[0].len()]);
        gelu(&mut derivative, &mut y);
        (derivative, y)
    };
    let x: Vec<f32> = random(33, 4).iter().map(|x| 3.0 * x).collect();
    check_gradients(
        &[x],
        |t| forward(t).1,
        |t, g| {
            let mut dx = g.to_vec();
            gelu_backward(&forward(t).0, &mut dx);
            vec![dx]
        },
    );
    // computed with Python's math.erf
    let known = [(-3.0, -0.004049694), (-1.0, -0.15865526), (-0.3, -0.11462659), (0.0, 0.0)];
    let known = known.into_iter().chain([(0.5, 0.34573123), (1.0, 0.841_344_8), (2.5, 2.4844758)]);
    for (x, wanted) in known {
        let (_, y) = forward(&[vec![x]]);
        assert!((y[0] - wanted).abs() < 1e-6, "{x}: {} should be {wanted}", y[0]);
    }
}

#[test]
fn dropout_gradients_and_rate() {
    let drop = Dropout { rate: 0.3, seed: 9 };
    let applied = |x: &[f32]| {
        let mut y = x.to_vec();
        drop.apply(&mut y);
        y
    };
    check_gradients(&[random(36, 6)], |t| applied(&t[0]), |_, g| vec![applied(g)]);

    // long enough for several tasks: all three forms must drop the same values
    let (x, other) = (random(100_000, 1), random(100_000, 2));
    let dropped = applied(&x);
    let mut y = vec![0.0; x.len()];
    drop.copy(&x, &mut y);
    assert_eq!(y, dropped);
    y.copy_from_slice(&x);
    drop.add(&other, &mut y);
    assert!(y.iter().zip(dropped.iter().zip(&other)).all(|(y, (d, o))| (y - (d + o)).abs() < 1e-6));

    let mut kept = vec![1.0; 100_000];
    Dropout { rate: 0.1, seed: 5 }.apply(&mut kept);
    let zeros = kept.iter().filter(|x| **x == 0.0).count();
    assert!((9_500..10_500).contains(&zeros), "{zeros} of 100000 dropped");
    assert!(kept.iter().all(|x| *x == 0.0 || (x - 1.0 / 0.9).abs() < 1e-6));
}

#[test]
fn embedding_gradients() {
    let ids = [3, 0, 3, 1];
    check_gradients(
        &[random(30, 7)],
        |t| {
            let mut y = vec![0.0; 24];
            embedding(&t[0], &ids, 6, &mut y, false);
            embedding(&t[0], &ids, 6, &mut y, true);
            y.iter().map(|y| y / 2.0).collect()
        },
        |_, g| vec![gradient(30, |table| embedding_backward(g, &ids, 6, table))],
    );
}

fn spec(queries: usize, rate: f32) -> Attention<'static> {
    let mask = &[0.0, 0.0, 0.0, -1e9, 0.0, 0.0, 0.0, 0.0];
    let dropout = Dropout { rate, seed: 3 };
    Attention { sequence: 4, queries, heads: 3, head_size: 2, mask, distances: None, dropout }
}

/// Returns the probabilities and the output.
fn attention(spec: Attention, t: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![f32::NAN; t[0].len()];
    let mut probabilities = vec![f32::NAN; 2 * spec.heads * spec.queries * spec.sequence];
    spec.forward(&t[0], &t[1], &t[2], &mut probabilities, &mut out);
    (probabilities, out)
}

#[test]
fn attention_gradients() {
    let distances = random(48, 13);
    let plain = [(4, 0.0), (4, 0.3), (1, 0.0), (1, 0.3)].map(|(queries, rate)| spec(queries, rate));
    let distant = plain.map(|spec| Attention { distances: Some(&distances), ..spec });
    for spec in plain.into_iter().chain(distant) {
        let queries = spec.queries;
        check_gradients(
            &[random(2 * queries * 6, 8), random(48, 9), random(48, 10)],
            |t| attention(spec, t).1,
            |t, g| {
                let (probabilities, _) = attention(spec, t);
                let mut d: Vec<Vec<f32>> = t.iter().map(|x| vec![f32::NAN; x.len()]).collect();
                let [dq, dk, dv] = &mut d[..] else { unreachable!() };
                spec.backward([&t[0], &t[1], &t[2]], &probabilities, g, [dq, dk, dv]);
                d
            },
        );
    }
}

#[test]
fn attention_values() {
    let [q, k, v, distances] = [8, 9, 10, 13].map(|s| random(48, s));
    let spec = Attention { distances: Some(&distances), ..spec(4, 0.0) };
    let (_, out) = attention(spec, &[q.clone(), k.clone(), v.clone()]);
    for (text, head, i) in (0..2).flat_map(|t| (0..3).flat_map(move |h| (0..4).map(move |i| (t, h, i)))) {
        let at = |x: &[f32], row: usize, e: usize| f64::from(x[(text * 4 + row) * 6 + head * 2 + e]);
        let scores: Vec<f64> = (0..4)
            .map(|j| {
                let dot = at(&q, i, 0) * at(&k, j, 0) + at(&q, i, 1) * at(&k, j, 1);
                let dot = dot + f64::from(distances[(head * 4 + i) * 4 + j]);
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
    let logits = [random(12, 11)];
    let targets = random(12, 12).iter().map(|x| x.abs()).collect::<Vec<_>>();
    let losses = [
        Loss::CrossEntropy { classes: vec![0, 2, 1, 2], smoothing: 0.0, weights: None, focal: 0.0 },
        Loss::CrossEntropy {
            classes: vec![0, 2, 1, 2],
            smoothing: 0.1,
            weights: Some(vec![1.0, 2.0, 0.5]),
            focal: 0.0,
        },
        Loss::CrossEntropy {
            classes: vec![0, 2, 1, 2],
            smoothing: 0.1,
            weights: Some(vec![1.0, 2.0, 0.5]),
            focal: 2.0,
        },
        Loss::Binary { targets: targets.clone(), weights: None, focal: 0.0 },
        Loss::Binary { targets: targets.clone(), weights: Some(vec![2.0, 0.5, 7.0]), focal: 0.0 },
        Loss::Binary { targets: targets.clone(), weights: Some(vec![2.0, 0.5, 7.0]), focal: 1.5 },
        Loss::SquaredError { targets: targets.clone() },
        Loss::Distillation { teacher: targets, temperature: 2.0 },
        Loss::Agreement { distribution: Distribution::Categorical },
        Loss::Agreement { distribution: Distribution::Bernoulli },
        Loss::Agreement { distribution: Distribution::Normal },
    ];
    for loss in losses {
        check_gradients(
            &logits,
            |t| vec![loss.value_and_gradient(&t[0], 4).0 as f32],
            |t, g| {
                let (_, gradient) = loss.value_and_gradient(&t[0], 4);
                vec![gradient.iter().map(|d| d * g[0]).collect()]
            },
        );
    }
}

#[test]
fn agreement_is_both_divergences() {
    let (x, y) = ([0.3f32, -1.2, 2.0], [1.0f32, 0.5, -0.4]);
    let softmax = |x: &[f32; 3]| {
        let e = x.map(|x| f64::from(x).exp());
        e.map(|v| v / e.iter().sum::<f64>())
    };
    let divergence = |p: [f64; 3], q: [f64; 3]| (0..3).map(|c| p[c] * (p[c] / q[c]).ln()).sum::<f64>();
    let (p, q) = (softmax(&x), softmax(&y));
    let wanted = 0.5 * (divergence(p, q) + divergence(q, p));
    let loss = Loss::Agreement { distribution: Distribution::Categorical };
    let (found, _) = loss.value_and_gradient(&[x, y].concat(), 2);
    assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
}

/// The error bounds that the documentation promises.
#[test]
fn approximations_keep_their_bounds() {
    for i in 0..=148_000 {
        let x = -60.0 + 0.001 * i as f32;
        let wanted = libm::exp(f64::from(x));
        assert!((f64::from(super::exp(x)) - wanted).abs() < 2e-7 * wanted, "e^{x}");
    }
    assert_eq!([-60.1, -1e9, f32::NEG_INFINITY].map(super::exp), [0.0; 3]);
    let mut worst = 0f64;
    for i in -8000..=8000 {
        let x = 0.001 * i as f32;
        let (erf, e) = super::erf_and_exp(x);
        let wanted = f64::from(x);
        worst = worst.max((f64::from(erf) - libm::erf(wanted)).abs());
        // x² is rounded before
        let wanted = libm::exp(-wanted * wanted);
        assert!((f64::from(e) - wanted).abs() < 5e-6 * wanted + 1e-26, "e^-{x}²: {e}");
    }
    assert!(worst < 5e-7, "erf: {worst}");
}

/// In integers, a linear layer computes what the device does, bit for bit, in either precision.
#[test]
fn integer_linear_is_the_devices() {
    use goldcrest_edge::kernels::{Activations, Epilogue, Kernels, Linear, Weights};
    for (rows, inputs, outputs) in [(1, 3, 2), (40, 64, 33), (33, 384, 100), (64, 3072, 64)] {
        let (mut x, w, bias) = (random(rows * inputs, 1), random(outputs * inputs, 2), random(outputs, 3));
        x[(rows - 1) * inputs..].fill(0.0);
        let layer = IntegerLinear {
            x: Integers::of_activations(&x, inputs),
            weight: Integers::of_weights(&w, inputs, Bits::Eight),
        };
        let mut by_input = vec![0i8; w.len()];
        for (output, row) in layer.weight.values.chunks_exact(inputs).enumerate() {
            row.iter().enumerate().for_each(|(input, w)| by_input[input * outputs + output] = *w as i8);
        }
        let kernels = Kernels::best();
        let weights = Weights::new(&by_input, inputs, outputs).unwrap();
        let device = Linear::pack(kernels, weights, &layer.weight.scales, &bias).unwrap();
        let mut activations = Activations::new(kernels, rows, inputs);
        kernels.quantize_rows(&x, inputs, &mut activations);
        let mut wanted = vec![0.0; rows * outputs];
        kernels.linear(&device, &activations, Epilogue::None, &mut wanted);
        for precision in [Precision::F32, Precision::fastest()] {
            let mut y = vec![f32::NAN; rows * outputs];
            layer.forward(precision, Some(&bias), &mut y);
            let same = y.iter().zip(&wanted).all(|(y, wanted)| y.to_bits() == wanted.to_bits());
            assert!(same, "{precision:?}, {rows} rows of {inputs}, {outputs} outputs");
        }
    }
}

/// Rounding passes gradients through: they are those of a linear layer with the rounded values.
#[test]
fn integer_linear_gradients() {
    let (rows, inputs, outputs) = (40, 64, 33);
    let (x, w, g) = (random(rows * inputs, 1), random(outputs * inputs, 2), random(rows * outputs, 3));
    let layer = IntegerLinear {
        x: Integers::of_activations(&x, inputs),
        weight: Integers::of_weights(&w, inputs, Bits::Eight),
    };
    let values = |rows: &Integers| -> Vec<f32> {
        let width = rows.values.len() / rows.scales.len();
        let scaled = rows.values.chunks_exact(width).zip(&rows.scales);
        scaled.flat_map(|(row, scale)| row.iter().map(move |v| v * scale)).collect()
    };
    let (x, w) = (values(&layer.x), values(&layer.weight));
    let [mut dw, mut dx] = [w.len(), x.len()].map(|n| vec![f32::NAN; n]);
    weight_gradient(Precision::F32, &g, &x, outputs, Slot::new(&mut dw));
    input_gradient(Precision::F32, &g, &w, outputs, Slot::new(&mut dx));
    for (precision, allowed) in [(Precision::F32, 1e-4), (Precision::fastest(), 0.05)] {
        let found_dw = gradient(w.len(), |to| {
            layer.backward(precision, &g, to, Slot::new(&mut vec![0.0; x.len()]));
        });
        let found_dx = gradient(x.len(), |to| {
            layer.backward(precision, &g, Slot::new(&mut vec![0.0; w.len()]), to);
        });
        for (found, wanted) in found_dw.iter().zip(&dw).chain(found_dx.iter().zip(&dx)) {
            assert!((found - wanted).abs() < allowed, "{precision:?}: {found}, {wanted}");
        }
    }
}
