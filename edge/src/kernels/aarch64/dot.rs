//! Integer products of Advanced SIMD. Rust's dot product intrinsics are not stable yet, so these use `asm!`.
#![expect(clippy::needless_range_loop, reason = "several arrays have the same index")]

use core::arch::aarch64::*;
use core::arch::asm;

use super::super::lanes::Dot;
use super::neon::{MATRIX, MULTIPLY, Neon, SDOT, simd};

impl<const INTEGERS: u8> Dot for Neon<INTEGERS> {
    const COLUMNS: usize = 16;
    const ROWS: usize = if INTEGERS == SDOT { 5 } else { 4 };
    const QUERIES: usize = 4;
    const STEP: usize = 16;
    const ACTIVATION_BYTES: usize = 1;
    const OFFSET: i32 = 0;

    /// In a step of sixteen inputs, SDOT takes four inputs of each column side by side, SMMLA eight. SMULL
    /// takes sixteen, and goes through all inputs of four columns at a time.
    const GROUP: usize = match INTEGERS {
        MULTIPLY => 16,
        SDOT => 4,
        _ => 8,
    };
    const STRIP: usize = if INTEGERS == MULTIPLY { 4 } else { Self::COLUMNS };

    #[inline(always)]
    unsafe fn store_activations(self, to: *mut u8) {
        let [a, b, c, d] = self.0;
        simd! {
            let low = narrow(vcvtnq_s32_f32(a), vcvtnq_s32_f32(b));
            let high = narrow(vcvtnq_s32_f32(c), vcvtnq_s32_f32(d));
            let q = vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high));
            vst1q_s8(to.cast(), q);
        }
    }

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        _start: *const i32,
        acc: *mut i32,
    ) {
        let x = x.cast();
        // SAFETY: each has the same contract as this function.
        unsafe {
            match INTEGERS {
                MULTIPLY => multiply::<R>(x, stride, panel, steps, acc),
                SDOT => sdot_tile::<R>(x, stride, panel, steps, acc),
                _ => matrix::<R>(x, stride, panel, steps, acc),
            }
        }
    }
}

/// Returns the low halves of eight i32.
#[inline(always)]
fn narrow(a: int32x4_t, b: int32x4_t) -> int16x8_t {
    simd! { vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)) }
}

/// Computes R rows by four columns at a time, with four partial sums each. The sum of two products of ±127
/// and ±128 fits an i16.
///
/// # Safety
/// The same as for [`Dot::tile`].
#[inline(always)]
unsafe fn multiply<const R: usize>(
    x: *const i8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    acc: *mut i32,
) {
    simd! {
        for block in 0..4 {
            let (mut x, mut w) = (x, panel.add(block * steps * 64));
            let mut sums = [[vdupq_n_s32(0); 4]; R];
            for _ in 0..steps {
                let ([a, b], [c, d]) = (load_two(&mut w), load_two(&mut w));
                for (row, x) in sums.iter_mut().zip(load_rows::<R>(&mut x, stride)) {
                    for (sum, w) in row.iter_mut().zip([a, b, c, d]) {
                        let pairs = vmull_s8(vget_low_s8(x), vget_low_s8(w));
                        *sum = vpadalq_s16(*sum, vmlal_high_s8(pairs, x, w));
                    }
                }
            }
            for (r, &[a, b, c, d]) in sums.iter().enumerate() {
                let row = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
                vst1q_s32(acc.add(r * 16 + block * 4), row);
            }
        }
    }
}

/// Adds to each `sum[i]` the dot product of `w[4 * i..][..4]` and `a[4 * LANE..][..4]`. Not `pure`, so that
/// the compiler does not move it: the next [`load_four`] overwrites the registers that it reads.
#[inline(always)]
fn sdot<const LANE: u8>(sum: &mut int32x4_t, w: int8x16_t, a: int8x16_t) {
    // SAFETY: register arithmetic of the dot product extension, whose presence `Isa::NeonDot` has checked.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inlateout(vreg) *sum, in(vreg) w, in(vreg) a, const LANE,
            options(nomem, nostack, preserves_flags));
    }
}

/// Loads sixteen bytes of each of R rows, the first of which is at `from`. The load itself advances `from`;
/// the compiler would keep a separate index.
///
/// # Safety
/// The bytes can be read.
#[inline(always)]
unsafe fn load_rows<const R: usize>(from: &mut *const i8, stride: usize) -> [int8x16_t; R] {
    simd! {
        let mut rows = [vdupq_n_s8(0); R];
        for r in 1..R {
            rows[r] = vld1q_s8(from.add(r * stride));
        }
        asm!("ldr {1:q}, [{0}], #16", inout(reg) *from, out(vreg) rows[0], options(readonly, nostack, preserves_flags));
        rows
    }
}

