//! AVX2 with FMA: sixteen lanes are two registers.
//!
//! Without VNNI, `vpmaddubsw` would saturate, so activations are kept as i16, weights widened on the way in, and
//! `vpmaddwd` sums pairs of products exactly.
use core::arch::x86_64::*;

use super::super::lanes::{Dot, LANES, Lanes};

/// Lanes of AVX2; `VNNI` says how integers are multiplied.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2<const VNNI: bool>(__m256, __m256);

macro_rules! simd {
    ($($body:tt)*) => {
        // SAFETY: only reached through the tables of `Isa::Avx2` and `Isa::AvxVnni` (and of AVX-512, for the free
        // functions), after the processor was asked (see `lanes`); pointers come from references to whole lane sets.
        unsafe { $($body)* }
    };
}

/// Joins sixteen lanes by the one tree, given the operation on 256 and on 128 bits.
macro_rules! tree {
    ($low:expr, $high:expr, $wide:ident, $narrow:ident) => {{
        let x = $wide($low, $high);
        let x = $narrow(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = $narrow(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32($narrow(x, _mm_movehdup_ps(x)))
    }};
}

#[inline(always)]
pub(super) fn sum(low: __m256, high: __m256) -> f32 {
    simd! { tree!(low, high, _mm256_add_ps, _mm_add_ps) }
}

#[inline(always)]
pub(super) fn highest(low: __m256, high: __m256) -> f32 {
    simd! { tree!(low, high, _mm256_max_ps, _mm_max_ps) }
}

#[inline(always)]
pub(super) fn highest_bits(low: __m256, high: __m256) -> u32 {
    simd! { tree!(low, high, max_bits, max_bits_128).to_bits() }
}

#[inline(always)]
fn max_bits(a: __m256, b: __m256) -> __m256 {
    simd! { _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b))) }
}

#[inline(always)]
fn max_bits_128(a: __m128, b: __m128) -> __m128 {
    simd! { _mm_castsi128_ps(_mm_max_epi32(_mm_castps_si128(a), _mm_castps_si128(b))) }
}

/// Sixteen ones and sixteen zeros: a window on it is a mask.
static KEEP: [i32; 32] = {
    let mut mask = [0; 32];
    let mut i = 0;
    while i < 16 {
        mask[i] = -1;
        i += 1;
    }
    mask
};

impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        simd! { Avx2(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        simd! { Avx2(_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        simd! {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), self.1);
        }
    }
    #[inline(always)]
    fn from_i32(x: &[i32; LANES]) -> Self {
        simd! {
            let x: *const __m256i = x.as_ptr().cast();
            Avx2(_mm256_cvtepi32_ps(_mm256_loadu_si256(x)), _mm256_cvtepi32_ps(_mm256_loadu_si256(x.add(1))))
        }
    }
    #[inline(always)]
    fn from_i8(x: &[i8; LANES]) -> Self {
        simd! {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            let high = _mm_srli_si128::<8>(x);
            Avx2(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)))
        }
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        simd! { Avx2(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        simd! { Avx2(_mm256_sub_ps(self.0, b.0), _mm256_sub_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        simd! { Avx2(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        simd! { Avx2(_mm256_div_ps(self.0, b.0), _mm256_div_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        simd! { Avx2(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        simd! { Avx2(_mm256_min_ps(self.0, b.0), _mm256_min_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        simd! { Avx2(_mm256_max_ps(self.0, b.0), _mm256_max_ps(self.1, b.1)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        simd! {
            let sign = _mm256_set1_ps(-0.0);
            Avx2(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
        }
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        simd! {
            let low = _mm256_slli_epi32::<23>(_mm256_castps_si256(n.0));
            let high = _mm256_slli_epi32::<23>(_mm256_castps_si256(n.1));
            Avx2(
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), low)),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.1), high)),
            )
        }
    }
    #[inline(always)]
    fn max_bits(self, b: Self) -> Self {
        Avx2(max_bits(self.0, b.0), max_bits(self.1, b.1))
    }
    #[inline(always)]
    fn keep(self, n: usize) -> Self {
        if n >= LANES {
            return self;
        }
        simd! {
            let mask: *const f32 = KEEP.as_ptr().add(LANES - n).cast();
            Avx2(
                _mm256_and_ps(self.0, _mm256_loadu_ps(mask)),
                _mm256_and_ps(self.1, _mm256_loadu_ps(mask.add(8))),
            )
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        sum(self.0, self.1)
    }
    #[inline(always)]
    fn highest(self) -> f32 {
        highest(self.0, self.1)
    }
    #[inline(always)]
    fn highest_bits(self) -> u32 {
        highest_bits(self.0, self.1)
    }
}

impl<const VNNI: bool> Dot for Avx2<VNNI> {
    const COLUMNS: usize = 16;
    const ROWS: usize = 6;
    const QUERIES: usize = 4;
    const STEP: usize = 4 / Self::ACTIVATION_BYTES;
    const ACTIVATION_BYTES: usize = if VNNI { 1 } else { 2 };
    const OFFSET: i32 = if VNNI { 128 } else { 0 };
    const GROUP: usize = Self::STEP;

    #[inline(always)]
    unsafe fn store_activations(self, to: *mut u8) {
        simd! {
            let (a, b) = (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
            // packing works within 128 bits: put the four quarters in order
            let q = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
            if VNNI {
                let q = _mm256_add_epi16(q, _mm256_set1_epi16(128));
                let q = _mm_packus_epi16(_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q));
                _mm_storeu_si128(to.cast(), q);
            } else {
                _mm256_storeu_si256(to.cast(), q);
            }
        }
    }

    /// Six rows by two registers of columns: twelve sums stay in registers.
    #[inline(always)]
    unsafe fn tile<const R: usize>(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        start: *const i32,
        acc: *mut i32,
    ) {
        simd! {
            let start: *const __m256i = start.cast();
            let mut sums = [[_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))]; R];
            for k in 0..steps {
                let w = if VNNI {
                    let w: *const __m256i = panel.add(k * 64).cast();
                    [_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1))]
                } else {
                    let w: *const __m128i = panel.add(k * 32).cast();
                    [_mm256_cvtepi8_epi16(_mm_loadu_si128(w)), _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(1)))]
                };
                for (r, row) in sums.iter_mut().enumerate() {
                    let a = _mm256_set1_epi32(x.add(r * stride + k * 4).cast::<i32>().read_unaligned());
                    for (sum, w) in row.iter_mut().zip(w) {
                        *sum = if VNNI {
                            _mm256_dpbusd_avx_epi32(*sum, a, w)
                        } else {
                            _mm256_add_epi32(*sum, _mm256_madd_epi16(a, w))
                        };
                    }
                }
            }
            for (r, row) in sums.iter().enumerate() {
                let acc: *mut __m256i = acc.add(r * 16).cast();
                _mm256_storeu_si256(acc, row[0]);
                _mm256_storeu_si256(acc.add(1), row[1]);
            }
        }
    }
}
