//! The kernels, behind checks that make them safe.

use super::{BLOCK, Bf16, Matrix, Side, Tile, amx, pack};
use std::marker::PhantomData;

/// Returns whether the processor and the operating system support them.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && amx::available()
}

/// Rounds up to 16 rows of `x` from `row` on, of them up to 32 columns from `column` on. What lies outside of `x`
/// becomes zero.
pub(super) fn pack(_: Bf16, x: Matrix, row: usize, column: usize, side: Side, tile: &mut Tile) {
    // SAFETY: there is a proof that the processor has these instructions.
    unsafe { pack::pack(x, row, column, side, tile) }
}

/// A thread that is ready to multiply.
pub(super) struct Ready {
    // tile registers belong to the thread
    _thread: PhantomData<*const ()>,
}

impl Ready {
    /// Prepares this thread. There must be no other `Ready` on it, as either would release the tiles of both.
    pub fn new(_: Bf16) -> Self {
        // SAFETY: there is a proof that the processor has these instructions.
        unsafe { amx::configure() }
        Self { _thread: PhantomData }
    }

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
        unsafe { amx::multiply(a, b, out, row_stride, accumulate) }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: `new` has configured the tiles of this thread.
        unsafe { amx::release() }
    }
}
