//! One text on several threads.
//!
//! Each takes a run of the tokens through all layers. Between two attentions a token needs no other; before each, the
//! threads give each other their keys and values. No sum changes its order, so no bit changes.

use std::ops::Range;
use std::sync::{Barrier, PoisonError, RwLock};

use super::bert::Bert;

/// Where the threads of a split text meet.
pub struct Exchange {
    /// One for each number of parts, from 0.
    meetings: Vec<Barrier>,
    /// Each part's keys and values: one turn is written while somebody may still read the other.
    turns: [Vec<RwLock<Vec<f32>>>; 2],
}

impl Exchange {
    /// For texts of up to `max_tokens` in up to `parts` parts.
    pub(super) fn new(bert: &Bert, max_tokens: usize, parts: usize) -> Exchange {
        // part n, from 0, is there where at least n + 1 share the tokens, and two do always
        let most = |n: usize| max_tokens.div_ceil((n + 1).max(2)) * bert.key_values();
        let turn = || (0..parts).map(|n| RwLock::new(Vec::with_capacity(most(n)))).collect();
        Exchange { meetings: (0..=parts).map(Barrier::new).collect(), turns: [turn(), turn()] }
    }

    /// Bytes it holds on the heap.
    pub fn bytes(&self) -> usize {
        let floats = |part: &RwLock<Vec<f32>>| part.read().unwrap_or_else(PoisonError::into_inner).capacity();
        4 * self.turns.iter().flatten().map(floats).sum::<usize>()
    }

    /// Publishes the rows of `part` in `key_values`, waits for all parts, and fills in theirs.
    pub(super) fn gather(&self, part: Part, layer: usize, width: usize, key_values: &mut [f32]) {
        if part == Part::WHOLE {
            return;
        }
        let tokens = key_values.len() / width;
        let rows = |part: Part| {
            let Range { start, end } = part.tokens(tokens);
            start * width..end * width
        };
        let turn = &self.turns[layer % 2];
        {
            let mut own = turn[part.number].write().unwrap_or_else(PoisonError::into_inner);
            own.clear();
            own.extend_from_slice(&key_values[rows(part)]);
        }
        self.meetings[part.of].wait();
        for number in (0..part.of).filter(|&number| number != part.number) {
            let other = turn[number].read().unwrap_or_else(PoisonError::into_inner);
            key_values[rows(Part { number, ..part })].copy_from_slice(&other);
        }
    }
}

/// One of the parts of a split text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0. The first one gives the logits.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl Part {
    /// A text that is not split.
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// Its tokens, of so many.
    pub(super) fn tokens(self, tokens: usize) -> Range<usize> {
        let bound = |number| tokens * number / self.of;
        bound(self.number)..bound(self.number + 1)
    }
}
