use super::Bits;
use crate::bert::{Classifier, Rounding};
use crate::train::{self, Encoded, predict};

/// What rounding one matrix, and what it is multiplied with, does to the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// The logits with that matrix alone rounded, `[texts, labels]`.
    pub logits: Vec<f32>,
    /// By how much they move, on average.
    pub moved: f64,
}

/// Rounds the matrix `name` alone. `exact` holds the logits without any rounding.
///
/// # Errors
/// When the model cannot read the texts.
pub fn sensitivity(
    model: &mut Classifier,
    name: &str,
    embeddings: Bits,
    texts: &Encoded,
    exact: &[f32],
) -> Result<Sensitivity, train::Error> {
    model.round(Some(Rounding { embeddings, only: Some(name.into()) }));
    let answers = predict(model, texts, &mut |_| ());
    model.round(None);
    let logits = texts.of_examples(answers?.logits);
    let moved = exact.iter().zip(&logits).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
    Ok(Sensitivity { logits, moved: moved / exact.len().max(1) as f64 })
}
