//! Unicode properties, in the same versions as in Hugging Face `tokenizers` 0.23: categories of Unicode 8,
//! canonical decomposition of Unicode 9 (`unicode_tables.rs`), lower case of Unicode 17 (`lowercase.rs`; theirs is that of
//! the Rust release that builds them). White space has been the same since Unicode 6.3.
use super::unicode_tables::{
    BLOCK, COMBINING_CLASSES, DECOMPOSES, DECOMPOSITIONS, DROPPED_STARTER, FLAGS, INDEX, MARK, NONSTARTER,
    OTHER, POOL, PUNCTUATION,
};

/// Flags of one code point.
#[derive(Clone, Copy)]
pub(super) struct Class(u8);

impl Class {
    pub(super) fn of(c: char) -> Self {
        let code = c as usize;
        Self(INDEX.get(code / BLOCK).map_or(0, |&block| FLAGS[block as usize * BLOCK + code % BLOCK]))
    }

    /// Control, format and the like (Cc, Cf, Co).
    pub(super) fn is_other(self) -> bool {
        self.0 & OTHER != 0
    }

    /// Non-spacing mark (Mn).
    fn is_mark(self) -> bool {
        self.0 & MARK != 0
    }

    /// Canonical combining class other than 0.
    pub(super) fn is_nonstarter(self) -> bool {
        self.0 & NONSTARTER != 0
    }

    /// Vanishes when marks are dropped, but nothing is reordered across it.
    pub(super) fn is_dropped_starter(self) -> bool {
        self.0 & DROPPED_STARTER != 0
    }

    fn decomposes(self) -> bool {
        self.0 & DECOMPOSES != 0
    }
}

/// Returns whether BERT treats `c` as punctuation: category P*, and every ASCII symbol.
pub(super) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || Class::of(c).0 & PUNCTUATION != 0
}

/// Returns whether `c` is an ideograph that becomes a word of its own. Extension E starts at U+2B920 as in
/// `tokenizers`, not at U+2B820.
pub(super) fn is_chinese(c: char) -> bool {
    matches!(c as u32,
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0x2F800..=0x2FA1F)
}

/// Returns the canonical combining class of a non-starter that is not a non-spacing mark.
pub(super) fn combining_class(c: char) -> u8 {
    let code = c as u32;
    let after = COMBINING_CLASSES.partition_point(|&(first, ..)| first <= code);
    match after.checked_sub(1).map(|i| COMBINING_CLASSES[i]) {
        Some((_, last, class)) if code <= last => class,
        _ => 0,
    }
}

/// Calls `each` with every character of the full canonical decomposition of `c`, except non-spacing marks.
pub(super) fn decompose_without_marks(c: char, mut each: impl FnMut(char)) {
    if let syllable @ 0xAC00..=0xD7A3 = c as u32 {
        return decompose_hangul(syllable - 0xAC00, each);
    }
    let class = Class::of(c);
    if !class.decomposes() {
        if !class.is_mark() {
            each(c);
        }
        return;
    }
    let (pairs, _) = DECOMPOSITIONS.as_chunks::<2>();
    let Ok(at) = pairs.binary_search_by_key(&(c as u32), |pair| pair[0]) else {
        return each(c);
    };
    let value = pairs[at][1];
    if value >> 31 == 0 {
        return each_code(&[value], each);
    }
    let (start, len) = ((value << 1 >> 4) as usize, value as usize & 7);
    each_code(&POOL[start..start + len], each);
}

fn each_code(codes: &[u32], each: impl FnMut(char)) {
    codes.iter().filter_map(|&code| char::from_u32(code)).for_each(each);
}

/// Decomposes a Hangul syllable (Unicode Standard, section 3.12).
fn decompose_hangul(index: u32, each: impl FnMut(char)) {
    let (lead, vowel, trail) = (index / 588, index % 588 / 28, index % 28);
    let codes = [0x1100 + lead, 0x1161 + vowel, 0x11A7 + trail];
    each_code(&codes[..2 + (trail > 0) as usize], each);
}
