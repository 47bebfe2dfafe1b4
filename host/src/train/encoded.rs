use super::Error;
use crate::bert::{Batch, Classifier, TokenizerFiles, Tokens, ops::with_values};
use crate::data::Dataset;
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};

/// Examples with their piece ids: from the tokenizer that runs on the device.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The examples.
    pub data: Dataset,
    /// Ids of each.
    pub tokens: Vec<Tokens>,
    /// How many texts were cut off at the maximum.
    pub truncated: usize,
}

impl Encoded {
    /// Tokenizes with a checkpoint's vocabulary; at most `max_tokens` ids a text.
    ///
    /// # Errors
    /// When the vocabulary does not make a tokenizer.
    pub fn new(data: Dataset, files: &TokenizerFiles, max_tokens: usize) -> Result<Self, Error> {
        let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings())?;
        let mut encoding = Box::<Encoding>::default();
        let mut truncated = 0;
        let tokens = data.examples.iter().map(|example| {
            tokenizer.encode(&example.text, example.pair.as_deref(), max_tokens, &mut encoding)?;
            truncated += usize::from(encoding.truncated());
            Ok(Tokens { ids: encoding.ids().to_vec(), type_ids: encoding.type_ids().to_vec() })
        });
        let tokens = tokens.collect::<Result<_, Error>>()?;
        Ok(Self { data, tokens, truncated })
    }

    /// A batch of some rows, padded.
    pub fn batch(&self, rows: &[u32], pad_id: u32) -> Batch {
        Batch::new(rows.iter().map(|row| &self.tokens[*row as usize]), pad_id)
    }
}

/// Texts a batch when only predicting.
const PREDICT: usize = 64;

/// Logits of every example in evaluation mode: [examples, labels], row-major, in the order of the data.
///
/// # Errors
/// When a tensor operation fails.
pub fn predict(model: &Classifier, encoded: &Encoded) -> Result<Vec<f32>, Error> {
    let width = model.config().num_labels();
    let mut order: Vec<u32> = (0..encoded.tokens.len() as u32).collect();
    order.sort_by_key(|row| encoded.tokens[*row as usize].ids.len());
    let mut logits = vec![0.0; order.len() * width];
    for rows in order.chunks(PREDICT) {
        let batch = encoded.batch(rows, model.config().pad_token_id as u32);
        let output = model.forward(&batch, None)?;
        with_values(&output.logits, |values| {
            for (row, values) in rows.iter().zip(values.chunks_exact(width)) {
                logits[*row as usize * width..][..width].copy_from_slice(values);
            }
        })?;
    }
    Ok(logits)
}
