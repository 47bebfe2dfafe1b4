//! A bundle, ready to classify: tokenizer, model and decision in one, on one thread ([`Classifier`]) or several ([`ThreadedClassifier`]).
mod model_pool;
mod reader;
mod self_test;
mod threaded;

#[doc(hidden)]
pub use model_pool::ModelPool;
use reader::Length;
#[doc(hidden)]
pub use reader::Reader;
pub use self_test::SelfTestError;
pub use threaded::{Answer, MOST_THREADS, ThreadedClassifier};

use crate::bundle::{self, Bundle, Manifest, Mapped};
use crate::decision::{self, Decider, Decision};
use crate::kernels::Kernels;
use crate::model::{self, Model};
use crate::tokenizer::{self, Tokenizer};
use bytes::Bytes;
use std::convert::Infallible;
use std::path::Path;

/// How a bundle is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Replace the parts of the model that are recognised by fused operators.
    pub fuse: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true }
    }
}

/// Why a bundle cannot be loaded, or a message not classified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be mapped, or was written to since.
    #[error(transparent)]
    Open(#[from] bundle::OpenError),
    /// The bytes are not a bundle, or a damaged one.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The vocabulary does not make a tokenizer.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] tokenizer::Error),
    /// The model does not load or run.
    #[error("model: {0}")]
    Model(#[from] model::Error),
    /// The logits have no answer.
    #[error(transparent)]
    Decision(#[from] decision::Error),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// Bundle and model contradict each other.
    #[error("the model gives {logits} logits for {labels} labels")]
    Labels {
        /// Classes of the model.
        logits: usize,
        /// Labels of the manifest.
        labels: usize,
    },
    /// Bundle and model contradict each other: a text could have what the model has no row for.
    #[error("the bundle asks for {asked} {what}, the model has {rows}")]
    Rows {
        /// Word pieces, token types or positions.
        what: &'static str,
        /// As the manifest or the vocabulary says.
        asked: usize,
        /// Rows of the model's table.
        rows: usize,
    },
    /// One text where the model compares two, or two where it takes one.
    #[error("{}", if *pair { "the model compares two texts" } else { "the model takes one text" })]
    Texts {
        /// What the model takes.
        pair: bool,
    },
}

/// The answer for one message.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The names of the classes.
    pub labels: &'a [String],
    /// One per label, before the temperature is applied.
    pub logits: &'a [f32],
    /// What they mean.
    pub decision: Decision<'a>,
    /// Tokens that the model read, special tokens included; pieces shared by two windows count once.
    pub tokens: usize,
    /// Whether the text has more, which was cut off.
    pub truncated: bool,
}

/// Takes the text of a message in chunks, however they are cut.
pub trait Input {
    /// More of the current text.
    fn push(&mut self, chunk: &str);
    /// What follows is the second text.
    fn second_text(&mut self);
}

/// What classifies a message that comes in chunks: a [`Classifier`], or a stand-in in a test.
pub trait Classify {
    /// Lets `feed` give the message, and answers, unless `feed` gives up.
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, Error>, E>;
}

/// A loaded bundle.
///
/// ```no_run
/// use goldcrest_edge::{Classifier, Options};
/// let mut classifier = Classifier::open("sentiment.bundle", &Options::default())?;
/// let outcome = classifier.classify("what a film", None)?;
/// println!("{:?} from {} tokens", outcome.decision.answer(), outcome.tokens);
/// # Ok::<(), goldcrest_edge::classifier::Error>(())
/// ```
pub struct Classifier {
    manifest: Manifest,
    reader: Reader,
    model: Model,
    /// Of the window at hand.
    logits: Vec<f32>,
    mean: Mean,
    decider: Decider,
}

impl Classifier {
    /// Maps, verifies and loads the bundle at `path`, on the kernels that `GOLDCREST_ISA` names or the best ones.
    ///
    /// The file stays mapped: once something writes to it, every answer is [`Error::Open`]. Put another file in its place instead.
    ///
    /// # Errors
    /// When the file cannot be mapped, is no whole bundle, or its model does not load.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let mapped = bundle::map(path.as_ref())?;
        Self::from_mapped(&mapped.read()?, &mapped, options)
    }

    /// Loads a bundle that was read from `mapped`, of which nothing stays in memory that has been copied.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// If `bundle` was read from something else.
    pub fn from_mapped(bundle: &Bundle<'_>, mapped: &Mapped, options: &Options) -> Result<Self, Error> {
        let release = |bytes: &[u8]| mapped.release(bytes);
        let loaded = Self::load(bundle, mapped.bytes(), Some(mapped.clone()), options, &release)?;
        mapped.release(mapped.bytes());
        Ok(loaded)
    }

    /// Verifies and loads a bundle from its bytes, part of which stays in use: a `Vec<u8>`, `&'static [u8]` or [`Bytes`].
    ///
    /// # Errors
    /// As [`open`](Self::open), without those of files.
    pub fn new(bytes: impl Into<Bytes>, options: &Options) -> Result<Self, Error> {
        let bytes = bytes.into();
        Self::load(&Bundle::read(&bytes)?, &bytes, None, options, &|_| ())
    }

    /// Another classifier with the same weights, for another thread; it has its own working memory and tokenizer index.
    ///
    /// # Errors
    /// [`Error::Model`] if tract cannot plan the model once more.
    pub fn share(&self) -> Result<Self, Error> {
        let Classifier { manifest, reader, model, logits, decider, .. } = self;
        Ok(Classifier {
            manifest: manifest.clone(),
            reader: reader.clone(),
            model: model.share()?,
            logits: logits.clone(),
            mean: Mean::new(logits.len()),
            decider: decider.clone(),
        })
    }

    fn load(
        bundle: &Bundle<'_>,
        bytes: &Bytes,
        mapped: Option<Mapped>,
        options: &Options,
        release: &dyn Fn(&[u8]),
    ) -> Result<Self, Error> {
        let manifest = bundle.manifest().clone();
        // a copy: a message may be long in coming, and what was mapped may be gone by then
        let vocabulary = match mapped {
            Some(_) => Bytes::copy_from_slice(bundle.vocabulary()),
            None => bytes.slice_ref(bundle.vocabulary()),
        };
        let tokenizer = Tokenizer::new(vocabulary, manifest.tokenizer)?;
        let model_options = model::Options {
            fuse: options.fuse,
            max_tokens: manifest.max_tokens as usize,
            ..Default::default()
        };
        let external = bytes.slice_ref(bundle.external());
        let mut model = Model::load_releasing(bundle.model(), external, &model_options, release)?;
        let classes = model.classes();
        if classes != manifest.labels.len() {
            return Err(Error::Labels { logits: classes, labels: manifest.labels.len() });
        }
        check_rows(&mut model, &manifest, tokenizer.vocab_size())?;
        let kernels = model.kernels().unwrap_or_else(Kernels::best);
        let decider = Decider::with(kernels, manifest.task, classes, &manifest.decision)?;
        let reader = Reader::new(tokenizer, &manifest, mapped);
        Ok(Classifier {
            manifest,
            reader,
            model,
            logits: vec![0.0; classes],
            mean: Mean::new(classes),
            decider,
        })
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer<Bytes> {
        self.reader.tokenizer()
    }

    /// The model, for measuring it alone.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Classifies one text or, if the model compares two, a pair.
    ///
    /// # Errors
    /// [`Error::Texts`] for a pair where the model takes one text, or the other way round, and what the model or its file fail with.
    pub fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<Outcome<'_>, Error> {
        let Ok(outcome) = self.classify_chunks(&mut feed(text, pair));
        outcome
    }
}

