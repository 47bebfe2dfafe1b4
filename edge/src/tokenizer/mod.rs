//! The BERT tokenizer in fixed memory.
//!
//! text → clean, set ideographs apart, strip accents, lower-case → words → WordPiece → [`Encoding`].
//!
//! It gives the ids of Hugging Face `tokenizers` 0.23.2 (`BertNormalizer`, `BertPreTokenizer`, `WordPiece`,
//! `TemplateProcessing`), for text of any length and in constant memory. The constructor builds an index of
//! the vocabulary on the heap; nothing is allocated after that. All limits are in [`capacity`].
//!
//! ```
//! use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
//!
//! let vocab_txt = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ngold\n##crest\n!\n";
//! let tokenizer = Tokenizer::new(vocab_txt, Settings::uncased())?;
//! let mut encoding = Encoding::new();
//! tokenizer.encode("Goldcrest!", None, 128, &mut encoding)?;
//! assert_eq!(encoding.ids(), [2, 4, 5, 6, 3]);
//! # Ok::<(), goldcrest_edge::tokenizer::Error>(())
//! ```
mod ascii;
pub mod capacity;
mod encoder;
mod encoding;
mod error;
mod segment;
mod unicode;
mod unicode_tables;
mod vocabulary;
mod word;

use serde::{Deserialize, Serialize};

pub use self::encoder::{Encoder, Windows};
pub use self::encoding::Encoding;
pub use self::error::Error;
pub use self::vocabulary::SpecialTokens;

use self::segment::Segmenter;
use self::vocabulary::{Index, View};

/// What is done to a text before it is looked up; the fields of `BertNormalizer`, `clean_text` being always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Lower-case, character by character.
    pub lowercase: bool,
    /// Decompose and drop non-spacing marks; `None`: as `lowercase` says.
    pub strip_accents: Option<bool>,
    /// Make each Chinese ideograph a word.
    pub chinese_chars: bool,
    /// Whether `[SEP]`, `[CLS]`, `[MASK]`, `[PAD]` and `[UNK]` written in a text become those tokens, matched
    /// before anything else as `tokenizers` does by default.
    ///
    /// Otherwise, and for text from outside, they are ordinary text: `[`, `sep`, `]`. (`tokenizers` calls this
    /// `encode_special_tokens`.)
    pub special_tokens_in_text: bool,
}

impl Settings {
    /// For models like `bert-base-uncased`.
    pub const fn uncased() -> Self {
        Self { lowercase: true, strip_accents: None, chinese_chars: true, special_tokens_in_text: false }
    }

    /// For models like `bert-base-cased`.
    pub const fn cased() -> Self {
        Self { lowercase: false, ..Self::uncased() }
    }

    pub(crate) fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }
}

/// A BERT vocabulary, read in place, ready to encode.
#[derive(Clone, Debug)]
pub struct Tokenizer<V> {
    vocab_txt: V,
    index: Index,
    settings: Settings,
}

impl<V: AsRef<[u8]>> Tokenizer<V> {
    /// Takes the text of a `vocab.txt`: one piece a line, its id the line's number from 0. As in `tokenizers`,
    /// white space at the end of a line is cut, so CRLF is read too; a blank line has an id but matches nothing.
    pub fn new(vocab_txt: V, settings: Settings) -> Result<Self, Error> {
        let index = Index::build(vocab_txt.as_ref())?;
        Ok(Self { vocab_txt, index, settings })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Number of pieces; ids are less than this.
    pub fn vocab_size(&self) -> usize {
        self.index.pieces()
    }

    /// Bytes on the heap beside the vocabulary text.
    pub fn index_bytes(&self) -> usize {
        self.index.heap_bytes()
    }

    /// Ids of the special tokens.
    pub fn special_tokens(&self) -> SpecialTokens {
        self.index.special
    }

    /// Id of a piece, spelled as in the vocabulary (`##` inside words).
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.view().id(piece)
    }

    /// The piece of an id, as the vocabulary spells it. Looks through the text: for people, not for loops.
    pub fn piece(&self, id: u32) -> Option<&str> {
        let text = core::str::from_utf8(self.vocab_txt.as_ref()).ok()?;
        text.split_inclusive('\n').nth(id as usize).map(str::trim_end)
    }

    /// Encodes one text or a pair into `out`: at most `max_tokens` ids (2 or 3 to
    /// [`MAX_TOKENS`](capacity::MAX_TOKENS)), a pair truncated longest first.
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_tokens: usize,
        out: &mut Encoding,
    ) -> Result<(), Error> {
        let mut encoder = self.encoder(max_tokens, out)?;
        encoder.push(text);
        if let Some(pair) = pair {
            encoder.second()?;
            encoder.push(pair);
        }
        encoder.complete();
        Ok(())
    }

    /// Encodes like [`Self::encode`] what comes in chunks. `out` is complete after [`Encoder::finish`].
    #[inline]
    pub fn encoder<'a>(&'a self, max_tokens: usize, out: &'a mut Encoding) -> Result<Encoder<'a>, Error> {
        Encoder::new(self.segmenter(), max_tokens, out)
    }

    /// Encodes one text of any length as windows of at most `max_tokens` ids, each beginning with the last
    /// `stride` pieces of the one before: what `Encoding::truncate` of `tokenizers` makes of the whole text, the
    /// encoding and its overflowing ones in that order. (`encode` of 0.23.2 with truncation set loses most of
    /// those: it stops reading early.) Each goes to `on_window`; `out` is scratch.
    pub fn windows<'a, F: FnMut(&Encoding)>(
        &'a self,
        max_tokens: usize,
        stride: usize,
        out: &'a mut Encoding,
        on_window: F,
    ) -> Result<Windows<'a, F>, Error> {
        Windows::new(self.segmenter(), max_tokens, stride, out, on_window)
    }

    #[inline]
    fn segmenter(&self) -> Segmenter<'_> {
        Segmenter::new(self.view(), self.settings)
    }

    #[inline]
    fn view(&self) -> View<'_> {
        View::new(self.vocab_txt.as_ref(), &self.index)
    }
}
