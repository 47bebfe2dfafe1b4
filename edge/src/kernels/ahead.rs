//! Weights that are read soon, fetched while the processor computes.
//!
//! With few tokens, linear layers wait for weights most of the time, while memory is idle during everything
//! else.
use super::lanes::Lanes;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Bytes of the next panel of weights that a tile of AMX fetches itself: those of one step.
pub(super) const BY_TILE: usize = 3072;

/// Maximum bytes to fetch at once: a part of any second-level cache that leaves room for activations.
const MOST: usize = 192 << 10;

/// The addresses of weights that are still to be fetched. They are never dereferenced, so they may dangle.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead {
    from: usize,
    to: usize,
}

impl Ahead {
    /// Returns the first of these weights.
    #[inline(always)]
    pub fn of(weights: &[u8]) -> Ahead {
        let from = weights.as_ptr().addr();
        Ahead { from, to: from + weights.len().min(MOST) }
    }

    /// Whether there is nothing to fetch.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }

    /// Fetches a few lines: as many as memory delivers while the caller computes.
    #[inline(always)]
    pub fn fetch<L: Lanes, const LINES: usize>(&mut self) {
        if L::FETCHES && !self.is_empty() {
            for line in 0..LINES {
                L::fetch(core::ptr::without_provenance(self.from + line * LINE));
            }
            self.from += LINES * LINE;
        }
    }
}
