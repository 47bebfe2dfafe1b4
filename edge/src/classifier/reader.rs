//! Turns the text of a message into what the model reads: one encoding, or the windows of a long text.
use super::{Error, Input};
use crate::bundle::{Manifest, Mapped, Windows};
use crate::tokenizer::{self, Encoder, Encoding, Tokenizer};
use bytes::Bytes;

/// A tokenizer with a vocabulary `V`, and the manifest's settings for long texts and pairs.
#[derive(Clone)]
pub struct Reader<V = Bytes> {
    tokenizer: Tokenizer<V>,
    /// The file of the bundle, which must not change.
    mapped: Option<Mapped>,
    encoding: Box<Encoding>,
    max_tokens: usize,
    windows: Windows,
    pair: bool,
}

/// How much of a message was read.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// See [`Outcome::tokens`](super::Outcome::tokens).
    pub tokens: usize,
    /// See [`Outcome::truncated`](super::Outcome::truncated).
    pub truncated: bool,
}

/// How much of a message was read, or why it cannot be classified; the outer error is that of its source.
pub type Read<E> = Result<Result<Length, Error>, E>;

impl Reader {
    pub(super) fn of_bundle(
        tokenizer: Tokenizer<Bytes>,
        manifest: &Manifest,
        mapped: Option<Mapped>,
    ) -> Reader {
        let Manifest { max_tokens, windows, pair, .. } = *manifest;
        Reader { mapped, ..Reader::new(tokenizer, max_tokens as usize, windows, pair) }
    }
}

impl<V: AsRef<[u8]>> Reader<V> {
    /// Creates a reader without a bundle. `max_tokens` is the length of the longest input, special tokens included;
    /// `pair` says whether a message has two texts, and then has no windows.
    pub fn new(tokenizer: Tokenizer<V>, max_tokens: usize, windows: Windows, pair: bool) -> Self {
        Reader { tokenizer, mapped: None, encoding: Box::default(), max_tokens, windows, pair }
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer<V> {
        &self.tokenizer
    }

    /// Fails if the bundle's file has changed: everything read from it since the last check may be wrong.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn check(&self) -> Result<(), Error> {
        Ok(self.mapped.as_ref().map_or(Ok(()), Mapped::check)?)
    }