/// Loads thirty-two bytes and advances `from`.
///
/// # Safety
/// The bytes can be read.
#[inline(always)]
unsafe fn load_two(from: &mut *const i8) -> [int8x16_t; 2] {
    let (a, b);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("ldp {1:q}, {2:q}, [{0}], #32", inout(reg) *from, out(vreg) a, out(vreg) b,
            options(readonly, nostack, preserves_flags));
    }
    [a, b]
}

/// Loads sixty-four bytes at once and advances `from`. The compiler would use two pairs, which are two more
/// operations on the A76.
///
/// # Safety
/// The bytes can be read.
#[inline(always)]
unsafe fn load_four(from: &mut *const i8) -> [int8x16_t; 4] {
    let (a, b, c, d);
    // SAFETY: the caller's promise. The instruction needs four consecutive registers.
    unsafe {
        asm!("ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [{0}], #64", inout(reg) *from,
            out("v28") a, out("v29") b, out("v30") c, out("v31") d, options(readonly, nostack, preserves_flags));
    }
    [a, b, c, d]
}

/// Computes R rows by sixteen columns.
///
/// # Safety
/// The same as for [`Dot::tile`].
#[inline(always)]
unsafe fn sdot_tile<const R: usize>(
    x: *const i8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    acc: *mut i32,
) {
    simd! {
        let (mut x, mut w) = (x, panel);
        let mut sums = [[vdupq_n_s32(0); 4]; R];
        for _ in 0..steps {
            let rows = load_rows::<R>(&mut x, stride);
            macro_rules! quarter {
                ($lane:literal) => {
                    let columns = load_four(&mut w);
                    for (row, a) in sums.iter_mut().zip(rows) {
                        for (sum, w) in row.iter_mut().zip(columns) {
                            sdot::<$lane>(sum, w, a);
                        }
                    }
                };
            }
            quarter!(0);
            quarter!(1);
            quarter!(2);
            quarter!(3);
        }
        for (r, row) in sums.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                vst1q_s32(acc.add(r * 16 + j * 4), sum);
            }
        }
    }
}

/// Computes two rows by two columns: `sum += a * w^T`, eight inputs deep.
#[inline(always)]
fn smmla(sum: &mut int32x4_t, a: int8x16_t, w: int8x16_t) {
    // SAFETY: register arithmetic of the matrix extension, whose presence `Isa::NeonI8mm` has checked.
    unsafe {
        asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inlateout(vreg) *sum, in(vreg) a, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
}

/// Computes R rows, in pairs, by sixteen columns. An odd last row is paired with itself.
///
/// # Safety
/// The same as for [`Dot::tile`].
#[inline(always)]
unsafe fn matrix<const R: usize>(x: *const i8, stride: usize, panel: *const i8, steps: usize, acc: *mut i32) {
    simd! {
        let mut w = panel;
        // R is at most four: two pairs by eight pairs of columns
        let mut sums = [[vdupq_n_s32(0); 8]; 2];
        for k in 0..steps {
            let mut pairs = [[vdupq_n_s8(0); 2]; 2];
            for (p, pair) in pairs.iter_mut().enumerate().take(R.div_ceil(2)) {
                let a = vreinterpretq_s64_s8(vld1q_s8(x.add(2 * p * stride + k * 16)));
                let b = vreinterpretq_s64_s8(vld1q_s8(x.add((2 * p + 1).min(R - 1) * stride + k * 16)));
                pair[0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
                pair[1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
            }
            for half in 0..2 {
                for c in 0..8 {
                    let w = vld1q_s8(w.add(c * 16));
                    for p in 0..R.div_ceil(2) {
                        smmla(&mut sums[p][c], pairs[p][half], w);
                    }
                }
                w = w.add(128);
            }
        }
        for r in 0..R {
            for c in 0..4 {
                let a = vreinterpretq_s64_s32(sums[r / 2][2 * c]);
                let b = vreinterpretq_s64_s32(sums[r / 2][2 * c + 1]);
                let row = if r % 2 == 0 { vzip1q_s64(a, b) } else { vzip2q_s64(a, b) };
                vst1q_s32(acc.add(r * 16 + c * 4), vreinterpretq_s32_s64(row));
            }
        }
    }
}

const _: () = assert!(Neon::<MATRIX>::ROWS <= 4);
