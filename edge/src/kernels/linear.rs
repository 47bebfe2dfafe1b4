//! The linear layer: int8 weights packed once for an instruction set, int8 activations, exact i32 sums.
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use super::activations::{Activations, ROW_PADDING};
use super::ahead::{Ahead, BY_TILE};
use super::lanes::{Dot, LANES, MAX_COLUMNS, MAX_ROWS, TileOrder};
use super::memory::{Aligned, Arena};
use super::{KernelError, Kernels, math};

/// Int8 weights of a linear layer, `[inputs, outputs]` row major, as in ONNX MatMul.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    data: &'a [i8],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl<'a> Weights<'a> {
    /// Takes the weights of a layer of this shape.
    ///
    /// # Errors
    /// If there are no inputs or outputs, too many inputs, or not `inputs * outputs` weights.
    pub fn new(data: &'a [i8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        check_shape(inputs, outputs, data.len())?;
        Ok(Weights { data, inputs, outputs })
    }

    /// Like [`new`](Self::new), for the bytes of a file.
    ///
    /// # Errors
    /// The same as for `new`.
    pub fn from_bytes(data: &'a [u8], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        // SAFETY: i8 and u8 have the same size and alignment, and every bit pattern is a value of both.
        let data = unsafe { core::slice::from_raw_parts(data.as_ptr().cast(), data.len()) };
        Self::new(data, inputs, outputs)
    }

    /// Returns the weights of one input.
    #[inline(always)]
    pub(super) fn row(&self, input: usize) -> &'a [i8] {
        &self.data[input * self.outputs..][..self.outputs]
    }

    /// Adds the weights of each output to its sum.
    fn sum_columns(&self, sums: &mut [i32]) {
        for row in self.data.chunks_exact(self.outputs) {
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += i32::from(*w));
        }
    }
}

/// Fails unless the shape is valid and `weights` is its number of weights.
pub(super) fn check_shape(inputs: usize, outputs: usize, weights: usize) -> Result<(), KernelError> {
    if inputs == 0 || outputs == 0 || inputs > Linear::MAX_INPUTS {
        return Err(KernelError::Shape { inputs, outputs });
    }
    if inputs.checked_mul(outputs) != Some(weights) {
        return Err(KernelError::WeightCount { inputs, outputs, found: weights });
    }
    Ok(())
}

/// Fails unless there is one bias per output, or none, and each is within ±1e30.
pub(super) fn check_bias(bias: &[f32], outputs: usize) -> Result<(), KernelError> {
    if bias.len() != outputs && !bias.is_empty() {
        return Err(KernelError::Count { what: "biases", expected: outputs, found: bias.len() });
    }
    match bias.iter().find(|b| !(-1e30..=1e30).contains(*b)) {
        Some(&value) => Err(KernelError::Value { what: "bias", value }),
        None => Ok(()),
    }
}

/// What is applied after the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// GELU (erf).
    Gelu,
}

/// A linear layer packed for one instruction set: about `inputs * outputs` bytes, and 12 more per output.
///
/// It consists of panels of `Dot::COLUMNS` outputs, each with all its inputs; both are
/// padded with zero weights.
pub struct Linear {
    kernels: Kernels,
    inputs: usize,
    outputs: usize,
    panels: Aligned,
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// Initial value of the sums of each output: `-OFFSET * sum of its weights`.
    start: Vec<i32>,
}

impl Linear {
    /// Maximum number of inputs; more could overflow the i32 sums.
    pub const MAX_INPUTS: usize = 65_536;

    /// Packs `weights` for `kernels`. `scales` has one value per output or one for all; `bias` has one per
    /// output or none.
    ///
    /// # Errors
    /// If a count is wrong, a scale is not within 0 to 1000, or a bias is not within ±1e30.
    pub fn pack(
        kernels: Kernels,
        weights: Weights<'_>,
        scales: &[f32],
        bias: &[f32],
    ) -> Result<Linear, KernelError> {
        Self::pack_in(&mut Arena::new(0), kernels, weights, scales, bias)
    }

    /// Returns the number of bytes that weights of this shape take in an arena.
    pub fn room(kernels: Kernels, inputs: usize, outputs: usize) -> usize {
        let layout = kernels.table.layout;
        Arena::room(inputs.next_multiple_of(layout.step) * outputs.next_multiple_of(layout.columns))
    }

    /// Like [`pack`](Self::pack), with the weights in `arena` if there is room.
    ///
    /// # Errors
    /// The same as for `pack`.
    pub fn pack_in(
        arena: &mut Arena,
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
            panels: arena.zeroed(Self::room(kernels, inputs, outputs)),
            scale: vec![0.0; padded],
            bias: vec![0.0; padded],
            start: vec![0; padded],
        };
        (kernels.table.arrange)(&weights, depth, linear.panels.bytes_mut());
        if layout.offset != 0 {
            weights.sum_columns(&mut linear.start);
            linear.start.iter_mut().for_each(|sum| *sum *= -layout.offset);
        }
        for output in 0..outputs {
            linear.scale[output] = if scales.len() == 1 { scales[0] } else { scales[output] };
            linear.bias[output] = bias.get(output).copied().unwrap_or(0.0);
        }
        Ok(linear)
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
        self.panels.bytes().len() + 12 * self.scale.len()
    }

    /// Returns the weights, to fetch them before the layer is run.
    pub(super) fn ahead(&self) -> Ahead {
        Ahead::of(self.panels.bytes())
    }

    pub(super) fn kernels(&self) -> Kernels {
        self.kernels
    }
}

