//! The BERT tokenizer in fixed memory.
//!
//! text → clean, set ideographs apart, strip accents, lower-case → words → WordPiece → [`Encoding`].
//!
//! It gives the same ids as Hugging Face `tokenizers` 0.23.2 (`BertNormalizer`, `BertPreTokenizer`,
//! `WordPiece`, `TemplateProcessing`), for text of any length and in constant memory. The constructor builds
//! an index of the vocabulary on the heap; nothing is allocated after that. All limits are in [`capacity`].
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
mod lowercase;
mod lowercase_table;
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

/// How a text is normalized before it is looked up. The fields are those of `BertNormalizer`, whose
/// `clean_text` is always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Convert the text to lower case, character by character.
    pub lowercase: bool,
    /// Decompose characters and drop non-spacing marks; `None` means the same as `lowercase`.
    pub strip_accents: Option<bool>,
    /// Make each Chinese ideograph a word of its own.
    pub chinese_chars: bool,
    /// Turn `[SEP]`, `[CLS]`, `[MASK]`, `[PAD]` and `[UNK]` in a text into those tokens, matched before
    /// anything else, as `tokenizers` does by default.
    ///
    /// Otherwise they are ordinary text: `[`, `sep`, `]`, which is right for text from outside. (`tokenizers`
    /// calls that `encode_special_tokens`.)
    pub special_tokens_in_text: bool,
}

impl Settings {
    /// Returns the settings of models like `bert-base-uncased`.
    pub const fn uncased() -> Self {
        Self { lowercase: true, strip_accents: None, chinese_chars: true, special_tokens_in_text: false }
    }

    /// Returns the settings of models like `bert-base-cased`.
    pub const fn cased() -> Self {
        Self { lowercase: false, ..Self::uncased() }
    }

    pub(crate) fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }
}

/// A BERT tokenizer, whose vocabulary is read in place.
#[derive(Clone, Debug)]
pub struct Tokenizer<V> {
    vocab_txt: V,
    index: Index,
    settings: Settings,
}

impl<V: AsRef<[u8]>> Tokenizer<V> {
    /// Builds a tokenizer from the text of a `vocab.txt`: one piece per line, whose id is the number of the
    /// line, counted from 0. As in `tokenizers`, white space at the end of a line is ignored, so CRLF works
    /// too; a blank line uses up an id but matches nothing.
    ///
    /// # Errors
    /// If it is not UTF-8, has too many, too long or repeated pieces, or lacks a special token.
    pub fn new(vocab_txt: V, settings: Settings) -> Result<Self, Error> {
        let index = Index::build(vocab_txt.as_ref())?;
        Ok(Self { vocab_txt, index, settings })
    }

    /// Returns the settings that the tokenizer was built with.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Returns the number of pieces; all ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.index.pieces()
    }

    /// Returns the heap memory in bytes, not counting the vocabulary text.
    pub fn index_bytes(&self) -> usize {
        self.index.heap_bytes()
    }

    /// Returns the ids of the special tokens.
    pub fn special_tokens(&self) -> SpecialTokens {
        self.index.special
    }

    /// Returns the id of a piece, spelled as in the vocabulary (with `##` inside words).
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.view().id(piece)
    }

    /// Returns the piece with this id, as the vocabulary spells it. Searches the text line by line: for many ids,
    /// collect the lines of the vocabulary once.
    pub fn piece(&self, id: u32) -> Option<&str> {
        let text = core::str::from_utf8(self.vocab_txt.as_ref()).ok()?;
        text.split_inclusive('\n').nth(id as usize).map(str::trim_end)
    }

    /// Encodes one text or a pair into `out`, truncated to `max_tokens` ids, a pair "longest first".
    /// `max_tokens` must be at least 2 for a text or 3 for a pair, and at most
    /// [`MAX_TOKENS`](capacity::MAX_TOKENS).
    ///
    /// # Errors
    /// If `max_tokens` is out of range.
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
            encoder.begin_second()?;
            encoder.push(pair);
        }
        encoder.complete();
        Ok(())
    }

    /// Like [`Self::encode`], for text that comes in chunks. `out` is complete after [`Encoder::finish`].
    ///
    /// # Errors
    /// If `max_tokens` is out of range.
    #[inline]
    pub fn encoder<'a>(&'a self, max_tokens: usize, out: &'a mut Encoding) -> Result<Encoder<'a>, Error> {
        Encoder::new(self.segmenter(), max_tokens, out)
    }

    /// Encodes one text of any length as windows of at most `max_tokens` ids, and passes each to `on_window`.
    /// Each window begins with the last `stride` pieces of the previous one. `out` is a scratch buffer.
    ///
    /// The windows are the encoding and its overflowing ones, in that order, that `Encoding::truncate` of
    /// `tokenizers` makes of the whole text. (`encode` of 0.23.2 with truncation loses most of them, because
    /// it stops reading early.)
    ///
    /// # Errors
    /// If `max_tokens` is out of range, or leaves no room beside `stride` pieces.
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
