//! A linear layer in integers, as the device computes it (the numeric contract), for quantization-aware
//! training. Integers within ±127 are exact in bf16 too, and in f32 their sums up to 2^24: those of 1,040 products
//! whatever the values, those of thousands unless nearly all are as large as can be.

use super::{Bits, PARALLEL_FROM, Precision, Slot, input_gradient, product, vectorized, weight_gradient};
use rayon::prelude::*;

/// Rows of integers, each with a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Integers {
    /// `[rows, width]`
    pub values: Vec<f32>,
    /// `[rows]`
    pub scales: Vec<f32>,
}

impl Integers {
    /// Rounds activations [rows, width] with the arithmetic of the device's kernels, `x * (127 / absmax)`. Values
    /// that are not finite, for which the device writes finite ones, show that training has diverged.
    pub fn of_activations(x: &[f32], width: usize) -> Self {
        let mut rounded = Self { values: vec![0.0; x.len()], scales: vec![0.0; x.len() / width] };
        let rows = PARALLEL_FROM.div_ceil(width);
        let to = rounded.values.par_chunks_mut(rows * width).zip(rounded.scales.par_chunks_mut(rows));
        to.zip(x.par_chunks(rows * width)).for_each(|((values, scales), x)| {
            vectorized!(|| round_rows(x, width, values, scales));
        });
        rounded
    }

    /// Rounds weights [outputs, inputs].
    pub fn of_weights(weights: &[f32], inputs: usize, bits: Bits) -> Self {
        let scales: Vec<f32> = weights.chunks_exact(inputs).map(|row| bits.scale(row)).collect();
        let mut values = weights.to_vec();
        vectorized!(|| {
            for (row, scale) in values.chunks_exact_mut(inputs).zip(&scales) {
                row.iter_mut().for_each(|w| *w = bits.integer(*w, *scale));
            }
        });
        Self { values, scales }
    }
}

#[inline(always)]
fn round_rows(x: &[f32], width: usize, values: &mut [f32], scales: &mut [f32]) {
    for ((x, values), scale) in x.chunks_exact(width).zip(values.chunks_exact_mut(width)).zip(scales) {
        let absmax = x.iter().fold(1e-12f32, |m, x| m.max(x.abs()));
        let inverse = 127.0 / absmax;
        *scale = absmax / 127.0;
        for (x, to) in x.iter().zip(values) {
            *to = (x * inverse).round_ties_even().clamp(-127.0, 127.0);
        }
    }
}

/// A linear layer whose weights and input are integers: x [rows, inputs], weight [outputs, inputs].
#[derive(Debug)]
pub struct IntegerLinear {
    /// The input.
    pub x: Integers,
    /// The weights.
    pub weight: Integers,
}

impl IntegerLinear {
    /// Computes `y = sums * (scale of the output * scale of the row) + bias`, [rows, outputs].
    pub fn forward(&self, precision: Precision, bias: Option<&[f32]>, y: &mut [f32]) {
        let Self { x, weight } = self;
        let outputs = weight.scales.len();
        product(precision, &x.values, &weight.values, outputs, y, false);
        let none = vec![0.0; outputs];
        let bias = bias.unwrap_or(&none);
        vectorized!(|| {
            for (row, x_scale) in y.chunks_exact_mut(outputs).zip(&x.scales) {
                for ((y, scale), bias) in row.iter_mut().zip(&weight.scales).zip(bias) {
                    *y = y.mul_add(scale * x_scale, *bias);
                }
            }
        });
    }

    /// Computes the gradients of weight and input from `g` [rows, outputs]; rounding passes them through.
    pub fn backward(&self, precision: Precision, g: &[f32], dw: Slot, dx: Slot) {
        let Self { x, weight } = self;
        let outputs = weight.scales.len();
        let mut scaled = g.to_vec();
        for (row, scale) in scaled.chunks_exact_mut(outputs).zip(&x.scales) {
            row.iter_mut().for_each(|g| *g *= scale);
        }
        weight_gradient(precision, &scaled, &x.values, outputs, dw);
        for (row, g) in scaled.chunks_exact_mut(outputs).zip(g.chunks_exact(outputs)) {
            row.iter_mut().zip(g.iter().zip(&weight.scales)).for_each(|(to, (g, scale))| *to = g * scale);
        }
        input_gradient(precision, &scaled, &weight.values, outputs, dx);
    }
}
