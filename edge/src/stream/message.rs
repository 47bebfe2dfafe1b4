//! A message, which is read while it is consumed.
use super::Interrupt;
use crate::bundle::OpenError;
#[cfg(target_os = "linux")]
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::process::ChildStdout;

/// Maximum bytes per read, and so per chunk.
const BUFFER: usize = 64 << 10;

/// Maximum bytes to read in order to finish a message, once the end is requested.
const MAX_LATE: u64 = 64 << 20;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Some characters.
    Text(&'a str),
    /// The message, which has been read to its end, is not UTF-8. No more chunks follow.
    NotUtf8 {
        /// Offset of the first invalid byte in the message, from 0.
        offset: u64,
    },
    /// The message has ended.
    End,
}

/// Why a stream failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source failed.
    #[error("cannot read: {0}")]
    Read(io::Error),
    /// The sink failed.
    #[error("cannot write: {0}")]
    Write(io::Error),
    /// The file of the bundle has changed, so no further message has an answer.
    #[error(transparent)]
    Bundle(OpenError),
    /// The end was [requested](Interrupt::requested) before a message, or while waiting for the rest of one.
    /// Such a partial message does not count.
    #[error("interrupted")]
    Interrupted,
}

/// Returns whether an error, or one of its causes, is that the reader of the output has gone: it has closed the pipe, as
/// in `goldcrest-edge | head`, or the socket.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        if let Some(Error::Write(error)) = cause.downcast_ref() {
            return matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        }
        // only writing gives this kind, so it cannot come from a source
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// A source of messages. It is waited for as long as it takes: a socket's read timeout does not count, but an
/// [`Interrupt`] ends the wait. `Stdin`, which has a buffer, is not a source; a [`File`] of its descriptor is.
pub trait Source: Read {
    /// Returns whether a read may have to wait for input.
    fn may_wait(&self) -> bool;

    /// Waits until a read would not wait (because of input, the end of the source or an error), without
    /// consuming anything. Returns `false` if a read may still have to wait: the end was requested, or some
    /// signal arrived.
    fn wait(&self, interrupt: &Interrupt) -> bool;

    /// Reads the available input. If another reader has taken it, a [`File`] on Linux fails with
    /// [`io::ErrorKind::WouldBlock`]; other sources wait for more.
    ///
    /// # Errors
    /// Like [`Read::read`].
    fn read_ready(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read(to)
    }
}

/// Everything is available at once.
impl Source for &[u8] {
    fn may_wait(&self) -> bool {
        false
    }

    fn wait(&self, _: &Interrupt) -> bool {
        true
    }
}

/// Implements [`Source`] for types that may always have to wait.
macro_rules! waits {
    ($($source:ty),*) => {$(
        impl Source for $source {
            fn may_wait(&self) -> bool {
                true
            }

            fn wait(&self, interrupt: &Interrupt) -> bool {
                interrupt.wait_for(self)
            }
        }
    )*};
}

waits!(TcpStream, UnixStream, PipeReader, ChildStdout);

impl Source for File {
    fn may_wait(&self) -> bool {
        !self.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    fn wait(&self, interrupt: &Interrupt) -> bool {
        interrupt.wait_for(self)
    }

    #[cfg(target_os = "linux")]
    fn read_ready(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let here = u64::MAX;
        match preadv2(&*self, &mut [IoSliceMut::new(to)], here, ReadWriteFlags::NOWAIT) {
            // this file or system does not support it
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE | Errno::INVAL) => self.read(to),
            result => Ok(result?),
        }
    }
}

/// Input that was read and not consumed yet.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Box<[u8]>,
    unread: Range<usize>,
    exhausted: bool,
    /// Bytes consumed of the current message.
    of_message: u64,
    /// Bytes read after the end was requested.
    late: u64,
}

impl Default for Input {
    fn default() -> Self {
        Input { buffer: vec![0; BUFFER].into(), unread: 0..0, exhausted: false, of_message: 0, late: 0 }
    }
}

