//! One message, read while it is consumed.
use super::Interrupt;
use crate::bundle::OpenError;
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::process::ChildStdout;

/// Bytes read at once, and most that a chunk has.
const BUFFER: usize = 64 << 10;

/// A message that is longer is not finished once the end was asked for.
const MOST_LATE: u64 = 64 << 20;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Some characters.
    Text(&'a str),
    /// A byte that is not UTF-8, at this offset in the message. Nothing more comes.
    NotUtf8 {
        /// From 0.
        offset: u64,
    },
    /// Nothing more comes.
    End,
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
    /// The bundle is not what it was: no message after this one has an answer.
    #[error(transparent)]
    Bundle(OpenError),
    /// [`Interrupt::requested`] before a message, or while more of one was awaited. It is not a message without its end.
    #[error("interrupted")]
    Interrupted,
}

/// Where messages come from.
pub trait Source: Read {
    /// Whether a read may have to wait for more.
    fn may_wait(&self) -> bool;

    /// Waits until a read has something to give, an end or an error included, and consumes nothing. `false`: it may have nothing
    /// yet, but the end was asked for.
    fn wait(&self, interrupt: &Interrupt) -> bool;

    /// Reads what is there. [`io::ErrorKind::WouldBlock`]: somebody else was faster.
    fn read_ready(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read(to)
    }
}

/// All of it is there.
impl Source for &[u8] {
    fn may_wait(&self) -> bool {
        false
    }

    fn wait(&self, _: &Interrupt) -> bool {
        true
    }
}

/// Sources that may always have to wait.
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
            // kinds of files and systems without it
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE | Errno::INVAL) => self.read(to),
            result => Ok(result?),
        }
    }
}

/// Bytes that were read and not consumed yet.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Box<[u8]>,
    unread: Range<usize>,
    exhausted: bool,
    /// Bytes consumed of the message in hand.
    of_message: u64,
    /// Bytes read after the end was asked for.
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
    }

    /// What was consumed has an answer.
    pub fn end_message(&mut self) {
        self.of_message = 0;
    }

    /// Bytes that were read and have no answer.
    pub fn unanswered(&self) -> u64 {
        self.of_message + self.unread.len() as u64
    }

    /// Whether the rest of the message in hand may still be read although the end was asked for, where it is there already.
    fn may_finish(&self) -> bool {
        self.of_message > 0 && self.late < MOST_LATE
    }

    /// Whether a source that need not be waited for has no more.
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

    /// Reads more if all is consumed. `false`: there is no more.
    pub fn fill(&mut self, source: &mut dyn Source, interrupt: &Interrupt) -> Result<bool, Error> {
        while self.unread.is_empty() && !self.exhausted {
            let waits = source.may_wait();
            // apart from the read: what is read has to be answered, and what is not may be somebody else's
            let ready = !waits || source.wait(interrupt);
            if interrupt.requested() && !(ready && self.may_finish()) {
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

/// A message whose chunks are pulled one by one. Only `\n`, or the end of the source, ends it.
pub struct Message<'a> {
    input: &'a mut Input,
    source: &'a mut dyn Source,
    interrupt: &'a Interrupt,
    /// Bytes consumed.
    offset: u64,
    /// Start of a character whose end has not been read yet.
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

    /// The next characters. Waits for them where it must.
    pub fn next_chunk(&mut self) -> Result<Chunk<'_>, Error> {
        loop {
            if let Some(offset) = self.not_utf8 {
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
            // a character that is split between two reads, or wrong: byte by byte
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

    /// Whether this one has ended, and another whole one was read already.
    pub fn is_followed(&self) -> bool {
        self.ended && self.input.unread().contains(&b'\n')
    }

    /// Reads past the end of the message.
    pub(super) fn skip_rest(&mut self) -> Result<(), Error> {
        loop {
            match self.available()? {
                0 => return Ok(()),
                length => self.consume(length),
            }
        }
    }

    /// Bytes of this message that can be consumed; waits until there are some. 0: it has ended.
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
