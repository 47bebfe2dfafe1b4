//! Scaled dot-product attention in f32 over all heads of one text.
//!
//! Scores and sums are chains of fused multiply-adds in the order of the head's elements and of the keys, so
//! their bits do not depend on how the work is blocked. Softmax is the two-pass one of [`super::rows`].
use alloc::vec;
use alloc::vec::Vec;

use super::ahead::Ahead;
use super::lanes::{Dot, LANES, Lanes, MAX_QUERIES};
use super::rows::exp_row;

/// Rows of floats at a stride, such as some columns of a wider matrix.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Row `r` begins at `r * stride`.
    pub data: &'a [f32],
    /// Floats from one row to the next.
    pub stride: usize,
}

impl Rows<'_> {
    /// Panics unless there are `rows` rows of `width` floats.
    fn check(&self, rows: usize, width: usize) {
        let end =
            rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(self.stride)?.checked_add(width));
        assert!(
            end.is_some_and(|end| end <= self.data.len()),
            "{rows} rows of {width} floats at stride {} do not fit",
            self.stride
        );
    }

    #[inline(always)]
    fn part(&self, row: usize, from: usize, width: usize) -> &[f32] {
        &self.data[row * self.stride + from..][..width]
    }
}

/// The input of attention. Each row has `heads * head_size` floats.
#[derive(Clone, Copy, Debug)]
pub struct AttentionInput<'a> {
    /// One row per query.
    pub queries: Rows<'a>,
    /// One row per key.
    pub keys: Rows<'a>,
    /// One row per key.
    pub values: Rows<'a>,
    /// Number of queries: one is enough if only \[CLS\] is read.
    pub query_count: usize,
    /// Number of keys, at least one.
    pub key_count: usize,
    /// Number of heads.
    pub heads: usize,
    /// Floats per head, 1 to 128.
    pub head_size: usize,
    /// Factor of the scores: `1 / sqrt(head_size)`, or 1 if the weights include it.
    pub scale: f32,
}

impl AttentionInput<'_> {
    pub(super) fn check(&self, scratch: &AttentionScratch, out: &[f32]) {
        assert!((1..=AttentionScratch::MAX_HEAD_SIZE).contains(&self.head_size) && self.key_count > 0);
        let width = self.heads.checked_mul(self.head_size).expect("heads * head_size floats a row");
        let floats = self.query_count.checked_mul(width);
        assert!(floats == Some(out.len()), "output is not query_count * heads * head_size");
        self.queries.check(self.query_count, width);
        self.keys.check(self.key_count, width);
        self.values.check(self.key_count, width);
        // rows at stride 0 may be more than memory has room for
        let padded = self.key_count.checked_next_multiple_of(LANES);
        let fits = |width, floats: usize| {
            padded.and_then(|keys| keys.checked_mul(width)).is_some_and(|end| end <= floats)
        };
        assert!(
            fits(self.head_size, scratch.keys.len())
                && fits(MAX_QUERIES, scratch.scores.len())
                && MAX_QUERIES * self.head_size <= scratch.queries.len(),
            "{} keys of {} floats do not fit the scratch memory",
            self.key_count,
            self.head_size
        );
    }
}

/// Scratch buffers for attention: the transposed keys and the values of one head, scores
/// and queries of a few rows.
pub struct AttentionScratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    queries: Vec<f32>,
}

impl AttentionScratch {
    /// Largest head size.
    pub const MAX_HEAD_SIZE: usize = 128;

    /// Allocates scratch buffers for up to `keys` keys and heads of up to `head_size`.
    pub fn new(keys: usize, head_size: usize) -> AttentionScratch {
        let padded = keys.next_multiple_of(LANES);
        AttentionScratch {
            keys: vec![0.0; padded * head_size],
            values: vec![0.0; padded * head_size],
            scores: vec![0.0; padded * MAX_QUERIES],
            queries: vec![0.0; MAX_QUERIES * head_size],
        }
    }

    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        4 * (self.keys.len() + self.values.len() + self.scores.len() + self.queries.len())
    }
}

