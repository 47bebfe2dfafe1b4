//! The linear layer: int8 weights packed once for an instruction set, int8 activations, exact i32 sums.
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use super::activations::Activations;
use super::lanes::{Dot, LANES, Lanes, MAX_COLUMNS, MAX_ROWS};
use super::memory::Aligned;
use super::{KernelError, Kernels, math};

/// Int8 weights of a linear layer as they lie in a file, in either order.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    data: &'a [i8],
    inputs: usize,
    outputs: usize,
    input_stride: usize,
    output_stride: usize,
}

impl<'a> Weights<'a> {
    /// `[inputs, outputs]` row major, as ONNX MatMul has it.
    pub fn input_major(data: &'a [i8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        Weights { data, inputs, outputs, input_stride: outputs, output_stride: 1 }.checked()
    }

    /// `[outputs, inputs]` row major, as PyTorch and safetensors have it.
    pub fn output_major(data: &'a [i8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        Weights { data, inputs, outputs, input_stride: 1, output_stride: inputs }.checked()
    }

    fn checked(self) -> Result<Self, KernelError> {
        let Weights { data, inputs, outputs, .. } = self;
        if inputs == 0 || outputs == 0 || inputs > Linear::MAX_INPUTS {
            return Err(KernelError::Shape { inputs, outputs });
        }
        if inputs.checked_mul(outputs) != Some(data.len()) {
            return Err(KernelError::WeightCount { inputs, outputs, found: data.len() });
        }
        Ok(self)
    }

    #[inline(always)]
    fn at(&self, input: usize, output: usize) -> i8 {
        self.data[input * self.input_stride + output * self.output_stride]
    }
}

/// What follows the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// GELU (erf).
    Gelu,
}

/// A linear layer packed for one instruction set: about `inputs * outputs` bytes and 12 more an output.
///
/// Panels of [`Dot::COLUMNS`] outputs, each with all its inputs; both padded with zero weights.
pub struct Linear {
    kernels: Kernels,
    inputs: usize,
    outputs: usize,
    panels: Aligned,
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// Where the sums of an output start: `-OFFSET * sum of its weights`.
    start: Vec<i32>,
}

impl Linear {
    /// More inputs could overflow the i32 sums.
    pub const MAX_INPUTS: usize = 65_536;

    /// Packs `weights` for `kernels`. `scales` has one value an output or one for all; `bias` one an output or none.
    ///
    /// # Errors
    /// When a count is wrong, a scale is not within 0 to 1000, or a bias is not within ±1e30.
    pub fn pack(
        kernels: Kernels,
        weights: Weights<'_>,
        scales: &[f32],
        bias: &[f32],
    ) -> Result<Linear, KernelError> {
        let Weights { inputs, outputs, .. } = weights;
        if scales.len() != outputs && scales.len() != 1 {
            return Err(KernelError::Count { what: "scales", expected: outputs, found: scales.len() });
        }
        if bias.len() != outputs && !bias.is_empty() {
            return Err(KernelError::Count { what: "biases", expected: outputs, found: bias.len() });
        }
        if let Some(&value) = scales.iter().find(|s| !(0.0..=1e3).contains(*s)) {
            return Err(KernelError::Value { what: "scale", value });
        }
        if let Some(&value) = bias.iter().find(|b| !(-1e30..=1e30).contains(*b)) {
            return Err(KernelError::Value { what: "bias", value });
        }
        let layout = kernels.table.layout;
        let depth = inputs.next_multiple_of(layout.step);
        let padded = outputs.next_multiple_of(layout.columns);
        let mut linear = Linear {
            kernels,
            inputs,
            outputs,
            panels: Aligned::zeroed(depth * padded),
            scale: vec![0.0; padded],
            bias: vec![0.0; padded],
            start: vec![0; padded],
        };
        let bytes = linear.panels.bytes_mut();
        for output in 0..outputs {
            let panel = &mut bytes[output / layout.columns * depth * layout.columns..];
            let mut sum = 0;
            for input in 0..inputs {
                let weight = weights.at(input, output);
                sum += i32::from(weight);
                panel[(layout.position)(input, output % layout.columns, depth)] = weight as u8;
            }
            linear.start[output] = -layout.offset * sum;
            linear.scale[output] = if scales.len() == 1 { scales[0] } else { scales[output] };
            linear.bias[output] = bias.get(output).copied().unwrap_or(0.0);
        }
        Ok(linear)
    }

