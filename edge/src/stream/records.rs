//! The sinks that classify.
use super::record::{self, Format};
use super::{Chunk, Error, Message, Sink};
use crate::classifier::{self, Classify, Input, Outcome, ThreadedClassifier};
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

/// How messages are read and records written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The format of the records.
    pub format: Format,
    /// Number of best labels to list, with their scores, in addition to the answer.
    pub top: usize,
    /// Whether to add the bits of the logits (JSON Lines only).
    pub logits: bool,
    /// Separator between the two texts of a message; `None` for a single text.
    pub separator: Option<char>,
}

/// Classifies each message and writes its record.
pub struct Records<C, W> {
    classifier: C,
    writer: Writer<W>,
}

impl<C: Classify, W: Write> Records<C, W> {
    /// Returns a sink that writes the answers of `classifier` to `out`, which should be buffered.
    pub fn new(classifier: C, out: W, options: Options) -> Self {
        Records { classifier, writer: Writer::new(out, options) }
    }

    /// Returns the number of messages so far that could not be classified.
    pub fn errors(&self) -> u64 {
        self.writer.errors
    }
}

impl<C: Classify, W: Write> Sink for Records<C, W> {
    fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error> {
        let separator = self.writer.options.separator;
        let answer = self.classifier.classify_chunks(&mut |input| feed(message, separator, input));
        self.writer.answer(number, answer)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush()
    }
}

/// Like [`Records`], with the same output, on several threads: if messages are waiting to be read, classifies
/// several at once.
///
/// Writes all answers before a read that may have to wait.
pub struct ThreadedRecords<'a, W> {
    threaded: &'a mut ThreadedClassifier<MessageError>,
    writer: Writer<W>,
}

impl<'a, W: Write> ThreadedRecords<'a, W> {
    /// Returns a sink that writes the answers of `threaded` to `out`, which should be buffered.
    pub fn new(threaded: &'a mut ThreadedClassifier<MessageError>, out: W, options: Options) -> Self {
        // what a sink that broke off left unanswered belongs to another output
        while threaded.answer().is_some() {}
        ThreadedRecords { threaded, writer: Writer::new(out, options) }
    }

    /// Returns the number of messages so far that could not be classified.
    pub fn errors(&self) -> u64 {
        self.writer.errors
    }

    fn write_ready(&mut self) -> Result<(), Error> {
        while let Some((number, answer)) = self.threaded.try_answer() {
            self.writer.answer(number, answer)?;
        }
        Ok(())
    }

