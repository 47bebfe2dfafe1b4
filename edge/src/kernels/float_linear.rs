//! The linear layer in f32, for the few matrices that lose too much accuracy in int8: slower, with the same
//! bits on every processor.
use alloc::vec;
use alloc::vec::Vec;

use super::KernelError;
use super::lanes::{LANES, Lanes};
use super::linear::{Epilogue, check_bias, check_shape};
use super::math;

/// Rows that are computed together in a pass over a panel.
const ROWS: usize = 4;

/// A linear layer of f32 weights, in panels of sixteen outputs with all their inputs.
pub struct FloatLinear {
    inputs: usize,
    outputs: usize,
    panels: Vec<[f32; LANES]>,
    bias: Vec<[f32; LANES]>,
}

impl FloatLinear {
    /// Packs `weights` `[inputs, outputs]`, row major. `bias` has one value per output or none.
    ///
    /// # Errors
    /// If a count is wrong, a weight is not finite, or a bias is not within ±1e30.
    pub fn pack(
        weights: impl ExactSizeIterator<Item = f32>,
        inputs: usize,
        outputs: usize,
        bias: &[f32],
    ) -> Result<FloatLinear, KernelError> {
        check_shape(inputs, outputs, weights.len())?;
        check_bias(bias, outputs)?;
        let sets = outputs.div_ceil(LANES);
        let mut panels = vec![[0.0; LANES]; sets * inputs];
        for (i, value) in weights.enumerate() {
            if !value.is_finite() {
                return Err(KernelError::Value { what: "weight", value });
            }
            let (input, output) = (i / outputs, i % outputs);
            panels[output / LANES * inputs + input][output % LANES] = value;
        }
        let mut padded = vec![[0.0; LANES]; sets];
        for (set, values) in padded.iter_mut().zip(bias.chunks(LANES)) {
            set[..values.len()].copy_from_slice(values);
        }
        Ok(FloatLinear { inputs, outputs, panels, bias: padded })
    }

    /// Returns the number of inputs, k.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of outputs, n.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        4 * LANES * (self.panels.len() + self.bias.len())
    }
}

/// Applies `layer` to the rows of `x` `[rows, inputs]` and writes `out` `[rows, outputs]`.
#[inline(always)]
pub(super) fn float_linear<L: Lanes>(layer: &FloatLinear, x: &[f32], epilogue: Epilogue, out: &mut [f32]) {
    let FloatLinear { inputs, outputs, .. } = *layer;
    let rows = x.len() / inputs;
    for (panel, (weights, bias)) in layer.panels.chunks_exact(inputs).zip(&layer.bias).enumerate() {
        let columns = (panel * LANES, outputs.min((panel + 1) * LANES));
        let mut row = 0;
        while row < rows {
            let height = ROWS.min(rows - row);
            let x = &x[row * inputs..][..height * inputs];
            let out = &mut out[row * outputs..][..height * outputs];
            match height {
                1 => tile::<L, 1>(x, weights, bias, epilogue, columns, out),
                2 => tile::<L, 2>(x, weights, bias, epilogue, columns, out),
                3 => tile::<L, 3>(x, weights, bias, epilogue, columns, out),
                _ => tile::<L, ROWS>(x, weights, bias, epilogue, columns, out),
            }
            row += height;
        }
    }
}

/// Computes `R` rows and the outputs of one panel, starting from the bias, by one fused multiply-add per
/// input, in order.
#[inline(always)]
fn tile<L: Lanes, const R: usize>(
    x: &[f32],
    weights: &[[f32; LANES]],
    bias: &[f32; LANES],
    epilogue: Epilogue,
    (first, end): (usize, usize),
    out: &mut [f32],
) {
    let mut sums = [L::load(bias); R];
    // one slice per row, so that the compiler can see that indices are within bounds
    let mut rows = [&x[..weights.len()]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &x[r * weights.len()..][..weights.len()];
    }
    for (k, weights) in weights.iter().enumerate() {
        let weights = L::load(weights);
        for r in 0..R {
            sums[r] = L::splat(rows[r][k]).fma(weights, sums[r]);
        }
    }
    let outputs = out.len() / R;
    for (r, sum) in sums.into_iter().enumerate() {
        let v = sum.finite();
        let v = if epilogue == Epilogue::Gelu { math::gelu(v) } else { v };
        let out = &mut out[r * outputs..][first..end];
        match out.first_chunk_mut() {
            Some(whole) => v.store(whole),
            None => v.store_part(out),
        }
    }
}
