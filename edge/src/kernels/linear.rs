//! The linear layer: int8 weights packed once for an instruction set, int8 activations, exact i32 sums.
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use super::activations::Activations;
use super::lanes::{Dot, LANES, MAX_COLUMNS, MAX_ROWS};
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

    /// As [`input_major`](Self::input_major), for the bytes of a file.
    pub fn from_bytes(data: &'a [u8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        // SAFETY: i8 and u8 have one size and alignment, and every bit pattern is a value of both.
        let data = unsafe { core::slice::from_raw_parts(data.as_ptr().cast(), data.len()) };
        Self::input_major(data, inputs, outputs)
    }

    /// `[outputs, inputs]` row major, as PyTorch and safetensors have it.
    pub fn output_major(data: &'a [i8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        Weights { data, inputs, outputs, input_stride: 1, output_stride: inputs }.checked()
    }

    fn checked(self) -> Result<Self, KernelError> {
        check_shape(self.inputs, self.outputs, self.data.len())?;
        Ok(self)
    }

    #[inline(always)]
    fn at(&self, input: usize, output: usize) -> i8 {
        self.data[input * self.input_stride + output * self.output_stride]
    }

    /// Adds the weights of each output.
    fn sum_columns(&self, sums: &mut [i32]) {
        if self.output_stride == 1 {
            for row in self.data.chunks_exact(self.outputs) {
                sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += i32::from(*w));
            }
        } else {
            for (sum, column) in sums.iter_mut().zip(self.data.chunks_exact(self.inputs)) {
                *sum += column.iter().map(|w| i32::from(*w)).sum::<i32>();
            }
        }
    }
}

/// Fails unless `weights` of them make a linear layer of this shape.
pub(super) fn check_shape(inputs: usize, outputs: usize, weights: usize) -> Result<(), KernelError> {
    if inputs == 0 || outputs == 0 || inputs > Linear::MAX_INPUTS {
        return Err(KernelError::Shape { inputs, outputs });
    }
    if inputs.checked_mul(outputs) != Some(weights) {
        return Err(KernelError::WeightCount { inputs, outputs, found: weights });
    }
    Ok(())
}

/// Fails unless there is a bias an output, or none, and each is within ±1e30.
pub(super) fn check_bias(bias: &[f32], outputs: usize) -> Result<(), KernelError> {
    if bias.len() != outputs && !bias.is_empty() {
        return Err(KernelError::Count { what: "biases", expected: outputs, found: bias.len() });
    }
    match bias.iter().find(|b| !(-1e30..=1e30).contains(*b)) {
        Some(&value) => Err(KernelError::Value { what: "bias", value }),
        None => Ok(()),
    }
}

