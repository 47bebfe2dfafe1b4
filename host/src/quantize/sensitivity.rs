use super::Bits;
use crate::bert::{Classifier, Rounding};
use crate::metrics::balanced;
use crate::train::{self, Encoded, predict};

/// The effect of rounding one matrix, and the activations that it multiplies, on the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// Logits with only that matrix rounded, `[texts, labels]`.
    pub logits: Vec<f32>,
    /// Average change of the logits; of a regression's several numbers, in standard deviations.
    pub moved: f64,
}

/// Measures the effect of rounding only the matrix `name`. `exact` holds the logits without any rounding.
///
/// # Errors
/// If the model cannot read the texts.
pub fn sensitivity(
    model: &mut Classifier,
    name: &str,
    embeddings: Bits,
    texts: &Encoded,
    exact: &[f32],
) -> Result<Sensitivity, train::Error> {
    model.round(Some(Rounding { embeddings, only: Some(name.into()) }));
    let logits = predict(model, texts, &mut |_| ());
    model.round(None);
    let logits = texts.of_examples(logits?);
    let [before, after] = [exact, &logits].map(|logits| balanced(&texts.data, exact, logits));
    let moved = before.iter().zip(after.iter()).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
    Ok(Sensitivity { logits, moved: moved / exact.len().max(1) as f64 })
}
