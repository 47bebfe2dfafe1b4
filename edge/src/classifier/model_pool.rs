//! A pool of threads that run texts. Their models share the weights, and logits come out
//! in the order of the texts.
use super::Error;
use crate::model::{self, Exchange, Model, Part};
use crate::tokenizer::Encoding;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Minimum tokens in a part of a split text. With fewer, the threads lose more by waiting for each other than
/// they gain.
const MIN_PART: usize = 32;

/// Texts that a pool holds per thread: one that runs and one that waits.
const TEXTS_PER_THREAD: usize = 2;

/// Models on several threads. The calling thread is one of them and works while it waits.
///
/// Allocates nothing after construction, with a fused model.
pub struct ModelPool {
    model: Model,
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    exchange: Option<Arc<Exchange>>,
    free: Vec<Text>,
    /// Number of the next text.
    next: u64,
}

/// A text in the pool, and its result.
struct Text {
    encoding: Box<Encoding>,
    logits: Vec<f32>,
    result: Result<(), model::Error>,
}

/// A text, or a part of one, that waits for a thread.
struct Task {
    number: u64,
    part: Part,
    text: Text,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signals a new task, or the end of the pool.
    work: Condvar,
    /// Signals a new result.
    result: Condvar,
}

struct Queue {
    tasks: VecDeque<Task>,
    /// Results of the texts from number `first` on; `None` for those that are not done.
    results: VecDeque<Option<Text>>,
    first: u64,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // no thread panics while it holds the lock
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, number: u64, text: Text) {
        let mut queue = self.queue();
        let at = (number - queue.first) as usize;
        queue.results[at] = Some(text);
        self.result.notify_one();
    }

    fn help(&self, mut model: Model, exchange: Option<&Exchange>) {
        let mut queue = self.queue();
        while !queue.closed {
            match queue.tasks.pop_front() {
                Some(task) => {
                    drop(queue);
                    let Task { number, part, mut text } = task;
                    text.run(&mut model, part, exchange);
                    self.put(number, text);
                    queue = self.queue();
                }
                None => queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Queue {
    /// Removes and returns the oldest text if it is done.
    fn oldest(&mut self) -> Option<Text> {
        let text = self.results.front_mut().expect("a text to wait for").take()?;
        self.results.pop_front();
        self.first += 1;
        Some(text)
    }
}

impl Text {
    fn run(&mut self, model: &mut Model, part: Part, exchange: Option<&Exchange>) {
        let (ids, types) = (self.encoding.ids(), self.encoding.type_ids());
        self.result = match exchange {
            Some(exchange) if part != Part::WHOLE => {
                model.run_part(part, exchange, ids, types, &mut self.logits)
            }
            _ => model.run(ids, types, &mut self.logits),
        };
    }
}

/// Aborts the process when a thread of the pool panics, which is a bug: threads that share a text with it
/// would wait forever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl ModelPool {
    /// Starts a pool of `threads` threads, the calling one included, that share the weights of `model`.
    ///
    /// # Errors
    /// If the model cannot be shared, or a thread cannot be started.
    pub fn new(model: Model, threads: usize) -> Result<ModelPool, Error> {
        let held = threads.max(1) * TEXTS_PER_THREAD;
        let queue = Queue {
            tasks: VecDeque::with_capacity(held),
            results: VecDeque::with_capacity(held),
            first: 0,
            closed: false,
        };
        let shared =
            Arc::new(Shared { queue: Mutex::new(queue), work: Condvar::new(), result: Condvar::new() });
        let text = || {
            let logits = vec![0.0; model.classes()];
            Text { encoding: Box::default(), logits, result: Ok(()) }
        };
        let free = (0..held).map(|_| text()).collect();
        let exchange = (threads > 1).then(|| model.exchange(threads)).flatten().map(Arc::new);
        let mut pool = ModelPool { model, shared, helpers: vec![], exchange, free, next: 0 };
        for number in 1..threads {
            let (model, shared, exchange) = (pool.model.share()?, pool.shared.clone(), pool.exchange.clone());
            let help = move || {
                let _guard = AbortOnPanic;
                shared.help(model, exchange.as_deref());
            };
            let helper = thread::Builder::new().name(format!("model {number}")).spawn(help);
            pool.helpers.push(helper.map_err(Error::Thread)?);
        }
        Ok(pool)
    }

    /// Returns the number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Returns whether another text can be given before one is taken.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Returns whether all texts that were given have been taken.
    pub fn is_idle(&self) -> bool {
        self.shared.queue().results.is_empty()
    }

    /// Returns whether the oldest text is done, so that taking it would not wait.
    pub fn is_ready(&self) -> bool {
        matches!(self.shared.queue().results.front(), Some(Some(_)))
    }

    /// Queues a text for the next free thread. There must be [room](Self::has_room).
    pub fn give(&mut self, encoding: &Encoding) {
        self.give_part(encoding, Part::WHOLE);
    }

    fn give_part(&mut self, encoding: &Encoding, part: Part) {
        let mut text = self.free.pop().expect("room for a text");
        (*text.encoding).clone_from(encoding);
        let mut queue = self.shared.queue();
        queue.results.push_back(None);
        queue.tasks.push_back(Task { number: self.next, part, text });
        self.next += 1;
        self.shared.work.notify_one();
    }

    /// Waits for the oldest text, running queued ones meanwhile, and writes its logits. There must be one.
    ///
    /// # Errors
    /// The error of running that text.
    pub fn take(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        let mut text = self.wait();
        logits.copy_from_slice(&text.logits);
        let result = std::mem::replace(&mut text.result, Ok(()));
        self.free.push(text);
        Ok(result?)
    }

    /// Waits for the oldest text, running queued ones meanwhile.
    fn wait(&mut self) -> Text {
        let mut queue = self.shared.queue();
        loop {
            if let Some(text) = queue.oldest() {
                return text;
            }
            match queue.tasks.pop_front() {
                Some(Task { number, part, mut text }) => {
                    drop(queue);
                    text.run(&mut self.model, part, self.exchange.as_deref());
                    self.shared.put(number, text);
                    queue = self.shared.queue();
                }
                None => queue = self.shared.result.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Runs a single text as fast as possible: on the calling thread if it is short, split across threads if
    /// it is long. The pool must be [idle](Self::is_idle).
    ///
    /// # Errors
    /// The error of running the text.
    pub fn run(&mut self, encoding: &Encoding, logits: &mut [f32]) -> Result<(), Error> {
        assert!(self.is_idle(), "a single text, while others are under way");
        let (ids, types) = (encoding.ids(), encoding.type_ids());
        let parts = self.threads().min(ids.len() / MIN_PART);
        let Some(exchange) = self.exchange.clone().filter(|_| parts > 1) else {
            return Ok(self.model.run(ids, types, logits)?);
        };
        for number in 1..parts {
            self.give_part(encoding, Part { number, of: parts });
        }
        let _guard = AbortOnPanic;
        let result = self.model.run_part(Part { number: 0, of: parts }, &exchange, ids, types, logits);
        // The other parts give no logits, and fail if and only if this one does. None of them is queued any
        // more, unless all fail before they wait for each other.
        for _ in 1..parts {
            let text = self.wait();
            self.free.push(text);
        }
        Ok(result?)
    }
}

impl Drop for ModelPool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.tasks.clear();
        drop(queue);
        self.shared.work.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}
