//! Checks that a bundle behaves on this machine as it did where it was packed.
use super::{Classifier, Error};
use crate::bundle::Golden;

/// Why a bundle failed its self-test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// Some golden messages give other logits.
    #[error("{wrong} of {count} golden messages give other logits, the first is number {first}")]
    Golden {
        /// Number of messages that differ.
        wrong: usize,
        /// Number of golden messages.
        count: usize,
        /// Number of the first one that differs, counted from 1.
        first: usize,
    },
    /// A golden message cannot be classified.
    #[error("golden message {number}: {cause}")]
    Message {
        /// Its number, counted from 1.
        number: usize,
        /// The reason.
        cause: Error,
    },
    /// The model fails on a text of maximum length that repeats the last piece of the vocabulary.
    #[error("a text of {tokens} tokens: {cause}")]
    Longest {
        /// Its length, the manifest's maximum.
        tokens: usize,
        /// The reason.
        cause: Error,
    },
}

impl Classifier {
    /// Runs all golden messages, which must give their logits bit for bit, and a text of maximum length.
    ///
    /// ```
    /// use goldcrest_edge::{Classifier, Options, bundle};
    ///
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/commands/commands.bundle");
    /// # #[cfg(any())]
    /// let path = "commands.bundle";
    /// let mapped = bundle::map(path.as_ref())?;
    /// let bundle = mapped.read()?;
    /// let mut classifier = Classifier::from_mapped(&bundle, &mapped, &Options::default())?;
    /// classifier.self_test(&bundle.golden()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SelfTestError`], for the first message that fails.
    pub fn self_test(&mut self, golden: &[Golden]) -> Result<(), SelfTestError> {
        let (mut wrong, mut first) = (0, 0);
        for (number, message) in (1..).zip(golden) {
            let outcome = self
                .classify(&message.text, message.pair.as_deref())
                .map_err(|cause| SelfTestError::Message { number, cause })?;
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
        let failed = |cause| SelfTestError::Longest { tokens, cause };
        self.reader.check().map_err(failed)?;
        self.model.run(&ids, &type_ids, &mut self.logits).map_err(|error| failed(error.into()))?;
        self.reader.check().map_err(failed)
    }
}
