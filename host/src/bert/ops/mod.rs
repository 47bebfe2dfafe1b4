//! Training operators, each a forward and a backward function on plain slices of f32, row-major.
//!
//! Forward leaves in the caller's buffers what backward needs. Every pair is checked against finite differences
//! (`tests.rs`). The number of threads changes no bit: work is split in parts that do not depend on it.

mod attention;
mod cosine;
mod elementwise;
mod embedding;
mod gemm;
mod layer_norm;
mod linear;
mod loss;
mod rounding;
#[cfg(test)]
mod tests;

pub use attention::Attention;
pub(crate) use cosine::{nearest, unit_rows};
pub(crate) use elementwise::mix;
pub use elementwise::{Dropout, gelu, gelu_backward};
pub use embedding::{embedding, embedding_backward};
pub(crate) use gemm::{Matrix, multiply, threads};
pub use layer_norm::{layer_norm, layer_norm_backward};
pub use linear::{bias_gradient, input_gradient, linear, product, weight_gradient};
pub use loss::{Distribution, Loss};
pub use rounding::{Bits, round_activations, round_weights};

/// Where a gradient goes.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The place.
    pub values: &'a mut [f32],
    /// Whether to add to what is there; what is there means nothing otherwise.
    pub add: bool,
}

impl<'a> Slot<'a> {
    /// Overwrites.
    pub fn new(values: &'a mut [f32]) -> Self {
        Self { values, add: false }
    }

    /// Adds.
    pub fn adding(values: &'a mut [f32]) -> Self {
        Self { values, add: true }
    }

    /// The place as something to add to.
    pub fn sum(self) -> &'a mut [f32] {
        if !self.add {
            self.values.fill(0.0);
        }
        self.values
    }
}

/// Elements below which another thread costs more than it brings.
const PARALLEL_FROM: usize = 16_384;

/// `vectorized!(|| loop)`: runs a loop compiled for the widest vectors this processor has. A macro, because the closure has
/// to be inlined into the function that is compiled for them; what it calls is `#[inline(always)]` for the same reason.
macro_rules! vectorized {
    (|| $body:expr) => {
        pulp::Arch::new().dispatch($crate::bert::ops::Loop(
            #[inline(always)]
            || $body,
        ))
    };
}
pub(crate) use vectorized;

/// What [`vectorized!`] runs. A closure that is given to `pulp` itself is called through `FnOnce`, for which the compiler
/// makes a function of its own, without wide vectors; through `FnMut` the body is called, and inlined.
pub(crate) struct Loop<F>(pub F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Sum in a fixed order that vectorises.
#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += chunk[i];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// e^x for x up to 88, relative error below 2e-7 (polynomial of Cephes' `expf`); 0 below -60.
///
/// What is cut off is far below the last bit of any sum it enters, and would become subnormal in products: masked
/// attention made of those slows the matrix products of a step down by several times.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LEAST: f32 = -60.0;
    let cut = x < LEAST;
    let x = x.clamp(LEAST, 88.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let y = p.mul_add(r * r, r) + 1.0;
    if cut { 0.0 } else { y * f32::from_bits(((n as i32 + 127) << 23) as u32) }
}

/// erf(x) and e^(-x²): Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
#[inline(always)]
fn erf_and_exp(x: f32) -> (f32, f32) {
    let a = x.abs();
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let e = exp(-a * a);
    let mut p = 1.061_405_4f32;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p.mul_add(t, c);
    }
    ((1.0 - p * t * e).copysign(x), e)
}
