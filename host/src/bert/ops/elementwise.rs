use super::{PARALLEL_FROM, erf_and_exp, values, vectorized, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

struct Gelu;

/// GELU with erf, as BERT has it.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

/// `f(offset, x, y)` over chunks of both, in parallel where that pays.
fn map_chunks(x: &[f32], y: &mut [f32], f: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
    if x.len() <= PARALLEL_FROM {
        f(0, x, y);
    } else {
        let chunks = x.par_chunks(PARALLEL_FROM).zip(y.par_chunks_mut(PARALLEL_FROM)).enumerate();
        chunks.for_each(|(i, (x, y))| f(i * PARALLEL_FROM, x, y));
    }
}

#[inline(always)]
fn gelu_forward(x: &[f32], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        let (erf, _) = erf_and_exp(x * std::f32::consts::FRAC_1_SQRT_2);
        *y = 0.5 * x * (1.0 + erf);
    }
}

/// `y` holds the gradient from above and becomes the one below.
#[inline(always)]
fn gelu_backward(x: &[f32], y: &mut [f32]) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    for (x, y) in x.iter().zip(y) {
        let (erf, e) = erf_and_exp(x * std::f32::consts::FRAC_1_SQRT_2);
        *y *= 0.5 * (1.0 + erf) + x * e * DENSITY;
    }
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let mut y = vec![0.0; x.len()];
        map_chunks(x, &mut y, |_, x, y| vectorized!(|| gelu_forward(x, y)));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = with_values(grad, <[f32]>::to_vec)?;
        with_values(x, |x| map_chunks(x, &mut dx, |_, x, y| vectorized!(|| gelu_backward(x, y))))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

struct Dropout {
    rate: f32,
    seed: u32,
}

/// Zeroes a share `rate` of the values and scales the rest by `1 / (1 - rate)`.
///
/// Which ones is a function of `seed` and the position alone, so that backward computes it again
/// and a resumed run drops the same values.
pub fn dropout(x: &Tensor, rate: f64, seed: u32) -> Result<Tensor> {
    if rate == 0.0 { Ok(x.clone()) } else { x.apply_op1(Dropout { rate: rate as f32, seed }) }
}

/// A 32-bit mixer with full avalanche ("lowbias32" of C. Wellons' hash prospector).
#[inline(always)]
pub(crate) fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Drops from `x` into `y`; `offset` is the position of `x[0]`.
#[inline(always)]
pub(super) fn drop_into(x: &[f32], y: &mut [f32], offset: usize, rate: f32, seed: u32) {
    let threshold = (f64::from(rate) * 4_294_967_296.0) as u32;
    let scale = 1.0 / (1.0 - rate);
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let keep = mix((offset as u32).wrapping_add(i as u32) ^ seed) >= threshold;
        *y = if keep { x * scale } else { 0.0 };
    }
}

impl Dropout {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        map_chunks(x, &mut y, |offset, x, y| vectorized!(|| drop_into(x, y, offset, self.rate, self.seed)));
        y
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(values(storage, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dx = with_values(grad, |g| self.apply(g))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
