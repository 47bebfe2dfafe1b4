//! The portable kernels, which are the oracle: sixteen lanes as an array, weights in panels of sixteen
//! outputs.
use super::float::fma;
use super::lanes::{Dot, LANES, Lanes};

#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn each(self, f: impl Fn(f32) -> f32) -> Self {
        Portable(self.0.map(f))
    }

    #[inline(always)]
    fn both(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(core::array::from_fn(|i| f(self.0[i], b.0[i])))
    }

    /// Joins all lanes in the fixed tree: i with i+8, then i+4, i+2, i+1.
    #[inline(always)]
    fn tree(self, f: impl Fn(f32, f32) -> f32) -> f32 {
        let mut x = self.0;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                x[i] = f(x[i], x[i + half]);
            }
        }
        x[0]
    }
}

#[inline(always)]
fn lower(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn higher_bits(a: f32, b: f32) -> f32 {
    f32::from_bits(a.to_bits().max(b.to_bits()))
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Portable([x; LANES])
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        Portable(*x)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn from_i32(x: &[i32; LANES]) -> Self {
        Portable(x.map(|v| v as f32))
    }
    #[inline(always)]
    fn from_i8(x: &[i8; LANES]) -> Self {
        Portable(x.map(f32::from))
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.both(b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self.both(b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.both(b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self.both(b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Portable(core::array::from_fn(|i| fma(self.0[i], b.0[i], c.0[i])))
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        self.both(b, lower)
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        self.both(b, higher)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.each(f32::abs)
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        self.both(n, |x, n| f32::from_bits(x.to_bits().wrapping_add(n.to_bits() << 23)))
    }
    #[inline(always)]
    fn max_bits(self, b: Self) -> Self {
        self.both(b, higher_bits)
    }
    #[inline(always)]
    fn keep(self, n: usize) -> Self {
        Portable(core::array::from_fn(|i| if i < n { self.0[i] } else { 0.0 }))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        self.tree(|a, b| a + b)
    }
    #[inline(always)]
    fn highest(self) -> f32 {
        self.tree(higher)
    }
    #[inline(always)]
    fn highest_bits(self) -> u32 {
        self.tree(higher_bits).to_bits()
    }
}

impl Dot for Portable {
    const COLUMNS: usize = 16;
    const ROWS: usize = 4;
    const QUERIES: usize = 1;
    const STEP: usize = 1;
    const ACTIVATION_BYTES: usize = 1;
    const OFFSET: i32 = 0;
    const GROUP: usize = 1;

    #[inline(always)]
    unsafe fn store_activations(self, to: *mut u8) {
        for (i, x) in self.0.into_iter().enumerate() {
            // adding and subtracting 1.5 * 2^23 rounds half to even; `as` is exact after that
            let rounded = (x + super::math::ROUND) - super::math::ROUND;
            // SAFETY: the caller gives room for 16 bytes.
            unsafe { to.add(i).write(rounded as i8 as u8) }
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
        for r in 0..R {
            // SAFETY: the caller vouches for `R` rows of `steps` activations, `steps` rows of 16 weights, 16
            // start values and `R * 16` sums.
            unsafe {
                let mut sums = *start.cast::<[i32; 16]>();
                for k in 0..steps {
                    let a = i32::from(x.add(r * stride + k).cast::<i8>().read());
                    let w = &*panel.add(k * 16).cast::<[i8; 16]>();
                    for (sum, &w) in sums.iter_mut().zip(w) {
                        *sum += a * i32::from(w);
                    }
                }
                acc.add(r * 16).cast::<[i32; 16]>().write(sums);
            }
        }
    }
}
