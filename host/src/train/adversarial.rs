//! Adversarial training: every batch is trained on again with its word vectors moved to where the loss is
//! higher.

use crate::bert::{Array, Gradients, WORD_EMBEDDINGS};
use std::collections::BTreeMap;

/// The original word vectors.
pub(super) struct Original {
    ids: Vec<u32>,
    rows: Vec<f32>,
}

/// Moves the word vectors that have a gradient along it, all together by the Euclidean distance `distance`:
/// to first order, the worst perturbation of that size (Miyato et al., Adversarial Training Methods for
/// Semi-Supervised Text Classification, arXiv 1605.07725, section 3; there per text and with normalised
/// vectors).
pub(super) fn perturb_words(
    weights: &mut BTreeMap<String, Array>,
    gradients: &Gradients,
    distance: f64,
) -> Original {
    let table = table(weights);
    let width = table.dims2().1;
    let squares = gradients.rows().flat_map(|(_, row)| row).map(|g| f64::from(*g) * f64::from(*g));
    let norm = squares.sum::<f64>().sqrt();
    let step = if norm > 0.0 { (distance / norm) as f32 } else { 0.0 };
    let mut original = Original { ids: Vec::new(), rows: Vec::new() };
    for (id, gradient) in gradients.rows() {
        let row = &mut table.data[id as usize * width..][..width];
        original.ids.push(id);
        original.rows.extend_from_slice(row);
        row.iter_mut().zip(gradient).for_each(|(x, g)| *x += step * g);
    }
    original
}

impl Original {
    /// Restores them, bit for bit.
    pub fn restore(self, weights: &mut BTreeMap<String, Array>) {
        let table = table(weights);
        let width = table.dims2().1;
        for (id, row) in self.ids.iter().zip(self.rows.chunks_exact(width)) {
            table.data[*id as usize * width..][..width].copy_from_slice(row);
        }
    }
}

fn table(weights: &mut BTreeMap<String, Array>) -> &mut Array {
    weights.get_mut(WORD_EMBEDDINGS).expect("every model has word embeddings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_move_along_their_gradient_and_back() {
        let before = Array { shape: vec![4, 2], data: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] };
        let mut weights = BTreeMap::from([(WORD_EMBEDDINGS.to_owned(), before.clone())]);
        let mut gradients = Gradients::new(&weights);
        gradients.add_rows(&[3, 1, 3], &[1.0, 0.0, 0.0, -4.0, 2.0, 0.0]);
        let original = perturb_words(&mut weights, &gradients, 0.5);
        let moved = &weights[WORD_EMBEDDINGS].data;
        let by: Vec<f32> = moved.iter().zip(&before.data).map(|(after, before)| after - before).collect();
        let wanted = [0.0, 0.0, 0.0, -0.4, 0.0, 0.0, 0.3, 0.0];
        assert!(by.iter().zip(wanted).all(|(by, wanted)| (by - wanted).abs() < 1e-6), "{by:?}");
        original.restore(&mut weights);
        assert_eq!(weights[WORD_EMBEDDINGS], before);

        // a zero gradient moves nothing
        gradients.clear();
        gradients.add_rows(&[0], &[0.0, 0.0]);
        perturb_words(&mut weights, &gradients, 0.5).restore(&mut weights);
        assert_eq!(weights[WORD_EMBEDDINGS], before);
    }
}
