use super::Slot;

/// Looks up rows `ids` of a table [rows, width] in `y` [ids, width], overwriting it or, with `add`, adding to
/// it.
///
/// # Panics
/// If an id is not in the table.
pub fn embedding(table: &[f32], ids: &[u32], width: usize, y: &mut [f32], add: bool) {
    for (&id, y) in ids.iter().zip(y.chunks_exact_mut(width)) {
        let row = &table[id as usize * width..][..width];
        if add {
            y.iter_mut().zip(row).for_each(|(y, t)| *y += t);
        } else {
            y.copy_from_slice(row);
        }
    }
}

/// Computes the gradient of the table: adds each row of g [ids, width] to its table row.
pub fn embedding_backward(g: &[f32], ids: &[u32], width: usize, table: Slot) {
    let table = table.sum();
    for (&id, g) in ids.iter().zip(g.chunks_exact(width)) {
        let row = &mut table[id as usize * width..][..width];
        row.iter_mut().zip(g).for_each(|(t, g)| *t += g);
    }
}
