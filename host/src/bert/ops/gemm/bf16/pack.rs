//! Rounding to bf16 (ties to even; subnormals become zero) and rearranging into tiles.

use super::{Matrix, SIDE, Side, Tile};
use std::arch::x86_64::*;

/// See [`kernel::pack`](super::kernel::pack).
///
/// # Safety
/// The processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pack(x: Matrix, row: usize, column: usize, side: Side, tile: &mut Tile) {
    // views check this for non-empty matrices
    let rows = x.rows.saturating_sub(row).min(SIDE);
    let columns = x.cols.saturating_sub(column).min(2 * SIDE);
    let mut vectors = [_mm512_setzero_si512(); SIDE];
    // SAFETY: `first` and what is read from it on lie within the matrix; masks hide the rest.
    let lies = unsafe {
        let first = x.data.as_ptr().wrapping_add(row * x.row_stride + column * x.col_stride);
        if x.col_stride == 1 {
            along(first, x.row_stride, [rows, columns], &mut vectors);
            Side::Left
        } else {
            assert_eq!(x.row_stride, 1);
            across(first, x.col_stride, [rows, columns], &mut vectors);
            Side::Right
        }
    };
    if lies != side {
        transpose(&mut vectors);
    }
    for (vector, to) in vectors.into_iter().zip(tile.0.chunks_exact_mut(SIDE)) {
        // SAFETY: sixteen aligned values.
        unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), vector) }
    }
}

/// Rows whose values are neighbours: each becomes a vector.
///
/// # Safety
/// `rows` of `columns` values from `first` on, `stride` apart, may be read.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn along(first: *const f32, stride: usize, [rows, columns]: [usize; 2], to: &mut [__m512i; SIDE]) {
    let [lower, upper] = [mask(columns), mask(columns.saturating_sub(SIDE))];
    for (r, to) in to.iter_mut().enumerate().take(rows) {
        let row = first.wrapping_add(r * stride);
        // SAFETY: the masks hide what lies outside.
        *to = unsafe {
            let lower = _mm512_maskz_loadu_ps(lower, row);
            let upper = _mm512_maskz_loadu_ps(upper, row.wrapping_add(SIDE));
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper, lower))
        };
    }
}

/// Columns whose values are neighbours: two of them become a vector.
///
/// # Safety
/// `columns` of `rows` values from `first` on, `stride` apart, may be read.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn across(first: *const f32, stride: usize, [rows, columns]: [usize; 2], to: &mut [__m512i; SIDE]) {
    let mask = mask(rows);
    let rounded = |column: usize| {
        let mask = if column < columns { mask } else { 0 };
        // SAFETY: the mask hides what lies outside.
        unsafe {
            let x = _mm512_maskz_loadu_ps(mask, first.wrapping_add(column * stride));
            _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x)))
        }
    };
    for (pair, to) in to.iter_mut().enumerate() {
        let (even, odd) = (rounded(2 * pair), rounded(2 * pair + 1));
        *to = _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd));
    }
}

/// Returns the mask of the first `n` of 16 values.
fn mask(n: usize) -> __mmask16 {
    if n >= SIDE { !0 } else { (1 << n) - 1 }
}

/// Transposes 16 x 16 values of 32 bits.
#[target_feature(enable = "avx512f")]
fn transpose(x: &mut [__m512i; SIDE]) {
    let mut y = [_mm512_setzero_si512(); SIDE];
    // within each quarter of the vectors, four rows at a time
    for i in (0..SIDE).step_by(4) {
        let [low, high] = [0, 2].map(|j| {
            let (a, b) = (x[i + j], x[i + j + 1]);
            [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)]
        });
        for j in 0..2 {
            y[i + 2 * j] = _mm512_unpacklo_epi64(low[j], high[j]);
            y[i + 2 * j + 1] = _mm512_unpackhi_epi64(low[j], high[j]);
        }
    }
    // quarters: vector 4 i + j holds columns j, j + 4, j + 8, j + 12 of rows 4 i to 4 i + 3
    for j in 0..4 {
        let [a, b, c, d] = [y[j], y[4 + j], y[8 + j], y[12 + j]];
        let (ab, cd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
        x[j] = _mm512_shuffle_i32x4::<0x88>(ab, cd);
        x[8 + j] = _mm512_shuffle_i32x4::<0xdd>(ab, cd);
        let (ab, cd) = (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
        x[4 + j] = _mm512_shuffle_i32x4::<0x88>(ab, cd);
        x[12 + j] = _mm512_shuffle_i32x4::<0xdd>(ab, cd);
    }
}
