//! A loaded bundle that classifies messages, from text to answer, on one thread ([`Classifier`]) or several
//! ([`ThreadedClassifier`]).
mod model_pool;
mod reader;
mod self_test;
mod threaded;

#[doc(hidden)]
pub use model_pool::ModelPool;
#[doc(hidden)]
pub use reader::{Length, Read, Reader};
pub use self_test::SelfTestError;
pub use threaded::{MAX_THREADS, NumberedOutcome, ThreadedClassifier};

use crate::bundle::{self, Bundle, Manifest, Mapped};
use crate::decision::{self, Decider, Decision};
use crate::kernels::Isa;
use crate::model::{self, Model};
use crate::tokenizer::{self, Tokenizer};
use bytes::Bytes;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// How a bundle is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether to run recognised parts of the model in fused operators.
    pub fuse: bool,
    /// Instruction set of the kernels. `None` means the one that the environment variable `GOLDCREST_ISA` names, by
    /// default the fastest. All give the same bits.
    pub isa: Option<Isa>,
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, isa: None }
    }
}

/// Why a bundle cannot be loaded or a message cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file given to [`Classifier::open`] is at fault, for this reason.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: Box<Error>,
    },
    /// The file cannot be mapped, or was written to while in use.
    #[error(transparent)]
    Open(#[from] bundle::OpenError),
    /// The bytes are not a bundle, or the bundle is damaged.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// No tokenizer can be made of the vocabulary, or a request to it is invalid.
    #[error("tokenizer: {0}")]
    Tokenizer(tokenizer::Error),
    /// The model cannot be loaded or run.
    #[error("model: {0}")]
    Model(model::Error),
    /// The decision settings are invalid, or the logits have no answer.
    #[error(transparent)]
    Decision(#[from] decision::Error),
    /// The system cannot start another thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The model does not give one logit per label.
    #[error("the model gives {logits} logits for {labels} labels")]
    Labels {
        /// Number of logits that the model gives.
        logits: usize,
        /// Number of labels in the manifest.
        labels: usize,
    },
    /// An embedding table of the model is too small: a text could need a row that it does not have.
    #[error("the bundle asks for {asked} {what}, the model has {rows}")]
    Rows {
        /// Word pieces, token types or positions.
        what: &'static str,
        /// Number of rows that the manifest or the vocabulary asks for.
        asked: usize,
        /// Number of rows in the model's table.
        rows: usize,
    },
    /// Another implementation of [`Classify`] has no answer, for this reason.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// The message has one text but the model compares two, or the other way round.
    #[error("{}", if *pair { "the model compares two texts" } else { "the model takes one text" })]
    Texts {
        /// Whether the model compares two texts.
        pair: bool,
    },
}

// by hand: `#[from]` would make a source of what the message says
impl From<tokenizer::Error> for Error {
    fn from(error: tokenizer::Error) -> Self {
        Error::Tokenizer(error)
    }
}

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        Error::Model(error)
    }
}

/// The answer for one message.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The names of the classes.
    pub labels: &'a [String],
    /// The logits, one per label, before the temperature is applied.
    pub logits: &'a [f32],
    /// The answer derived from the logits.
    pub decision: Decision<'a>,
    /// Number of tokens that the model read, special tokens included; those shared by two windows count once.
    pub tokens: usize,
    /// Whether the rest of the text was cut off.
    pub truncated: bool,
}

/// Takes the text of a message in chunks, which may be cut anywhere.
pub trait Input {
    /// Appends a chunk to the current text.
    fn push(&mut self, chunk: &str);
    /// Begins the second text.
    fn second_text(&mut self);
}

/// Classifies messages that come in chunks: a [`Classifier`], or what stands for one.
pub trait Classify {
    /// Calls `feed` for the text of one message and classifies it.
    ///
    /// # Errors
    /// The error of `feed`; inside, why the message has no answer.
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
    digest: [u8; 32],
    reader: Reader,
    model: Model,
    /// Logits of the current window.
    logits: Vec<f32>,
    mean: Mean,
    decider: Decider,
}

/// A classifier can be moved to other threads, and lie in a `static` that all of them share.
const _: () = {
    const fn can_be_shared<T: Send + Sync>() {}
    can_be_shared::<Classifier>();
};

