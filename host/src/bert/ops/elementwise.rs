use super::{PARALLEL_FROM, erf_and_exp, vectorized};
use rayon::prelude::*;

/// Calls `f(offset, x, y)` on chunks of both slices, in parallel where that pays.
fn both(x: &mut [f32], y: &mut [f32], f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync) {
    if x.len() <= PARALLEL_FROM {
        f(0, x, y);
    } else {
        let chunks = x.par_chunks_mut(PARALLEL_FROM).zip(y.par_chunks_mut(PARALLEL_FROM)).enumerate();
        chunks.for_each(|(i, (x, y))| f(i * PARALLEL_FROM, x, y));
    }
}

/// Calls `f(offset, x, y)` on chunks of `x` (read) and `y` (written), in parallel where that pays.
fn map(x: &[f32], y: &mut [f32], f: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
    if x.len() <= PARALLEL_FROM {
        f(0, x, y);
    } else {
        let chunks = x.par_chunks(PARALLEL_FROM).zip(y.par_chunks_mut(PARALLEL_FROM)).enumerate();
        chunks.for_each(|(i, (x, y))| f(i * PARALLEL_FROM, x, y));
    }
}

/// Computes BERT's GELU (with erf), `y = gelu(x)`, and overwrites `x` with the derivative, which is all that
/// backward needs.
pub fn gelu(x: &mut [f32], y: &mut [f32]) {
    both(x, y, |_, x, y| vectorized!(|| gelu_chunk(x, y)));
}

#[inline(always)]
fn gelu_chunk(x: &mut [f32], y: &mut [f32]) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    for (x, y) in x.iter_mut().zip(y) {
        let (erf, e) = erf_and_exp(*x * std::f32::consts::FRAC_1_SQRT_2);
        let below = 0.5 * (1.0 + erf);
        *y = *x * below;
        *x = below + *x * e * DENSITY;
    }
}

/// Computes `g *= derivative`.
pub fn gelu_backward(derivative: &[f32], g: &mut [f32]) {
    map(derivative, g, |_, d, g| vectorized!(|| g.iter_mut().zip(d).for_each(|(g, d)| *g *= d)));
}

/// Zeroes a fraction `rate` of the values and scales the rest by `1 / (1 - rate)`.
///
/// The mask depends only on `seed` and position. Backward, which applies the same operation to the gradient,
/// therefore recomputes it, and a resumed run drops the same values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Fraction of values to drop; 0 disables dropout.
    pub rate: f32,
    /// Seed of the mask.
    pub seed: u32,
}

/// Mixes 32 bits with full avalanche ("lowbias32" from C. Wellons' hash prospector).
#[inline(always)]
pub(crate) fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl Dropout {
    /// Applies dropout in place.
    pub fn apply(self, x: &mut [f32]) {
        if self.rate > 0.0 {
            let chunks = x.par_chunks_mut(PARALLEL_FROM).enumerate();
            chunks.for_each(|(i, x)| {
                vectorized!(|| self.each(i * PARALLEL_FROM, x.iter_mut(), |x, factor| *x *= factor))
            });
        }
    }

    /// Computes `y = dropout(x)`.
    pub fn copy(self, x: &[f32], y: &mut [f32]) {
        map(x, y, |offset, x, y| self.copy_from(offset, x, y));
    }

    /// Computes `y = dropout(y) + x`.
    pub fn add(self, x: &[f32], y: &mut [f32]) {
        map(x, y, |offset, x, y| {
            if self.rate > 0.0 {
                vectorized!(|| self.each(offset, y.iter_mut().zip(x), |(y, x), factor| *y = *y * factor + x));
            } else {
                y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
            }
        });
    }

    /// Computes `y = dropout(x)`, where `x[0]` is at position `offset`.
    pub(super) fn copy_from(self, offset: usize, x: &[f32], y: &mut [f32]) {
        if self.rate > 0.0 {
            vectorized!(|| self.each(offset, x.iter().zip(y.iter_mut()), |(x, y), factor| *y = x * factor));
        } else {
            y.copy_from_slice(x);
        }
    }

    /// Calls `f(value, factor)` for values from position `offset` on; the factor is 0 or `1 / (1 - rate)`.
    #[inline(always)]
    fn each<T>(self, offset: usize, values: impl Iterator<Item = T>, f: impl Fn(T, f32)) {
        let threshold = (f64::from(self.rate) * 4_294_967_296.0) as u32;
        let scale = 1.0 / (1.0 - self.rate);
        for (i, value) in values.enumerate() {
            let keep = mix((offset as u32).wrapping_add(i as u32) ^ self.seed) >= threshold;
            f(value, if keep { scale } else { 0.0 });
        }
    }
}
