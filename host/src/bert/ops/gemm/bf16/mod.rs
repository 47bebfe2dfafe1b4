//! Products of matrices that are rounded to bf16 (the upper half of an f32), summed in f32, on processors with
//! AMX: several times as fast as in f32. (Those of AVX-512, `vdpbf16ps`, were no faster than f32: see
//! `docs/performance.md`.)
//!
//! Both matrices are first rounded and rearranged into tiles of 16 rows and 16 pairs of neighbours along the
//! dimension that is summed over: `pack` does that, `amx` multiplies blocks of two by two tiles.
//! How work is split does not depend on the number of threads.

mod amx;
mod kernel;
mod pack;

use super::Matrix;
use kernel::Ready;
use rayon::prelude::*;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The proof that this processor multiplies bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bf16(());

/// Rows of a tile, and pairs in each of them.
const SIDE: usize = 16;
/// Values that are summed over in a tile.
const DEPTH: usize = 2 * SIDE;
/// Rows and columns of a block of sums.
const BLOCK: usize = 2 * SIDE;

/// Pairs of bf16, the first in the lower half: `[row][pair]` of the left matrix, `[pair][column]` of the
/// right one.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Tile([u32; SIDE * SIDE]);

/// How the pairs of a tile lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Tiles that are summed over before the sums go back to memory: those of two columns of tiles, 32 KiB, stay
/// in the first-level cache.
const STEPS: usize = 16;
/// Rows of the output that one parallel task computes.
const TASK_ROWS: usize = 2 * BLOCK;
/// Rows of tiles that one parallel task packs.
const TASK_BANDS: usize = 8;

thread_local! {
    /// Tiles of the left matrix for one task, kept from task to task.
    static LEFT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
}
/// Tiles of the right matrix, kept from product to product. It is not locked during a product, so two at the same
/// time allocate one each.
static RIGHT: Mutex<Vec<Tile>> = Mutex::new(Vec::new());

impl Bf16 {
    /// Returns the proof, if this processor has AMX for bf16.
    pub fn detect() -> Option<Self> {
        kernel::available().then_some(Self(()))
    }

    /// Returns whether rounding and rearranging pays for a product of this shape.
    pub(super) fn pays(m: usize, k: usize, n: usize) -> bool {
        m.min(k).min(n) >= BLOCK
    }

    /// See [`multiply`](super::multiply). No dimension is 0.
    pub(super) fn multiply(self, out: &mut [f32], row_stride: usize, a: Matrix, b: Matrix, accumulate: bool) {
        let (m, k, n) = (a.rows, a.cols, b.cols);
        assert_eq!(k, b.rows);
        assert!(out.len() >= super::extent(m, n, row_stride) && row_stride >= n);
        let steps = k.div_ceil(DEPTH);
        let mut right = std::mem::take(&mut *lock(&RIGHT));
        right.resize(bands(n) * steps, Tile([0; SIDE * SIDE]));
        right.par_chunks_mut(TASK_BANDS * steps).enumerate().for_each(|(task, tiles)| {
            self.pack(b.t(), task * TASK_BANDS * SIDE, steps, Side::Right, tiles);
        });
        let tasks = out.par_chunks_mut(TASK_ROWS * row_stride).take(m.div_ceil(TASK_ROWS));
        tasks.enumerate().for_each(|(task, out)| {
            let height = TASK_ROWS.min(m - task * TASK_ROWS);
            let mut left = LEFT.take();
            left.resize(bands(height) * steps, Tile([0; SIDE * SIDE]));
            self.pack(a, task * TASK_ROWS, steps, Side::Left, &mut left);
            let ready = Ready::new(self);
            for from in (0..steps).step_by(STEPS) {
                let to = steps.min(from + STEPS);
                for column in (0..n).step_by(BLOCK) {
                    let b = two_bands(&right, column, steps).map(|tiles| &tiles[from..to]);
                    for row in (0..height).step_by(BLOCK) {
                        let a = two_bands(&left, row, steps).map(|tiles| &tiles[from..to]);
                        let size = [BLOCK.min(height - row), BLOCK.min(n - column)];
                        let out = &mut out[row * row_stride + column..];
                        block(&ready, a, b, out, row_stride, size, accumulate || from > 0);
                    }
                }
            }
            LEFT.set(left);
        });
        *lock(&RIGHT) = right;
    }

    /// Rounds rows of `x` [rows, k] from `row` on and rearranges them into tiles: those of a band of 16 rows lie
    /// side by side. What lies outside of `x` is zero.
    fn pack(self, x: Matrix, row: usize, steps: usize, side: Side, tiles: &mut [Tile]) {
        for step in 0..steps {
            for (band, tile) in tiles[step..].iter_mut().step_by(steps).enumerate() {
                kernel::pack(self, x, row + band * SIDE, step * DEPTH, side, tile);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of bands for this many rows: an even one, as blocks have two.
fn bands(rows: usize) -> usize {
    rows.div_ceil(BLOCK) * 2
}

/// Returns the two bands from row or column `at` on.
fn two_bands(tiles: &[Tile], at: usize, steps: usize) -> [&[Tile]; 2] {
    [0, 1].map(|i| &tiles[(at / SIDE + i) * steps..][..steps])
}

/// Computes a block of `out` of this size, or adds to it.
fn block(
    ready: &Ready,
    a: [&[Tile]; 2],
    b: [&[Tile]; 2],
    out: &mut [f32],
    row_stride: usize,
    [height, width]: [usize; 2],
    accumulate: bool,
) {
    if height == BLOCK && width == BLOCK {
        return ready.multiply(a, b, out, row_stride, accumulate);
    }
    let mut whole = [0.0; BLOCK * BLOCK];
    for (sums, out) in whole.chunks_exact_mut(BLOCK).zip(out.chunks(row_stride)).take(height) {
        sums[..width].copy_from_slice(&out[..width]);
    }
    ready.multiply(a, b, &mut whole, BLOCK, accumulate);
    for (sums, out) in whole.chunks_exact(BLOCK).zip(out.chunks_mut(row_stride)).take(height) {
        out[..width].copy_from_slice(&sums[..width]);
    }
}
