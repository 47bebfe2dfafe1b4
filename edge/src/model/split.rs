//! Splits one text over several threads.
//!
//! Each thread takes a range of the tokens through all layers. A token needs other tokens only in attention,
//! so before each attention the threads exchange their keys and values. No sum changes its
//! order, so no bit changes.

use std::ops::Range;
use std::sync::{Barrier, PoisonError, RwLock};

use super::bert::Bert;

/// Where the threads of a split text exchange their keys and values. All parts of a text have to be done before the next
/// text begins, whose first layer may use the buffer of this one's last.
pub struct Exchange {
    /// One for each number of parts, from 0.
    barriers: Vec<Barrier>,
    /// Keys and values of each part. Layers alternate between two buffers: one is written while another
    /// thread may still read the other.
    buffers: [Vec<RwLock<Vec<f32>>>; 2],
}

impl Exchange {
    /// Returns an exchange for texts of up to `max_tokens` in up to `parts` parts.
    pub(super) fn new(bert: &Bert, max_tokens: usize, parts: usize) -> Exchange {
        // part n, from 0, exists only if at least n + 1 parts share the tokens, and
        // there are always at least two
        let most = |n: usize| max_tokens.div_ceil((n + 1).max(2)) * bert.key_values();
        let buffer = || (0..parts).map(|n| RwLock::new(Vec::with_capacity(most(n)))).collect();
        Exchange { barriers: (0..=parts).map(Barrier::new).collect(), buffers: [buffer(), buffer()] }
    }

    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        let floats = |part: &RwLock<Vec<f32>>| part.read().unwrap_or_else(PoisonError::into_inner).capacity();
        4 * self.buffers.iter().flatten().map(floats).sum::<usize>()
    }

    /// Publishes the rows of `part` in `key_values`, waits for all parts, and fills
    /// in the rows of the others.
    pub(super) fn gather(&self, part: Part, layer: usize, width: usize, key_values: &mut [f32]) {
        let tokens = key_values.len() / width;
        let rows = |part: Part| {
            let Range { start, end } = part.tokens(tokens);
            start * width..end * width
        };
        let buffer = &self.buffers[layer % 2];
        {
            let mut own = buffer[part.number].write().unwrap_or_else(PoisonError::into_inner);
            own.clear();
            own.extend_from_slice(&key_values[rows(part)]);
        }
        self.barriers[part.of].wait();
        for number in (0..part.of).filter(|&number| number != part.number) {
            let other = buffer[number].read().unwrap_or_else(PoisonError::into_inner);
            key_values[rows(Part { number, ..part })].copy_from_slice(&other);
        }
    }
}

/// One of the parts of a split text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the part, from 0. The first part gives the logits.
    pub number: usize,
    /// Number of parts.
    pub of: usize,
}

impl Part {
    /// A text that is not split.
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// Returns the range of this part in a text of `tokens` tokens.
    pub(super) fn tokens(self, tokens: usize) -> Range<usize> {
        let bound = |number| tokens * number / self.of;
        bound(self.number)..bound(self.number + 1)
    }
}
