use super::Error;
use super::encoded::{mean_of_windows, reader, tokens};
use crate::bert::{Batch, Checkpoint, Classifier, InputFormat, Mode, Tape, Tokens};
use goldcrest_edge::classifier::{self, Classify, Input, Length, Outcome, Reader, feed};
use goldcrest_edge::decision::{Decider, Settings};

/// A trained model that classifies text by text in full precision, with answers like the device's.
///
/// It can stand for a bundle wherever the device's code takes a [`Classify`]. Nothing is fitted: the temperature is 1,
/// every threshold 0.5, and no text goes without an answer.
///
/// ```no_run
/// use goldcrest::bert::{Checkpoint, InputOptions};
/// use goldcrest::train::Predictor;
///
/// let checkpoint = Checkpoint::load("runs/voice/student".as_ref())?;
/// let input = checkpoint.config.input_format(InputOptions::default(), 512)?;
/// let mut predictor = Predictor::new(checkpoint, input)?;
/// let outcome = predictor.classify("turn on the light", None)?;
/// println!("{:?}", outcome.decision.answer());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Predictor {
    model: Classifier,
    labels: Vec<String>,
    reader: Reader<Vec<u8>>,
    input: InputFormat,
    tape: Tape,
    decider: Decider,
    logits: Vec<f32>,
}

impl Predictor {
    /// Creates a predictor for texts in this format.
    ///
    /// # Errors
    /// If the checkpoint has no whole classifier, its vocabulary does not make a tokenizer, or it has too many labels
    /// for a bundle.
    pub fn new(checkpoint: Checkpoint, input: InputFormat) -> Result<Self, Error> {
        let (task, labels) = (checkpoint.config.task(), checkpoint.config.labels());
        let files = &checkpoint.tokenizer;
        let reader = reader(files.vocab.clone().into_bytes(), files, input)?;
        let decider = Decider::new(task, labels.len(), &Settings::default())?;
        let model = Classifier::trained(checkpoint)?;
        Ok(Self { model, labels, reader, input, tape: Tape::default(), decider, logits: Vec::new() })
    }

    /// Returns the format in which texts are read.
    pub fn input(&self) -> InputFormat {
        self.input
    }

    /// Classifies a text, or a pair of texts.
    ///
    /// # Errors
    /// If there are two texts where the model reads one or the other way round, a text has an id that the model lacks,
    /// or the answer is not a number.
    pub fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<Outcome<'_>, classifier::Error> {
        let Ok(outcome) = self.classify_chunks(&mut feed(text, pair));
        outcome
    }

    fn answer(&mut self, windows: &[Tokens], length: Length) -> Result<Outcome<'_>, classifier::Error> {
        let mut said = Vec::with_capacity(windows.len());
        for window in windows {
            let batch = Batch::new([window].into_iter(), self.model.config().pad_token_id as u32);
            let output = self.model.forward(&batch, Mode::Evaluate, &mut self.tape).map_err(other)?;
            said.push(output.logits.clone());
        }
        self.logits = mean_of_windows(said.iter().map(Vec::as_slice));
        let decision = self.decider.decide(&self.logits)?;
        let (labels, logits) = (&*self.labels, &*self.logits);
        Ok(Outcome { labels, logits, decision, tokens: length.tokens, truncated: length.truncated })
    }
}

fn other(error: impl Into<Error>) -> classifier::Error {
    classifier::Error::Other(Box::new(error.into()))
}

impl Classify for Predictor {
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, classifier::Error>, E> {
        let mut windows = Vec::new();
        let read = self.reader.read(feed, &mut |window| {
            windows.push(tokens(window));
            Ok(())
        });
        Ok(match read? {
            Ok(length) => self.answer(&windows, length),
            Err(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoded, predict, test_support::without_weights};
    use super::*;
    use crate::bert::TextWindows;
    use crate::data::{Dataset, Example, Labels, Target, Task};

    /// A model with random weights that tells four words apart.
    fn checkpoint() -> Checkpoint {
        let mut checkpoint = without_weights();
        checkpoint.tokenizer.vocab += "red\ngreen\nblue\ngrey\n";
        checkpoint.config.vocab_size = 8;
        checkpoint.config.set_labels(&["no".into(), "yes".into(), "perhaps".into()], Task::SingleLabel);
        Classifier::new(checkpoint, 5).unwrap().checkpoint()
    }

    #[test]
    fn answers_are_those_of_all_texts_together() {
        let texts = ["red green", "blue", "", "grey grey red blue green red blue"];
        let windows = Some(TextWindows { overlap: 1, most: 2 });
        for input in [None, windows].map(|windows| InputFormat { max_tokens: 5, pairs: false, windows }) {
            let checkpoint = checkpoint();
            let labels = Labels::ordered(checkpoint.config.labels()).unwrap();
            let examples = texts.map(|text| Example::new(text, Target::Class(0))).to_vec();
            let data = Dataset::new(Task::SingleLabel, labels, examples).unwrap();
            let encoded = Encoded::with_format(data, &checkpoint.tokenizer, input).unwrap();
            let model = Classifier::trained(checkpoint.clone()).unwrap();
            let together = encoded.of_examples(predict(&model, &encoded, &mut |_| ()).unwrap());
            let mut predictor = Predictor::new(checkpoint, input).unwrap();
            for (text, expected) in texts.iter().zip(together.chunks_exact(3)) {
                let outcome = predictor.classify(text, None).unwrap();
                let apart = outcome.logits.iter().zip(expected).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) < 1e-5, "{text}: {:?} {expected:?}", outcome.logits);
                assert_eq!(outcome.truncated, text.len() > 20);
            }
            let tokens = predictor.classify(texts[3], None).unwrap().tokens;
            // [CLS], [SEP] and three words, or two windows of which the second brings two more
            assert_eq!(tokens, if input.windows.is_some() { 7 } else { 5 });
            let error = predictor.classify("red", Some("blue")).unwrap_err();
            assert!(matches!(error, classifier::Error::Texts { pair: false }));
        }
    }
}