/// Lays the weights out: strips of [`Dot::STRIP`] outputs, each with `depth` inputs, [`Dot::GROUP`] inputs of an output side by side.
/// What is padding stays as it is, zero.
pub(super) fn arrange<const GROUP: usize, const STRIP: usize>(
    weights: &Weights<'_>,
    depth: usize,
    panels: &mut [u8],
) {
    let Weights { data, inputs, outputs, .. } = *weights;
    for (panel, first) in panels.chunks_exact_mut(STRIP * depth).zip((0..outputs).step_by(STRIP)) {
        let width = STRIP.min(outputs - first);
        for (group, k) in panel.chunks_exact_mut(STRIP * GROUP).zip((0..inputs).step_by(GROUP)) {
            let (places, _) = group.as_chunks_mut::<GROUP>();
            if weights.output_stride == 1 && k + GROUP <= inputs && width == STRIP {
                // values of known sizes, so that the compiler interleaves whole registers
                let rows: [[i8; STRIP]; GROUP] = core::array::from_fn(|i| {
                    let row = &data[(k + i) * outputs + first..];
                    *row.first_chunk().expect("a strip lies within its row")
                });
                let strip: [[u8; GROUP]; STRIP] =
                    core::array::from_fn(|column| core::array::from_fn(|i| rows[i][column] as u8));
                places.copy_from_slice(&strip);
            } else {
                for (column, place) in places[..width].iter_mut().enumerate() {
                    for (i, byte) in place.iter_mut().enumerate().take(inputs - k) {
                        *byte = weights.at(k + i, first + column) as u8;
                    }
                }
            }
        }
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
        check_bias(bias, outputs)?;
        if let Some(&value) = scales.iter().find(|s| !(0.0..=1e3).contains(*s)) {
            return Err(KernelError::Value { what: "scale", value });
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
        (kernels.table.arrange)(&weights, depth, linear.panels.bytes_mut());
        weights.sum_columns(&mut linear.start);
        for (output, start) in linear.start.iter_mut().enumerate().take(outputs) {
            *start *= -layout.offset;
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
    if rows == 0 {
        return;
    }
    // tiles of equal height, rather than full ones and a thin rest: some of them are higher by one, or the last two overlap
    let tiles = rows.div_ceil(D::ROWS);
    let (least, higher) = (rows / tiles, rows % tiles);
    let highest = rows.div_ceil(tiles);
    let panels = layer.panels.bytes().chunks_exact(steps * D::STEP * D::COLUMNS);
    // SAFETY: a tile has at most ROWS rows.
    unsafe { D::begin(highest) };
    for (panel, weights) in panels.enumerate().take(layer.scale.len() / D::COLUMNS) {
        let first = panel * D::COLUMNS;
        for tile in 0..tiles {
            let (row, height) = if D::EVEN {
                ((tile * highest).min(rows - highest), highest)
            } else {
                (tile * least + tile.min(higher), least + usize::from(tile < higher))
            };
            // SAFETY: rows up to `row + height` exist; `weights` is one whole panel of an aligned buffer whose panels
            // are multiples of a line or start at zero; `start` is padded to whole panels; `acc` has room for any tile.
            unsafe {
                let x = x.data().as_ptr().add(row * stride);
                let (w, start) = (weights.as_ptr().cast(), layer.start.as_ptr().add(first));
                match height {
                    _ if D::EVEN => D::tile::<MAX_ROWS>(x, stride, w, steps, start, acc),
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
            // SAFETY: the tile has written `height` rows of COLUMNS sums.
            let sums = unsafe { core::slice::from_raw_parts(acc, height * D::COLUMNS) };
            let scales = &x.scales()[row..][..height];
            let out = &mut out[row * layer.outputs..][..height * layer.outputs];
            match epilogue {
                Epilogue::None => finish::<D, false>(layer, first, sums, scales, out),
                Epilogue::Gelu => finish::<D, true>(layer, first, sums, scales, out),
            }
        }
    }
    // SAFETY: begun above.
    unsafe { D::end() }
}

/// Scale, bias and GELU for the outputs of one tile from column `first` on; `out` is whole rows.
#[inline(always)]
fn finish<D: Dot, const GELU: bool>(
    layer: &Linear,
    first: usize,
    sums: &[i32],
    scales: &[f32],
    out: &mut [f32],
) {
    let mut sums = sums.chunks_exact(2 * D::COLUMNS);
    let mut out = out.chunks_exact_mut(2 * layer.outputs);
    let mut scales = scales.chunks_exact(2);
    for ((sums, out), scales) in (&mut sums).zip(&mut out).zip(&mut scales) {
        let (a, b) = out.split_at_mut(layer.outputs);
        let (sums_a, sums_b) = sums.split_at(D::COLUMNS);
        finish_rows::<D, 2, GELU>(layer, first, [sums_a, sums_b], [scales[0], scales[1]], [a, b]);
    }
    if let [scale] = *scales.remainder() {
        finish_rows::<D, 1, GELU>(layer, first, [sums.remainder()], [scale], [out.into_remainder()]);
    }
}

/// [`finish`] of one row, or of two together.
#[inline(always)]
fn finish_rows<D: Dot, const R: usize, const GELU: bool>(
    layer: &Linear,
    first: usize,
    sums: [&[i32]; R],
    scales: [f32; R],
    out: [&mut [f32]; R],
) {
    let weight_scale = layer.scale[first..][..D::COLUMNS].as_chunks().0;
    let bias = layer.bias[first..][..D::COLUMNS].as_chunks().0;
    let width = D::COLUMNS.min(layer.outputs - first);
    // loops rather than closures, which would be compiled without the instruction set
    for (i, (weight_scale, bias)) in weight_scale.iter().zip(bias).enumerate() {
        let at = i * LANES;
        if at >= width {
            break;
        }
        let (weight_scale, bias) = (D::load(weight_scale), D::load(bias));
        let mut v = [bias; R];
        for r in 0..R {
            let sums = D::from_i32(&sums[r].as_chunks().0[i]);
            v[r] = sums.fma(weight_scale.mul(D::splat(scales[r])), bias);
        }
        if GELU && R == 2 {
            let both = math::gelu_two([v[0], v[R - 1]]);
            (v[0], v[R - 1]) = (both[0], both[1]);
        } else if GELU {
            v[0] = math::gelu(v[0]);
        }
        for r in 0..R {
            let out = &mut out[r][first + at..first + width];
            match out.first_chunk_mut() {
                Some(whole) => v[r].store(whole),
                None => v[r].store_part(out),
            }
        }
    }
}
