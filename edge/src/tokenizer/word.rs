//! Collects a word and splits it by WordPiece: greedily, longest match first.
use super::ascii;
use super::capacity::{MAX_WORD_BYTES, MAX_WORD_CHARS};
use super::encoding::Sink;
use super::vocabulary::{Place, View};

/// The normalized word that is being read.
pub(super) struct Word {
    /// Eight bytes more than a word may have, so that whole blocks can be written and read.
    bytes: [u8; MAX_WORD_BYTES + 8],
    len: usize,
    chars: usize,
    too_long: bool,
}

impl Word {
    #[inline]
    pub(super) fn new() -> Self {
        Self { bytes: [0; MAX_WORD_BYTES + 8], len: 0, chars: 0, too_long: false }
    }

    pub(super) fn push(&mut self, c: char) {
        if self.chars == MAX_WORD_CHARS {
            self.too_long = true;
        } else {
            self.len += c.encode_utf8(&mut self.bytes[self.len..]).len();
            self.chars += 1;
        }
    }

    /// Appends the longest prefix of `text` that consists of ASCII letters and
    /// digits, and returns its length.
    #[inline]
    pub(super) fn push_ascii(&mut self, text: &[u8], lowercase: bool) -> usize {
        let mut taken = 0;
        loop {
            let (block, len) = ascii::word_block(&text[taken..], lowercase);
            if self.chars + len > MAX_WORD_CHARS {
                self.too_long = true;
            } else {
                self.bytes[self.len..self.len + 8].copy_from_slice(&block);
                self.len += len;
                self.chars += len;
            }
            taken += len;
            if len < 8 {
                return taken;
            }
        }
    }

    pub(super) fn mark_too_long(&mut self) {
        self.too_long = true;
    }

    /// Ends the word, if there is one, and passes its pieces to `sink`.
    #[inline]
    pub(super) fn end(&mut self, vocabulary: View<'_>, sink: &mut impl Sink) {
        if self.len > 0 {
            if self.too_long {
                sink.piece(vocabulary.special().unk);
            } else if let Some(id) = vocabulary.find(Place::Start, &self.bytes, self.len) {
                sink.piece(id);
            } else {
                self.split(vocabulary, sink);
            }
            self.len = 0;
            self.chars = 0;
            self.too_long = false;
        }
    }

    /// Splits a word that is not a piece itself. The whole word becomes `[UNK]` if a
    /// part of it matches nothing.
    fn split(&self, vocabulary: View<'_>, sink: &mut impl Sink) {
        let mut ids = heapless::Vec::<u32, MAX_WORD_BYTES>::new();
        let mut place = Place::Start;
        let mut at = 0;
        while at < self.len {
            match vocabulary.longest(place, &self.bytes[at..], self.len - at) {
                Some((id, len)) if ids.push(id).is_ok() => at += len,
                _ => return sink.piece(vocabulary.special().unk),
            }
            place = Place::Inside;
        }
        ids.into_iter().for_each(|id| sink.piece(id));
    }
}
