//! Quantized rows: what goes into a linear layer.
use alloc::vec;
use alloc::vec::Vec;

use super::memory::Aligned;
use super::{Kernels, table};

/// Rows of int8 activations with one scale each, in the layout that the kernels they were made for read.
///
/// Its memory is taken once and reused for every quantization up to the capacity.
pub struct Activations {
    kernels: Kernels,
    data: Aligned,
    scales: Vec<f32>,
    rows: usize,
    inputs: usize,
}

impl Activations {
    /// Room for `rows` rows of up to `inputs` floats.
    pub fn new(kernels: Kernels, rows: usize, inputs: usize) -> Activations {
        let data = Aligned::zeroed(rows * stride(kernels, inputs));
        Activations { kernels, data, scales: vec![0.0; rows], rows: 0, inputs: 0 }
    }

    /// Bytes it holds on the heap.
    pub fn bytes(&self) -> usize {
        self.data.bytes().len() + 4 * self.scales.len()
    }

    /// Rows held now.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Floats in a row, as held now.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The scale of each row: `absmax / 127`.
    pub fn scales(&self) -> &[f32] {
        &self.scales[..self.rows]
    }

    /// The integers of row `r`, whatever their layout: for tests and tools.
    pub fn row(&self, r: usize) -> impl Iterator<Item = i8> + '_ {
        let layout = self.kernels.table.layout;
        let stride = self.stride();
        let row = &self.data.bytes()[r * stride..][..self.inputs * layout.activation_bytes];
        // an int16 within ±127 has its int8 in the low byte
        row.iter().step_by(layout.activation_bytes).map(move |&b| b.wrapping_sub(layout.offset as u8) as i8)
    }

    pub(super) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Bytes from one row to the next.
    pub(super) fn stride(&self) -> usize {
        stride(self.kernels, self.inputs)
    }

    pub(super) fn data(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Takes the shape of what is to be written next.
    pub(super) fn reshape(&mut self, rows: usize, inputs: usize) {
        let needed = rows * stride(self.kernels, inputs);
        assert!(
            rows <= self.scales.len() && needed <= self.data.bytes().len(),
            "{rows} rows of {inputs} activations do not fit the capacity"
        );
        (self.rows, self.inputs) = (rows, inputs);
    }

    /// Scale and bytes of row `r`.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, r: usize) -> (&mut f32, &mut [u8]) {
        let stride = self.stride();
        (&mut self.scales[r], &mut self.data.bytes_mut()[r * stride..][..stride])
    }
}

/// A row is padded to whole steps and whole lane sets of every instruction set: 64 activations.
fn stride(kernels: Kernels, inputs: usize) -> usize {
    let table::Layout { activation_bytes, .. } = kernels.table.layout;
    inputs.next_multiple_of(64) * activation_bytes
}
