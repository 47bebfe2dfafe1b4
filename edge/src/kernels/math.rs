//! exp, GELU, tanh and the logistic function on lanes, by our own polynomials so that
//! no bit depends on a libm.
//!
//! The stated errors are those against f64, checked by `tests/kernels_math.rs`.
use super::lanes::{Lanes, gelu_polynomial};

/// 1.5 * 2^23: adding it rounds to an integer, half to even, and leaves that integer in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Returns e^x for x clamped to [-87, 88]; NaN counts as -87. Relative error below 2.5e-7.
///
/// x = n ln 2 + r (Cody and Waite in two parts), e^r by a minimax polynomial of degree 5.
#[inline(always)]
pub(super) fn exp<L: Lanes>(x: L) -> L {
    exp_in_range(x.clamp(-87.0, 88.0))
}

/// [`exp`] for x of 0 or below.
#[inline(always)]
pub(super) fn exp_of_negative<L: Lanes>(x: L) -> L {
    exp_in_range(x.at_least(-87.0))
}

#[inline(always)]
fn exp_in_range<L: Lanes>(x: L) -> L {
    let shifted = x.fma(L::splat(core::f32::consts::LOG2_E), L::splat(ROUND));
    let n = shifted.sub(L::splat(ROUND));
    let r = n.fma(L::splat(-0.693_359_4), x);
    let r = n.fma(L::splat(2.121_944_4e-4), r);
    let mut p = L::splat(0.008_312_43);
    for c in [0.041_890_986, 0.166_671_19, 0.499_992_25] {
        p = p.fma(r, L::splat(c));
    }
    let p = p.fma(r.mul(r), r).add(L::splat(1.0));
    p.scale_by_power(shifted)
}

/// Returns GELU by its exact (erf) definition, x Φ(x). Absolute error below 3e-6.
///
/// Φ(z) - 1/2 = z P(t) with t = 2 z² / 25 - 1 and z = x clamped to ±5. P is a minimax polynomial of degree 11
/// that is exactly 0.1 at t = 1, so that Φ is exactly 0 and 1 from z = ±5 on.
#[inline(always)]
pub(super) fn gelu<L: Lanes>(x: L) -> L {
    gelu_end(x, gelu_polynomial(gelu_start(x)))
}

/// [`gelu`] for two sets.
#[inline(always)]
pub(super) fn gelu_two<L: Lanes>([a, b]: [L; 2]) -> [L; 2] {
    let [p, q] = L::gelu_polynomials([gelu_start(a), gelu_start(b)]);
    [gelu_end(a, p), gelu_end(b, q)]
}

/// Returns t.
#[inline(always)]
fn gelu_start<L: Lanes>(x: L) -> L {
    let z = x.clamp(-5.0, 5.0);
    z.mul(z).fma(L::splat(0.08), L::splat(-1.0))
}

/// Returns x Φ(x), given P(t).
#[inline(always)]
fn gelu_end<L: Lanes>(x: L, p: L) -> L {
    x.mul(p.mul(x.clamp(-5.0, 5.0)).add(L::splat(0.5)))
}

/// tanh x = 1 - 2 / (e^2x + 1). Absolute error below 3e-7.
#[inline(always)]
pub(super) fn tanh<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.sub(L::splat(2.0).div(exp(x.add(x)).add(one)))
}

/// 1 / (1 + e^-x). Absolute error below 3e-7.
#[inline(always)]
pub(super) fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.div(exp(L::splat(0.0).sub(x)).add(one))
}
