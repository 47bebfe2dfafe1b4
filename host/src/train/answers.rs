use super::{Encoded, Error, saved};
use crate::bert::ops::Precision;
use crate::bert::{Batch, Classifier, Mode, Pooling, Tape};
use std::path::Path;

/// A model's answers on texts, in evaluation mode and in the order of the texts; row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// [texts, labels]
    pub logits: Vec<f32>,
    /// \[CLS\] vectors after the last layer: [texts, hidden].
    pub cls: Vec<f32>,
}

/// Batch size for inference.
const PREDICT: usize = 64;
/// Number of tokens in a batch of soft labels: so many that packing the weights takes little of the time.
const ANSWER_TOKENS: usize = 4096;

/// Runs a model on every example and returns the logits: [texts, labels]. `done` receives the number of texts
/// after each batch.
///
/// # Errors
/// If the model cannot read a text.
pub fn predict(
    model: &Classifier,
    encoded: &Encoded,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<f32>, Error> {
    Ok(predict_while(model, encoded, Mode::Evaluate, &mut always(done))?.expect("it always goes on"))
}

/// Like [`predict`], in any precision: for soft labels, which need not be exact. With `vectors`, the answers have the
/// \[CLS\] vectors too, which take hundreds of megabytes for many texts.
///
/// # Errors
/// If the model cannot read a text.
pub fn soft_labels(
    model: &Classifier,
    encoded: &Encoded,
    vectors: bool,
    precision: Precision,
    done: &mut dyn FnMut(usize),
) -> Result<Answers, Error> {
    let mode = Mode::Answer { precision };
    Ok(answers(model, encoded, vectors, mode, &mut always(done))?.expect("it always goes on"))
}

/// Like [`predict`] or [`soft_labels`], by `mode`, but `None` as soon as `go_on`, which receives the number of texts
/// after each batch, returns `false`.
pub(super) fn predict_while(
    model: &Classifier,
    encoded: &Encoded,
    mode: Mode,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Vec<f32>>, Error> {
    Ok(answers(model, encoded, false, mode, go_on)?.map(|answers| answers.logits))
}

/// Like [`predict`], with the \[CLS\] vectors.
///
/// # Errors
/// If the model cannot read a text.
pub fn predict_with_vectors(
    model: &Classifier,
    encoded: &Encoded,
    done: &mut dyn FnMut(usize),
) -> Result<Answers, Error> {
    let whole = answers(model, encoded, true, Mode::Evaluate, &mut always(done))?;
    Ok(whole.expect("it always goes on"))
}

fn answers(
    model: &Classifier,
    encoded: &Encoded,
    vectors: bool,
    mode: Mode,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Answers>, Error> {
    let (texts, config) = (encoded.tokens.len(), model.config());
    let width = if vectors { config.hidden_size } else { 0 };
    let mut answers =
        Answers { logits: vec![0.0; texts * config.num_labels()], cls: vec![0.0; texts * width] };
    let most_tokens = if matches!(mode, Mode::Answer { .. }) { ANSWER_TOKENS } else { 0 };
    let whole = by_length(model, encoded, most_tokens, go_on, |rows, batch, tape| {
        let output = model.forward(batch, mode, tape)?;
        scatter(&output.logits, rows, &mut answers.logits);
        if vectors {
            scatter(&output.cls, rows, &mut answers.cls);
        }
        Ok(())
    })?;
    Ok(whole.then_some(answers))
}

/// Returns a model's vector of each text: [texts, hidden]. `done` receives the number of texts after each
/// batch.
///
/// # Errors
/// If the model cannot read a text.
pub fn sentence_vectors(
    model: &Classifier,
    pooling: Pooling,
    encoded: &Encoded,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<f32>, Error> {
    let mut vectors = vec![0.0; encoded.tokens.len() * model.config().hidden_size];
    by_length(model, encoded, 0, &mut always(done), |rows, batch, tape| {
        scatter(&model.sentence_vectors(batch, pooling, tape)?, rows, &mut vectors);
        Ok(())
    })?;
    Ok(vectors)
}

/// Reports the number of texts and goes on.
fn always(done: &mut dyn FnMut(usize)) -> impl FnMut(usize) -> bool {
    |asked| {
        done(asked);
        true
    }
}

/// Makes batches of texts of similar length, larger ones if the texts are so short that they have no more than
/// `most_tokens` together, until `go_on` returns `false`. Returns whether it never did.
fn by_length(
    model: &Classifier,
    encoded: &Encoded,
    most_tokens: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
    mut ask: impl FnMut(&[u32], &Batch, &mut Tape) -> Result<(), Error> + Send,
) -> Result<bool, Error> {
    let mut order: Vec<u32> = (0..encoded.tokens.len() as u32).collect();
    order.sort_by_key(|row| encoded.tokens[*row as usize].ids.len());
    let (mut asked, mut tape) = (0, Tape::default());
    while asked < order.len() {
        let left = (1..).zip(&order[asked..]);
        let tokens = |row: u32| encoded.tokens[row as usize].ids.len();
        let fits = |(count, row): &(usize, &u32)| *count <= PREDICT || count * tokens(**row) <= most_tokens;
        let rows = &order[asked..][..left.take_while(fits).count()];
        let batch = encoded.batch(rows, model.config().pad_token_id as u32);
        // as a task of the thread pool, like an update
        rayon::scope(|_| ask(rows, &batch, &mut tape))?;
        asked += rows.len();
        if !go_on(asked) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies the rows of a batch to their places among all rows.
fn scatter(values: &[f32], rows: &[u32], all: &mut [f32]) {
    let width = values.len() / rows.len();
    for (row, values) in rows.iter().zip(values.chunks_exact(width)) {
        all[*row as usize * width..][..width].copy_from_slice(values);
    }
}

impl Answers {
    /// Writes logits and vectors as f32, atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let (logits, cls) = ([self.logits.len()], [self.cls.len()]);
        saved::save(path, &[("logits", &logits, &self.logits), ("cls", &cls, &self.cls)], &())
    }

    /// Reads a file from [`save`](Self::save); `None` if there is none, it is damaged or its answers are not on
    /// this many texts and labels.
    pub fn load(path: &Path, texts: usize, labels: usize) -> Option<Self> {
        let (mut tensors, ()) = saved::load(path)?;
        let answers = Self { logits: tensors.remove("logits")?, cls: tensors.remove("cls")? };
        let fits = answers.logits.len() == texts * labels && answers.cls.len().is_multiple_of(texts);
        fits.then_some(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_on_other_texts_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.safetensors");
        assert_eq!(Answers::load(&path, 2, 3), None);
        let answers = Answers { logits: vec![0.5; 6], cls: vec![-1.0; 8] };
        answers.save(&path).unwrap();
        assert_eq!(Answers::load(&path, 2, 3), Some(answers));
        assert_eq!(Answers::load(&path, 2, 4), None);
        assert_eq!(Answers::load(&path, 6, 1), None);
    }
}
