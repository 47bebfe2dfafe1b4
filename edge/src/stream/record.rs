//! Records: what is written for each message.
use super::Options;
use crate::classifier::Outcome;
use crate::decision::Answer;
use std::fmt;
use std::io::{self, Write};

/// The format of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `label<TAB>score` per line, for people and `cut`; `-` if there is no label. A regression's number, or
    /// `name<TAB>number` for each of several.
    #[default]
    Text,
    /// One JSON object per line.
    Jsonl,
}

/// Writes the record of a message with an answer, as [`Records`](super::Records) does. `number` counts the messages
/// from 1.
///
/// # Errors
/// The error of `out`.
pub fn write_record(
    out: &mut impl Write,
    number: u64,
    outcome: &Outcome<'_>,
    options: &Options,
) -> io::Result<()> {
    match options.format {
        Format::Jsonl => write_jsonl(out, number, outcome, options),
        Format::Text => write_text(out, outcome, options),
    }
}

fn write_jsonl(
    out: &mut impl Write,
    number: u64,
    outcome: &Outcome<'_>,
    options: &Options,
) -> io::Result<()> {
    let Outcome { labels, decision, .. } = outcome;
    let mut top = options.top;
    write!(out, "{{\"n\":{number}")?;
    match decision.answer() {
        Answer::Class { class, score } => {
            out.write_all(b",")?;
            write_scored(out, &labels[class], score)?;
        }
        Answer::Abstained => {
            top = top.max(1);
            out.write_all(b",\"label\":null,\"abstained\":true")?;
        }
        Answer::Labels => {
            out.write_all(b",\"labels\":")?;
            write_array(out, decision.labels(), |out, (class, score)| {
                write_object(out, &labels[class], score)
            })?;
        }
        Answer::Value(value) => {
            top = 0;
            out.write_all(b",\"score\":")?;
            write_number(out, value)?;
        }
        Answer::Values => {
            top = 0;
            out.write_all(b",\"scores\":")?;
            let numbers = labels.iter().zip(decision.scores());
            write_array(out, numbers, |out, (name, number)| write_object(out, name, *number))?;
        }
    }
    write!(out, ",\"tokens\":{}", outcome.tokens)?;
    if outcome.truncated {
        out.write_all(b",\"truncated\":true")?;
    }
    if top > 0 {
        out.write_all(b",\"top\":")?;
        let ranked = decision.ranked().take(top);
        write_array(out, ranked, |out, (class, score)| write_object(out, &labels[class], score))?;
    }
    if options.logits {
        out.write_all(b",\"logits\":")?;
        write_array(out, outcome.logits.iter(), |out, logit| write!(out, "\"{:08x}\"", logit.to_bits()))?;
    }
    out.write_all(b"}\n")
}

fn write_text(out: &mut impl Write, outcome: &Outcome<'_>, options: &Options) -> io::Result<()> {
    let Outcome { labels, decision, .. } = outcome;
    let pair = |out: &mut _, label: &str, score| {
        write_all(out, label)?;
        write_all(out, "\t")?;
        write_number(out, score)
    };
    match decision.answer() {
        Answer::Value(value) => write_number(out, value)?,
        Answer::Values => {
            for (i, (name, number)) in labels.iter().zip(decision.scores()).enumerate() {
                write_all(out, if i > 0 { "\t" } else { "" })?;
                pair(out, name, *number)?;
            }
        }
        Answer::Class { class, score } => pair(out, &labels[class], score)?,
        Answer::Abstained => pair(out, "-", decision.ranked().next().map_or(0.0, |(_, score)| score))?,
        Answer::Labels => {
            for (i, (class, score)) in decision.labels().enumerate() {
                write_all(out, if i > 0 { "\t" } else { "" })?;
                pair(out, &labels[class], score)?;
            }
            if decision.labels().next().is_none() {
                write_all(out, "-")?;
            }
        }
    }
    if options.top > 0 && !matches!(decision.answer(), Answer::Value(_) | Answer::Values) {
        for (class, score) in decision.ranked().take(options.top) {
            write_all(out, "\t")?;
            pair(out, &labels[class], score)?;
        }
    }
    write_all(out, "\n")
}

/// Writes the record of a message that has no answer.
///
/// # Errors
/// The error of `out`.
pub fn write_error(
    out: &mut impl Write,
    format: Format,
    number: u64,
    reason: impl fmt::Display,
) -> io::Result<()> {
    match format {
        Format::Text => {
            write_all(out, "-\terror: ")?;
            write!(OneLine(out), "{reason}")?;
            write_all(out, "\n")
        }
        Format::Jsonl => {
            write!(out, "{{\"n\":{number},\"error\":\"")?;
            write!(Escape(out), "{reason}")?;
            out.write_all(b"\"}\n")
        }
    }
}