    fn write_all(&mut self) -> Result<(), Error> {
        while let Some((number, answer)) = self.threaded.answer() {
            self.writer.answer(number, answer)?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for ThreadedRecords<'_, W> {
    fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error> {
        let ThreadedRecords { threaded, writer } = self;
        if !threaded.has_room()
            && let Some((number, answer)) = threaded.answer()
        {
            writer.answer(number, answer)?;
        }
        let (separator, mut broken) = (writer.options.separator, false);
        threaded.read(number, &mut |input| {
            let fed = feed(message, separator, input);
            broken = matches!(fed, Err(MessageError::Stream(_)));
            fed
        });
        threaded.start(!message.is_followed());
        // a failed stream is the last answer, and returned as an error
        if broken { self.write_all() } else { self.write_ready() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.write_all()?;
        self.writer.flush()
    }
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The stream failed, which does not concern this message alone.
    #[error(transparent)]
    Stream(#[from] Error),
    /// The message is not UTF-8.
    #[error("byte {offset} is not valid UTF-8")]
    NotUtf8 {
        /// Offset of the first invalid byte in the message, from 0.
        offset: u64,
    },
    /// The message has no separator.
    #[error("one text, where two with a separator between them are expected")]
    OneText,
}

/// Writes records.
struct Writer<W> {
    out: W,
    options: Options,
    errors: u64,
    /// Time of the last flush.
    flushed: Instant,
}

/// Maximum time that a record is buffered while more messages are available, which can
/// take long on a slow board.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

impl<W: Write> Writer<W> {
    fn new(out: W, options: Options) -> Self {
        Writer { out, options, errors: 0, flushed: Instant::now() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.flushed = Instant::now();
        self.out.flush().map_err(Error::Write)
    }

    fn answer(
        &mut self,
        number: u64,
        answer: Result<Result<Outcome<'_>, classifier::Error>, MessageError>,
    ) -> Result<(), Error> {
        let (options, format) = (&self.options, self.options.format);
        let out = &mut self.out;
        let mut error = |reason: &dyn fmt::Display| {
            self.errors += 1;
            record::write_error(out, format, number, reason)
        };
        let written = match answer {
            Err(MessageError::Stream(error)) => return Err(error),
            Ok(Err(classifier::Error::Open(error))) => return Err(Error::Bundle(error)),
            Err(reason) => error(&reason),
            Ok(Err(reason)) => error(&reason),
            Ok(Ok(outcome)) => record::write_record(out, number, &outcome, options),
        };
        written.map_err(Error::Write)?;
        if self.flushed.elapsed() < FLUSH_INTERVAL { Ok(()) } else { self.flush() }
    }
}

/// Feeds the whole message to `input`. If there is a `separator`, it splits the message at its first
/// occurrence; further ones belong to the second text.
///
/// # Errors
/// If the source fails, or the message is not UTF-8 or lacks the separator.
pub fn feed(
    message: &mut Message<'_>,
    separator: Option<char>,
    input: &mut dyn Input,
) -> Result<(), MessageError> {
    let mut separator = separator;
    loop {
        match message.next_chunk()? {
            Chunk::Text(chunk) => match separator.and_then(|s| chunk.split_once(s)) {
                Some((first, second)) => {
                    input.push(first);
                    input.second_text();
                    input.push(second);
                    separator = None;
                }
                None => input.push(chunk),
            },
            Chunk::NotUtf8 { offset } => return Err(MessageError::NotUtf8 { offset }),
            Chunk::End if separator.is_some() => return Err(MessageError::OneText),
            Chunk::End => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Abstention, Decider, Settings, Task};
    use crate::stream::{Interrupt, Lines};

    /// A classifier whose logit of class `i` is the length of text `i`.
    struct Lengths {
        labels: Vec<String>,
        decider: Decider,
        logits: Vec<f32>,
    }

    impl Classify for Lengths {
        fn classify_chunks<E>(
            &mut self,
            feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
        ) -> Result<Result<Outcome<'_>, classifier::Error>, E> {
            struct Count<'a>(&'a mut [f32], usize);
            impl Input for Count<'_> {
                fn push(&mut self, chunk: &str) {
                    self.0[self.1] += chunk.len() as f32;
                }
                fn second_text(&mut self) {
                    self.1 += 1;
                }
            }
            self.logits.fill(0.0);
            feed(&mut Count(&mut self.logits, 0))?;
            let decision = self.decider.decide(&self.logits);
            Ok(decision
                .map(|decision| Outcome {
                    labels: &self.labels,
                    logits: &self.logits,
                    decision,
                    tokens: 2,
                    truncated: self.logits[0] > 4.0,
                })
                .map_err(Into::into))
        }
    }

    fn records(task: Task, settings: &Settings, options: Options, input: &str) -> String {
        let labels: Vec<String> = match task {
            Task::Regression => vec!["length".into()],
            _ => vec!["a \"b\"".into(), "ü".into()],
        };
        let decider = Decider::new(task, labels.len(), settings).unwrap();
        let mut classifier = Lengths { decider, logits: vec![0.0; labels.len()], labels };
        let mut out = vec![];
        let mut records = Records::new(&mut classifier, &mut out, options);
        Lines::default().run(&mut input.as_bytes(), &mut records, &Interrupt::new().unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn jsonl() -> Options {
        Options { format: Format::Jsonl, ..Options::default() }
    }

    #[test]
    fn fields_come_in_their_order() {
        let single = |options, input| records(Task::SingleLabel, &Settings::default(), options, input);
        assert_eq!(
            single(jsonl(), "aa\n\n"),
            "{\"n\":1,\"label\":\"a \\\"b\\\"\",\"score\":0.880797,\"tokens\":2}\n\
             {\"n\":2,\"label\":\"a \\\"b\\\"\",\"score\":0.5,\"tokens\":2}\n"
        );
        assert_eq!(single(Options { top: 9, logits: true, ..jsonl() }, ""), "");
        assert_eq!(
            single(Options { top: 9, logits: true, ..jsonl() }, "a"),
            "{\"n\":1,\"label\":\"a \\\"b\\\"\",\"score\":0.731059,\"tokens\":2,\
             \"top\":[{\"label\":\"a \\\"b\\\"\",\"score\":0.731059},{\"label\":\"ü\",\"score\":0.268941}],\
             \"logits\":[\"3f800000\",\"00000000\"]}\n"
        );
    }

    #[test]
    fn every_task_has_its_record() {
        let abstain = Settings { abstention: Abstention::Probability(0.9), ..Settings::default() };
        assert_eq!(
            records(Task::SingleLabel, &abstain, jsonl(), "a"),
            "{\"n\":1,\"label\":null,\"abstained\":true,\"tokens\":2,\
             \"top\":[{\"label\":\"a \\\"b\\\"\",\"score\":0.731059}]}\n"
        );
        let settings = Settings { thresholds: vec![0.6, 0.6], ..Settings::default() };
        assert_eq!(
            records(Task::MultiLabel, &settings, jsonl(), "a\n\n"),
            "{\"n\":1,\"labels\":[{\"label\":\"a \\\"b\\\"\",\"score\":0.731059}],\"tokens\":2}\n\
             {\"n\":2,\"labels\":[],\"tokens\":2}\n"
        );
        let top = Options { top: 1, ..jsonl() };
        assert_eq!(
            records(Task::MultiLabel, &settings, top, "\n"),
            "{\"n\":1,\"labels\":[],\"tokens\":2,\"top\":[{\"label\":\"a \\\"b\\\"\",\"score\":0.5}]}\n"
        );
        for options in [jsonl(), top] {
            assert_eq!(
                records(Task::Regression, &Settings::default(), options, "abc"),
                "{\"n\":1,\"score\":3,\"tokens\":2}\n"
            );
        }
        assert_eq!(
            records(Task::Regression, &Settings::default(), jsonl(), "abcde"),
            "{\"n\":1,\"score\":5,\"tokens\":2,\"truncated\":true}\n"
        );
    }

    #[test]
    fn text_has_a_line_per_message() {
        let text = |task, settings: &Settings| records(task, settings, Options::default(), "a\n\n");
        let half = Settings { thresholds: vec![0.6, 0.6], ..Settings::default() };
        let abstain = Settings { abstention: Abstention::Probability(0.7), ..Settings::default() };
        assert_eq!(text(Task::SingleLabel, &Settings::default()), "a \"b\"\t0.731059\na \"b\"\t0.5\n");
        assert_eq!(text(Task::SingleLabel, &abstain), "a \"b\"\t0.731059\n-\t0.5\n");
        assert_eq!(text(Task::MultiLabel, &half), "a \"b\"\t0.731059\n-\n");
        let both = Settings { thresholds: vec![0.4, 0.4], ..Settings::default() };
        assert_eq!(text(Task::MultiLabel, &both), "a \"b\"\t0.731059\tü\t0.5\na \"b\"\t0.5\tü\t0.5\n");
        assert_eq!(text(Task::Regression, &Settings::default()), "1\n0\n");
        let top = |task| records(task, &Settings::default(), Options { top: 1, ..Options::default() }, "a");
        assert_eq!(top(Task::SingleLabel), "a \"b\"\t0.731059\ta \"b\"\t0.731059\n");
        assert_eq!(top(Task::Regression), "1\n");
    }

    /// A buffered record is written after a while, even if more messages are available.
    #[test]
    fn no_record_is_buffered_for_long() {
        struct Slow<'a>(Records<Lengths, std::io::BufWriter<&'a mut Vec<u8>>>);
        impl Sink for Slow<'_> {
            fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error> {
                std::thread::sleep(FLUSH_INTERVAL);
                self.0.message(number, message)
            }
            // does not flush: everything has been written by then
            fn flush(&mut self) -> Result<(), Error> {
                assert!(self.0.writer.out.buffer().is_empty());
                Ok(())
            }
        }
        let labels = vec!["a".into(), "b".into()];
        let decider = Decider::new(Task::SingleLabel, 2, &Settings::default()).unwrap();
        let mut out = vec![];
        let buffer = std::io::BufWriter::new(&mut out);
        let classifier = Lengths { labels, decider, logits: vec![0.0; 2] };
        let mut slow = Slow(Records::new(classifier, buffer, Options::default()));
        Lines::default().run(&mut &b"a\nb\n"[..], &mut slow, &Interrupt::new().unwrap()).unwrap();
    }

    #[test]
    fn pairs_are_split_at_the_first_separator() {
        let options = Options { separator: Some('\t'), ..jsonl() };
        let out = records(Task::SingleLabel, &Settings::default(), options, "a\tbb\tc\nabc\n\t\n");
        let lines: Vec<_> = out.lines().collect();
        assert!(lines[0].starts_with("{\"n\":1,\"label\":\"ü\",\"score\":0.952574"), "{out}");
        assert_eq!(
            lines[1],
            "{\"n\":2,\"error\":\"one text, where two with a separator between them are expected\"}"
        );
        assert!(lines[2].starts_with("{\"n\":3,\"label\""), "{out}");
    }
}
