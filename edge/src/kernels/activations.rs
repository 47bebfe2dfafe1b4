//! Quantized rows: the input of a linear layer.
use alloc::vec;
use alloc::vec::Vec;

use super::memory::Aligned;
use super::{Kernels, table};

/// Rows of int8 activations with one scale each, in the layout of the kernels that they were made for.
///
/// The memory is allocated once and reused for every quantization up to the capacity.
pub struct Activations {
    kernels: Kernels,
    data: Aligned,
    scales: Vec<f32>,
    rows: usize,
    inputs: usize,
}

impl Activations {
    /// Allocates room for `rows` rows of up to `inputs` activations.
    ///
    /// # Panics
    /// If that is more than memory can hold.
    pub fn new(kernels: Kernels, rows: usize, inputs: usize) -> Activations {
        let data = Aligned::zeroed(room(kernels, rows, inputs).expect("no more than memory holds"));
        Activations { kernels, data, scales: vec![0.0; rows], rows: 0, inputs: 0 }
    }

    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        self.data.bytes().len() + 4 * self.scales.len()
    }

    /// Returns the current number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the current number of activations per row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the scale of each row: `absmax / 127`.
    pub fn scales(&self) -> &[f32] {
        &self.scales[..self.rows]
    }

    /// Returns the integers of row `r`, independent of the layout: for tests and tools.
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

    /// Returns the number of bytes from one row to the next.
    pub(super) fn stride(&self) -> usize {
        stride(self.kernels, self.inputs)
    }

    pub(super) fn data(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Sets the shape of the rows that are to be written next.
    pub(super) fn reshape(&mut self, rows: usize, inputs: usize) {
        let needed = room(self.kernels, rows, inputs);
        assert!(
            rows <= self.scales.len() && needed.is_some_and(|bytes| bytes <= self.data.bytes().len()),
            "{rows} rows of {inputs} activations do not fit the capacity"
        );
        (self.rows, self.inputs) = (rows, inputs);
    }

    /// Returns the scale and the bytes of row `r`.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, r: usize) -> (&mut f32, &mut [u8]) {
        let stride = self.stride();
        (&mut self.scales[r], &mut self.data.bytes_mut()[r * stride..][..stride])
    }
}

/// Rows are padded to a multiple of so many activations: whole steps and whole lane sets of every instruction set.
pub(super) const ROW_PADDING: usize = 64;

/// Returns the number of bytes from one row to the next.
fn stride(kernels: Kernels, inputs: usize) -> usize {
    let table::Layout { activation_bytes, .. } = kernels.table.layout;
    inputs.next_multiple_of(ROW_PADDING) * activation_bytes
}

/// Returns the number of bytes of so many rows, unless it is more than memory can hold.
fn room(kernels: Kernels, rows: usize, inputs: usize) -> Option<usize> {
    let padded = inputs.checked_next_multiple_of(ROW_PADDING)?;
    padded.checked_mul(kernels.table.layout.activation_bytes)?.checked_mul(rows)
}
