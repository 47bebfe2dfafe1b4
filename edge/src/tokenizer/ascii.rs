//! ASCII in one table look-up a byte: cleaned, lower-cased, split.

/// What to do with a byte; any other value is the word character that it becomes.
pub(super) const DROP: u8 = 0;
pub(super) const SPACE: u8 = 1;
pub(super) const ALONE: u8 = 2;
pub(super) const NOT_ASCII: u8 = 3;

/// Does a table entry say that the byte belongs to a word?
#[inline]
pub(super) fn in_word(entry: u8) -> bool {
    entry > NOT_ASCII
}

/// Case is kept.
pub(super) static CASED: [u8; 256] = ascii_table(false);
/// Case is folded.
pub(super) static UNCASED: [u8; 256] = ascii_table(true);

const fn ascii_table(lowercase: bool) -> [u8; 256] {
    let mut table = [NOT_ASCII; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = match byte {
            b'\t' | b'\n' | b'\r' | b' ' => SPACE,
            _ if byte.is_ascii_control() => DROP,
            _ if byte.is_ascii_punctuation() => ALONE,
            _ if lowercase => byte.to_ascii_lowercase(),
            _ => byte,
        };
        byte += 1;
    }
    table
}
