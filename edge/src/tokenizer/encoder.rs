//! Encoding of text that comes in chunks, in constant memory.
use super::Error;
use super::capacity::MAX_TOKENS;
use super::encoding::{Assembly, Encoding, WindowSink};
use super::segment::Segmenter;

/// Encodes one text or a pair, of any length, from chunks. Created by
/// [`Tokenizer::encoder`](super::Tokenizer::encoder).
///
/// How the text is cut into chunks makes no difference.
pub struct Encoder<'a> {
    segmenter: Segmenter<'a>,
    assembly: Assembly<'a>,
    max_tokens: usize,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(
        segmenter: Segmenter<'a>,
        max_tokens: usize,
        out: &'a mut Encoding,
    ) -> Result<Self, Error> {
        check_max_tokens(max_tokens, 2)?;
        Ok(Self { segmenter, assembly: Assembly::new(out, max_tokens), max_tokens })
    }

    /// Appends a chunk to the text.
    pub fn push(&mut self, chunk: &str) {
        self.segmenter.push(chunk, &mut self.assembly);
    }

    /// Ends the first text of a pair and begins the second.
    ///
    /// # Errors
    /// If the second text has begun, or `max_tokens` has no room for a pair.
    pub fn begin_second(&mut self) -> Result<(), Error> {
        check_max_tokens(self.max_tokens, 3)?;
        if self.assembly.is_pair() {
            return Err(Error::TooManyTexts);
        }
        self.segmenter.finish(&mut self.assembly);
        self.assembly.begin_second();
        Ok(())
    }

    /// Ends the text and completes the encoding.
    pub fn finish(mut self) {
        self.complete();
    }

    /// Like [`Self::finish`], but without moving the encoder.
    pub(super) fn complete(&mut self) {
        self.segmenter.finish(&mut self.assembly);
        self.assembly.finish(self.segmenter.vocabulary().special());
    }
}

/// Encodes one text, of any length, as overlapping windows. Created by
/// [`Tokenizer::windows`](super::Tokenizer::windows).
pub struct Windows<'a, F> {
    segmenter: Segmenter<'a>,
    sink: WindowSink<'a, F>,
}

impl<'a, F: FnMut(&Encoding)> Windows<'a, F> {
    #[inline]
    pub(super) fn new(
        segmenter: Segmenter<'a>,
        max_tokens: usize,
        stride: usize,
        out: &'a mut Encoding,
        on_window: F,
    ) -> Result<Self, Error> {
        check_max_tokens(max_tokens, 2)?;
        let room = max_tokens - 2;
        if stride >= room {
            return Err(Error::Stride { stride, room });
        }
        let special = segmenter.vocabulary().special();
        Ok(Self {
            segmenter,
            sink: WindowSink { out, on_window, special, room, stride, filled: 0, pieces: 0 },
        })
    }

    /// Appends a chunk to the text.
    pub fn push(&mut self, chunk: &str) {
        self.segmenter.push(chunk, &mut self.sink);
    }

    /// Ends the text and delivers the last window. For a short text this is the only one, and may have no
    /// pieces. Returns the number of pieces of the whole text.
    pub fn finish(mut self) -> usize {
        self.segmenter.finish(&mut self.sink);
        self.sink.deliver();
        self.sink.pieces
    }
}

fn check_max_tokens(max_tokens: usize, least: usize) -> Result<(), Error> {
    if (least..=MAX_TOKENS).contains(&max_tokens) {
        Ok(())
    } else {
        Err(Error::MaxTokens { max_tokens, least })
    }
}
