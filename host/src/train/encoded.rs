use super::Error;
use crate::bert::{Batch, TokenizerFiles, Tokens};
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
