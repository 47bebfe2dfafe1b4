//! The sink that classifies.
use super::record::{self, Format, Parts};
use super::Sink;
use crate::classifier::{self, Classifier, Outcome};
use std::io::{self, Write};

/// What classifies messages that come in chunks: a [`Classifier`], or a stand-in in a test.
pub trait Classify {
    /// More of the current text.
    fn push(&mut self, chunk: &str);
    /// What follows is the second text.
    fn second_text(&mut self);
    /// The answer for what was pushed; the next message begins.
    fn finish(&mut self) -> Result<Outcome<'_>, classifier::Error>;
    /// Forgets what was pushed; the next message begins.
    fn discard(&mut self);
}

impl Classify for Classifier<'_> {
    fn push(&mut self, chunk: &str) {
        Classifier::push(self, chunk);
    }
    fn second_text(&mut self) {
        Classifier::second_text(self);
    }
    fn finish(&mut self) -> Result<Outcome<'_>, classifier::Error> {
        Classifier::finish(self)
    }
    fn discard(&mut self) {
        Classifier::discard(self);
    }
}

/// How messages are read and records written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The look of a record.
    pub format: Format,
    /// So many best labels with their scores beside the answer.
    pub top: usize,
    /// The bits of the logits beside the answer (JSON Lines only).
    pub logits: bool,
    /// Two texts a message, with this character between them.
    pub separator: Option<char>,
}

/// Classifies each message and writes its record.
pub struct Records<'a, C, W> {
    classifier: C,
    labels: &'a [String],
    out: W,
    options: Options,
    separated: bool,
    errors: u64,
}

impl<'a, C: Classify, W: Write> Records<'a, C, W> {
    /// Records of `classifier`'s answers, whose classes are named `labels`, into `out`, which should buffer.
    pub fn new(classifier: C, labels: &'a [String], out: W, options: Options) -> Self {
        Records { classifier, labels, out, options, separated: false, errors: 0 }
    }

    /// Messages so far that could not be classified.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    fn error(&mut self, number: u64, reason: impl std::fmt::Display) -> io::Result<()> {
        self.errors += 1;
        record::write_error(&mut self.out, self.options.format, number, reason)
    }
}

impl<C: Classify, W: Write> Sink for Records<'_, C, W> {
    fn text(&mut self, mut chunk: &str) {
        // the first separator only: another one is text
        if let (Some(separator), false) = (self.options.separator, self.separated)
            && let Some((first, second)) = chunk.split_once(separator)
        {
            self.classifier.push(first);
            self.classifier.second_text();
            self.separated = true;
            chunk = second;
        }
        self.classifier.push(chunk);
    }

    fn end(&mut self, number: u64, invalid: Option<u64>) -> io::Result<()> {
        let separated = std::mem::take(&mut self.separated);
        if let Some(offset) = invalid {
            self.classifier.discard();
            return self.error(number, format_args!("byte {offset} is not valid UTF-8"));
        }
        if self.options.separator.is_some() && !separated {
            self.classifier.discard();
            return self.error(number, "one text, where two with a separator between them are expected");
        }
        let parts = Parts { top: self.options.top, logits: self.options.logits };
        match self.classifier.finish() {
            Ok(outcome) => match self.options.format {
                Format::Jsonl => record::write_jsonl(&mut self.out, number, &outcome, self.labels, parts),
                Format::Text => record::write_text(&mut self.out, &outcome, self.labels, parts),
            },
            Err(error) => self.error(number, error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
