use super::gemm::{Matrix, Precision, multiply_in};
use super::{PARALLEL_FROM, Slot, vectorized};
use rayon::prelude::*;

/// Rows per parallel task.
const ROWS: usize = 128;

/// Computes `y = x wᵀ + b`: x `[rows, inputs]`, w `[outputs, inputs]`, b `[outputs]`, y `[rows, outputs]`.
pub fn linear(precision: Precision, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    let chunks = y.par_chunks_mut(PARALLEL_FROM.div_ceil(b.len()) * b.len());
    chunks.for_each(|y| y.chunks_exact_mut(b.len()).for_each(|row| row.copy_from_slice(b)));
    product(precision, x, w, b.len(), y, true);
}

/// Computes `y = x wᵀ`, or adds it to `y` with `add`: x `[rows, inputs]`, w `[outputs, inputs]`, y `[rows, outputs]`.
pub fn product(precision: Precision, x: &[f32], w: &[f32], outputs: usize, y: &mut [f32], add: bool) {
    let (rows, inputs) = (y.len() / outputs, w.len() / outputs);
    let (x, w) = (Matrix::new(x, rows, inputs, inputs), Matrix::new(w, outputs, inputs, inputs));
    multiply_in(precision, y, outputs, x, w.t(), add);
}

/// Computes the gradient of the input, `g w`: g `[rows, outputs]`, w `[outputs, inputs]`, dx `[rows, inputs]`.
pub fn input_gradient(precision: Precision, g: &[f32], w: &[f32], outputs: usize, dx: Slot) {
    let (rows, inputs) = (g.len() / outputs, w.len() / outputs);
    let (g, w) = (Matrix::new(g, rows, outputs, outputs), Matrix::new(w, outputs, inputs, inputs));
    multiply_in(precision, dx.values, inputs, g, w, dx.add);
}

/// Computes the gradient of the weight, `gᵀ x`: g `[rows, outputs]`, x `[rows, inputs]`, dw `[outputs, inputs]`.
pub fn weight_gradient(precision: Precision, g: &[f32], x: &[f32], outputs: usize, dw: Slot) {
    let (rows, inputs) = (g.len() / outputs, dw.values.len() / outputs);
    let (g, x) = (Matrix::new(g, rows, outputs, outputs), Matrix::new(x, rows, inputs, inputs));
    multiply_in(precision, dw.values, inputs, g.t(), x, dw.add);
}

/// Computes the gradient of the bias, the sum over rows: g `[rows, outputs]`, db `[outputs]`.
pub fn bias_gradient(g: &[f32], db: Slot) {
    let sums = db.sum();
    let width = sums.len();
    let sum_of = |g: &[f32]| {
        let mut sums = vec![0.0; width];
        vectorized!(|| add_rows(g, &mut sums));
        sums
    };
    // summed in a fixed order, whatever the number of threads
    let parts: Vec<Vec<f32>> = g.par_chunks(ROWS * width).map(sum_of).collect();
    parts.iter().for_each(|part| add_rows(part, sums));
}

#[inline(always)]
fn add_rows(g: &[f32], sums: &mut [f32]) {
    for row in g.chunks_exact(sums.len()) {
        for (s, g) in sums.iter_mut().zip(row) {
            *s += g;
        }
    }
}
