//! AVX2 with FMA: sixteen lanes are two registers.
//!
//! Without VNNI, `vpmaddubsw` would saturate, so activations are stored as i16, weights are widened as they
//! are loaded, and `vpmaddwd` sums pairs of products exactly.
use core::arch::asm;
use core::arch::x86_64::*;

use super::super::lanes::{Dot, LANES, Lanes};

/// Lanes of AVX2; `VNNI` says how integers are multiplied.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2<const VNNI: bool>(__m256, __m256);

macro_rules! simd {
    ($($body:tt)*) => {
        // SAFETY: only reached through the tables of `Isa::Avx2` and `Isa::AvxVnni` (and of AVX-512, for the
        // free functions), after the processor's features were checked (see `lanes`); pointers come from
        // references to whole lane sets, or are what the caller of an unsafe function promised.
        unsafe { $($body)* }
    };
}

/// Joins sixteen lanes in the fixed tree, given the operation on 256 and on 128 bits.
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

/// Sixteen ones and sixteen zeros: any sixteen in sequence are a mask.
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
            // packing works within 128 bits, so put the four quarters in order
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

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        start: *const i32,
        acc: *mut i32,
    ) {
        // SAFETY: the caller's contract.
        unsafe { tile::<VNNI>(R, x, stride, panel, steps, start, acc) }
    }
}

/// [`Dot::tile`] of one to six rows by two registers of columns. It takes all registers: twelve sums, two of
/// weights, and two for products. With intrinsics, the compiler sometimes keeps sums in memory, which takes
/// half as long again.
///
/// # Safety
/// The same as for [`Dot::tile`]; if `VNNI`, the processor has AVX-VNNI.
#[target_feature(enable = "avx2")]
unsafe fn tile<const VNNI: bool>(
    rows: usize,
    x: *const u8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    start: *const i32,
    acc: *mut i32,
) {
    #[rustfmt::skip]
    macro_rules! left { (0) => {"ymm0"}; (1) => {"ymm2"}; (2) => {"ymm4"}; (3) => {"ymm6"}; (4) => {"ymm8"}; (5) => {"ymm10"} }
    #[rustfmt::skip]
    macro_rules! right { (0) => {"ymm1"}; (1) => {"ymm3"}; (2) => {"ymm5"}; (3) => {"ymm7"}; (4) => {"ymm9"}; (5) => {"ymm11"} }
    macro_rules! at {
        (0) => {
            "[{x}]"
        };
        (1) => {
            "[{x} + {one}]"
        };
        (2) => {
            "[{x} + 2 * {one}]"
        };
        (3) => {
            "[{x} + {three}]"
        };
        (4) => {
            "[{x} + 4 * {one}]"
        };
        (5) => {
            "[{x} + {five}]"
        };
    }
    macro_rules! weights {
        (bytes) => {
            "vmovdqu ymm12, [{panel}]\n vmovdqu ymm13, [{panel} + 32]\n add {panel}, 64"
        };
        (pairs) => {
            "vpmovsxbw ymm12, [{panel}]\n vpmovsxbw ymm13, [{panel} + 16]\n add {panel}, 32"
        };
    }
    macro_rules! multiply {
        (bytes, $row:tt) => {
            concat!(
                "{{vex}} vpdpbusd ",
                left!($row),
                ", ymm14, ymm12\n",
                "{{vex}} vpdpbusd ",
                right!($row),
                ", ymm14, ymm13",
            )
        };
        (pairs, $row:tt) => {
            concat!(
                "vpmaddwd ymm15, ymm14, ymm12\n",
                "vpmaddwd ymm14, ymm14, ymm13\n",
                "vpaddd ",
                left!($row),
                ", ",
                left!($row),
                ", ymm15\n",
                "vpaddd ",
                right!($row),
                ", ",
                right!($row),
                ", ymm14",
            )
        };
    }
    macro_rules! rows {
        ($kind:tt $($row:tt)*) => {
            asm!(
                $(
                    concat!("vmovdqu ", left!($row), ", [{start}]"),
                    concat!("vmovdqu ", right!($row), ", [{start} + 32]"),
                )*
                "2:",
                weights!($kind),
                $(
                    concat!("vpbroadcastd ymm14, dword ptr ", at!($row)),
                    multiply!($kind, $row),
                )*
                "add {x}, 4",
                "dec {steps}",
                "jnz 2b",
                $(
                    concat!("vmovdqu [{acc} + 64 * ", $row, "], ", left!($row)),
                    concat!("vmovdqu [{acc} + 64 * ", $row, " + 32], ", right!($row)),
                )*
                "/* which row is where: {one} {three} {five} */",
                x = inout(reg) x => _,
                panel = inout(reg) panel => _,
                steps = inout(reg) steps => _,
                one = in(reg) stride,
                three = in(reg) 3 * stride,
                five = in(reg) 5 * stride,
                start = in(reg) start,
                acc = in(reg) acc,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _,
                out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nostack),
            )
        };
    }
    macro_rules! heights {
        ($kind:tt) => {
            match rows {
                1 => rows!($kind 0),
                2 => rows!($kind 0 1),
                3 => rows!($kind 0 1 2),
                4 => rows!($kind 0 1 2 3),
                5 => rows!($kind 0 1 2 3 4),
                _ => rows!($kind 0 1 2 3 4 5),
            }
        };
    }
    debug_assert!(steps > 0);
    // SAFETY: reads and writes what the caller vouches for.
    unsafe { if VNNI { heights!(bytes) } else { heights!(pairs) } }
}
