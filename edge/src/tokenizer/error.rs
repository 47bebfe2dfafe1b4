use super::capacity::{MAX_PIECE_BYTES, MAX_PIECES, MAX_TOKENS, MAX_VOCAB_BYTES};

/// Why a vocabulary or a request is refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No line at all.
    #[error("the vocabulary is empty: it should hold one piece a line")]
    Empty,
    /// More text than [`MAX_VOCAB_BYTES`].
    #[error("the vocabulary has {bytes} bytes, at most {MAX_VOCAB_BYTES} are supported")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A line that is not UTF-8.
    #[error("vocabulary line {line} is not UTF-8")]
    NotUtf8 {
        /// The line.
        line: usize,
    },
    /// More lines than [`MAX_PIECES`].
    #[error("the vocabulary has more than {MAX_PIECES} pieces")]
    TooManyPieces,
    /// A piece longer than [`MAX_PIECE_BYTES`].
    #[error("vocabulary line {line} has {bytes} bytes, at most {MAX_PIECE_BYTES} can match a word")]
    PieceTooLong {
        /// The line.
        line: usize,
        /// Bytes of the piece.
        bytes: usize,
    },
    /// The same piece twice: its id would be ambiguous.
    #[error("vocabulary line {line} repeats the piece of line {first}")]
    Duplicate {
        /// The second of the two lines.
        line: usize,
        /// The first of the two lines.
        first: usize,
    },
    /// More pieces of one hash than any language has: made to make every look long.
    #[error("vocabulary line {line}: too many pieces are found at one place")]
    Crowded {
        /// The line.
        line: usize,
    },
    /// A special token that every encoding needs is absent.
    #[error("the vocabulary has no {0}: is it a BERT vocab.txt?")]
    MissingSpecial(&'static str),
    /// The limit leaves no room for the special tokens, or is beyond [`MAX_TOKENS`].
    #[error("max_tokens is {max_tokens}, it must lie between {least} and {MAX_TOKENS}")]
    MaxTokens {
        /// What was asked for.
        max_tokens: usize,
        /// Special tokens of such an encoding.
        least: usize,
    },
    /// Windows that overlap by `stride` would not move on.
    #[error("stride is {stride}, it must be less than the {room} pieces that a window holds")]
    Stride {
        /// What was asked for.
        stride: usize,
        /// Pieces of a window, special tokens not counted.
        room: usize,
    },
    /// [`Encoder::second`](super::Encoder::second) a second time.
    #[error("an encoding holds at most two texts")]
    TooManyTexts,
}