    /// Inputs, k.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs, n.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes it holds on the heap.
    pub fn bytes(&self) -> usize {
        self.panels.bytes().len() + 12 * self.scale.len()
    }

    pub(super) fn kernels(&self) -> Kernels {
        self.kernels
    }
}

/// The first `rows` rows of `x` through `layer` into `out` `[rows, outputs]`.
///
/// # Safety
/// `layer` and `x` were made for `D`; `x` has `layer.inputs()` inputs and at least `rows` rows; `out` has
/// `rows * outputs` floats.
#[inline(always)]
pub(super) unsafe fn linear<D: Dot>(
    layer: &Linear,
    x: &Activations,
    rows: usize,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let mut sums = MaybeUninit::<[i32; MAX_ROWS * MAX_COLUMNS]>::uninit();
    let acc = sums.as_mut_ptr().cast::<i32>();
    let steps = layer.inputs.div_ceil(D::STEP);
    let stride = x.stride();
    let panels = layer.panels.bytes().chunks_exact(steps * D::STEP * D::COLUMNS);
    for (panel, weights) in panels.enumerate().take(layer.scale.len() / D::COLUMNS) {
        let first = panel * D::COLUMNS;
        let mut row = 0;
        while row < rows {
            // tiles of equal height, rather than full ones and a thin rest
            let tiles = (rows - row).div_ceil(D::ROWS);
            let height = (rows - row).div_ceil(tiles);
            // SAFETY: rows up to `row + height` exist; `weights` is one whole panel of an aligned buffer whose panels
            // are multiples of a line or start at zero; `start` is padded to whole panels; `acc` has room for any tile.
            unsafe {
                let x = x.data().as_ptr().add(row * stride);
                let (w, start) = (weights.as_ptr().cast(), layer.start.as_ptr().add(first));
                match height {
                    1 => D::tile::<1>(x, stride, w, steps, start, acc),
                    2 => D::tile::<2>(x, stride, w, steps, start, acc),
                    3 => D::tile::<3>(x, stride, w, steps, start, acc),
                    4 => D::tile::<4>(x, stride, w, steps, start, acc),
                    5 => D::tile::<5>(x, stride, w, steps, start, acc),
                    6 => D::tile::<6>(x, stride, w, steps, start, acc),
                    7 => D::tile::<7>(x, stride, w, steps, start, acc),
                    _ => D::tile::<8>(x, stride, w, steps, start, acc),
                }
            }
            for r in 0..height {
                // SAFETY: the tile has written `height` rows of COLUMNS sums.
                let sums = unsafe { core::slice::from_raw_parts(acc.add(r * D::COLUMNS), D::COLUMNS) };
                let out = &mut out[(row + r) * layer.outputs..][..layer.outputs];
                finish::<D>(layer, first, sums, x.scales()[row + r], epilogue, out);
            }
            row += height;
        }
    }
}

/// Scale, bias and epilogue for the outputs of one panel from `first` on.
#[inline(always)]
fn finish<L: Lanes>(
    layer: &Linear,
    first: usize,
    sums: &[i32],
    scale: f32,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let scale = L::splat(scale);
    for (j, sums) in sums.as_chunks().0.iter().enumerate() {
        let c = first + j * LANES;
        if c >= layer.outputs {
            break;
        }
        let v = L::from_i32(sums).fma(L::at(&layer.scale, c).mul(scale), L::at(&layer.bias, c));
        let v = if epilogue == Epilogue::Gelu { math::gelu(v) } else { v };
        v.put(out, c);
    }
}
