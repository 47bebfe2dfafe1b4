use super::Error;
use crate::bert::{self, Batch, InputFormat, TokenizerFiles, Tokens};
use crate::data::{Dataset, Example};
use goldcrest_edge::bundle::Windows;
use goldcrest_edge::classifier::{Reader, feed};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use rayon::prelude::*;
use std::sync::Arc;

/// Examples with their token ids, from the tokenizer that runs on the device.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The examples.
    pub data: Arc<Dataset>,
    /// Token ids of each example, or of each of its windows.
    pub tokens: Vec<Tokens>,
    /// Number of windows of each example, if texts are read in windows.
    pub windows: Option<Vec<u32>>,
    /// Number of truncated texts.
    pub truncated: usize,
}

impl Encoded {
    /// Tokenizes with a checkpoint's vocabulary, truncating texts to `max_tokens` ids.
    ///
    /// # Errors
    /// If the vocabulary does not make a tokenizer.
    pub fn new(
        data: impl Into<Arc<Dataset>>,
        files: &TokenizerFiles,
        max_tokens: usize,
    ) -> Result<Self, Error> {
        let data = data.into();
        let input = InputFormat { max_tokens, pairs: data.is_paired(), windows: None };
        Self::with_format(data, files, input)
    }

    /// Tokenizes as a device with this input format does.
    ///
    /// # Errors
    /// If the vocabulary does not make a tokenizer, an input has no room for a text, or the data have two texts where
    /// the format has one or the other way round.
    pub fn with_format(
        data: impl Into<Arc<Dataset>>,
        files: &TokenizerFiles,
        input: InputFormat,
    ) -> Result<Self, Error> {
        /// Texts that a thread reads with one reader.
        const BLOCK: usize = 1024;
        let data = data.into();
        // tells a faulty vocabulary even if there are no texts
        reader(&files.vocab, files, input)?;
        let read_block = |examples: &[Example]| -> Result<Vec<_>, Error> {
            let mut reader = reader(&files.vocab, files, input)?;
            examples.iter().map(|example| read(&mut reader, example)).collect()
        };
        let blocks: Vec<Result<Vec<_>, Error>> = data.examples.par_chunks(BLOCK).map(read_block).collect();
        let (mut tokens, mut counts, mut truncated) = (Vec::new(), Vec::with_capacity(data.len()), 0);
        for block in blocks {
            for (inputs, cut_off) in block? {
                counts.push(inputs.len() as u32);
                truncated += usize::from(cut_off);
                tokens.extend(inputs);
            }
        }
        Ok(Self { data, tokens, windows: input.windows.map(|_| counts), truncated })
    }

    /// Returns whether texts are read in windows, so that [`tokens`](Self::tokens) has more items than there are texts.
    pub fn is_in_windows(&self) -> bool {
        self.windows.is_some()
    }

    /// Returns some of the texts, by row.
    ///
    /// # Panics
    /// If texts are read in windows.
    pub fn subset(&self, rows: &[usize]) -> Self {
        assert!(self.windows.is_none(), "rows of texts in windows");
        let tokens = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        Self { data: self.data.subset(rows.iter().copied()).into(), tokens, windows: None, truncated: 0 }
    }

    /// Converts the logits of [`tokens`](Self::tokens), [tokens, labels], to those of the examples,
    /// [examples, labels], by averaging over a text's windows in the same order as the device.
    pub fn of_examples(&self, logits: Vec<f32>) -> Vec<f32> {
        let Some(counts) = &self.windows else { return logits };
        let labels = logits.len() / self.tokens.len().max(1);
        let mut windows = logits.chunks_exact(labels.max(1));
        counts.iter().flat_map(|count| mean_of_windows(windows.by_ref().take(*count as usize))).collect()
    }

    /// Returns a padded batch of some rows.
    pub fn batch(&self, rows: &[u32], pad_id: u32) -> Batch {
        Batch::new(rows.iter().map(|row| &self.tokens[*row as usize]), pad_id)
    }
}

/// Averages the logits of a text's windows, adding them in the same order as the device.
pub(super) fn mean_of_windows<'a>(mut windows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut mean = windows.next().unwrap_or_default().to_vec();
    let mut count = 1.0;
    for window in windows {
        mean.iter_mut().zip(window).for_each(|(sum, logit)| *sum += logit);
        count += 1.0;
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    mean
}

/// Returns what turns texts into model inputs on the device too. `vocabulary` is that of the files.
///
/// # Errors
/// If the vocabulary does not make a tokenizer, an input has no room for a text, or pairs are to be read in windows.
pub(super) fn reader<V: AsRef<[u8]>>(
    vocabulary: V,
    files: &TokenizerFiles,
    input: InputFormat,
) -> Result<Reader<V>, Error> {
    if !input.has_room() {
        return Err(bert::Error::NoRoom { max_tokens: input.max_tokens, windows: input.windows }.into());
    }
    if input.pairs && input.windows.is_some() {
        return Err(bert::Error::PairInWindows.into());
    }
    let tokenizer = Tokenizer::new(vocabulary, files.settings())?;
    let windows = input.windows.map_or(Windows::Truncate, Windows::from);
    Ok(Reader::new(tokenizer, input.max_tokens, windows, input.pairs))
}

/// Returns the inputs of a text or a pair, one for each window, and whether something was truncated.
fn read<V: AsRef<[u8]>>(reader: &mut Reader<V>, example: &Example) -> Result<(Vec<Tokens>, bool), Error> {
    let mut inputs = Vec::new();
    let read = reader.read(&mut feed(&example.text, example.pair.as_deref()), &mut |window| {
        inputs.push(tokens(window));
        Ok(())
    });
    let Ok(length) = read;
    Ok((inputs, length?.truncated))
}

/// Returns what a model reads of an encoding.
pub(super) fn tokens(encoding: &Encoding) -> Tokens {
    Tokens { ids: encoding.ids().to_vec(), type_ids: encoding.type_ids().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::TextWindows;

    #[test]
    fn pairs_are_not_read_in_windows() {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 8,
        };
        let windows = Some(TextWindows { overlap: 1, most: 2 });
        let input = |pairs, windows| InputFormat { max_tokens: 6, pairs, windows };
        let read = |input| reader(&files.vocab, &files, input).map(drop).map_err(|error| error.to_string());
        assert!(read(input(true, windows)).unwrap_err().contains("cannot be read in windows"));
        assert!(read(input(true, None)).is_ok() && read(input(false, windows)).is_ok());
    }

    #[test]
    fn many_texts_are_read_as_one_after_the_other() {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 8,
        };
        let text = |i: usize| (["a ", "b ", "c "][i % 3].repeat(i % 11), None);
        let data = Arc::new(Dataset::unlabelled((0..2500).map(text)));
        for windows in [None, Some(TextWindows { overlap: 1, most: 2 })] {
            let input = InputFormat { max_tokens: 6, pairs: false, windows };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            let together = pool.install(|| Encoded::with_format(data.clone(), &files, input)).unwrap();
            let mut reader = reader(&files.vocab, &files, input).unwrap();
            let one_by_one = data.examples.iter().map(|example| read(&mut reader, example).unwrap());
            let (inputs, cut_off): (Vec<_>, Vec<_>) = one_by_one.unzip();
            let counts = windows.map(|_| inputs.iter().map(|inputs| inputs.len() as u32).collect());
            assert_eq!(together.windows, counts);
            assert_eq!(together.truncated, cut_off.into_iter().filter(|cut_off| *cut_off).count());
            assert_eq!(together.tokens, inputs.concat());
        }
    }
}
