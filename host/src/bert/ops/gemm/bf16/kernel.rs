//! The kernels, behind checks that make them safe.

use super::{BLOCK, Matrix, Side, Tile, amx, avx512, pack};
use std::marker::PhantomData;

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// `vdpbf16ps`: AMD from Zen 4, Intel's servers from Cooper Lake.
    Avx512,
    /// `tdpbf16ps`: Intel's servers from Sapphire Rapids.
    Amx,
}

/// A thread that is ready to multiply.
pub(super) struct Ready {
    kernel: Kernel,
    // tile registers belong to the thread
    _thread: PhantomData<*const ()>,
}

impl Kernel {
    /// Returns the fastest.
    pub fn detect() -> Option<Self> {
        Self::all().pop()
    }

    /// Returns all that this processor has, the fastest last.
    pub fn all() -> Vec<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        let kernels = [(Kernel::Avx512, has), (Kernel::Amx, has && amx::available())];
        kernels.into_iter().filter(|(_, has)| *has).map(|(kernel, _)| kernel).collect()
    }

    /// Rounds up to 16 rows of `x` from `row` on, of them up to 32 columns from `column` on. What lies outside
    /// of `x` becomes zero.
    pub fn pack(self, x: Matrix, row: usize, column: usize, side: Side, tile: &mut Tile) {
        // SAFETY: kernels exist only if the processor has these instructions.
        unsafe { pack::pack(x, row, column, side, tile) }
    }

    /// Prepares this thread. There must be no other [`Ready`] on it, as either would release the tiles of both.
    pub fn ready(self) -> Ready {
        if self == Kernel::Amx {
            // SAFETY: kernels exist only if the processor has these instructions.
            unsafe { amx::configure() }
        }
        Ready { kernel: self, _thread: PhantomData }
    }
}

impl Ready {
    /// Computes 32 x 32 sums, or adds to them: `a` is two rows of tiles, `b` two columns; the rows of `out` are
    /// `row_stride` apart.
    pub fn multiply(
        &self,
        a: [&[Tile]; 2],
        b: [&[Tile]; 2],
        out: &mut [f32],
        row_stride: usize,
        accumulate: bool,
    ) {
        let steps = a[0].len();
        assert!(steps > 0 && [a[1], b[0], b[1]].iter().all(|tiles| tiles.len() == steps));
        assert!(row_stride >= BLOCK && out.len() >= (BLOCK - 1) * row_stride + BLOCK);
        // SAFETY: the lengths were checked; the processor has the instructions, and the thread is ready.
        unsafe {
            match self.kernel {
                Kernel::Avx512 => avx512::multiply(a, b, out, row_stride, accumulate),
                Kernel::Amx => amx::multiply(a, b, out, row_stride, accumulate),
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.kernel == Kernel::Amx {
            // SAFETY: `ready` has configured the tiles of this thread.
            unsafe { amx::release() }
        }
    }
}
