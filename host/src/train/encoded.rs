use super::Error;
use crate::bert::{Batch, TokenizerFiles, Tokens};
use crate::data::Dataset;
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};

/// Examples with their piece ids: from the tokenizer that runs on the device.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The examples.
    pub data: Dataset,
    /// Ids of each example, or of each window of each.
    pub tokens: Vec<Tokens>,
    /// How many windows each example has, where it may have several.
    pub windows: Option<Vec<u32>>,
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
            Ok(tokens(&encoding))
        });
        let tokens = tokens.collect::<Result<_, Error>>()?;
        Ok(Self { data, tokens, windows: None, truncated })
    }

    /// Some of the texts, by row; none of them in windows.
    pub fn subset(&self, rows: &[usize]) -> Self {
        let tokens = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        Self { data: self.data.subset(rows.iter().copied()), tokens, windows: None, truncated: 0 }
    }

    /// Tokenizes single texts as a device does that reads long ones in `most` windows at most (one at least), of which each begins with the last
    /// `overlap` pieces of the one before.
    ///
    /// # Errors
    /// When the vocabulary does not make a tokenizer, or windows so short cannot overlap so much.
    pub fn in_windows(
        data: Dataset,
        files: &TokenizerFiles,
        max_tokens: usize,
        overlap: usize,
        most: usize,
    ) -> Result<Self, Error> {
        let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings())?;
        let (most, mut encoding) = (most.max(1), Box::<Encoding>::default());
        let (mut all, mut counts, mut truncated) = (Vec::new(), Vec::with_capacity(data.len()), 0);
        for example in &data.examples {
            let mut found = 0;
            let take = |window: &Encoding| {
                found += 1;
                if found <= most {
                    all.push(tokens(window));
                }
            };
            let mut windows = tokenizer.windows(max_tokens, overlap, &mut encoding, take)?;
            windows.push(&example.text);
            windows.finish();
            truncated += usize::from(found > most);
            counts.push(found.min(most) as u32);
        }
        Ok(Self { data, tokens: all, windows: Some(counts), truncated })
    }

    /// What is said of the examples, [examples, labels], from what is said of [`tokens`](Self::tokens), [tokens, labels]: the mean
    /// of a text's windows, added in their order as on the device.
    pub fn of_examples(&self, logits: Vec<f32>) -> Vec<f32> {
        let Some(counts) = &self.windows else { return logits };
        let labels = logits.len() / self.tokens.len().max(1);
        let mut windows = logits.chunks_exact(labels.max(1));
        let mean = |count: &u32| {
            let mut mean = windows.next().unwrap_or_default().to_vec();
            for window in windows.by_ref().take(*count as usize - 1) {
                mean.iter_mut().zip(window).for_each(|(sum, logit)| *sum += logit);
            }
            mean.iter_mut().for_each(|sum| *sum /= *count as f32);
            mean
        };
        counts.iter().flat_map(mean).collect()
    }

    /// A batch of some rows, padded.
    pub fn batch(&self, rows: &[u32], pad_id: u32) -> Batch {
        Batch::new(rows.iter().map(|row| &self.tokens[*row as usize]), pad_id)
    }
}

fn tokens(encoding: &Encoding) -> Tokens {
    Tokens { ids: encoding.ids().to_vec(), type_ids: encoding.type_ids().to_vec() }
}
