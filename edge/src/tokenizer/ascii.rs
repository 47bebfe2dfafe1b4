//! The fast path for ASCII: a table classifies each byte, and letters and digits are taken eight at a time.

/// What to do with a byte.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A control character: leave it out.
    Drop,
    Space,
    /// Punctuation: a word by itself.
    Alone,
    /// A letter or a digit.
    InWord,
    NotAscii,
}

pub(super) static KINDS: [Kind; 256] = kinds();

const fn kinds() -> [Kind; 256] {
    let mut kinds = [Kind::NotAscii; 256];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'\t' | b'\n' | b'\r' | b' ' => Kind::Space,
            _ if byte.is_ascii_control() => Kind::Drop,
            _ if byte.is_ascii_punctuation() => Kind::Alone,
            _ => Kind::InWord,
        };
        byte += 1;
    }
    kinds
}

/// Returns the first eight bytes, lower-cased if asked for, and how many of them at the
/// front are letters and digits.
#[inline]
pub(super) fn word_block(text: &[u8], lowercase: bool) -> ([u8; 8], usize) {
    let block = u64::from_le_bytes(text.first_chunk().copied().unwrap_or_else(|| padded(text)));
    let low = block & (0x7F * EACH);
    let letters = between(low | (0x20 * EACH), b'a', b'z');
    let in_word = (letters | between(low, b'0', b'9')) & !block;
    let len = (!in_word & (0x80 * EACH)).trailing_zeros() as usize / 8;
    // shifts the 0x80 of each letter to 0x20, the bit that makes it lower case
    let mapped = if lowercase { block | letters >> 2 } else { block };
    (mapped.to_le_bytes(), len)
}

/// 1 in each byte of a block.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Returns 0x80 in each byte that lies in the range; all bytes must be below 0x80.
#[inline]
fn between(block: u64, first: u8, last: u8) -> u64 {
    let from_first = block + (0x80 - first as u64) * EACH;
    let after_last = block + (0x7F - last as u64) * EACH;
    from_first & !after_last & (0x80 * EACH)
}

/// Pads fewer than eight bytes with zeros.
fn padded(text: &[u8]) -> [u8; 8] {
    let mut block = [0; 8];
    for (to, from) in block.iter_mut().zip(text) {
        *to = *from;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte_by_byte(text: &[u8], lowercase: bool) -> ([u8; 8], usize) {
        let len = text.iter().take(8).take_while(|&&b| matches!(KINDS[b as usize], Kind::InWord)).count();
        let mut block = padded(text);
        if lowercase {
            block.make_ascii_lowercase();
        }
        (block, len)
    }

    #[test]
    fn blocks_equal_single_bytes() {
        for byte in 0..=255 {
            for other in [b'a', b'Z', b'9', b' ', b'@', 0x80, 0xFF] {
                for at in 0..9 {
                    let mut text = [other; 9];
                    text[at] = byte;
                    for text in [&text[..], &text[..at], &text[at..]] {
                        for lowercase in [false, true] {
                            let (expected, len) = byte_by_byte(text, lowercase);
                            let (found, found_len) = word_block(text, lowercase);
                            assert_eq!((&expected[..len], len), (&found[..len], found_len), "{text:?}");
                        }
                    }
                }
            }
        }
    }
}
