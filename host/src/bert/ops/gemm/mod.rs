//! Products of matrices: in f32 by the `gemm-f32` crate, in bf16 by kernels of our own.
#![allow(unsafe_code)]

#[cfg_attr(not(target_arch = "x86_64"), path = "no_bf16.rs")]
mod bf16;
#[cfg(test)]
mod tests;

use gemm_common::Parallelism;

pub use bf16::Bf16;

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Creates a view of `rows` x `cols` values; row `r` starts at `data[r * row_stride]`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(data.len() >= extent(rows, cols, row_stride));
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// Returns the transpose.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

fn extent(rows: usize, cols: usize, row_stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + cols }
}

/// What the factors of a product are rounded to; sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Not rounded.
    #[default]
    F32,
    /// Rounded to bf16, if the matrices are large enough for that to pay.
    Bf16(Bf16),
}

impl Precision {
    /// Returns the fastest that this processor has.
    pub fn fastest() -> Self {
        Bf16::detect().map_or(Self::F32, Self::Bf16)
    }

    /// Returns `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16(_) => "bf16",
        }
    }
}

/// [`multiply`] in this precision, on all threads.
pub(super) fn multiply_in(
    precision: Precision,
    out: &mut [f32],
    row_stride: usize,
    a: Matrix,
    b: Matrix,
    accumulate: bool,
) {
    match precision {
        Precision::Bf16(bf16) if Bf16::pays(a.rows, a.cols, b.cols) => {
            bf16.multiply(out, row_stride, a, b, accumulate);
        }
        _ => multiply(out, row_stride, a, b, accumulate, threads()),
    }
}

/// Computes `out = a · b` (or adds to `out` with `accumulate`); the rows of `out` are `row_stride` apart.
pub(crate) fn multiply(
    out: &mut [f32],
    row_stride: usize,
    a: Matrix,
    b: Matrix,
    accumulate: bool,
    threads: usize,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows);
    assert!(out.len() >= extent(m, n, row_stride) && row_stride >= n);
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    // the kernels want neighbours in a column of the output: outᵀ = bᵀ · aᵀ
    let (left, right) = (b.t(), a.t());
    // SAFETY: the extents of all three matrices were checked against their slices above and in `Matrix::new`;
    // `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n,
            m,
            k,
            out.as_mut_ptr(),
            row_stride as isize,
            1,
            accumulate,
            left.data.as_ptr(),
            left.col_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.col_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Returns the number of threads for a single product, as opposed to one of many that already run in
/// parallel.
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}
