//! A loaded bundle on several threads: answers come out in the order of the messages.
use super::reader::Read;
use super::{Classifier, Error, Input, Mean, ModelPool, Outcome, Reader, feed, outcome};
use crate::bundle::Manifest;
use crate::decision::Decider;
use crate::tokenizer::{Encoding, Tokenizer};
use bytes::Bytes;
use std::collections::VecDeque;
use std::convert::Infallible;

/// Maximum number of threads of a [`ThreadedClassifier`].
pub const MAX_THREADS: usize = 256;

/// A [`Classifier`] on several threads. It reads a few messages ahead and answers them in order, with the
/// same bits.
///
/// `E` is the error of reading a message; such an error takes the place of that message's answer. With a
/// fused model, it allocates nothing after construction.
pub struct ThreadedClassifier<E = Infallible> {
    manifest: Manifest,
    reader: Reader,
    decider: Decider,
    work: Work<E>,
    /// The message that was answered last.
    answered: Message<E>,
}

/// The number of a message, and its outcome or error.
pub type NumberedOutcome<'a, E> = (u64, Result<Result<Outcome<'a>, Error>, E>);

/// Messages in flight, and their windows.
struct Work<E> {
    pool: ModelPool,
    /// Messages in flight, the oldest first.
    messages: VecDeque<Message<E>>,
    spare: Vec<Message<E>>,
    logits: Vec<f32>,
    /// The first window of the newest message, held back until it is known whether there are more.
    first: Encoding,
    /// Whether `first` is held back.
    kept: bool,
}

struct Message<E> {
    number: u64,
    /// Number of windows given to the pool and not taken back yet.
    awaited: usize,
    mean: Mean,
    /// The first error that the model gave for a window.
    failed: Option<Error>,
    /// How reading the message ended.
    read: Option<Read<E>>,
}

impl<E> Message<E> {
    fn new(classes: usize) -> Self {
        Message { number: 0, awaited: 0, mean: Mean::new(classes), failed: None, read: None }
    }

    fn add(&mut self, result: Result<(), Error>, logits: &[f32]) {
        match result {
            Ok(()) => self.mean.add(logits),
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }
}

impl Classifier {
    /// Moves the classifier to `threads` threads, the calling one included. The number is clamped
    /// to 1 to [`MAX_THREADS`].
    ///
    /// # Errors
    /// [`Error::Thread`] if the system cannot start a thread, [`Error::Model`] if tract
    /// cannot plan the model again.
    pub fn into_threaded<E>(self, threads: usize) -> Result<ThreadedClassifier<E>, Error> {
        let threads = threads.clamp(1, MAX_THREADS);
        let Classifier { manifest, reader, model, logits, decider, .. } = self;
        let classes = logits.len();
        let pool = ModelPool::new(model, threads)?;
        // enough for every thread to have one in work and one waiting, even if all are short
        let ahead = 2 * pool.threads();
        let spare = (0..ahead).map(|_| Message::new(classes)).collect();
        let messages = VecDeque::with_capacity(ahead);
        let work = Work { pool, messages, spare, logits, first: Encoding::new(), kept: false };
        Ok(ThreadedClassifier { manifest, reader, decider, work, answered: Message::new(classes) })
    }
}

impl<E> std::fmt::Debug for ThreadedClassifier<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = self.work.pool.threads();
        let mut debug = f.debug_struct("ThreadedClassifier");
        debug.field("manifest", &self.manifest).field("threads", &threads).finish_non_exhaustive()
    }
}

