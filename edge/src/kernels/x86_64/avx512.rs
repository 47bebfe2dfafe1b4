//! AVX-512: sixteen lanes are one register, and `vpdpbusd` sums four products of u8 and i8 into an i32. With
//! `TILES`, AMX computes the matrix products.
use core::arch::x86_64::*;

use super::super::lanes::{Dot, LANES, Lanes, TileOrder};
use super::amx;
use super::avx2::{highest, highest_bits, sum};

#[derive(Clone, Copy)]
pub(in super::super) struct Avx512<const TILES: bool>(__m512);

macro_rules! simd {
    ($($body:tt)*) => {
        // SAFETY: only reached through the tables of `Isa::Avx512Vnni` and `Isa::Avx512Amx`, after the
        // processor's features were checked (see `lanes`); pointers come from references to whole lane sets
        // (or to parts of one, with a mask of their length), or are what the caller of an unsafe function
        // promised.
        unsafe { $($body)* }
    };
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= LANES { 0xffff } else { (1 << n) - 1 }
}

/// Returns lanes 0 to 7 and lanes 8 to 15.
#[inline(always)]
fn halves(x: __m512) -> (__m256, __m256) {
    simd! {
        let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x));
        (_mm512_castps512_ps256(x), _mm256_castpd_ps(high))
    }
}

impl<const TILES: bool> Lanes for Avx512<TILES> {
    const FETCHES: bool = TILES;

