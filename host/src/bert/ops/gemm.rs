//! A bounds-checked wrapper around the `gemm` crate.
#![allow(unsafe_code)]

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
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: the extents of all three matrices were checked against their slices above and in `Matrix::new`;
    // `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
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