impl Input {
    pub fn begin_source(&mut self) {
        self.unread = 0..0;
        self.exhausted = false;
        self.of_message = 0;
        self.late = 0;
    }

    /// Marks the consumed input as answered.
    pub fn end_message(&mut self) {
        self.of_message = 0;
    }

    /// Returns the number of bytes that were read and have no answer.
    pub fn unanswered(&self) -> u64 {
        self.of_message + self.unread.len() as u64
    }

    /// Returns whether the rest of the current message, if available, may still be read
    /// after the end was requested.
    fn may_finish(&self) -> bool {
        self.of_message > 0 && self.late < MAX_LATE
    }

    /// Returns whether the source never has to be waited for and is exhausted.
    pub fn is_at_end(&mut self, source: &mut dyn Source) -> Result<bool, Error> {
        if self.unread.is_empty() && !self.exhausted && !source.may_wait() {
            match source.read(&mut self.buffer) {
                Ok(read) => (self.unread, self.exhausted) = (0..read, read == 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(self.exhausted && self.unread.is_empty())
    }

    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.unread.clone()]
    }

    /// Reads more if everything is consumed. Returns `false` at the end of the source.
    pub fn fill(&mut self, source: &mut dyn Source, interrupt: &Interrupt) -> Result<bool, Error> {
        while self.unread.is_empty() && !self.exhausted {
            let waits = source.may_wait();
            // waits before reading: input that is read must be answered, and input that is not may go to
            // another reader
            let ready = !waits || source.wait(interrupt);
            // before a message of a file, the caller has already decided
            let decided = !waits && self.of_message == 0;
            if interrupt.requested() && !decided && !(ready && self.may_finish()) {
                return Err(Error::Interrupted);
            }
            if !ready {
                continue;
            }
            let read = match waits {
                true => source.read_ready(&mut self.buffer),
                false => source.read(&mut self.buffer),
            };
            match read {
                Ok(read) => {
                    self.unread = 0..read;
                    self.exhausted = read == 0;
                    self.late += if interrupt.requested() { read as u64 } else { 0 };
                }
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(!self.unread.is_empty())
    }
}

/// A message that is read chunk by chunk. Only `\n`, or the end of the source, ends it.
pub struct Message<'a> {
    input: &'a mut Input,
    source: &'a mut dyn Source,
    interrupt: &'a Interrupt,
    /// Number of bytes consumed.
    offset: u64,
    /// The first bytes of a character whose end has not been read yet.
    split: [u8; 4],
    split_length: usize,
    not_utf8: Option<u64>,
    ended: bool,
}

impl<'a> Message<'a> {
    pub(super) fn new(input: &'a mut Input, source: &'a mut dyn Source, interrupt: &'a Interrupt) -> Self {
        let (split, split_length) = ([0; 4], 0);
        Message { input, source, interrupt, offset: 0, split, split_length, not_utf8: None, ended: false }
    }

    /// Returns the next chunk, waiting for it if necessary.
    ///
    /// # Errors
    /// If the source cannot be read, or the end was requested before the message was complete.
    pub fn next_chunk(&mut self) -> Result<Chunk<'_>, Error> {
        loop {
            if let Some(offset) = self.not_utf8 {
                // until its end has been read it is a partial message, which does not count
                self.skip_rest()?;
                return Ok(Chunk::NotUtf8 { offset });
            }
            let length = self.available()?;
            if length == 0 {
                if self.split_length == 0 {
                    return Ok(Chunk::End);
                }
                self.not_utf8 = Some(self.offset - self.split_length as u64);
                continue;
            }
            if self.split_length == 0 {
                let start = self.input.unread.start;
                let valid = match str::from_utf8(&self.input.unread()[..length]) {
                    Ok(all) => all.len(),
                    Err(error) => error.valid_up_to(),
                };
                if valid > 0 {
                    self.consume(valid);
                    let text = &self.input.buffer[start..start + valid];
                    return Ok(Chunk::Text(str::from_utf8(text).unwrap_or_default()));
                }
            }
            // a character that is invalid or split between two reads: go byte by byte
            self.split[self.split_length] = self.input.unread()[0];
            self.split_length += 1;
            self.consume(1);
            match str::from_utf8(&self.split[..self.split_length]) {
                Ok(_) => {
                    let length = std::mem::take(&mut self.split_length);
                    return Ok(Chunk::Text(str::from_utf8(&self.split[..length]).unwrap_or_default()));
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => self.not_utf8 = Some(self.offset - self.split_length as u64),
            }
        }
    }

    /// Returns whether this message has ended and another complete one was already read.
    pub fn is_followed(&self) -> bool {
        self.ended && self.input.unread().contains(&b'\n')
    }

    /// Skips the rest of the message.
    pub(super) fn skip_rest(&mut self) -> Result<(), Error> {
        loop {
            match self.available()? {
                0 => return Ok(()),
                length => self.consume(length),
            }
        }
    }

    /// Returns how many bytes of this message can be consumed, waiting until there are some; 0 at its end.
    fn available(&mut self) -> Result<usize, Error> {
        if self.ended || !self.input.fill(self.source, self.interrupt)? {
            self.ended = true;
            return Ok(0);
        }
        let unread = self.input.unread();
        let length = unread.iter().position(|&b| b == b'\n').unwrap_or(unread.len());
        if length == 0 {
            self.input.unread.start += 1;
            self.ended = true;
        }
        Ok(length)
    }

    fn consume(&mut self, bytes: usize) {
        self.input.unread.start += bytes;
        self.input.of_message += bytes as u64;
        self.offset += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A message that does not end while anyone would read it. Requests the end when it is waited for the second
    /// time.
    struct Endless(u64, Interrupt, Cell<usize>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 > 2 * MAX_LATE {
                return Ok(0);
            }
            buffer.fill(b'x');
            self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    impl Source for Endless {
        fn may_wait(&self) -> bool {
            true
        }

        fn wait(&self, _: &Interrupt) -> bool {
            self.2.set(self.2.get() + 1);
            if self.2.get() == 2 {
                self.1.request();
            }
            true
        }
    }

    #[test]
    fn the_rest_of_a_message_is_not_read_forever_after_the_end_was_requested() {
        let (interrupt, mut input) = (Interrupt::new().unwrap(), Input::default());
        let mut source = Endless(0, interrupt.clone(), Cell::new(0));
        let end = Message::new(&mut input, &mut source, &interrupt).skip_rest();
        assert!(matches!(end, Err(Error::Interrupted)), "{end:?}");
        assert_eq!(source.0, BUFFER as u64 + MAX_LATE);
        assert_eq!(input.unanswered(), source.0);
    }

    /// Gives a byte at a time. Before each, another reader has taken the input, or a signal comes.
    struct Contended(&'static [u8], Vec<ErrorKind>);

    impl Read for Contended {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.1.pop() {
                Some(kind) => Err(kind.into()),
                None => {
                    self.1 = vec![ErrorKind::WouldBlock, ErrorKind::Interrupted];
                    self.0.read(&mut buffer[..1])
                }
            }
        }
    }

    impl Source for Contended {
        fn may_wait(&self) -> bool {
            true
        }

        fn wait(&self, _: &Interrupt) -> bool {
            true
        }
    }

    #[test]
    fn input_that_is_gone_when_it_is_read_is_waited_for_again() {
        let (interrupt, mut input) = (Interrupt::new().unwrap(), Input::default());
        let mut source = Contended(b"go\n", vec![ErrorKind::WouldBlock]);
        let mut message = Message::new(&mut input, &mut source, &interrupt);
        assert_eq!(message.next_chunk().unwrap(), Chunk::Text("g"));
        assert_eq!(message.next_chunk().unwrap(), Chunk::Text("o"));
        assert_eq!(message.next_chunk().unwrap(), Chunk::End);
    }
}