/// Applies `layer` to the first `rows` rows of `x` and writes `out` `[rows, outputs]`.
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
    next: Ahead,
    out: &mut [f32],
) {
    const { assert!(D::ROWS <= MAX_ROWS && D::COLUMNS <= MAX_COLUMNS && D::COLUMNS.is_multiple_of(LANES)) };
    const { assert!(ROW_PADDING.is_multiple_of(D::STEP) && ROW_PADDING.is_multiple_of(LANES)) };
    let mut sums = MaybeUninit::<[i32; MAX_ROWS * MAX_COLUMNS]>::uninit();
    let acc = sums.as_mut_ptr().cast::<i32>();
    let steps = layer.inputs.div_ceil(D::STEP);
    let stride = x.stride();
    if rows == 0 {
        return;
    }
    // tiles of about equal height, rather than full ones and a small rest: some are higher by one, or the
    // last two overlap
    let tiles = rows.div_ceil(D::ROWS);
    let (least, higher) = (rows / tiles, rows % tiles);
    let highest = rows.div_ceil(tiles);
    let panel_bytes = steps * D::STEP * D::COLUMNS;
    let panels = layer.panels.bytes().chunks_exact(panel_bytes);
    // SAFETY: a tile has at least one row, and at most ROWS.
    unsafe { D::begin(highest) };
    for (panel, weights) in panels.enumerate().take(layer.scale.len() / D::COLUMNS) {
        let first = panel * D::COLUMNS;
        for tile in 0..tiles {
            let (row, height) = if D::EVEN {
                ((tile * highest).min(rows - highest), highest)
            } else {
                (tile * least + tile.min(higher), least + usize::from(tile < higher))
            };
            // SAFETY: rows up to `row + height` exist, padded to whole steps; there is a step, because `check_shape`
            // refuses layers without inputs; `weights` is one whole panel; `start` is padded to whole panels; `acc` has
            // room for any tile.
            unsafe {
                let x = x.data().as_ptr().add(row * stride);
                let (w, start) = (weights.as_ptr().cast(), layer.start.as_ptr().add(first));
                match height {
                    _ if D::EVEN => D::even_tile(x, stride, w, steps, TileOrder { tile, tiles }, acc),
                    1 => D::tile::<1>(x, stride, w, steps, start, acc),
                    2 => D::tile::<2>(x, stride, w, steps, start, acc),
                    3 => D::tile::<3>(x, stride, w, steps, start, acc),
                    4 => D::tile::<4>(x, stride, w, steps, start, acc),
                    // not compiled for instruction sets without tiles of this height
                    5 if D::ROWS >= 5 => D::tile::<5>(x, stride, w, steps, start, acc),
                    6 if D::ROWS >= 6 => D::tile::<6>(x, stride, w, steps, start, acc),
                    7 if D::ROWS >= 7 => D::tile::<7>(x, stride, w, steps, start, acc),
                    8 if D::ROWS >= 8 => D::tile::<8>(x, stride, w, steps, start, acc),
                    _ => unreachable!("a tile of {height} rows"),
                }
            }
            // SAFETY: the tile has written `height` rows of COLUMNS sums.
            let sums = unsafe { core::slice::from_raw_parts(acc, height * D::COLUMNS) };
            let scales = &x.scales()[row..][..height];
            let out = &mut out[row * layer.outputs..][..height * layer.outputs];
            let rest = layer.panels.bytes().get((panel + 1) * panel_bytes + BY_TILE..);
            let ahead = match tiles == 1 && !next.is_empty() {
                true => rest.map_or(next, Ahead::of),
                false => Ahead::default(),
            };
            match epilogue {
                Epilogue::None => finish::<D, false>(layer, first, sums, scales, ahead, out),
                Epilogue::Gelu => finish::<D, true>(layer, first, sums, scales, ahead, out),
            }
        }
    }
    // SAFETY: begun above.
    unsafe { D::end() }
}

/// Applies scale, bias and GELU to the sums of one tile, whose columns begin at `first`; `out` is whole rows.
#[inline(always)]
fn finish<D: Dot, const GELU: bool>(
    layer: &Linear,
    first: usize,
    sums: &[i32],
    scales: &[f32],
    mut ahead: Ahead,
    out: &mut [f32],
) {
    let mut sums = sums.chunks_exact(2 * D::COLUMNS);
    let mut out = out.chunks_exact_mut(2 * layer.outputs);
    let mut scales = scales.chunks_exact(2);
    for ((sums, out), scales) in (&mut sums).zip(&mut out).zip(&mut scales) {
        let (a, b) = out.split_at_mut(layer.outputs);
        let (sums_a, sums_b) = sums.split_at(D::COLUMNS);
        finish_rows::<D, 2, GELU>(layer, first, [sums_a, sums_b], [scales[0], scales[1]], &mut ahead, [a, b]);
    }
    if let [scale] = *scales.remainder() {
        finish_rows::<D, 1, GELU>(
            layer,
            first,
            [sums.remainder()],
            [scale],
            &mut ahead,
            [out.into_remainder()],
        );
    }
}

/// [`finish`] for one row, or for two together.
#[inline(always)]
fn finish_rows<D: Dot, const R: usize, const GELU: bool>(
    layer: &Linear,
    first: usize,
    sums: [&[i32]; R],
    scales: [f32; R],
    ahead: &mut Ahead,
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
        match GELU {
            true => ahead.fetch::<D, 4>(),
            false => ahead.fetch::<D, 1>(),
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
