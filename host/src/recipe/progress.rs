use crate::train::Event;

/// An event during a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A step begins.
    Step {
        /// Name of the step.
        name: &'a str,
        /// Whether its output is already there.
        reused: bool,
    },
    /// A message for the user.
    Note(&'a str),
    /// An event of training.
    Training(Event<'a>),
    /// `done` of `all` texts were classified.
    Classified {
        /// Number of texts classified so far.
        done: usize,
        /// Number of texts in all.
        all: usize,
    },
    /// `done` of `all` steps of the regression on n-grams were made.
    Fitted {
        /// Number of steps made so far.
        done: usize,
        /// Number of steps in all.
        all: usize,
    },
}

/// The receiver of events.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Progress);

/// Reports how many texts have been classified.
pub(super) struct Counted<'a> {
    done: usize,
    all: usize,
    watch: Watch<'a>,
}

impl<'a> Counted<'a> {
    pub fn new(all: usize, watch: Watch<'a>) -> Self {
        Self { done: 0, all, watch }
    }

    /// Counts one text.
    pub fn one(&mut self) {
        self.done += 1;
        (self.watch)(Progress::Classified { done: self.done, all: self.all });
    }
}
