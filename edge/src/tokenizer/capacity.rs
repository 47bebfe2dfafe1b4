//! Every capacity of the tokenizer, in one place.

/// Most tokens of one [`Encoding`](super::Encoding), special tokens included.
pub const MAX_TOKENS: usize = 512;

/// Characters (not bytes) of the longest word that is looked up; a longer one is `[UNK]`, as in BERT.
pub const MAX_WORD_CHARS: usize = 100;

/// Bytes of the longest word that is looked up.
pub const MAX_WORD_BYTES: usize = MAX_WORD_CHARS * 4;

/// Most lines of a vocabulary.
pub const MAX_PIECES: usize = 1 << 17;

/// Bytes of the longest vocabulary entry, `##` not counted: no longer one could match a word.
pub const MAX_PIECE_BYTES: usize = MAX_WORD_BYTES;

/// Bytes of the largest vocabulary text.
pub const MAX_VOCAB_BYTES: usize = 1 << 24;

/// Entries that are looked at before one has its place in the index. Vocabularies that nobody made for it stay below 200.
pub(super) const MAX_LOOKS: usize = 1000;

/// Bytes of the longest special token, `[MASK]`.
pub(super) const MAX_SPECIAL_BYTES: usize = 6;
