//! Whether a bundle does on this board what it did where it was packed.
use super::{Classifier, Error};
use crate::bundle::Golden;

/// What a bundle got wrong.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// Golden messages with other logits.
    #[error("{wrong} of {count} golden messages give other logits, the first is number {first}")]
    Golden {
        /// How many differ.
        wrong: usize,
        /// How many there are.
        count: usize,
        /// The first that differs, from 1.
        first: usize,
    },
    /// A golden message without an answer.
    #[error("golden message {number}: {source}")]
    Message {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: Error,
    },
    /// The model does not take the longest text with the last piece of the vocabulary, as the manifest says.
    #[error("a text of {tokens} tokens: {source}")]
    Longest {
        /// The manifest's maximum.
        tokens: usize,
        /// Why.
        source: Error,
    },
}

impl Classifier {
    /// Runs all golden messages, which must give their logits bit for bit, and a text of the greatest length.
    pub fn self_test(&mut self, golden: &[Golden]) -> Result<(), SelfTestError> {
        let (mut wrong, mut first) = (0, 0);
        for (number, message) in (1..).zip(golden) {
            let outcome = self
                .classify(&message.text, message.pair.as_deref())
                .map_err(|source| SelfTestError::Message { number, source })?;
            if !outcome.logits.iter().map(|x| x.to_bits()).eq(message.logits.iter().copied()) {
                wrong += 1;
                first = if wrong == 1 { number } else { first };
            }
        }
        if wrong > 0 {
            return Err(SelfTestError::Golden { wrong, count: golden.len(), first });
        }
        self.run_longest()
    }

    fn run_longest(&mut self) -> Result<(), SelfTestError> {
        let tokens = self.manifest.max_tokens as usize;
        let ids = vec![self.tokenizer().vocab_size() as u32 - 1; tokens];
        let mut type_ids = vec![0; tokens];
        if self.manifest.pair {
            type_ids[tokens / 2..].fill(1);
        }
        let run = self.model.run(&ids, &type_ids, &mut self.logits);
        run.map_err(|error| SelfTestError::Longest { tokens, source: error.into() })
    }
}
