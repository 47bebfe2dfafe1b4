use super::capacity::MAX_TOKENS;
use super::vocabulary::SpecialTokens;

/// What a model reads for one text or a pair: token ids with `[CLS]` and `[SEP]` in place, and token type ids.
#[derive(Clone)]
pub struct Encoding {
    ids: [u32; MAX_TOKENS],
    type_ids: [u8; MAX_TOKENS],
    len: usize,
    /// How many of them frame the texts.
    framing: usize,
    pieces: usize,
}

impl Encoding {
    /// An empty encoding, to be filled.
    pub const fn new() -> Self {
        Self { ids: [0; MAX_TOKENS], type_ids: [0; MAX_TOKENS], len: 0, framing: 0, pieces: 0 }
    }

    /// Token ids, special tokens included.
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    /// 0 for the first text and its special tokens, 1 for the second; as many as [`Self::ids`].
    pub fn type_ids(&self) -> &[u8] {
        &self.type_ids[..self.len]
    }

    /// Pieces of the whole text or pair before truncation, without `[CLS]` and `[SEP]`;
    /// of a window, its own.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Was something cut off?
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

/// Where the pieces of a text go, one by one.
pub(super) trait Sink {
    fn piece(&mut self, id: u32);
}

/// Collects one text or two, however long, in the buffer of one [`Encoding`], and truncates "longest first".
///
/// The first text is kept from the front. How much of it stays is known only when the second one is: that
/// grows from the back, reversed, and overwrites the tail of the first where it must.
pub(super) struct Assembly<'a> {
    out: &'a mut Encoding,
    max_tokens: usize,
    /// Pieces of the first text, once the second comes in.
    first: Option<usize>,
    /// Pieces of the text that comes in.
    current: usize,
    /// Those that are kept of it.
    room: usize,
}

impl<'a> Assembly<'a> {
    /// `max_tokens` lies in 2..=MAX_TOKENS.
    #[inline]
    pub(super) fn new(out: &'a mut Encoding, max_tokens: usize) -> Self {
        out.len = 0;
        out.framing = 0;
        Self { out, max_tokens, first: None, current: 0, room: max_tokens - 2 }
    }

    pub(super) fn is_pair(&self) -> bool {
        self.first.is_some()
    }

    /// What comes from here on is the second text; `max_tokens` is at least 3.
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

/// How many pieces of each text stay. The shorter text keeps all it has up to half of the budget;
/// an odd one goes to the longer text, to the second if they are equal.
fn longest_first(first: usize, second: usize, budget: usize) -> (usize, usize) {
    if first + second <= budget {
        return (first, second);
    }
    let shorter = first.min(second).min(budget / 2);
    if first > second { (budget - shorter, shorter) } else { (shorter, budget - shorter) }
}

/// Collects one text in overlapping windows, each of which goes to `on_window` as soon as it is known
/// not to be the last.
pub(super) struct WindowSink<'a, F> {
    pub(super) out: &'a mut Encoding,
    pub(super) on_window: F,
    pub(super) special: SpecialTokens,
    /// Pieces a window holds.
    pub(super) room: usize,
    /// Pieces it repeats of the one before.
    pub(super) stride: usize,
    /// Pieces in the window that fills.
    pub(super) filled: usize,
    /// Pieces of the text so far.
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