    /// Reads one message from `feed` and passes each window that the model is to read to `on_window`,
    /// possibly before the message has ended or turns out to be invalid. Checks before each window that the
    /// bundle's file has not changed, since `feed` may have waited for a long time.
    ///
    /// # Errors
    /// The error of `feed`; inside, why the message has no answer.
    pub fn read<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
        on_window: &mut dyn FnMut(&Encoding) -> Result<(), Error>,
    ) -> Read<E> {
        let mapped = self.mapped.clone();
        let mut on_window = |window: &Encoding| {
            mapped.as_ref().map_or(Ok(()), Mapped::check)?;
            on_window(window)
        };
        match self.windows {
            Windows::Truncate => self.read_whole(feed, &mut on_window),
            Windows::Mean { overlap, most } => {
                self.read_windows(overlap as usize, most as usize, feed, &mut on_window)
            }
        }
    }

    /// Reads a single window, truncated to the manifest's maximum.
    fn read_whole<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
        on_window: &mut dyn FnMut(&Encoding) -> Result<(), Error>,
    ) -> Read<E> {
        struct Whole<'a>(Encoder<'a>, usize, Result<(), tokenizer::Error>);
        impl Input for Whole<'_> {
            fn push(&mut self, chunk: &str) {
                self.0.push(chunk);
            }
            fn second_text(&mut self) {
                self.1 += 1;
                self.2 = self.0.begin_second();
            }
        }
        let encoder = match self.tokenizer.encoder(self.max_tokens, &mut self.encoding) {
            Ok(encoder) => encoder,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut input = Whole(encoder, 0, Ok(()));
        feed(&mut input)?;
        let Whole(encoder, seconds, result) = input;
        encoder.finish();
        let pair = self.pair;
        if seconds != usize::from(pair) {
            return Ok(Err(Error::Texts { pair }));
        }
        let run = result.map_err(Error::from).and_then(|()| on_window(&self.encoding));
        let (tokens, truncated) = (self.encoding.ids().len(), self.encoding.truncated());
        Ok(run.map(|()| Length { tokens, truncated }))
    }

    /// Reads overlapping windows; tokens shared by two count once.
    fn read_windows<E>(
        &mut self,
        overlap: usize,
        most: usize,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
        on_window: &mut dyn FnMut(&Encoding) -> Result<(), Error>,
    ) -> Read<E> {
        struct Windowed<'a, F>(tokenizer::Windows<'a, F>, bool);
        impl<F: FnMut(&Encoding)> Input for Windowed<'_, F> {
            fn push(&mut self, chunk: &str) {
                self.0.push(chunk);
            }
            fn second_text(&mut self) {
                self.1 = true;
            }
        }
        let (mut windows, mut tokens, mut result) = (0, 2, Ok(()));
        let mut truncated = false;
        let mut take = |encoding: &Encoding| {
            truncated |= windows == most;
            if windows < most && result.is_ok() {
                tokens += encoding.ids().len() - 2 - if windows > 0 { overlap } else { 0 };
                windows += 1;
                result = on_window(encoding);
            }
        };
        let reader = self.tokenizer.windows(self.max_tokens, overlap, &mut self.encoding, &mut take);
        let mut input = match reader {
            Ok(reader) => Windowed(reader, false),
            Err(error) => return Ok(Err(error.into())),
        };
        feed(&mut input)?;
        let Windowed(reader, paired) = input;
        reader.finish();
        if paired {
            return Ok(Err(Error::Texts { pair: false }));
        }
        Ok(result.map(|()| Length { tokens, truncated }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Settings;
    use std::convert::Infallible;

    fn reader(pair: bool, windows: Windows) -> Reader {
        let vocabulary = Bytes::from_static(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n");
        Reader::new(Tokenizer::new(vocabulary, Settings::uncased()).unwrap(), 5, windows, pair)
    }

    fn read(
        reader: &mut Reader,
        texts: &[&str],
        on_window: &mut dyn FnMut(&Encoding) -> Result<(), Error>,
    ) -> Result<Length, Error> {
        let mut feed = |input: &mut dyn Input| -> Result<(), Infallible> {
            for (i, text) in texts.iter().enumerate() {
                if i > 0 {
                    input.second_text();
                }
                input.push(text);
            }
            Ok(())
        };
        let Ok(length) = reader.read(&mut feed, on_window);
        length
    }

    #[test]
    fn the_wrong_number_of_texts_is_refused() {
        let mean = Windows::Mean { overlap: 0, most: 2 };
        for (pair, windows) in [(false, Windows::Truncate), (false, mean), (true, Windows::Truncate)] {
            let mut reader = reader(pair, windows);
            for texts in [&["a"][..], &["a", "a"], &["a", "a", "a"]] {
                let found = read(&mut reader, texts, &mut |_| Ok(()));
                match texts.len() == 1 + usize::from(pair) {
                    true => assert!(found.is_ok(), "{pair} {windows:?}"),
                    false => assert!(matches!(found, Err(Error::Texts { pair: said }) if said == pair)),
                }
            }
        }
    }

    #[test]
    fn tokens_shared_by_two_windows_count_once() {
        // eight pieces; a window has three, and shares its first with the one before
        for (most, tokens, truncated) in [(1, 5, true), (2, 7, true), (3, 9, true), (4, 10, false)] {
            let (mut reader, mut windows) = (reader(false, Windows::Mean { overlap: 1, most }), 0);
            let length = read(&mut reader, &["a a a a a a a a"], &mut |_| {
                windows += 1;
                Ok(())
            });
            let length = length.unwrap();
            assert_eq!((windows, length.tokens, length.truncated), (most, tokens, truncated));
        }
    }

    #[test]
    fn nothing_is_read_after_a_window_that_fails() {
        let mut windows = 0;
        let mut reader = reader(false, Windows::Mean { overlap: 0, most: 9 });
        let found = read(&mut reader, &["a a a a a a a a"], &mut |_| {
            windows += 1;
            if windows == 1 { Err(Error::Labels { logits: 1, labels: 2 }) } else { Ok(()) }
        });
        assert!(matches!(found, Err(Error::Labels { .. })));
        assert_eq!(windows, 1);
    }
}
