use super::capacity::MAX_TOKENS;
use super::vocabulary::SpecialTokens;

/// What a model reads for one text or a pair: token ids including `[CLS]` and `[SEP]`, and token type ids.
#[derive(Clone)]
pub struct Encoding {
    ids: [u32; MAX_TOKENS],
    type_ids: [u8; MAX_TOKENS],
    len: usize,
    /// How many of them are `[CLS]` and `[SEP]`.
    framing: usize,
    pieces: usize,
}

impl Encoding {
    /// Returns an empty encoding, to be filled by a tokenizer.
    pub const fn new() -> Self {
        Self { ids: [0; MAX_TOKENS], type_ids: [0; MAX_TOKENS], len: 0, framing: 0, pieces: 0 }
    }

    /// Returns the token ids, special tokens included.
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    /// Returns as many token type ids as [`Self::ids`]: 0 for the first text and its special tokens, 1 for
    /// the second.
    pub fn type_ids(&self) -> &[u8] {
        &self.type_ids[..self.len]
    }

    /// Returns the number of pieces of the whole text or pair before truncation, without `[CLS]` and `[SEP]`;
    /// for a window, the number of its own pieces.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Returns whether pieces were cut off.
    pub fn truncated(&self) -> bool {
        self.len - self.framing < self.pieces
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.ids() == other.ids() && self.type_ids() == other.type_ids() && self.pieces == other.pieces
    }
}

impl core::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Encoding")
            .field("ids", &self.ids())
            .field("type_ids", &self.type_ids())
            .field("pieces", &self.pieces)
            .finish()
    }
}

/// Takes the pieces of a text one by one.
pub(super) trait Sink {
    fn piece(&mut self, id: u32);
}

/// Collects one or two texts of any length in the buffer of one [`Encoding`], truncated "longest first".
///
/// The first text fills the buffer from the front. How much of it is kept depends on the length of the
/// second, which therefore fills the buffer from the back, in reverse order, and overwrites the tail of the
/// first if necessary.
pub(super) struct Assembly<'a> {
    out: &'a mut Encoding,
    max_tokens: usize,
    /// Number of pieces of the first text, once the second has begun.
    first: Option<usize>,
    /// Number of pieces of the current text so far.
    current: usize,
    /// How many of them are kept at most.
    room: usize,
}

impl<'a> Assembly<'a> {
    /// `max_tokens` must be 2 to [`MAX_TOKENS`].
    #[inline]
    pub(super) fn new(out: &'a mut Encoding, max_tokens: usize) -> Self {
        out.len = 0;
        out.framing = 0;
        out.pieces = 0;
        Self { out, max_tokens, first: None, current: 0, room: max_tokens - 2 }
    }

    pub(super) fn is_pair(&self) -> bool {
        self.first.is_some()
    }

    /// Begins the second text. `max_tokens` must be at least 3.
    pub(super) fn begin_second(&mut self) {
        let budget = self.max_tokens - 3;
        let first = core::mem::take(&mut self.current);
        self.room = budget - first.min(budget / 2);
        self.first = Some(first);
    }

    pub(super) fn finish(&mut self, special: SpecialTokens) {
        let Self { ref mut out, max_tokens, first, current, .. } = *self;
        let (a, b) = match first {
            None => (current.min(max_tokens - 2), 0),
            Some(first) => longest_first(first, current, max_tokens - 3),
        };
        out.pieces = first.unwrap_or_default() + current;
        out.framing = if first.is_some() { 3 } else { 2 };
        out.len = a + b + out.framing;
        out.ids.copy_within(..a, 1);
        out.ids[0] = special.cls;
        out.ids[a + 1] = special.sep;
        if first.is_some() {
            out.ids[max_tokens - b..max_tokens].reverse();
            out.ids.copy_within(max_tokens - b..max_tokens, a + 2);
            out.ids[a + 2 + b] = special.sep;
        }
        out.type_ids[..a + 2].fill(0);
        out.type_ids[a + 2..out.len].fill(1);
    }
}

impl Sink for Assembly<'_> {
    #[inline]
    fn piece(&mut self, id: u32) {
        let at = self.current;
        if at < self.room {
            let at = if self.first.is_none() { at } else { self.max_tokens - 1 - at };
            self.out.ids[at] = id;
        }
        self.current += 1;
    }
}

/// Returns how many pieces of each text are kept. The shorter text keeps up to half of the budget; the longer
/// one, or the second if they are equally long, gets the rest.
fn longest_first(first: usize, second: usize, budget: usize) -> (usize, usize) {
    if first + second <= budget {
        return (first, second);
    }
    let shorter = first.min(second).min(budget / 2);
    if first > second { (budget - shorter, shorter) } else { (shorter, budget - shorter) }
}

/// Collects one text in overlapping windows, and passes each to `on_window` as soon as it is known not to be
/// the last.
pub(super) struct WindowSink<'a, F> {
    pub(super) out: &'a mut Encoding,
    pub(super) on_window: F,
    pub(super) special: SpecialTokens,
    /// Maximum number of pieces per window.
    pub(super) room: usize,
    /// Number of pieces that a window repeats of the previous one.
    pub(super) stride: usize,
    /// Number of pieces in the current window.
    pub(super) filled: usize,
    /// Number of pieces of the text so far.
    pub(super) pieces: usize,
}

impl<F: FnMut(&Encoding)> WindowSink<'_, F> {
    pub(super) fn deliver(&mut self) {
        self.out.ids[0] = self.special.cls;
        self.out.ids[self.filled + 1] = self.special.sep;
        self.out.framing = 2;
        self.out.len = self.filled + 2;
        self.out.type_ids[..self.out.len].fill(0);
        self.out.pieces = self.filled;
        (self.on_window)(self.out);
    }
}

impl<F: FnMut(&Encoding)> Sink for WindowSink<'_, F> {
    fn piece(&mut self, id: u32) {
        if self.filled == self.room {
            self.deliver();
            self.out.ids.copy_within(1 + self.room - self.stride..=self.room, 1);
            self.filled = self.stride;
        }
        self.out.ids[1 + self.filled] = id;
        self.filled += 1;
        self.pieces += 1;
    }
}
