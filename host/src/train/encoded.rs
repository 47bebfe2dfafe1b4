use super::Error;
use crate::bert::{Batch, Reads, TokenizerFiles, Tokens};
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
    /// Tokenizes with a checkpoint's vocabulary; at most `max_tokens` ids a text, the rest cut off.
    ///
    /// # Errors
    /// When the vocabulary does not make a tokenizer.
    pub fn new(data: Dataset, files: &TokenizerFiles, max_tokens: usize) -> Result<Self, Error> {
        let reads = Reads { max_tokens, pairs: data.is_paired(), windows: None };
        Self::as_read(data, files, reads)
    }

    /// Tokenizes as a device does that reads so.
    ///
    /// # Errors
    /// When the vocabulary does not make a tokenizer, or windows so short cannot overlap so much.
    pub fn as_read(data: Dataset, files: &TokenizerFiles, reads: Reads) -> Result<Self, Error> {
        let mut reader = Reader::new(files, reads)?;
        let (mut tokens, mut counts, mut truncated) = (Vec::new(), Vec::with_capacity(data.len()), 0);
        for example in &data.examples {
            let (inputs, cut_off) = reader.read(&example.text, example.pair.as_deref())?;
            counts.push(inputs.len() as u32);
            truncated += usize::from(cut_off);
            tokens.extend(inputs);
        }
        Ok(Self { data, tokens, windows: reads.windows.map(|_| counts), truncated })
    }

    /// Some of the texts, by row; none of them in windows.
    pub fn subset(&self, rows: &[usize]) -> Self {
        let tokens = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        Self { data: self.data.subset(rows.iter().copied()), tokens, windows: None, truncated: 0 }
    }

    /// What is said of the examples, [examples, labels], from what is said of [`tokens`](Self::tokens), [tokens, labels]: the mean
    /// of a text's windows, added in their order as on the device.
    pub fn of_examples(&self, logits: Vec<f32>) -> Vec<f32> {
        let Some(counts) = &self.windows else { return logits };
        let labels = logits.len() / self.tokens.len().max(1);
        let mut windows = logits.chunks_exact(labels.max(1));
        counts.iter().flat_map(|count| mean_of_windows(windows.by_ref().take(*count as usize))).collect()
    }

    /// A batch of some rows, padded.
    pub fn batch(&self, rows: &[u32], pad_id: u32) -> Batch {
        Batch::new(rows.iter().map(|row| &self.tokens[*row as usize]), pad_id)
    }
}

/// The mean of what is said of a text's windows, added in their order as on the device.
pub fn mean_of_windows<'a>(mut windows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut mean = windows.next().unwrap_or_default().to_vec();
    let mut count = 1.0;
    for window in windows {
        mean.iter_mut().zip(window).for_each(|(sum, logit)| *sum += logit);
        count += 1.0;
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    mean
}

/// Turns texts into inputs as a device does.
pub struct Reader<'a> {
    tokenizer: Tokenizer<&'a [u8]>,
    encoding: Box<Encoding>,
    reads: Reads,
}

impl<'a> Reader<'a> {
    /// With a checkpoint's vocabulary.
    ///
    /// # Errors
    /// When it does not make a tokenizer.
    pub fn new(files: &'a TokenizerFiles, reads: Reads) -> Result<Self, Error> {
        let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings())?;
        Ok(Self { tokenizer, encoding: Box::default(), reads })
    }

    /// The ids of a text or a pair, or of each window of a text; and whether something was cut off.
    ///
    /// # Errors
    /// When inputs so short cannot be.
    pub fn read(&mut self, text: &str, pair: Option<&str>) -> Result<(Vec<Tokens>, bool), Error> {
        let Self { tokenizer, encoding, reads } = self;
        let Some(windows) = reads.windows.filter(|_| pair.is_none()) else {
            tokenizer.encode(text, pair, reads.max_tokens, encoding)?;
            return Ok((vec![tokens(encoding)], encoding.truncated()));
        };
        let (most, mut found, mut inputs) = (windows.most.max(1) as usize, 0, Vec::new());
        let take = |window: &Encoding| {
            found += 1;
            if found <= most {
                inputs.push(tokens(window));
            }
        };
        let mut windows = tokenizer.windows(reads.max_tokens, windows.overlap as usize, encoding, take)?;
        windows.push(text);
        windows.finish();
        Ok((inputs, found > most))
    }
}

fn tokens(encoding: &Encoding) -> Tokens {
    Tokens { ids: encoding.ids().to_vec(), type_ids: encoding.type_ids().to_vec() }
}
