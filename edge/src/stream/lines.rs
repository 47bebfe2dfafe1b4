//! Splits sources into messages, one per line.
use super::Interrupt;
use super::message::{Error, Input, Message, Source};

/// Consumes messages.
pub trait Sink {
    /// Handles a message, numbered from 1. The rest that it does not read is skipped.
    ///
    /// # Errors
    /// Whatever ends the stream.
    fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error>;

    /// Makes everything so far visible, because the source may have no more input for now.
    ///
    /// # Errors
    /// Whatever ends the stream.
    fn flush(&mut self) -> Result<(), Error>;
}

/// Why [`Lines::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source is exhausted.
    Source,
    /// The end was [requested](Interrupt::requested).
    Interrupted {
        /// Bytes that were read but do not belong to a completed message.
        unanswered: u64,
    },
}

/// Splits sources into lines. Only `\n` ends a line; the last line may lack it. An empty line is a message.
#[derive(Debug, Default)]
pub struct Lines {
    input: Input,
    number: u64,
}

impl Lines {
    /// Returns the number of completed messages, of all sources.
    pub fn messages(&self) -> u64 {
        self.number
    }

    /// Passes all lines of `source` to `sink`. Flushes the sink before each read,
    /// since that may have to wait.
    ///
    /// # Errors
    /// The error of the source, after a flush, or of the sink.
    pub fn run(
        &mut self,
        source: &mut dyn Source,
        sink: &mut impl Sink,
        interrupt: &Interrupt,
    ) -> Result<End, Error> {
        self.input.begin_source();
        let end = loop {
            match self.next(source, sink, interrupt) {
                Ok(true) => {}
                Ok(false) => break End::Source,
                Err(Error::Interrupted) => break End::Interrupted { unanswered: self.input.unanswered() },
                Err(error @ Error::Read(_)) => {
                    sink.flush()?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        };
        sink.flush()?;
        Ok(end)
    }

    fn next(
        &mut self,
        source: &mut dyn Source,
        sink: &mut impl Sink,
        interrupt: &Interrupt,
    ) -> Result<bool, Error> {
        // first, because it may take long and the end may be requested meanwhile
        if !self.input.unread().contains(&b'\n') {
            sink.flush()?;
        }
        if interrupt.requested() && !self.input.is_at_end(source)? {
            return Err(Error::Interrupted);
        }
        if !self.input.fill(source, interrupt)? {
            return Ok(false);
        }
        let number = self.number + 1;
        let mut message = Message::new(&mut self.input, source, interrupt);
        sink.message(number, &mut message)?;
        message.skip_rest()?;
        self.input.end_message();
        self.number = number;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Chunk;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::io::{self, Read};

    #[derive(Default)]
    struct Collect {
        messages: Vec<(u64, Result<String, u64>)>,
        interrupt: Option<Interrupt>,
    }

    impl Sink for Collect {
        fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error> {
            let mut text = String::new();
            let result = loop {
                match message.next_chunk()? {
                    Chunk::Text(chunk) => text.push_str(chunk),
                    Chunk::NotUtf8 { offset } => break Err(offset),
                    Chunk::End => break Ok(text),
                }
            };
            self.messages.push((number, result));
            self.interrupt.iter().for_each(Interrupt::request);
            Ok(())
        }
        fn flush(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    /// Yields at most the given number of bytes per read.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    impl Source for Dribble<'_> {
        fn may_wait(&self) -> bool {
            true
        }

        fn wait(&self, _: &Interrupt) -> bool {
            true
        }
    }

    fn source() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"\n".to_vec()),
            Just("ä€🦀".as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..4),
            "[a-z\r\\x00]{0,3}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// However the source is cut into reads, the result is that of splitting and checking it as a whole.
        #[test]
        fn every_line_is_one_message(source in source(), most in 1usize..9) {
            let mut lines: Vec<&[u8]> = source.split(|&b| b == b'\n').collect();
            if lines.last().is_some_and(|last| last.is_empty()) {
                lines.pop();
            }
            let check = |line| str::from_utf8(line).map(str::to_owned).map_err(|e| e.valid_up_to() as u64);
            let expected: Vec<_> = (1..).zip(lines.into_iter().map(check)).collect();
            let mut sink = Collect::default();
            let end = Lines::default().run(&mut Dribble(&source, most), &mut sink, &Interrupt::new().unwrap());
            prop_assert_eq!(end.unwrap(), End::Source);
            prop_assert_eq!(sink.messages, expected);
        }
    }

    #[test]
    fn an_interrupt_ends_after_the_message_in_hand() {
        let interrupt = Interrupt::new().unwrap();
        let mut sink = Collect { interrupt: Some(interrupt.clone()), ..Collect::default() };
        let end = Lines::default().run(&mut &b"one\ntwo\n"[..], &mut sink, &interrupt).unwrap();
        let one = vec![(1, Ok("one".to_owned()))];
        assert_eq!((end, sink.messages), (End::Interrupted { unanswered: 4 }, one));
    }

    /// Requests the end when it is waited for the second time. Yields at most the last number of bytes per read.
    struct Ends<'a>(&'a [u8], Interrupt, Cell<usize>, usize);

    impl<'a> Ends<'a> {
        fn new(text: &'a [u8], interrupt: &Interrupt) -> Ends<'a> {
            Ends(text, interrupt.clone(), Cell::new(0), usize::MAX)
        }
    }

    impl Read for Ends<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.3.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    impl Source for Ends<'_> {
        fn may_wait(&self) -> bool {
            true
        }

        fn wait(&self, _: &Interrupt) -> bool {
            self.2.set(self.2.get() + 1);
            if self.2.get() == 2 {
                self.1.request();
            }
            !self.0.is_empty()
        }
    }

    #[test]
    fn a_message_in_hand_is_finished_if_its_rest_is_available() {
        for (after, messages) in [(&b""[..], 1), (b"\n", 2), (b"\nmore\n", 2)] {
            let text = [b"one\n", &[b'x'; 1_000_000][..], after].concat();
            let (interrupt, mut sink) = (Interrupt::new().unwrap(), Collect::default());
            let mut source = Ends::new(&text, &interrupt);
            let end = Lines::default().run(&mut source, &mut sink, &interrupt).unwrap();
            let unanswered = if messages == 1 { 1_000_000 } else { after.len() as u64 - 1 };
            assert_eq!((end, sink.messages.len()), (End::Interrupted { unanswered }, messages));
            assert!(source.0.is_empty());
        }
    }

    #[test]
    fn a_partial_message_does_not_count_even_if_it_is_not_utf8() {
        let (interrupt, mut sink) = (Interrupt::new().unwrap(), Collect::default());
        let mut source = Ends::new(b"one\n\xfftwo", &interrupt);
        let mut lines = Lines::default();
        let end = lines.run(&mut source, &mut sink, &interrupt).unwrap();
        let one = vec![(1, Ok("one".to_owned()))];
        assert_eq!((end, sink.messages, lines.messages()), (End::Interrupted { unanswered: 4 }, one, 1));
    }

    #[test]
    fn numbers_continue_across_sources() {
        let (mut lines, mut sink) = (Lines::default(), Collect::default());
        for mut source in [&b"one"[..], b"", b"\ntwo\n"] {
            lines.run(&mut source, &mut sink, &Interrupt::new().unwrap()).unwrap();
        }
        let numbers: Vec<_> = sink.messages.into_iter().map(|(n, text)| (n, text.unwrap())).collect();
        assert_eq!(numbers, [(1, "one".into()), (2, "".into()), (3, "two".into())]);
    }

    #[test]
    fn a_message_that_has_not_begun_stays_in_the_source() {
        let (interrupt, mut sink) = (Interrupt::new().unwrap(), Collect::default());
        let mut source = Ends(b"one\ntwo\n", interrupt.clone(), Cell::new(0), 4);
        let end = Lines::default().run(&mut source, &mut sink, &interrupt).unwrap();
        assert_eq!((end, sink.messages.len()), (End::Interrupted { unanswered: 0 }, 1));
        assert_eq!(source.0, b"two\n");
    }

    #[test]
    fn what_an_interrupted_source_left_is_no_message_of_the_next() {
        let (mut lines, interrupt) = (Lines::default(), Interrupt::new().unwrap());
        let mut sink = Collect { interrupt: Some(interrupt.clone()), ..Collect::default() };
        let end = lines.run(&mut &b"one\nleft\n"[..], &mut sink, &interrupt).unwrap();
        assert_eq!(end, End::Interrupted { unanswered: 5 });
        let (interrupt, mut sink) = (Interrupt::new().unwrap(), Collect::default());
        let end = lines.run(&mut Ends::new(b"two\npart", &interrupt), &mut sink, &interrupt).unwrap();
        let two = vec![(2, Ok("two".to_owned()))];
        assert_eq!((end, sink.messages), (End::Interrupted { unanswered: 4 }, two));
        // nothing of this one has been read
        let end = lines.run(&mut Dribble(b"three\n", 9), &mut Collect::default(), &interrupt).unwrap();
        assert_eq!((end, lines.messages()), (End::Interrupted { unanswered: 0 }, 2));
    }

    /// Notes what it is told, without reading the messages.
    #[derive(Default)]
    struct Note {
        told: Vec<&'static str>,
        interrupt: Option<Interrupt>,
    }

    impl Sink for Note {
        fn message(&mut self, _: u64, _: &mut Message<'_>) -> Result<(), Error> {
            assert!(self.told.len() < 9, "the same message again");
            self.told.push("message");
            self.interrupt.iter().for_each(Interrupt::request);
            Ok(())
        }
        fn flush(&mut self) -> Result<(), Error> {
            self.told.push("flush");
            Ok(())
        }
    }

    #[test]
    fn sinks_are_flushed_before_each_read_and_at_the_end() {
        for (text, interrupts, told, end) in [
            (&b"one\ntwo\n"[..], false, "flush message message flush flush", End::Source),
            (b"one\ntwo\n", true, "flush message flush", End::Interrupted { unanswered: 4 }),
            // nothing is lost
            (b"one\n", true, "flush message flush flush", End::Source),
        ] {
            let interrupt = Interrupt::new().unwrap();
            let mut sink = Note { interrupt: interrupts.then(|| interrupt.clone()), ..Note::default() };
            let found = Lines::default().run(&mut &*text, &mut sink, &interrupt).unwrap();
            assert_eq!((sink.told.join(" ").as_str(), found), (told, end));
        }
    }

    #[test]
    fn nothing_is_left_if_the_end_is_requested_while_the_last_answers_are_made() {
        /// Requests the end when it is flushed for the second time, which is after the first read.
        struct Slow(Interrupt, usize);
        impl Sink for Slow {
            fn message(&mut self, _: u64, _: &mut Message<'_>) -> Result<(), Error> {
                Ok(())
            }
            fn flush(&mut self) -> Result<(), Error> {
                self.1 += 1;
                if self.1 == 2 {
                    self.0.request();
                }
                Ok(())
            }
        }
        for (text, end) in [
            (b"one\ntwo\n".to_vec(), End::Source),
            // one message that ends with the buffer, and one in the next
            ([&[b'x'; (64 << 10) - 1][..], b"\ntwo\n"].concat(), End::Interrupted { unanswered: 4 }),
        ] {
            let interrupt = Interrupt::new().unwrap();
            let mut sink = Slow(interrupt.clone(), 0);
            assert_eq!(Lines::default().run(&mut &*text, &mut sink, &interrupt).unwrap(), end);
        }
    }

    #[test]
    fn sinks_are_flushed_if_the_source_fails_within_a_message() {
        struct Fails(&'static [u8]);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0 {
                    [] => Err(io::Error::other("gone")),
                    _ => self.0.read(buffer),
                }
            }
        }
        impl Source for Fails {
            fn may_wait(&self) -> bool {
                false
            }
            fn wait(&self, _: &Interrupt) -> bool {
                true
            }
        }
        let (mut lines, mut sink) = (Lines::default(), Note::default());
        let found = lines.run(&mut Fails(b"one\ntw"), &mut sink, &Interrupt::new().unwrap());
        assert!(matches!(found, Err(Error::Read(_))), "{found:?}");
        assert_eq!(
            (sink.told.join(" ").as_str(), lines.messages()),
            ("flush message flush message flush", 1)
        );
    }
}
