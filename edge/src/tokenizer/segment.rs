//! Splits text into pieces, chunk by chunk: special tokens, normalization, splitting at
//! white space and punctuation.
use super::Settings;
use super::ascii::{KINDS, Kind};
use super::capacity::{MAX_SPECIAL_BYTES, MAX_WORD_CHARS};
use super::encoding::Sink;
use super::lowercase::lowercase;
use super::unicode::{Class, combining_class, decompose_without_marks, is_chinese, is_punctuation};
use super::vocabulary::View;
use super::word::Word;

/// Reads one text in chunks. What it remembers from one chunk to the next has a fixed size.
pub(super) struct Segmenter<'v> {
    vocabulary: View<'v>,
    settings: Settings,
    word: Word,
    /// Non-starters that wait to be put into canonical order: combining class and character.
    ///
    /// No such character ends a word, so a run longer than this makes the word longer than
    /// [`MAX_WORD_CHARS`]: it becomes `[UNK]` whatever their order, and the rest may be dropped.
    marks: heapless::Vec<(u8, char), MAX_WORD_CHARS>,
    /// Text that may become a special token: a proper prefix of one.
    pending: heapless::String<MAX_SPECIAL_BYTES>,
}

impl<'v> Segmenter<'v> {
    #[inline]
    pub(super) fn new(vocabulary: View<'v>, settings: Settings) -> Self {
        Self {
            vocabulary,
            settings,
            word: Word::new(),
            marks: heapless::Vec::new(),
            pending: heapless::String::new(),
        }
    }

    pub(super) fn vocabulary(&self) -> View<'v> {
        self.vocabulary
    }

    pub(super) fn push(&mut self, chunk: &str, sink: &mut impl Sink) {
        if self.settings.special_tokens_in_text {
            self.find_special(chunk, sink);
        } else {
            self.plain(chunk, sink);
        }
    }

    /// Ends the text. The next chunk begins another one.
    pub(super) fn finish(&mut self, sink: &mut impl Sink) {
        let pending = core::mem::take(&mut self.pending);
        self.plain(&pending, sink);
        self.end_word(sink);
    }

    /// Splits at special tokens. `[` occurs only at their beginning, so after a failed match only the last
    /// character can begin another.
    fn find_special(&mut self, mut chunk: &str, sink: &mut impl Sink) {
        let named = self.vocabulary.special().named();
        loop {
            if self.pending.is_empty() {
                let start = chunk.find('[').unwrap_or(chunk.len());
                self.plain(&chunk[..start], sink);
                chunk = &chunk[start..];
            }
            let Some(c) = chunk.chars().next() else { return };
            let fits = self.pending.push(c).is_ok();
            let candidate = |name: &str| fits && name.starts_with(self.pending.as_str());
            match named.iter().find(|(name, id)| id.is_some() && candidate(name)) {
                Some((name, Some(id))) if *name == self.pending => {
                    self.pending.clear();
                    self.end_word(sink);
                    sink.piece(*id);
                }
                Some(_) => {}
                None => {
                    if fits {
                        self.pending.pop();
                    }
                    let failed = core::mem::take(&mut self.pending);
                    self.plain(&failed, sink);
                    continue;
                }
            }
            chunk = &chunk[c.len_utf8()..];
        }
    }

    /// Reads text in which no token is special.
    fn plain(&mut self, chunk: &str, sink: &mut impl Sink) {
        let bytes = chunk.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match KINDS[byte as usize] {
                Kind::Drop => at += 1,
                Kind::Space => {
                    self.end_word(sink);
                    at += 1;
                }
                Kind::Alone => {
                    self.end_word(sink);
                    sink.piece(self.vocabulary.ascii(byte));
                    at += 1;
                }
                Kind::InWord => {
                    self.order_marks(sink);
                    at += self.word.push_ascii(&bytes[at..], self.settings.lowercase);
                }
                Kind::NotAscii => {
                    let c = chunk[at..].chars().next().unwrap_or_default();
                    self.character(c, sink);
                    at += c.len_utf8();
                }
            }
        }
    }

    /// Reads a character outside ASCII: drops control characters, ends words at white space, and sets
    /// ideographs apart.
    fn character(&mut self, c: char, sink: &mut impl Sink) {
        if c == char::REPLACEMENT_CHARACTER || Class::of(c).is_other() {
        } else if c.is_whitespace() {
            self.end_word(sink);
        } else if self.settings.chinese_chars && is_chinese(c) {
            self.end_word(sink);
            self.strip_accents(c, sink);
            self.end_word(sink);
        } else {
            self.strip_accents(c, sink);
        }
    }

    /// Decomposes a character canonically, drops non-spacing marks, and orders the remaining non-starters, if
    /// the settings say so.
    fn strip_accents(&mut self, c: char, sink: &mut impl Sink) {
        if !self.settings.strips_accents() {
            return self.lowercase(c, sink);
        }
        if Class::of(c).is_dropped_starter() {
            self.order_marks(sink);
        }
        decompose_without_marks(c, |c| {
            if Class::of(c).is_nonstarter() {
                let class = combining_class(c);
                let at = self.marks.iter().rposition(|&(other, _)| other <= class).map_or(0, |i| i + 1);
                if self.marks.insert(at, (class, c)).is_err() {
                    self.word.mark_too_long();
                }
            } else {
                self.order_marks(sink);
                self.lowercase(c, sink);
            }
        });
    }

    /// Passes on the waiting non-starters, which are in canonical order.
    #[inline]
    fn order_marks(&mut self, sink: &mut impl Sink) {
        if !self.marks.is_empty() {
            self.pass_marks(sink);
        }
    }

    #[cold]
    fn pass_marks(&mut self, sink: &mut impl Sink) {
        for (_, c) in core::mem::take(&mut self.marks) {
            self.lowercase(c, sink);
        }
    }

    fn lowercase(&mut self, c: char, sink: &mut impl Sink) {
        if self.settings.lowercase {
            lowercase(c, |c| self.split(c, sink));
        } else {
            self.split(c, sink);
        }
    }

    fn split(&mut self, c: char, sink: &mut impl Sink) {
        if c.is_whitespace() {
            self.word.end(self.vocabulary, sink);
        } else if is_punctuation(c) {
            self.word.end(self.vocabulary, sink);
            self.word.push(c);
            self.word.end(self.vocabulary, sink);
        } else {
            self.word.push(c);
        }
    }

    #[inline]
    fn end_word(&mut self, sink: &mut impl Sink) {
        self.order_marks(sink);
        self.word.end(self.vocabulary, sink);
    }
}
