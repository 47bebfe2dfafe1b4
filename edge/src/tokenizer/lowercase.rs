//! Lower case from a table of this crate: that of the standard library grows with each Rust release, and two builds of a
//! program could then read the same text differently.
use super::lowercase_table::RUNS;

/// Calls `each` with every character of the lower case of `c`, like [`char::to_lowercase`] in Unicode 17.
#[inline]
pub(super) fn lowercase(c: char, mut each: impl FnMut(char)) {
    if c.is_ascii() {
        return each(c.to_ascii_lowercase());
    }
    each(simple(c));
    if c == 'İ' {
        // the only character whose lower case is two
        each('\u{307}');
    }
}

/// Returns the lower case of a character outside ASCII, or its first character.
fn simple(c: char) -> char {
    let code = c as u32;
    let after = RUNS.partition_point(|&(first, ..)| first <= code);
    match after.checked_sub(1).map(|run| RUNS[run]) {
        Some((first, last, step, distance)) if code <= last && (code - first).is_multiple_of(step) => {
            char::from_u32(code.wrapping_add_signed(distance)).unwrap_or(c)
        }
        _ => c,
    }
}
