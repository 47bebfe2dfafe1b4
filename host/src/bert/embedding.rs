//! Forward and backward of the word, token type and position embeddings.

use super::checkpoint::{POSITION_EMBEDDINGS, PROJECTION, TYPE_EMBEDDINGS, WORD_EMBEDDINGS};
use super::ops::{Slot, embedding, embedding_backward, product, round_weights};
use super::tape::{EMBEDDINGS_NORM, EMBEDDINGS_SITE, Norm, Scratch, add, sized};
use super::{Batch, Classifier, Gradients, Mode};

impl Classifier {
    pub(super) fn embed(
        &self,
        batch: &Batch,
        mode: Mode,
        factors: &mut Vec<f32>,
        norm: &mut Norm,
        y: &mut [f32],
    ) {
        let (h, words) = (self.config().hidden_size, self.weight(WORD_EMBEDDINGS));
        let x = sized(&mut norm.normal, y.len());
        let round = |name: &str, rows: &mut [f32], width: usize| {
            if let Some(bits) = self.bits(name) {
                round_weights(rows, width, bits);
            }
        };
        match self.config().embedding_rank() {
            Some(rank) => {
                embedding(words, &batch.ids, rank, sized(factors, batch.ids.len() * rank), false);
                round(WORD_EMBEDDINGS, factors, rank);
                match self.in_integers(PROJECTION, factors, h) {
                    Some(layer) => layer.forward(mode.precision(), None, x),
                    None => product(mode.precision(), factors, self.weight(PROJECTION), h, x, false),
                }
            }
            None => {
                embedding(words, &batch.ids, h, x, false);
                round(WORD_EMBEDDINGS, x, h);
            }
        }
        embedding(self.weight(TYPE_EMBEDDINGS), &batch.type_ids, h, x, true);
        if self.bits(POSITION_EMBEDDINGS).is_some() {
            let mut rows = vec![0.0; x.len()];
            embedding(self.weight(POSITION_EMBEDDINGS), &batch.positions, h, &mut rows, false);
            round(POSITION_EMBEDDINGS, &mut rows, h);
            add(x, &rows);
        } else {
            embedding(self.weight(POSITION_EMBEDDINGS), &batch.positions, h, x, true);
        }
        self.norm(EMBEDDINGS_NORM, norm, y);
        mode.dropout(self.config().hidden_dropout_prob, EMBEDDINGS_SITE).apply(y);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    pub(super) fn embed_backward(
        &self,
        batch: &Batch,
        mode: Mode,
        factors: &[f32],
        norm: &Norm,
        g: &mut [f32],
        scratch: &mut Scratch,
        gradients: &mut Gradients,
    ) {
        let h = self.config().hidden_size;
        mode.dropout(self.config().hidden_dropout_prob, EMBEDDINGS_SITE).apply(g);
        self.norm_backward(EMBEDDINGS_NORM, norm, g, gradients);
        embedding_backward(g, &batch.positions, h, gradients.slot(POSITION_EMBEDDINGS));
        embedding_backward(g, &batch.type_ids, h, gradients.slot(TYPE_EMBEDDINGS));
        if self.config().embedding_rank().is_some() {
            let rows = sized(&mut scratch.narrow, factors.len());
            let dw = gradients.slot(PROJECTION);
            self.product_backward(PROJECTION, mode, factors, g, h, dw, Slot::new(rows));
            gradients.add_rows(&batch.ids, rows);
        } else {
            gradients.add_rows(&batch.ids, g);
        }
    }
}