fn write_array<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    mut item: impl FnMut(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (i, value) in items.enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        item(out, value)?;
    }
    out.write_all(b"]")
}

fn write_object(out: &mut impl Write, label: &str, score: f32) -> io::Result<()> {
    out.write_all(b"{")?;
    write_scored(out, label, score)?;
    out.write_all(b"}")
}

fn write_scored(out: &mut impl Write, label: &str, score: f32) -> io::Result<()> {
    out.write_all(b"\"label\":")?;
    write_json_string(out, label)?;
    out.write_all(b",\"score\":")?;
    write_number(out, score)
}

fn write_all(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())
}

/// Writes `text` as a JSON string (RFC 8259), quotes included.
fn write_json_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    Escape(out).write_all(text.as_bytes())?;
    out.write_all(b"\"")
}

/// Writes a number with six significant digits, at most nine decimals, no trailing zeros and no exponent:
/// `0.991`, `3.2`, `0`. It is rounded from the exact value, so equal bits give equal digits everywhere.
fn write_number(out: &mut impl Write, value: f32) -> io::Result<()> {
    let mut scientific = heapless::String::<24>::new();
    let mut plain = heapless::String::<64>::new();
    let _ = fmt::Write::write_fmt(&mut scientific, format_args!("{value:.5e}"));
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0i32);
    let decimals = (5 - exponent).clamp(0, 9) as usize;
    let _ = fmt::Write::write_fmt(&mut plain, format_args!("{value:.decimals$}"));
    let digits = if decimals > 0 { plain.trim_end_matches('0').trim_end_matches('.') } else { &plain };
    write_all(out, if digits == "-0" { "0" } else { digits })
}

/// A writer that replaces control characters by spaces: an error may quote a name out of a foreign model.
struct OneLine<'a, W>(&'a mut W);

impl<W: Write> Write for OneLine<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for part in text.split_inclusive(u8::is_ascii_control) {
            match part.split_last() {
                Some((end, before)) if end.is_ascii_control() => {
                    self.0.write_all(before)?;
                    self.0.write_all(b" ")?;
                }
                _ => self.0.write_all(part)?,
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A writer that escapes text for the inside of a JSON string.
struct Escape<'a, W>(&'a mut W);

impl<W: Write> Write for Escape<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut rest = text;
        // the bytes of a multi-byte character are never among these
        while let Some(at) = rest.iter().position(|&c| c < b' ' || c == b'"' || c == b'\\') {
            self.0.write_all(&rest[..at])?;
            match rest[at] {
                b'\n' => write_all(self.0, "\\n")?,
                b'\t' => write_all(self.0, "\\t")?,
                b'\r' => write_all(self.0, "\\r")?,
                c @ (b'"' | b'\\') => self.0.write_all(&[b'\\', c])?,
                c => write!(self.0, "\\u{c:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_all(rest)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: f32) -> String {
        let mut out = vec![];
        write_number(&mut out, value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let mut out = vec![];
        write_error(&mut out, Format::Text, 7, "node `a\npositive\t0.99\r` fails").unwrap();
        assert_eq!(out, b"-\terror: node `a positive 0.99 ` fails\n");
    }

    #[test]
    fn numbers_have_six_digits_and_no_more_than_they_need() {
        for (value, text) in [
            (0.991, "0.991"),
            (1.0, "1"),
            (0.0, "0"),
            (-0.0, "0"),
            (3.2, "3.2"),
            (-12.5, "-12.5"),
            (0.999_999_94, "1"),
            (0.123_456_79, "0.123457"),
            (1.0e-4, "0.0001"),
            (1.234_567_8e-7, "0.000000123"),
            (1e-20, "0"),
            (1_234_567.0, "1234567"),
            (100_000.0, "100000"),
            (999_999.9, "1000000"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f32::MAX).len(), 39);
    }

    proptest! {
        #[test]
        fn numbers_are_near_what_they_say(value in -1e9f32..1e9) {
            let read: f64 = number(value).parse().unwrap();
            prop_assert!((read - f64::from(value)).abs() <= 5.1e-6 * f64::from(value).abs() + 1e-9);
        }

        #[test]
        fn strings_are_read_back(text in any::<String>()) {
            let mut out = vec![];
            write_json_string(&mut out, &text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