/// See [`super::Kernels::attention`].
#[inline(always)]
pub(super) fn attention<D: Dot>(
    input: &AttentionInput<'_>,
    mut ahead: Ahead,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let AttentionInput { queries, values, query_count, key_count, heads, head_size, scale, .. } = *input;
    let padded = key_count.next_multiple_of(LANES);
    let keys = &mut scratch.keys[..padded * head_size];
    let scores = &mut scratch.scores[..padded * MAX_QUERIES];
    for head in 0..heads {
        let from = head * head_size;
        transpose_keys::<D>(input, from, padded, &mut ahead, keys);
        // copied side by side: in rows as wide as the model, they map to few sets of the
        // cache and evict each other
        let values = match query_count > D::QUERIES {
            true => {
                for (j, to) in scratch.values.chunks_exact_mut(head_size).enumerate().take(key_count) {
                    to.copy_from_slice(values.part(j, from, head_size));
                }
                Rows { data: &scratch.values, stride: head_size }
            }
            false => Rows { data: &values.data[from..], stride: values.stride },
        };
        for first in (0..query_count).step_by(D::QUERIES) {
            let rows = D::QUERIES.min(query_count - first);
            for r in 0..D::QUERIES {
                // missing rows repeat the last one; their results are not read
                ahead.fetch::<D, 2>();
                let query = queries.part(first + r.min(rows - 1), from, head_size);
                for (to, &q) in scratch.queries[r * head_size..][..head_size].iter_mut().zip(query) {
                    *to = q * scale;
                }
            }
            put_scores::<D>(&scratch.queries, head_size, keys, padded, &mut ahead, scores);
            let mut inverse = [0.0; MAX_QUERIES];
            for r in 0..rows {
                ahead.fetch::<D, 6>();
                let row = scores[r * padded..][..padded].as_chunks_mut().0;
                if let Some((last, blocks)) = row.split_last_mut() {
                    inverse[r] = exp_row::<D>(blocks, last, key_count - blocks.len() * LANES);
                }
            }
            let stride = heads * head_size;
            let mut e = 0;
            while e < head_size {
                let right = Rows { data: &values.data[e..], stride: values.stride };
                let out = &mut out[first * stride + from + e..];
                if D::SETS == 2 && e + 2 * LANES <= head_size {
                    let block =
                        weighted_sums::<D, 2>(scores, padded, right, key_count, 2 * LANES, &mut ahead);
                    put_contexts(block, &inverse[..rows], out, stride, 2 * LANES);
                    e += 2 * LANES;
                } else {
                    let width = LANES.min(head_size - e);
                    let block = weighted_sums::<D, 1>(scores, padded, right, key_count, width, &mut ahead);
                    put_contexts(block, &inverse[..rows], out, stride, width);
                    e += LANES;
                }
            }
        }
    }
}

/// Writes the products of some scaled queries with all keys, transposed: [queries, padded].
#[inline(always)]
fn put_scores<D: Dot>(
    queries: &[f32],
    head_size: usize,
    keys: &[f32],
    padded: usize,
    ahead: &mut Ahead,
    scores: &mut [f32],
) {
    let mut j = 0;
    while j < padded {
        let right = Rows { data: &keys[j..], stride: padded };
        if D::SETS == 2 && j + 2 * LANES <= padded {
            let block = weighted_sums::<D, 2>(queries, head_size, right, head_size, 2 * LANES, ahead);
            put_rows(block, D::QUERIES, &mut scores[j..], padded);
            j += 2 * LANES;
        } else {
            let block = weighted_sums::<D, 1>(queries, head_size, right, head_size, LANES, ahead);
            put_rows(block, D::QUERIES, &mut scores[j..], padded);
            j += LANES;
        }
    }
}

/// Writes the first `rows` rows of a block.
#[inline(always)]
fn put_rows<L: Lanes, const SETS: usize>(
    block: [[L; SETS]; MAX_QUERIES],
    rows: usize,
    to: &mut [f32],
    stride: usize,
) {
    for (r, sets) in block.into_iter().enumerate().take(rows) {
        for (set, sums) in sets.into_iter().enumerate() {
            sums.put(to, r * stride + set * LANES);
        }
    }
}

/// Writes `width` columns of a block, each row multiplied by its factor.
#[inline(always)]
fn put_contexts<L: Lanes, const SETS: usize>(
    block: [[L; SETS]; MAX_QUERIES],
    factors: &[f32],
    to: &mut [f32],
    stride: usize,
    width: usize,
) {
    for (r, (sets, factor)) in block.into_iter().zip(factors).enumerate() {
        let to = &mut to[r * stride..][..width];
        for (set, sums) in sets.into_iter().enumerate() {
            sums.mul(L::splat(*factor)).finite().put(to, set * LANES);
        }
    }
}

/// Returns for each of [`Dot::QUERIES`] rows the sum over `i` of `left[row * stride + i] * right[i]`, `width`
/// columns wide. `width` is `SETS` whole lane sets, or a part of a single one.
#[inline(always)]
fn weighted_sums<D: Dot, const SETS: usize>(
    left: &[f32],
    stride: usize,
    right: Rows<'_>,
    count: usize,
    width: usize,
    ahead: &mut Ahead,
) -> [[D; SETS]; MAX_QUERIES] {
    assert!((D::QUERIES - 1) * stride + count <= left.len());
    assert!(width == SETS * LANES || (SETS == 1 && width < LANES));
    right.check(count, width);
    // SAFETY: checked above.
    unsafe {
        match width == SETS * LANES {
            true => sums_of::<D, SETS, true>(left, stride, right, count, width, ahead),
            false => sums_of::<D, SETS, false>(left, stride, right, count, width, ahead),
        }
    }
}

