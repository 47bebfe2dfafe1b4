use crate::bert::is_special;

/// Joins word pieces to text; special ones are left out.
pub(super) fn joined(ids: &[u32], pieces: &[&str]) -> String {
    let mut text = String::new();
    for piece in ids.iter().map(|id| pieces[*id as usize]).filter(|piece| !is_special(piece)) {
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
