use crate::train::Event;

/// What happens during a run.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step begins; `reused` when its output is already there.
    Step {
        /// Its name.
        name: &'a str,
        /// Nothing has to be done.
        reused: bool,
    },
    /// Something a person should know.
    Note(&'a str),
    /// Inside of training.
    Training(Event<'a>),
    /// `done` of `all` texts were classified.
    Classified {
        /// So many.
        done: usize,
        /// Of so many.
        all: usize,
    },
}

/// Who is told of it.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Progress);

/// Tells how many of some texts are classified.
pub(super) struct Counted<'a> {
    done: usize,
    all: usize,
    watch: Watch<'a>,
}

impl<'a> Counted<'a> {
    pub fn new(all: usize, watch: Watch<'a>) -> Self {
        Self { done: 0, all, watch }
    }

    /// One more.
    pub fn one(&mut self) {
        self.done += 1;
        (self.watch)(Progress::Classified { done: self.done, all: self.all });
    }
}