    #[inline(always)]
    fn fetch(line: *const u8) {
        // the processor ignores addresses that are not mapped
        simd! { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        simd! { Avx512(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        simd! { Avx512(_mm512_loadu_ps(x.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        simd! { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn from_i32(x: &[i32; LANES]) -> Self {
        simd! { Avx512(_mm512_cvtepi32_ps(_mm512_loadu_si512(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn from_i8(x: &[i8; LANES]) -> Self {
        simd! { Avx512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())))) }
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        simd! { Avx512(_mm512_add_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        simd! { Avx512(_mm512_sub_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        simd! { Avx512(_mm512_mul_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        simd! { Avx512(_mm512_div_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        simd! { Avx512(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        simd! { Avx512(_mm512_min_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        simd! { Avx512(_mm512_max_ps(self.0, b.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        simd! { Avx512(_mm512_abs_ps(self.0)) }
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        simd! {
            let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(n.0));
            Avx512(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), power)))
        }
    }
    #[inline(always)]
    fn max_bits(self, b: Self) -> Self {
        simd! {
            let highest = _mm512_max_epi32(_mm512_castps_si512(self.0), _mm512_castps_si512(b.0));
            Avx512(_mm512_castsi512_ps(highest))
        }
    }
    #[inline(always)]
    fn keep(self, n: usize) -> Self {
        simd! { Avx512(_mm512_maskz_mov_ps(first(n), self.0)) }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let (low, high) = halves(self.0);
        sum(low, high)
    }
    #[inline(always)]
    fn highest(self) -> f32 {
        let (low, high) = halves(self.0);
        highest(low, high)
    }
    #[inline(always)]
    fn highest_bits(self) -> u32 {
        let (low, high) = halves(self.0);
        highest_bits(low, high)
    }
    #[inline(always)]
    fn transpose(sets: [Self; LANES]) -> [Self; LANES] {
        let mut out = sets;
        simd! {
            // transpose 4x4 blocks within each quarter of a register ...
            let mut blocks = [_mm512_setzero_ps(); LANES];
            for g in (0..LANES).step_by(4) {
                let low = _mm512_castps_pd(_mm512_unpacklo_ps(sets[g].0, sets[g + 1].0));
                let high = _mm512_castps_pd(_mm512_unpackhi_ps(sets[g].0, sets[g + 1].0));
                let low2 = _mm512_castps_pd(_mm512_unpacklo_ps(sets[g + 2].0, sets[g + 3].0));
                let high2 = _mm512_castps_pd(_mm512_unpackhi_ps(sets[g + 2].0, sets[g + 3].0));
                blocks[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2));
                blocks[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2));
                blocks[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2));
                blocks[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2));
            }
            // ... then the quarters
            for c in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(blocks[c], blocks[c + 4]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(blocks[c], blocks[c + 4]);
                let even2 = _mm512_shuffle_f32x4::<0x88>(blocks[c + 8], blocks[c + 12]);
                let odd2 = _mm512_shuffle_f32x4::<0xdd>(blocks[c + 8], blocks[c + 12]);
                out[c] = Avx512(_mm512_shuffle_f32x4::<0x88>(even, even2));
                out[c + 4] = Avx512(_mm512_shuffle_f32x4::<0x88>(odd, odd2));
                out[c + 8] = Avx512(_mm512_shuffle_f32x4::<0xdd>(even, even2));
                out[c + 12] = Avx512(_mm512_shuffle_f32x4::<0xdd>(odd, odd2));
            }
        }
        out
    }
    #[inline(always)]
    fn load_part(x: &[f32]) -> Self {
        simd! { Avx512(_mm512_maskz_loadu_ps(first(x.len()), x.as_ptr())) }
    }
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        simd! { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), self.0) }
    }
}

/// How many bytes ahead weights are prefetched: about as many steps of a tile as take the latency of L3.
const AHEAD: usize = 3072;

impl<const TILES: bool> Dot for Avx512<TILES> {
    const COLUMNS: usize = 48;
    const ROWS: usize = if TILES { amx::ROWS } else { 8 };
    const EVEN: bool = TILES;
    const QUERIES: usize = 8;
    const SETS: usize = 2;
    const STEP: usize = if TILES { amx::DEPTH } else { 4 };
    const ACTIVATION_BYTES: usize = 1;
    const OFFSET: i32 = if TILES { 0 } else { 128 };
    const GROUP: usize = 4;

    #[inline(always)]
    unsafe fn store_activations(self, to: *mut u8) {
        simd! {
            let q = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(Self::OFFSET));
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(q));
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
        unsafe { tile_of_bytes::<R>(x, stride, panel, steps, start, acc) }
    }

    /// Computes the configured number of rows by three tile registers.
    #[inline(always)]
    unsafe fn even_tile(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        order: TileOrder,
        acc: *mut i32,
    ) {
        // SAFETY: the caller's contract; only `TILES` has even tiles.
        unsafe { amx::tile(x, stride, panel, steps, order, acc) }
    }

    #[inline(always)]
    unsafe fn begin(rows: usize) {
        if TILES {
            // SAFETY: the table of `Isa::Avx512Amx` is only reached if the processor has AMX; the caller
            // vouches for `rows`.
            unsafe { amx::configure(rows) }
        }
    }

    #[inline(always)]
    unsafe fn end() {
        if TILES {
            // SAFETY: as in `begin`.
            unsafe { amx::release() }
        }
    }
}

/// Computes up to eight rows by three registers of columns: 24 sums stay in registers.
///
/// # Safety
/// The same as for [`Dot::tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline(never)] // see `Dot::tile`
unsafe fn tile_of_bytes<const R: usize>(
    x: *const u8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    start: *const i32,
    acc: *mut i32,
) {
    simd! {
        let mut sums = [[_mm512_setzero_si512(); 3]; R];
        for row in &mut sums {
            for (j, sum) in row.iter_mut().enumerate() {
                *sum = _mm512_loadu_si512(start.add(j * 16).cast());
            }
        }
        let mut panel = panel;
        let mut x = x;
        for _ in 0..steps {
            let p: *const __m512i = panel.cast();
            let w = [_mm512_loadu_si512(p), _mm512_loadu_si512(p.add(1)), _mm512_loadu_si512(p.add(2))];
            for at in [0, 64, 128] {
                _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(AHEAD + at));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(x.add(r * stride).cast::<i32>().read_unaligned());
                for (sum, w) in row.iter_mut().zip(w) {
                    *sum = _mm512_dpbusd_epi32(*sum, a, w);
                }
            }
            panel = panel.add(192);
            x = x.add(4);
        }
        for (r, row) in sums.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                _mm512_storeu_si512(acc.add(r * 48 + j * 16).cast(), sum);
            }
        }
    }
}
