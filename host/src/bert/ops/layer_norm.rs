use super::{PARALLEL_FROM, Slot, sum, vectorized};
use rayon::prelude::*;

/// Rows per parallel task: fixed, so that sums over tasks do not depend on the number of threads.
const ROWS: usize = 256;

/// Normalises each row: weight and bias `[h]`, x and y `[rows, h]`.
///
/// Keeps what backward needs: the normalised rows, before weight and bias, in `x`, and the inverse standard
/// deviations in `inverse`, `[rows]`.
pub fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32, inverse: &mut [f32], y: &mut [f32]) {
    if x.len() < PARALLEL_FROM {
        vectorized!(|| forward(x, weight, bias, eps, inverse, y));
    } else {
        let chunk = ROWS * weight.len();
        let rows = x.par_chunks_mut(chunk).zip(y.par_chunks_mut(chunk)).zip(inverse.par_chunks_mut(ROWS));
        rows.for_each(|((x, y), inverse)| vectorized!(|| forward(x, weight, bias, eps, inverse, y)));
    }
}

#[inline(always)]
fn forward(x: &mut [f32], w: &[f32], b: &[f32], eps: f32, inverse: &mut [f32], y: &mut [f32]) {
    let n = w.len();
    for ((x, y), inverse) in x.chunks_exact_mut(n).zip(y.chunks_exact_mut(n)).zip(inverse) {
        let mean = sum(x) / n as f32;
        for i in 0..n {
            y[i] = (x[i] - mean) * (x[i] - mean);
        }
        *inverse = 1.0 / (sum(y) / n as f32 + eps).sqrt();
        for i in 0..n {
            x[i] = (x[i] - mean) * *inverse;
            y[i] = x[i] * w[i] + b[i];
        }
    }
}

/// Turns `g` from the gradient of y into that of x; `normal` and `inverse` are what forward kept, `dw` and
/// `db` receive the gradients of weight and bias.
pub fn layer_norm_backward(
    normal: &[f32],
    inverse: &[f32],
    weight: &[f32],
    g: &mut [f32],
    [dw, db]: [Slot; 2],
) {
    let n = weight.len();
    let chunk = ROWS * n;
    let rows = normal.par_chunks(chunk).zip(inverse.par_chunks(ROWS)).zip(g.par_chunks_mut(chunk));
    let parts: Vec<Vec<f32>> = rows
        .map(|((normal, inverse), g)| {
            let mut sums = vec![0.0; 3 * n];
            vectorized!(|| backward(normal, inverse, weight, g, &mut sums));
            sums
        })
        .collect();
    let (dw, db) = (dw.sum(), db.sum());
    for part in parts {
        dw.iter_mut().zip(&part[..n]).for_each(|(a, b)| *a += b);
        db.iter_mut().zip(&part[n..]).for_each(|(a, b)| *a += b);
    }
}

/// `sums` holds the sums for the weight and the bias, then scratch space.
#[inline(always)]
fn backward(normal: &[f32], inverse: &[f32], w: &[f32], g: &mut [f32], sums: &mut [f32]) {
    let n = w.len();
    let (dw, rest) = sums.split_at_mut(n);
    let (db, products) = rest.split_at_mut(n);
    for ((x, g), inverse) in normal.chunks_exact(n).zip(g.chunks_exact_mut(n)).zip(inverse) {
        for i in 0..n {
            dw[i] += g[i] * x[i];
            db[i] += g[i];
            g[i] *= w[i];
            products[i] = g[i] * x[i];
        }
        let (m1, m2) = (sum(g) / n as f32, sum(products) / n as f32);
        for i in 0..n {
            g[i] = inverse * (g[i] - m1 - x[i] * m2);
        }
    }
}
