//! All capacities of the tokenizer.

/// Maximum tokens of an [`Encoding`](super::Encoding), special tokens included.
pub const MAX_TOKENS: usize = 512;

/// Maximum characters (not bytes) of a word; a longer one becomes `[UNK]`, as in BERT.
pub const MAX_WORD_CHARS: usize = 100;

/// Maximum bytes of a word.
pub const MAX_WORD_BYTES: usize = MAX_WORD_CHARS * 4;

/// Maximum lines of a vocabulary: room for those of a hundred languages, such as LaBSE's 501,153.
pub const MAX_PIECES: usize = 1 << 19;

/// Maximum bytes of a vocabulary entry, not counting `##`: a longer one could not match any word.
pub const MAX_PIECE_BYTES: usize = MAX_WORD_BYTES;

/// Maximum bytes of a vocabulary text.
pub const MAX_VOCAB_BYTES: usize = 1 << 24;

/// Maximum number of occupied slots in a row in the index, and so of probes to insert or find a piece. Vocabularies
/// that were not crafted to exceed it stay below 200.
pub(super) const MAX_PROBES: usize = 1000;

/// Maximum bytes of a special token: the length of `[MASK]`.
pub(super) const MAX_SPECIAL_BYTES: usize = 6;