/// Fails where a text could have an id that the model has no row for. Where the rows are not known, it is tried.
fn check_rows(model: &mut Model, manifest: &Manifest, pieces: usize) -> Result<(), Error> {
    let types = 1 + usize::from(manifest.pair);
    let Some(rows) = model.tables() else {
        let length = manifest.max_tokens as usize;
        let (mut ids, mut type_ids) = (vec![0; length], vec![0; length]);
        (ids[0], type_ids[length - 1]) = (pieces.saturating_sub(1) as u32, types as u8 - 1);
        let mut logits = vec![0.0; model.classes()];
        return Ok(model.run(&ids, &type_ids, &mut logits)?);
    };
    let asked = [
        ("word pieces", pieces, rows.pieces),
        ("token types", types, rows.types),
        ("positions", manifest.max_tokens as usize, rows.positions),
    ];
    match asked.into_iter().find(|(_, asked, rows)| asked > rows) {
        Some((what, asked, rows)) => Err(Error::Rows { what, asked, rows }),
        None => Ok(()),
    }
}

/// Feeds what is all there.
fn feed<'a>(text: &'a str, pair: Option<&'a str>) -> impl FnMut(&mut dyn Input) -> Result<(), Infallible> {
    move |input| {
        input.push(text);
        if let Some(pair) = pair {
            input.second_text();
            input.push(pair);
        }
        Ok(())
    }
}

impl Classify for Classifier {
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, Error>, E> {
        let Classifier { manifest, reader, model, logits, mean, decider } = self;
        mean.clear();
        let read = reader.read(feed, &mut |encoding| {
            model.run(encoding.ids(), encoding.type_ids(), logits)?;
            mean.add(logits);
            Ok(())
        })?;
        Ok(read.and_then(|Length { tokens, truncated }| {
            reader.check()?;
            let logits = mean.finish();
            let decision = decider.decide(logits)?;
            Ok(Outcome { labels: &manifest.labels, logits, decision, tokens, truncated })
        }))
    }
}

impl<C: Classify> Classify for &mut C {
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, Error>, E> {
        (**self).classify_chunks(feed)
    }
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// The mean of the logits of a text's windows, added in their order. Those of a single one stay as they are.
struct Mean {
    logits: Vec<f32>,
    windows: usize,
}

impl Mean {
    fn new(classes: usize) -> Mean {
        Mean { logits: vec![0.0; classes], windows: 0 }
    }

    fn clear(&mut self) {
        self.windows = 0;
    }

    fn add(&mut self, logits: &[f32]) {
        self.windows += 1;
        if self.windows == 1 {
            self.logits.copy_from_slice(logits);
            return;
        }
        for (sum, logit) in self.logits.iter_mut().zip(logits) {
            *sum += logit;
        }
    }

    /// To be called once.
    fn finish(&mut self) -> &[f32] {
        if self.windows > 1 {
            let windows = self.windows as f32;
            self.logits.iter_mut().for_each(|logit| *logit /= windows);
        }
        &self.logits
    }
}