/// Does the work of [`weighted_sums`] after its checks, for `WHOLE` lane sets or a part of one.
///
/// # Safety
/// `left` has `D::QUERIES` rows of `count` floats, `stride` apart; `right` has `count` rows of `width` floats;
/// `width` is `SETS * LANES` if `WHOLE`, and else less than [`LANES`].
#[inline(always)]
unsafe fn sums_of<D: Dot, const SETS: usize, const WHOLE: bool>(
    left: &[f32],
    stride: usize,
    right: Rows<'_>,
    count: usize,
    width: usize,
    ahead: &mut Ahead,
) -> [[D; SETS]; MAX_QUERIES] {
    let mut acc = [[D::splat(0.0); SETS]; MAX_QUERIES];
    let mut i = 0;
    while i + 4 <= count {
        ahead.fetch::<D, 8>();
        // SAFETY: `i + 4` of the `count` elements are there, and rows `i` to `i + 3`.
        unsafe {
            add_scaled::<D, SETS, 0>(&mut acc, left, stride, i, sets::<D, SETS, WHOLE>(right, i, width));
            add_scaled::<D, SETS, 1>(&mut acc, left, stride, i, sets::<D, SETS, WHOLE>(right, i + 1, width));
            add_scaled::<D, SETS, 2>(&mut acc, left, stride, i, sets::<D, SETS, WHOLE>(right, i + 2, width));
            add_scaled::<D, SETS, 3>(&mut acc, left, stride, i, sets::<D, SETS, WHOLE>(right, i + 3, width));
        }
        i += 4;
    }
    while i < count {
        // SAFETY: there is a row `i`.
        let sets = unsafe { sets::<D, SETS, WHOLE>(right, i, width) };
        for (r, sums) in acc.iter_mut().enumerate().take(D::QUERIES) {
            // SAFETY: the row has `count` elements.
            let factor = D::splat(unsafe { *left.get_unchecked(r * stride + i) });
            for (sum, set) in sums.iter_mut().zip(sets) {
                *sum = factor.fma(set, *sum);
            }
        }
        i += 1;
    }
    acc
}

/// Returns row `i` of `right`: whole lane sets, or `width` floats.
///
/// # Safety
/// `right` has a row `i` of `width` floats, or of `SETS * LANES` if `WHOLE`.
#[inline(always)]
unsafe fn sets<D: Dot, const SETS: usize, const WHOLE: bool>(
    right: Rows<'_>,
    i: usize,
    width: usize,
) -> [D; SETS] {
    let mut sets = [D::splat(0.0); SETS];
    // SAFETY: the row is there.
    unsafe {
        let at = right.data.as_ptr().add(i * right.stride);
        if !WHOLE {
            return [D::load_part(core::slice::from_raw_parts(at, width)); SETS];
        }
        for (set, to) in sets.iter_mut().enumerate() {
            *to = D::load(&*at.add(set * LANES).cast());
        }
    }
    sets
}

/// One step of [`sums_of`]: adds `left[row * stride + i + LANE] * sets` to each row.
///
/// # Safety
/// Each of the `D::QUERIES` rows of `left` has four elements from `i` on.
#[inline(always)]
unsafe fn add_scaled<D: Dot, const SETS: usize, const LANE: i32>(
    acc: &mut [[D; SETS]; MAX_QUERIES],
    left: &[f32],
    stride: usize,
    i: usize,
    sets: [D; SETS],
) {
    for (r, sums) in acc.iter_mut().enumerate().take(D::QUERIES) {
        // SAFETY: the four elements are there.
        let factors = unsafe { &*left.as_ptr().add(r * stride + i).cast::<[f32; 4]>() };
        for (sum, set) in sums.iter_mut().zip(sets) {
            *sum = sum.add_scaled::<LANE>(factors, set);
        }
    }
}

/// Sets `keys[e * padded + j]` to element `e` of key `j`; missing keys repeat the last one.
#[inline(always)]
fn transpose_keys<L: Lanes>(
    input: &AttentionInput<'_>,
    from: usize,
    padded: usize,
    ahead: &mut Ahead,
    keys: &mut [f32],
) {
    for e in (0..input.head_size).step_by(LANES) {
        let width = LANES.min(input.head_size - e);
        for j in (0..padded).step_by(LANES) {
            ahead.fetch::<L, 8>();
            let mut block = [L::splat(0.0); LANES];
            for (i, row) in block.iter_mut().enumerate() {
                *row = L::at(input.keys.part((j + i).min(input.key_count - 1), from + e, width), 0);
            }
            let block = L::transpose(block);
            for (i, column) in block.into_iter().enumerate().take(width) {
                column.put(keys, (e + i) * padded + j);
            }
        }
    }
}
