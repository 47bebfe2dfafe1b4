//! Training operators, each a forward and a backward function on row-major f32 slices.
//!
//! Forward stores what backward needs in the caller's buffers. Every pair is checked against finite
//! differences (`tests.rs`). Results are bit-identical for any number of threads: how work is split does not
//! depend on it.

mod attention;
mod cosine;
mod elementwise;
mod embedding;
mod gemm;
mod integer_linear;
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
pub use gemm::{Bf16, Precision};
pub(crate) use gemm::{Matrix, multiply, threads};
pub use integer_linear::{IntegerLinear, Integers};
pub use layer_norm::{layer_norm, layer_norm_backward};
pub use linear::{bias_gradient, input_gradient, linear, product, weight_gradient};
pub use loss::{Distribution, Loss};
pub use rounding::{Bits, round_weights};

/// The destination of a gradient.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The values to write.
    pub values: &'a mut [f32],
    /// Whether to add to the values; otherwise their contents are meaningless and are overwritten.
    pub add: bool,
}

impl<'a> Slot<'a> {
    /// Creates a slot to be overwritten.
    pub fn new(values: &'a mut [f32]) -> Self {
        Self { values, add: false }
    }

    /// Creates a slot to be added to.
    pub fn adding(values: &'a mut [f32]) -> Self {
        Self { values, add: true }
    }

    /// Returns the values for adding to, zeroed first unless `add`.
    pub fn sum(self) -> &'a mut [f32] {
        if !self.add {
            self.values.fill(0.0);
        }
        self.values
    }
}

/// Number of elements below which another thread costs more than it saves.
const PARALLEL_FROM: usize = 16_384;

/// `vectorized!(|| loop)` runs a loop compiled for the widest vectors of this processor. It is a macro
/// because the closure must be inlined into the function compiled for those vectors; whatever it calls is
/// `#[inline(always)]` for the same reason.
macro_rules! vectorized {
    (|| $body:expr) => {
        pulp::Arch::new().dispatch($crate::bert::ops::Loop(
            #[inline(always)]
            || $body,
        ))
    };
}
pub(crate) use vectorized;

/// The wrapper that [`vectorized!`] runs. `pulp` would call a bare closure through `FnOnce`, for which the
/// compiler emits a separate function without wide vectors; called through `FnMut`, the body is inlined.
pub(crate) struct Loop<F>(pub F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Sums in a fixed order that vectorises.
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

/// Returns e^x for x up to 88, with a relative error below 2e-7 (polynomial of Cephes' `expf`), and 0 below
/// -60.
///
/// The values cut off are far below the last bit of any sum they enter, and would become subnormal in
/// products: in masked attention these slow down a step's matrix products several times.
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

/// Returns erf(x) and e^(-x²): Abramowitz and Stegun 7.1.26, whose absolute error is below 1.5e-7, and with
/// rounding below 5e-7.
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