impl<E> ThreadedClassifier<E> {
    /// Returns the manifest of the bundle.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer<Bytes> {
        self.reader.tokenizer()
    }

    /// Returns the pool of models, for measuring it alone.
    #[doc(hidden)]
    pub fn models_mut(&mut self) -> &mut ModelPool {
        &mut self.work.pool
    }

    /// Returns whether another message can be read before an answer is taken.
    pub fn has_room(&self) -> bool {
        !self.work.spare.is_empty()
    }

    /// Reads a message from `feed`. [`start`](Self::start) runs the model on it at once, else the next `read` or
    /// [`answer`](Self::answer) does.
    ///
    /// # Panics
    /// If there is no [room](Self::has_room).
    pub fn read(&mut self, number: u64, feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>) {
        let ThreadedClassifier { reader, work, .. } = self;
        // a window that is held back belongs to the previous message
        work.give_first();
        let mut message = work.spare.pop().expect("room for a message");
        (message.number, message.awaited, message.failed, message.read) = (number, 0, None, None);
        message.mean.clear();
        work.messages.push_back(message);
        let read = reader.read(feed, &mut |window| {
            work.window(window);
            Ok(())
        });
        if let Some(message) = work.messages.back_mut() {
            message.read = Some(read);
        }
    }

    /// Runs the model on what was read. If the message is `alone`, so that no other waits to be read, and
    /// nothing else is running, all threads work on it together.
    pub fn start(&mut self, alone: bool) {
        let Work { pool, messages, logits, first, kept, .. } = &mut self.work;
        if *kept && alone && pool.is_idle() {
            *kept = false;
            let result = pool.run(first, logits);
            if let Some(message) = messages.back_mut() {
                message.add(result, logits);
            }
        }
        self.work.give_first();
    }

    /// Waits for the answer to the oldest message, and returns it with its number. Returns `None` if there is
    /// no message.
    pub fn answer(&mut self) -> Option<NumberedOutcome<'_, E>> {
        self.next(true)
    }

    /// Like [`answer`](Self::answer), but also returns `None` if other threads are still at work on it. A single
    /// thread does the work itself.
    pub fn try_answer(&mut self) -> Option<NumberedOutcome<'_, E>> {
        self.next(false)
    }

    fn next(&mut self, wait: bool) -> Option<NumberedOutcome<'_, E>> {
        let ThreadedClassifier { manifest, reader, work, answered, decider } = self;
        work.give_first();
        while work.messages.front()?.awaited > 0 {
            // a single thread has nobody else to wait for
            if !wait && work.pool.threads() > 1 && !work.pool.is_ready() {
                return None;
            }
            work.take();
        }
        let message = work.messages.pop_front()?;
        work.spare.push(std::mem::replace(answered, message));
        let (failed, read) = (answered.failed.take(), answered.read.take()?);
        let outcome = read.map(|read| {
            let length = failed.map_or(read, Err)?;
            outcome(manifest, reader, length, &mut answered.mean, decider)
        });
        Some((answered.number, outcome))
    }
}

impl ThreadedClassifier {
    /// Classifies one text or, if the model compares two, a pair, on as many threads as are worthwhile.
    ///
    /// # Errors
    /// The same as for [`Classifier::classify`].
    ///
    /// # Panics
    /// If messages that were [read](Self::read) have not been answered.
    pub fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<Outcome<'_>, Error> {
        assert!(self.work.messages.is_empty(), "a single text, while others are under way");
        self.read(0, &mut feed(text, pair));
        self.start(true);
        let Some((_, Ok(outcome))) = self.answer() else { unreachable!("a message was read") };
        outcome
    }
}

impl<E> Work<E> {
    /// Takes another window of the newest message.
    fn window(&mut self, window: &Encoding) {
        let newest = self.messages.back();
        if !self.kept && newest.is_some_and(|m| m.awaited == 0 && m.mean.windows == 0) {
            self.first.clone_from(window);
            self.kept = true;
        } else {
            self.give_first();
            self.give(|pool, _| pool.give(window));
        }
    }

    fn give_first(&mut self) {
        if std::mem::take(&mut self.kept) {
            self.give(|pool, first| pool.give(first));
        }
    }

    fn give(&mut self, give: impl FnOnce(&mut ModelPool, &Encoding)) {
        while !self.pool.has_room() {
            self.take();
        }
        give(&mut self.pool, &self.first);
        if let Some(message) = self.messages.back_mut() {
            message.awaited += 1;
        }
    }

    /// Waits for the oldest window, which belongs to the oldest message with unfinished windows.
    fn take(&mut self) {
        let result = self.pool.take(&mut self.logits);
        if let Some(message) = self.messages.iter_mut().find(|m| m.awaited > 0) {
            message.awaited -= 1;
            message.add(result, &self.logits);
        }
    }
}