impl Classifier {
    /// Maps, verifies and loads the bundle at `path`.
    ///
    /// The file stays mapped: once something changes its contents, every answer is [`Error::Open`]. To update
    /// the bundle, rename a new file over it.
    ///
    /// # Errors
    /// If the file cannot be mapped, is not an intact bundle, or its model cannot be loaded. The error names it.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let path = path.as_ref();
        let mapped = bundle::map(path)?;
        let load = || Self::from_mapped(&mapped.read()?, &mapped, options);
        load().map_err(|error| match error {
            // it has the path
            Error::Open(_) => error,
            // the fault of GOLDCREST_ISA
            Error::Model(model::Error::Kernels(_)) => error,
            cause => Error::File { path: path.into(), cause: Box::new(cause) },
        })
    }

    /// Loads a bundle that was read from `mapped`, and releases the memory of everything that it copies.
    ///
    /// # Errors
    /// The same as for [`open`](Self::open).
    ///
    /// # Panics
    /// If `bundle` was not read from `mapped`.
    pub fn from_mapped(bundle: &Bundle<'_>, mapped: &Mapped, options: &Options) -> Result<Self, Error> {
        let release = |bytes: &[u8]| mapped.release(bytes);
        let loaded = Self::load(bundle, mapped.bytes(), Some(mapped.clone()), options, &release)?;
        mapped.loaded(bundle)?;
        mapped.release(mapped.bytes());
        Ok(loaded)
    }

    /// Verifies and loads a bundle from its bytes, a `Vec<u8>`, `&'static [u8]` or [`Bytes`] (for those in a program,
    /// `&include_bytes!("commands.bundle")[..]`), and keeps them in use.
    ///
    /// # Errors
    /// The same as for [`open`](Self::open), except those of files.
    pub fn new(bytes: impl Into<Bytes>, options: &Options) -> Result<Self, Error> {
        let bytes = bytes.into();
        Self::load(&Bundle::read(&bytes)?, &bytes, None, options, &|_| ())
    }

    /// Returns another classifier with the same weights, for another thread. It has its own working memory and
    /// tokenizer index.
    ///
    /// # Errors
    /// [`Error::Model`] if tract cannot plan the model again.
    pub fn share(&self) -> Result<Self, Error> {
        let Classifier { manifest, digest, reader, model, logits, decider, .. } = self;
        Ok(Classifier {
            manifest: manifest.clone(),
            digest: *digest,
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
        // copies of what is in a file, where pages may be gone by the time that the next message arrives, or change
        // between being checked and decoded
        let own = |section: &[u8]| match mapped {
            Some(_) => Bytes::copy_from_slice(section),
            None => bytes.slice_ref(section),
        };
        let tokenizer = Tokenizer::new(own(bundle.vocabulary()), manifest.tokenizer)?;
        let model_options =
            model::Options { fuse: options.fuse, isa: options.isa, max_tokens: manifest.max_tokens as usize };
        let external = bytes.slice_ref(bundle.external());
        let mut model = Model::load_releasing(&own(bundle.model()), external, &model_options, release)?;
        let classes = model.classes();
        if classes != manifest.labels.len() {
            return Err(Error::Labels { logits: classes, labels: manifest.labels.len() });
        }
        check_rows(&mut model, &manifest, tokenizer.vocab_size())?;
        let decider = Decider::with_kernels(model.kernels(), manifest.task, classes, &manifest.decision)?;
        let reader = Reader::of_bundle(tokenizer, &manifest, mapped);
        Ok(Classifier {
            manifest,
            digest: bundle.digest(),
            reader,
            model,
            logits: vec![0.0; classes],
            mean: Mean::new(classes),
            decider,
        })
    }

    /// Returns the [digest](Bundle::digest) of the bundle, which tells whether another one holds the same.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the manifest of the bundle.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer<Bytes> {
        self.reader.tokenizer()
    }

    /// Returns the model, for measuring it alone.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Classifies one text or, if the model compares two, a pair.
    ///
    /// # Errors
    /// [`Error::Texts`] for a pair if the model takes one text, or the other way round; any error of the
    /// model or of its file.
    pub fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<Outcome<'_>, Error> {
        let Ok(outcome) = self.classify_chunks(&mut feed(text, pair));
        outcome
    }
}

/// Fails if a text could have an id or a position for which the model has no row. If the numbers of rows are
/// not known, runs the model on the highest ids at the maximum length, and at the least: foreign graphs may fail
/// at either.
fn check_rows(model: &mut Model, manifest: &Manifest, pieces: usize) -> Result<(), Error> {
    let types = 1 + usize::from(manifest.pair);
    let Some(rows) = model.tables() else {
        let mut logits = vec![0.0; model.classes()];
        for length in [manifest.max_tokens as usize, manifest.special_tokens()] {
            let (mut ids, mut type_ids) = (vec![0; length], vec![0; length]);
            (ids[0], type_ids[length - 1]) = (pieces.saturating_sub(1) as u32, types as u8 - 1);
            model.run(&ids, &type_ids, &mut logits)?;
        }
        return Ok(());
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

/// Returns the `feed` of [`Classify::classify_chunks`] for texts that are already complete.
pub fn feed<'a>(
    text: &'a str,
    pair: Option<&'a str>,
) -> impl FnMut(&mut dyn Input) -> Result<(), Infallible> {
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
        let Classifier { manifest, reader, model, logits, mean, decider, .. } = self;
        mean.clear();
        let read = reader.read(feed, &mut |encoding| {
            model.run(encoding.ids(), encoding.type_ids(), logits)?;
            mean.add(logits);
            Ok(())
        })?;
        Ok(read.and_then(|length| outcome(manifest, reader, length, mean, decider)))
    }
}

/// Makes the answer of a message whose windows have all been run.
fn outcome<'a>(
    manifest: &'a Manifest,
    reader: &Reader,
    Length { tokens, truncated }: Length,
    mean: &'a mut Mean,
    decider: &'a mut Decider,
) -> Result<Outcome<'a>, Error> {
    reader.check()?;
    let logits = mean.finish();
    let decision = decider.decide(logits)?;
    Ok(Outcome { labels: &manifest.labels, logits, decision, tokens, truncated })
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

/// The mean of the logits of a text's windows, summed in order. The logits of a single window stay unchanged.
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

    /// Returns the mean. Must be called only once per text.
    fn finish(&mut self) -> &[f32] {
        if self.windows > 1 {
            let windows = self.windows as f32;
            self.logits.iter_mut().for_each(|logit| *logit /= windows);
        }
        &self.logits
    }
}
