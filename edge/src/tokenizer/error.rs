use super::capacity::{MAX_PIECE_BYTES, MAX_PIECES, MAX_TOKENS, MAX_VOCAB_BYTES};

/// Why a vocabulary or a request is refused. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vocabulary has no lines.
    #[error("the vocabulary is empty: it should hold one piece per line")]
    Empty,
    /// The vocabulary is larger than [`MAX_VOCAB_BYTES`].
    #[error("the vocabulary has {bytes} bytes, at most {MAX_VOCAB_BYTES} are supported")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A line is not UTF-8.
    #[error("vocabulary line {line} is not UTF-8")]
    NotUtf8 {
        /// The line.
        line: usize,
    },
    /// The vocabulary has more than [`MAX_PIECES`] lines.
    #[error("the vocabulary has more than {MAX_PIECES} pieces")]
    TooManyPieces,
    /// A piece is longer than [`MAX_PIECE_BYTES`].
    #[error("vocabulary line {line} has {bytes} bytes, at most {MAX_PIECE_BYTES} can match a word")]
    PieceTooLong {
        /// The line.
        line: usize,
        /// Bytes of the piece.
        bytes: usize,
    },
    /// A piece occurs twice: its id would be ambiguous.
    #[error("vocabulary line {line} repeats the piece of line {first}")]
    Duplicate {
        /// The second of the two lines.
        line: usize,
        /// The first of the two lines.
        first: usize,
    },
    /// Finding a piece, or that it is missing, takes too many probes. No ordinary vocabulary has so many colliding
    /// hashes: this one was crafted to make every lookup slow.
    #[error("vocabulary line {line}: too many pieces have colliding hashes")]
    Collisions {
        /// The line.
        line: usize,
    },
    /// A special token that every encoding needs is missing.
    #[error("the vocabulary has no {0}: is it a BERT vocab.txt?")]
    MissingSpecial(&'static str),
    /// The maximum leaves no room for the special tokens, or exceeds [`MAX_TOKENS`].
    #[error("max_tokens is {max_tokens}, it must lie between {least} and {MAX_TOKENS}")]
    MaxTokens {
        /// The maximum that was asked for.
        max_tokens: usize,
        /// Number of special tokens in the encoding.
        least: usize,
    },
    /// Windows that overlap by `stride` would not advance.
    #[error("stride is {stride}, it must be less than the {room} pieces that a window holds")]
    Stride {
        /// The stride that was asked for.
        stride: usize,
        /// Number of pieces per window, not counting special tokens.
        room: usize,
    },
    /// [`Encoder::begin_second`](super::Encoder::begin_second) was called twice.
    #[error("an encoding holds at most two texts")]
    TooManyTexts,
}
