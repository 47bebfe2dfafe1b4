//! Advanced SIMD: sixteen lanes are four registers.
use core::arch::aarch64::*;

use super::super::lanes::{LANES, Lanes};

/// Integers by SMULL, SMLAL2 and SADALP.
pub(in super::super) const MULTIPLY: u8 = 0;
/// Integers by SDOT.
pub(in super::super) const SDOT: u8 = 1;
/// Integers by SMMLA.
pub(in super::super) const MATRIX: u8 = 2;

/// Lanes of Advanced SIMD; `INTEGERS` says how integers are multiplied.
#[derive(Clone, Copy)]
pub(in super::super) struct Neon<const INTEGERS: u8>(pub(super) [float32x4_t; 4]);

macro_rules! simd {
    ($($body:tt)*) => {
        // SAFETY: only reached through the tables of the NEON instruction sets, after the processor was asked (see
        // `lanes`); pointers come from references to whole lane sets.
        unsafe { $($body)* }
    };
}
pub(super) use simd;

/// One intrinsic on each of the four registers of its operands.
macro_rules! each {
    ($op:ident, $($x:expr),+) => {
        simd! { Neon([$op($($x.0[0]),+), $op($($x.0[1]),+), $op($($x.0[2]),+), $op($($x.0[3]),+)]) }
    };
}

#[inline(always)]
unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    simd! { vbslq_f32(vcltq_f32(a, b), a, b) }
}

#[inline(always)]
unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    simd! { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

#[inline(always)]
unsafe fn max_bits(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    simd! { vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b))) }
}

#[inline(always)]
unsafe fn scale_by_power(x: float32x4_t, n: float32x4_t) -> float32x4_t {
    simd! {
        let power = vshlq_n_u32::<23>(vreinterpretq_u32_f32(n));
        vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), power))
    }
}

#[inline(always)]
fn and(x: float32x4_t, mask: uint32x4_t) -> float32x4_t {
    simd! { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask)) }
}

/// `c + a * b` in the operand order of the trait.
#[inline(always)]
unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    simd! { vfmaq_f32(c, a, b) }
}

/// Four by four.
#[inline(always)]
fn transpose_block(rows: [float32x4_t; 4]) -> [float32x4_t; 4] {
    simd! {
        let [a, b, c, d] = rows;
        let (even, odd) = (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)));
        let (even2, odd2) = (vreinterpretq_f64_f32(vtrn1q_f32(c, d)), vreinterpretq_f64_f32(vtrn2q_f32(c, d)));
        [
            vreinterpretq_f32_f64(vzip1q_f64(even, even2)),
            vreinterpretq_f32_f64(vzip1q_f64(odd, odd2)),
            vreinterpretq_f32_f64(vzip2q_f64(even, even2)),
            vreinterpretq_f32_f64(vzip2q_f64(odd, odd2)),
        ]
    }
}

/// Sixteen ones and sixteen zeros: a window on it is a mask.
static KEEP: [u32; 32] = {
    let mut mask = [0; 32];
    let mut i = 0;
    while i < 16 {
        mask[i] = u32::MAX;
        i += 1;
    }
    mask
};

impl<const INTEGERS: u8> Lanes for Neon<INTEGERS> {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        simd! { Neon([vdupq_n_f32(x); 4]) }
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        let x = x.as_ptr();
        simd! { Neon([vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))]) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        simd! {
            vst1q_f32(to, self.0[0]);
            vst1q_f32(to.add(4), self.0[1]);
            vst1q_f32(to.add(8), self.0[2]);
            vst1q_f32(to.add(12), self.0[3]);
        }
    }
    #[inline(always)]
    fn from_i32(x: &[i32; LANES]) -> Self {
        let x = x.as_ptr();
        simd! {
            Neon([
                vcvtq_f32_s32(vld1q_s32(x)),
                vcvtq_f32_s32(vld1q_s32(x.add(4))),
                vcvtq_f32_s32(vld1q_s32(x.add(8))),
                vcvtq_f32_s32(vld1q_s32(x.add(12))),
            ])
        }
    }
    #[inline(always)]
    fn from_i8(x: &[i8; LANES]) -> Self {
        simd! {
            let x = vld1q_s8(x.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            Neon([
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ])
        }
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        each!(vaddq_f32, self, b)
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        each!(vsubq_f32, self, b)
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        each!(vmulq_f32, self, b)
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        each!(vdivq_f32, self, b)
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        each!(fma, self, b, c)
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        each!(min, self, b)
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        each!(max, self, b)
    }
    #[inline(always)]
    fn clamp(self, low: f32, high: f32) -> Self {
        let (low, high) = (Self::splat(low), Self::splat(high));
        // these give the number when the other operand is a quiet NaN
        let x: Self = each!(vmaxnmq_f32, self, low);
        each!(vminnmq_f32, x, high)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        each!(vabsq_f32, self)
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        each!(scale_by_power, self, n)
    }
    #[inline(always)]
    fn max_bits(self, b: Self) -> Self {
        each!(max_bits, self, b)
    }
    #[inline(always)]
    fn keep(self, n: usize) -> Self {
        if n >= LANES {
            return self;
        }
        simd! {
            let mask = KEEP.as_ptr().add(LANES - n);
            Neon([
                and(self.0[0], vld1q_u32(mask)),
                and(self.0[1], vld1q_u32(mask.add(4))),
                and(self.0[2], vld1q_u32(mask.add(8))),
                and(self.0[3], vld1q_u32(mask.add(12))),
            ])
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        simd! {
            let x = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let x = vadd_f32(vget_low_f32(x), vget_high_f32(x));
            vget_lane_f32::<0>(x) + vget_lane_f32::<1>(x)
        }
    }
    #[inline(always)]
    fn highest(self) -> f32 {
        let [a, b, c, d] = self.0;
        simd! {
            let x = max(max(a, c), max(b, d));
            let x = max(x, vextq_f32::<2>(x, x));
            let x = max(x, vextq_f32::<1>(x, x));
            vgetq_lane_f32::<0>(x)
        }
    }
    #[inline(always)]
    fn highest_bits(self) -> u32 {
        let [a, b, c, d] = self.0;
        simd! { vmaxvq_u32(vreinterpretq_u32_f32(max_bits(max_bits(a, b), max_bits(c, d)))) }
    }
    #[inline(always)]
    fn transpose(sets: [Self; LANES]) -> [Self; LANES] {
        let mut out = sets;
        for i in 0..4 {
            for j in 0..4 {
                let block = [0, 1, 2, 3].map(|r| sets[4 * i + r].0[j]);
                for (r, row) in transpose_block(block).into_iter().enumerate() {
                    out[4 * j + r].0[i] = row;
                }
            }
        }
        out
    }
}
