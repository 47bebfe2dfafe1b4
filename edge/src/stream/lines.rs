//! One message a line.
use super::Interrupt;
use super::utf8::Utf8;
use std::io::{self, Read};

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// Takes messages, chunk by chunk.
pub trait Sink {
    /// The next part of the message. It may be all of it, or there may be none.
    fn text(&mut self, chunk: &str);

    /// The end of message `number` (from 1). `invalid`: the offset of its first byte that is not UTF-8;
    /// no text from there on was given.
    fn end(&mut self, number: u64, invalid: Option<u64>) -> io::Result<()>;

    /// The source may have nothing more for now: everything up to here shall be seen.
    fn flush(&mut self) -> io::Result<()>;
}

/// Why a stream broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// The sink failed.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source has no more.
    Source,
    /// [`Interrupt::requested`]. A line whose end had not been read yet is not a message, and dropped.
    Interrupted,
}

/// Cuts sources into lines. Only `\n` ends a line; the last one may lack it; an empty one is a message.
#[derive(Debug)]
pub struct Lines {
    buffer: Box<[u8]>,
    utf8: Utf8,
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Lines { buffer: vec![0; BUFFER].into(), utf8: Utf8::default(), number: 0 }
    }
}

impl Lines {
    /// Messages so far, over all sources.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Gives all lines of `source` to `sink`. Flushes it before each read, since that may have to wait.
    pub fn run(
        &mut self,
        source: &mut impl Read,
        sink: &mut impl Sink,
        interrupt: &Interrupt,
    ) -> Result<End, Error> {
        let mut open = false;
        loop {
            sink.flush().map_err(Error::Write)?;
            let read = match interrupt.wait(|| source.read(&mut self.buffer)) {
                None => return Ok(End::Interrupted),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Some(read) => read.map_err(Error::Read)?,
            };
            if read == 0 {
                break;
            }
            let mut rest = &self.buffer[..read];
            while let Some(length) = rest.iter().position(|&b| b == b'\n') {
                self.utf8.push(&rest[..length], |text| sink.text(text));
                self.number += 1;
                sink.end(self.number, self.utf8.finish()).map_err(Error::Write)?;
                rest = &rest[length + 1..];
                open = false;
                if interrupt.requested() {
                    sink.flush().map_err(Error::Write)?;
                    return Ok(End::Interrupted);
                }
            }
            if !rest.is_empty() {
                self.utf8.push(rest, |text| sink.text(text));
                open = true;
            }
        }
        if open {
            self.number += 1;
            sink.end(self.number, self.utf8.finish()).map_err(Error::Write)?;
            sink.flush().map_err(Error::Write)?;
        }
        Ok(End::Source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Collect {
        current: String,
        messages: Vec<(u64, Result<String, u64>)>,
    }

    impl Sink for Collect {
        fn text(&mut self, chunk: &str) {
            self.current.push_str(chunk);
        }
        fn end(&mut self, number: u64, invalid: Option<u64>) -> io::Result<()> {
            let text = std::mem::take(&mut self.current);
            self.messages.push((number, invalid.map_or(Ok(text), Err)));
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Gives at most `most` bytes a read.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn collect(source: &[u8], most: usize) -> Vec<(u64, Result<String, u64>)> {
        let mut sink = Collect::default();
        let end = Lines::default().run(&mut Dribble(source, most), &mut sink, &Interrupt::default());
        assert_eq!(end.unwrap(), End::Source);
        sink.messages
    }

    proptest! {
        /// Against the naive way: split everything at once.
        #[test]
        fn every_line_is_one_message(
            source in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0xc3), Just(0xa4), any::<u8>()], 0..60),
            most in 1usize..9,
        ) {
            let mut lines: Vec<&[u8]> = source.split(|&b| b == b'\n').collect();
            if lines.last().is_some_and(|last| last.is_empty()) {
                lines.pop();
            }
            let expected: Vec<_> = (1..)
                .zip(lines)
                .map(|(n, line)| (n, str::from_utf8(line).map(str::to_owned).map_err(|e| e.valid_up_to() as u64)))
                .collect();
            prop_assert_eq!(collect(&source, most), expected);
        }
    }

    #[test]
    fn an_interrupt_ends_after_the_message_in_hand() {
        struct Asks(Collect, Interrupt);
        impl Sink for Asks {
            fn text(&mut self, chunk: &str) {
                self.0.text(chunk);
            }
            fn end(&mut self, number: u64, invalid: Option<u64>) -> io::Result<()> {
                self.1.request();
                self.0.end(number, invalid)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let interrupt = Interrupt::default();
        let mut sink = Asks(Collect::default(), interrupt.clone());
        let end = Lines::default().run(&mut &b"one\ntwo\n"[..], &mut sink, &interrupt).unwrap();
        assert_eq!((end, sink.0.messages), (End::Interrupted, vec![(1, Ok("one".to_owned()))]));
    }
}
