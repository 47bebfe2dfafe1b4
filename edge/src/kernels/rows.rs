//! Operators on rows of floats, each written once over [`Lanes`].
use super::activations::Activations;
use super::ahead::Ahead;
use super::float::sqrt;
use super::lanes::{Dot, LANES, Lanes};
use super::{Norm, math};

/// Bounds of a row's absmax. The lower one keeps the inverse finite, so a row of zeros gives zeros; the upper
/// one keeps every product of [`super::Linear`] finite, whatever the row contains. NaN
/// counts as the upper one.
const ABSMAX: (f32, f32) = (1e-12, 1e24);

#[inline(always)]
fn absmax<L: Lanes>(x: &[f32]) -> u32 {
    let mut highest = L::splat(0.0);
    for i in (0..x.len()).step_by(LANES) {
        highest = L::at(x, i).abs().max_bits(highest);
    }
    highest.highest_bits()
}

/// Writes a row as integers and returns its scale. `absmax` is its largest magnitude, as bits.
#[inline(always)]
fn write_activations<D: Dot>(x: &[f32], absmax: u32, ahead: &mut Ahead, to: &mut [u8]) -> f32 {
    // up to the bound nothing is NaN, and all values round to within ±127 without clamping
    let bounded = absmax <= ABSMAX.1.to_bits();
    let absmax = f32::from_bits(absmax.clamp(ABSMAX.0.to_bits(), ABSMAX.1.to_bits()));
    let inverse = D::splat(127.0 / absmax);
    let blocks = to.chunks_exact_mut(LANES * D::ACTIVATION_BYTES);
    for (i, block) in (0..x.len()).step_by(LANES).zip(blocks) {
        ahead.fetch::<D, 1>();
        let q = D::at(x, i).mul(inverse);
        let q = if bounded { q } else { q.clamp(-127.0, 127.0) };
        // SAFETY: `block` is exactly sixteen activations long.
        unsafe { q.store_activations(block.as_mut_ptr()) }
    }
    absmax / 127.0
}

/// Quantizes rows of `to.inputs()` floats.
#[inline(always)]
pub(super) fn quantize<D: Dot>(x: &[f32], mut ahead: Ahead, to: &mut Activations) {
    let inputs = to.inputs();
    for (r, row) in x.chunks_exact(inputs).enumerate() {
        let (scale, bytes) = to.row_mut(r);
        *scale = write_activations::<D>(row, absmax::<D>(row), &mut ahead, bytes);
    }
}

/// See [`super::Kernels::layer_norm`].
#[inline(always)]
pub(super) fn layer_norm<D: Dot>(
    x: &mut [f32],
    residual: Option<&[f32]>,
    norm: &Norm<'_>,
    mut ahead: Ahead,
    mut quantized: Option<&mut Activations>,
) {
    let width = norm.gamma.len();
    for (r, row) in x.chunks_exact_mut(width).enumerate() {
        let residual = residual.map(|all| &all[r * width..][..width]);
        let absmax = layer_norm_row::<D>(row, residual, norm, &mut ahead);
        if let Some(to) = &mut quantized {
            let (scale, bytes) = to.row_mut(r);
            *scale = write_activations::<D>(row, absmax, &mut ahead, bytes);
        }
    }
}

/// Normalizes a row and returns the absmax of the result as bits.
#[inline(always)]
fn layer_norm_row<L: Lanes>(
    x: &mut [f32],
    residual: Option<&[f32]>,
    norm: &Norm<'_>,
    ahead: &mut Ahead,
) -> u32 {
    let n = x.len();
    let mut sum = L::splat(0.0);
    for i in (0..n).step_by(LANES) {
        ahead.fetch::<L, 1>();
        let mut v = L::at(x, i);
        if let Some(residual) = residual {
            v = v.add(L::at(residual, i));
            v.put(x, i);
        }
        sum = sum.add(v);
    }
    let mean = L::splat(sum.sum() / n as f32);

    let mut squares = L::splat(0.0);
    for i in (0..n).step_by(LANES) {
        ahead.fetch::<L, 1>();
        let d = L::at(x, i).sub(mean).keep(n - i);
        squares = d.fma(d, squares);
    }
    let inverse = L::splat(1.0 / sqrt(squares.sum() / n as f32 + norm.epsilon));

    let mut highest = L::splat(0.0);
    for i in (0..n).step_by(LANES) {
        ahead.fetch::<L, 2>();
        let v = L::at(x, i).sub(mean).mul(inverse);
        let v = v.fma(L::at(norm.gamma, i), L::at(norm.beta, i)).finite().keep(n - i);
        highest = v.abs().max_bits(highest);
        v.put(x, i);
    }
    highest.highest_bits()
}

