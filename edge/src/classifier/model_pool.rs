//! Several threads that run texts: their models share the weights, and logits come out in the order of the texts.
use super::Error;
use crate::model::{self, Exchange, Model, Part};
use crate::tokenizer::Encoding;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// A text is split so that no part has fewer tokens: below, waiting for each other takes more than is gained.
const LEAST_PART: usize = 32;

/// Texts that a pool holds, for each of its threads: one at work and one that waits for it.
const HELD: usize = 2;

/// Models on several threads. The caller's thread is one of them: it works while it waits.
///
/// Allocates nothing after it was made.
pub struct ModelPool {
    model: Model,
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    exchange: Option<Arc<Exchange>>,
    free: Vec<Text>,
    /// Number of the next text.
    next: u64,
}

/// A text on its way.
struct Text {
    encoding: Box<Encoding>,
    logits: Vec<f32>,
    result: Result<(), model::Error>,
}

/// A text that waits for a thread, or the part of one.
struct Task {
    number: u64,
    part: Part,
    text: Text,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is a task, or it is over.
    work: Condvar,
    /// A result came in.
    result: Condvar,
}

struct Queue {
    tasks: VecDeque<Task>,
    /// Of the texts from number `first` on; `None` while somebody is at it.
    results: VecDeque<Option<Text>>,
    first: u64,
    over: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // nothing panics while it holds the lock
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
        while !queue.over {
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
    /// Takes the oldest text out if it is done.
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

/// Ends the process when one of those who share a text panics, which is a bug: the others would wait for it for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl ModelPool {
    /// `threads` of them with the weights of `model`, the caller's included.
    pub fn new(model: Model, threads: usize) -> Result<ModelPool, Error> {
        let held = threads.max(1) * HELD;
        let queue = Queue {
            tasks: VecDeque::with_capacity(held),
            results: VecDeque::with_capacity(held),
            first: 0,
            over: false,
        };
        let shared =
            Arc::new(Shared { queue: Mutex::new(queue), work: Condvar::new(), result: Condvar::new() });
        let text = || {
            let logits = vec![0.0; model.classes()];
            Text { encoding: Box::default(), logits, result: Ok(()) }
        };
        let free = (0..held).map(|_| text()).collect();
        let exchange = model.exchange(threads).map(Arc::new);
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

    /// Threads at work, the caller's included.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Whether one more text can be given before one is taken.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether no text was given that has not been taken.
    pub fn is_idle(&self) -> bool {
        self.shared.queue().results.is_empty()
    }

    /// Whether the oldest text is done, so that taking it would not wait.
    pub fn is_ready(&self) -> bool {
        matches!(self.shared.queue().results.front(), Some(Some(_)))
    }

    /// Gives a text to whoever has time. There must be room.
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

    /// Waits for the oldest text, working meanwhile, and writes its logits. There must be one.
    pub fn take(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        let mut queue = self.shared.queue();
        let mut text = loop {
            if let Some(text) = queue.oldest() {
                break text;
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
        };
        drop(queue);
        logits.copy_from_slice(&text.logits);
        let result = std::mem::replace(&mut text.result, Ok(()));
        self.free.push(text);
        Ok(result?)
    }

    /// Runs a single text as fast as all threads can: here if it is short, split if it is long. The pool must be idle.
    pub fn run(&mut self, encoding: &Encoding, logits: &mut [f32]) -> Result<(), Error> {
        assert!(self.is_idle(), "a single text, while others are under way");
        let (ids, types) = (encoding.ids(), encoding.type_ids());
        let parts = self.threads().min(ids.len() / LEAST_PART);
        let Some(exchange) = self.exchange.clone().filter(|_| parts > 1) else {
            return Ok(self.model.run(ids, types, logits)?);
        };
        for number in 1..parts {
            self.give_part(encoding, Part { number, of: parts });
        }
        let _guard = AbortOnPanic;
        let result = self.model.run_part(Part { number: 0, of: parts }, &exchange, ids, types, logits);
        // the others have no logits, and fail as this one does
        for _ in 1..parts {
            let mut queue = self.shared.queue();
            let text = loop {
                match queue.oldest() {
                    Some(text) => break text,
                    None => queue = self.shared.result.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            self.free.push(text);
        }
        Ok(result?)
    }
}

impl Drop for ModelPool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.over = true;
        queue.tasks.clear();
        drop(queue);
        self.shared.work.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}
