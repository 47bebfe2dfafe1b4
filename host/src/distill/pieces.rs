/// Special pieces, which are not part of a text.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Joins word pieces to text; special ones are left out.
pub(super) fn joined(ids: &[u32], pieces: &[&str]) -> String {
    let mut text = String::new();
    for piece in ids.iter().map(|id| pieces[*id as usize]).filter(|piece| !SPECIAL.contains(piece)) {
        match piece.strip_prefix("##") {
            Some(rest) => text.push_str(rest),
            None => {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(piece);
            }
        }
    }
    text
}
