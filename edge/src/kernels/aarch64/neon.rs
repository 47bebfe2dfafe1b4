//! Advanced SIMD: sixteen lanes are four registers.
use core::arch::aarch64::*;
use core::arch::asm;

use super::super::lanes::{GELU, LANES, Lanes};

/// Integer products by SMULL, SMLAL2 and SADALP.
pub(in super::super) const MULTIPLY: u8 = 0;
/// Integer products by SDOT.
pub(in super::super) const SDOT: u8 = 1;
/// Integer products by SMMLA.
pub(in super::super) const MATRIX: u8 = 2;

/// Lanes of Advanced SIMD; `INTEGERS` says how integers are multiplied.
#[derive(Clone, Copy)]
pub(in super::super) struct Neon<const INTEGERS: u8>(pub(super) [float32x4_t; 4]);

macro_rules! simd {
    ($($body:tt)*) => {
        // SAFETY: only reached through the tables of the NEON instruction sets, after the processor's
        // features were checked (see `lanes`); pointers come from references to whole lane sets, or are what
        // the caller of an unsafe function promised.
        unsafe { $($body)* }
    };
}
pub(super) use simd;

/// Applies an intrinsic to each of the four registers of its operands.
macro_rules! each {
    ($op:ident, $($x:expr),+) => {
        simd! { Neon([$op($($x.0[0]),+), $op($($x.0[1]),+), $op($($x.0[2]),+), $op($($x.0[3]),+)]) }
    };
}

/// Loads the next coefficient into four registers, and adds to them four other registers times those of the
/// operand `by`.
macro_rules! step {
    ($t0:tt $t1:tt $t2:tt $t3:tt, $f0:tt $f1:tt $f2:tt $f3:tt, $by:tt, $next:tt) => {
        concat!(
            "ld1 {{v",
            $t0,
            ".4s, v",
            $t1,
            ".4s, v",
            $t2,
            ".4s, v",
            $t3,
            ".4s}}, ",
            $next,
            "\n",
            "fmla v",
            $t0,
            ".4s, v",
            $f0,
            ".4s, {",
            $by,
            "0:v}.4s\n",
            "fmla v",
            $t1,
            ".4s, v",
            $f1,
            ".4s, {",
            $by,
            "1:v}.4s\n",
            "fmla v",
            $t2,
            ".4s, v",
            $f2,
            ".4s, {",
            $by,
            "2:v}.4s\n",
            "fmla v",
            $t3,
            ".4s, v",
            $f3,
            ".4s, {",
            $by,
            "3:v}.4s"
        )
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

/// Returns `a * b + c`, in the operand order of the trait.
#[inline(always)]
unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    simd! { vfmaq_f32(c, a, b) }
}

/// Transposes a block of four by four.
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

/// Sixteen ones and sixteen zeros: any sixteen in sequence are a mask.
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
        simd! {
            if INTEGERS == MULTIPLY {
                return Neon([vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))]);
            }
            // on the A76, this is two operations fewer than two pairs
            let float32x4x4_t(a, b, c, d) = vld1q_f32_x4(x);
            Neon([a, b, c, d])
        }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        simd! {
            if INTEGERS != MULTIPLY {
                let [a, b, c, d] = self.0;
                return vst1q_f32_x4(to, float32x4x4_t(a, b, c, d));
            }
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
    fn add_scaled<const LANE: i32>(self, factors: &[f32; 4], b: Self) -> Self {
        simd! {
            let factors = vld1q_f32(factors.as_ptr());
            Neon([0, 1, 2, 3].map(|i| vfmaq_laneq_f32::<LANE>(self.0[i], b.0[i], factors)))
        }
    }
    /// FMLA adds to its destination, so each coefficient is loaded directly into the registers of the next
    /// value. The compiler would copy it there, and copies occupy the units that multiply.
    #[inline(always)]
    fn gelu_polynomials([Neon(a), Neon(b)]: [Self; 2]) -> [Self; 2] {
        let (p, q): ([float32x4_t; 4], [float32x4_t; 4]);
        let (p0, p1, p2, p3, q0, q1, q2, q3);
        // SAFETY: register arithmetic, and loads of the coefficients one after another.
        unsafe {
            asm!(
                "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{next}]",
                "ld1 {{v24.4s, v25.4s, v26.4s, v27.4s}}, [{next}], #64",
                // one set rotates through v20 to v23, v28 to v31, v24 to v27, the other through v24 to v27,
                // v20 to v23, v28 to v31
                step!("28" "29" "30" "31", "20" "21" "22" "23", "a", "[{next}]"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "b", "[{next}], #64"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "a", "[{next}]"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "b", "[{next}], #64"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "a", "[{next}]"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "b", "[{next}], #64"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "a", "[{next}]"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "b", "[{next}], #64"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "a", "[{next}]"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "b", "[{next}], #64"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "a", "[{next}]"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "b", "[{next}], #64"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "a", "[{next}]"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "b", "[{next}], #64"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "a", "[{next}]"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "b", "[{next}], #64"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "a", "[{next}]"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "b", "[{next}], #64"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "a", "[{next}]"),
                step!("20" "21" "22" "23", "24" "25" "26" "27", "b", "[{next}], #64"),
                step!("24" "25" "26" "27", "28" "29" "30" "31", "a", "[{next}]"),
                step!("28" "29" "30" "31", "20" "21" "22" "23", "b", "[{next}]"),
                next = inout(reg) GELU.as_ptr() => _,
                a0 = in(vreg) a[0], a1 = in(vreg) a[1], a2 = in(vreg) a[2], a3 = in(vreg) a[3],
                b0 = in(vreg) b[0], b1 = in(vreg) b[1], b2 = in(vreg) b[2], b3 = in(vreg) b[3],
                out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                out("v24") p0, out("v25") p1, out("v26") p2, out("v27") p3,
                out("v28") q0, out("v29") q1, out("v30") q2, out("v31") q3,
                options(readonly, nostack, preserves_flags)
            );
        }
        (p, q) = ([p0, p1, p2, p3], [q0, q1, q2, q3]);
        [Neon(p), Neon(q)]
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
        let (x, high) = (self.at_least(low), Self::splat(high));
        each!(vminnmq_f32, x, high)
    }
    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        let low = Self::splat(low);
        // this and `vminnmq_f32` return the number if the other operand is a quiet NaN
        each!(vmaxnmq_f32, self, low)
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
