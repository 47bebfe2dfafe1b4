use super::Onnx;
use crate::data::Text;
use goldcrest_edge::bundle::{self, Bundle, Golden, Manifest};
use goldcrest_edge::classifier::{self, Classifier, Options};

/// Why a bundle cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The parts do not form a valid bundle.
    #[error(transparent)]
    Write(#[from] bundle::WriteError),
    /// Golden texts for a model that runs on stock operators, whose results differ between processors.
    #[error(
        "a self-test would fail on other processors: the device's fused operators do not take this model ({0}); pack it without golden messages"
    )]
    Stock(String),
    /// The device's code rejects the bundle.
    #[error("the packed bundle does not run: {0}")]
    Classifier(classifier::Error),
}

// by hand: `#[from]` would make a source of what the message says
impl From<classifier::Error> for PackError {
    fn from(error: classifier::Error) -> Self {
        PackError::Classifier(error)
    }
}

/// Packs a bundle and returns its bytes. `golden` are texts (or pairs) whose logits the device checks before
/// it trusts the bundle; the expected logits come from the device's own code running this bundle.
///
/// # Errors
/// [`PackError`].
pub fn pack(
    manifest: &Manifest,
    onnx: Onnx,
    vocabulary: &str,
    golden: &[Text],
) -> Result<Vec<u8>, PackError> {
    let (graph, weights) = onnx.split();
    let write = |golden: &[Golden]| bundle::write(manifest, &graph, &weights, vocabulary.as_bytes(), golden);
    let mut classifier = Classifier::new(write(&[])?, &Options::default())?;
    if let (Some(reason), false) = (classifier.model().describe().stock, golden.is_empty()) {
        return Err(PackError::Stock(reason));
    }
    let golden = golden.iter().map(|(text, pair)| {
        let outcome = classifier.classify(text, pair.as_deref())?;
        let logits = outcome.logits.iter().map(|logit| logit.to_bits()).collect();
        Ok(Golden { text: text.clone(), pair: pair.clone(), logits })
    });
    let golden = golden.collect::<Result<Vec<_>, PackError>>()?;
    Ok(write(&golden)?)
}

/// Reads golden messages, one per line, pairs with a tab between. An empty line is an empty message.
///
/// # Errors
/// The number, from 1, of a line that is no pair where pairs are expected.
pub fn golden_messages(text: &str, paired: bool) -> Result<Vec<Text>, usize> {
    let message = |(number, line): (usize, &str)| match line.split_once('\t') {
        Some((text, pair)) if paired => Ok((text.to_owned(), Some(pair.to_owned()))),
        None if paired => Err(number),
        _ => Ok((line.to_owned(), None)),
    };
    (1..).zip(text.lines()).map(message).collect()
}

/// Repacks a bundle with another manifest and without golden texts.
pub(crate) fn with_manifest(packed: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackError> {
    let bundle = Bundle::read(packed).map_err(classifier::Error::from)?;
    Ok(bundle::write(manifest, bundle.model(), bundle.external(), bundle.vocabulary(), &[])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_a_golden_message_too() {
        let single = |text: &str| (text.to_owned(), None);
        assert_eq!(golden_messages("a\tb\n\nc\n", false), Ok(["a\tb", "", "c"].map(single).to_vec()));
        assert_eq!(golden_messages("a\tb\n", true), Ok(vec![("a".to_owned(), Some("b".to_owned()))]));
        assert_eq!(golden_messages("a\tb\n\n", true), Err(2));
    }
}