/// Computes `to = row * scale`.
#[inline(always)]
pub(super) fn dequantize<L: Lanes>(row: &[i8], scale: f32, to: &mut [f32]) {
    let scale = L::splat(scale);
    for i in (0..row.len()).step_by(LANES) {
        let rest = &row[i..];
        let v = match rest.first_chunk() {
            Some(all) => L::from_i8(all),
            None => {
                let mut all = [0; LANES];
                all[..rest.len()].copy_from_slice(rest);
                L::from_i8(&all)
            }
        };
        v.mul(scale).put(to, i);
    }
}

/// Functions of one float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Exp,
    Gelu,
    Tanh,
    Sigmoid,
}

#[inline(always)]
pub(super) fn map<L: Lanes>(function: Function, x: &mut [f32]) {
    for i in (0..x.len()).step_by(LANES) {
        // not `finite`: the caller's NaN may be a signalling one
        let v = L::at(x, i).max(L::splat(-f32::MAX)).min(L::splat(f32::MAX));
        let v = match function {
            Function::Exp => math::exp(v),
            Function::Gelu => math::gelu(v),
            Function::Tanh => math::tanh(v),
            Function::Sigmoid => math::sigmoid(v),
        };
        v.finite().put(x, i);
    }
}

/// Computes `x += y`.
#[inline(always)]
pub(super) fn add<L: Lanes>(x: &mut [f32], y: &[f32]) {
    for i in (0..x.len()).step_by(LANES) {
        L::at(x, i).add(L::at(y, i)).put(x, i);
    }
}

/// Computes `x *= factor`.
#[inline(always)]
fn scale<L: Lanes>(x: &mut [f32], factor: f32) {
    for i in (0..x.len()).step_by(LANES) {
        L::at(x, i).mul(L::splat(factor)).put(x, i);
    }
}

/// Replaces each element x of a row by e^(x - highest), and returns the inverse of the sum. The row is
/// `blocks` and the first `kept` floats of `last`; the rest of `last` must repeat elements of the row, and
/// becomes zero.
#[inline(always)]
pub(super) fn exp_row<L: Lanes>(blocks: &mut [[f32; LANES]], last: &mut [f32; LANES], kept: usize) -> f32 {
    // a NaN would hide higher values
    let mut highest = L::load(last).max(L::splat(-f32::MAX));
    for block in blocks.iter() {
        highest = L::load(block).max(highest);
    }
    let highest = L::splat(highest.highest());
    let mut sum = L::splat(0.0);
    for block in blocks {
        let e = math::exp_of_negative(L::load(block).sub(highest));
        sum = sum.add(e);
        e.store(block);
    }
    let e = math::exp_of_negative(L::load(last).sub(highest)).keep(kept);
    e.store(last);
    1.0 / sum.add(e).sum()
}

/// Applies softmax to a row in place.
#[inline(always)]
pub(super) fn softmax<L: Lanes>(x: &mut [f32]) {
    let Some(&first) = x.first() else { return };
    let blocks = (x.len() - 1) / LANES;
    let (blocks, tail) = x.split_at_mut(blocks * LANES);
    let mut last = [first; LANES];
    last[..tail.len()].copy_from_slice(tail);
    let inverse = exp_row::<L>(blocks.as_chunks_mut().0, &mut last, tail.len());
    tail.copy_from_slice(&last[..tail.len()]);
    scale::<L>(x, inverse);
}
