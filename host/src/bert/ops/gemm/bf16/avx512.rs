//! AVX-512: `vdpbf16ps` adds the products of sixteen pairs to sixteen sums.

use super::{BLOCK, SIDE, Tile};
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// Rows whose sums stay in registers, 32 columns of each.
const ROWS: usize = 8;

/// See [`Ready::multiply`](super::kernel::Ready::multiply).
///
/// # Safety
/// The processor has these instructions; the lengths are as `Ready::multiply` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn multiply(
    a: [&[Tile]; 2],
    b: [&[Tile]; 2],
    out: &mut [f32],
    row_stride: usize,
    accumulate: bool,
) {
    let pairs = |x: __m512i| -> __m512bh {
        // SAFETY: the same bits.
        unsafe { std::mem::transmute(x) }
    };
    for row in (0..BLOCK).step_by(ROWS) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for ((a, b0), b1) in a[row / SIDE].iter().zip(b[0]).zip(b[1]) {
            for pair in 0..SIDE {
                // SAFETY: within the tiles, which are aligned.
                let right =
                    [b0, b1].map(|b| pairs(unsafe { _mm512_load_si512(b.0[pair * SIDE..].as_ptr().cast()) }));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let left = pairs(_mm512_set1_epi32(a.0[(row % SIDE + r) * SIDE + pair].cast_signed()));
                    *sums = [0, 1].map(|i| _mm512_dpbf16_ps(sums[i], left, right[i]));
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                let at = out[(row + r) * row_stride + i * SIDE..][..SIDE].as_mut_ptr();
                // SAFETY: sixteen values from `at` on were just taken from the slice.
                unsafe { store(at, *sum, accumulate) }
            }
        }
    }
}

/// # Safety
/// There are sixteen values at `at`.
#[target_feature(enable = "avx512f")]
unsafe fn store(at: *mut f32, sum: __m512, accumulate: bool) {
    // SAFETY: the caller's contract.
    unsafe {
        let sum = if accumulate { _mm512_add_ps(_mm512_loadu_ps(at), sum) } else { sum };
        _mm512_storeu_ps(at, sum);
    }
}
