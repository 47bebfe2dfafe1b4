//! A bundle, ready to classify: tokenizer, model and decision in one.
mod self_test;

pub use self_test::SelfTestError;

use crate::bundle::{self, Bundle, Manifest, Windows};
use crate::decision::{self, Decider, Decision};
use crate::model::{self, Model};
use crate::tokenizer::{self, Encoder, Encoding, Tokenizer};
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
    /// The file cannot be mapped.
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
    /// Bundle and model contradict each other.
    #[error("the model gives {logits} logits for {labels} labels")]
    Labels {
        /// Classes of the model.
        logits: usize,
        /// Labels of the manifest.
        labels: usize,
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
    /// One a label.
    pub logits: &'a [f32],
    /// What they mean.
    pub decision: Decision<'a>,
    /// Tokens that the model read, special tokens included; pieces shared by two windows count once.
    pub tokens: usize,
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
    tokenizer: Tokenizer<Bytes>,
    encoding: Box<Encoding>,
    run: Run,
    decider: Decider,
}

/// The model with the logits it writes.
struct Run {
    model: Model,
    logits: Vec<f32>,
    /// Sum over the windows of a text.
    sum: Vec<f32>,
}

impl Classifier {
    /// Maps and loads the bundle at `path`.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let mapped = bundle::map(path.as_ref())?;
        Self::from_bundle(&mapped.read()?, mapped.bytes(), options)
    }

    /// Loads a bundle from its bytes.
    pub fn new(bytes: Bytes, options: &Options) -> Result<Self, Error> {
        Self::from_bundle(&Bundle::read(&bytes)?, &bytes, options)
    }

    /// Loads a bundle that was read from `bytes`.
    pub fn from_bundle(bundle: &Bundle<'_>, bytes: &Bytes, options: &Options) -> Result<Self, Error> {
        let manifest = bundle.manifest().clone();
        let tokenizer = Tokenizer::new(bytes.slice_ref(bundle.vocabulary()), manifest.tokenizer)?;
        let model_options = model::Options {
            fuse: options.fuse,
            max_tokens: manifest.max_tokens as usize,
            ..Default::default()
        };
        let model = Model::load(bundle.model(), bytes.slice_ref(bundle.external()), &model_options)?;
        let classes = model.classes();
        if classes != manifest.labels.len() {
            return Err(Error::Labels { logits: classes, labels: manifest.labels.len() });
        }
        let decider = Decider::new(manifest.task, classes, &manifest.decision)?;
        let run = Run { model, logits: vec![0.0; classes], sum: vec![0.0; classes] };
        Ok(Classifier { manifest, tokenizer, encoding: Box::default(), run, decider })
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer<Bytes> {
        &self.tokenizer
    }

    /// The model, for measuring it alone.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.run.model
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.run.model
    }

    /// Classifies one text or, if the model compares two, a pair.
    pub fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<Outcome<'_>, Error> {
        let mut feed = |input: &mut dyn Input| {
            input.push(text);
            if let Some(pair) = pair {
                input.second_text();
                input.push(pair);
            }
            Ok::<_, Infallible>(())
        };
        let Ok(outcome) = self.classify_chunks(&mut feed);
        outcome
    }
}

impl Classify for Classifier {
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, Error>, E> {
        let read = match self.manifest.windows {
            Windows::Truncate => self.read_whole(feed)?,
            Windows::Mean { overlap, most } => self.read_windows(overlap as usize, most as usize, feed)?,
        };
        Ok(read.and_then(|tokens| {
            let logits = &self.run.logits;
            Ok(Outcome { logits, decision: self.decider.decide(logits)?, tokens })
        }))
    }
}

type Fed<E> = Result<Result<usize, Error>, E>;

impl Classifier {
    /// Logits of the message, cut off at the manifest's maximum. Returns its tokens.
    fn read_whole<E>(&mut self, feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>) -> Fed<E> {
        struct Whole<'a>(Encoder<'a>, usize, Result<(), tokenizer::Error>);
        impl Input for Whole<'_> {
            fn push(&mut self, chunk: &str) {
                self.0.push(chunk);
            }
            fn second_text(&mut self) {
                self.1 += 1;
                self.2 = self.0.second();
            }
        }
        let max_tokens = self.manifest.max_tokens as usize;
        let encoder = match self.tokenizer.encoder(max_tokens, &mut self.encoding) {
            Ok(encoder) => encoder,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut input = Whole(encoder, 0, Ok(()));
        feed(&mut input)?;
        let Whole(encoder, seconds, result) = input;
        encoder.finish();
        let pair = self.manifest.pair;
        if seconds != usize::from(pair) {
            return Ok(Err(Error::Texts { pair }));
        }
        let run = result.map_err(Error::from).and_then(|()| self.run.one(&self.encoding));
        Ok(run.map(|()| self.encoding.ids().len()))
    }

    /// Mean of the logits over windows. Returns the tokens of all of them.
    fn read_windows<E>(
        &mut self,
        overlap: usize,
        most: usize,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Fed<E> {
        struct Windowed<'a, F>(tokenizer::Windows<'a, F>, bool);
        impl<F: FnMut(&Encoding)> Input for Windowed<'_, F> {
            fn push(&mut self, chunk: &str) {
                self.0.push(chunk);
            }
            fn second_text(&mut self) {
                self.1 = true;
            }
        }
        let max_tokens = self.manifest.max_tokens as usize;
        let (run, mut windows, mut tokens, mut result) = (&mut self.run, 0, 2, Ok(()));
        run.sum.fill(0.0);
        let mut on_window = |encoding: &Encoding| {
            if windows < most && result.is_ok() {
                tokens += encoding.ids().len() - 2 - if windows > 0 { overlap } else { 0 };
                windows += 1;
                result = run.add(encoding);
            }
        };
        let reader = self.tokenizer.windows(max_tokens, overlap, &mut self.encoding, &mut on_window);
        let mut input = match reader {
            Ok(reader) => Windowed(reader, false),
            Err(error) => return Ok(Err(error.into())),
        };
        feed(&mut input)?;
        let Windowed(reader, paired) = input;
        reader.finish();
        if paired {
            return Ok(Err(Error::Texts { pair: false }));
        }
        Ok(result.map(|()| {
            run.mean(windows);
            tokens
        }))
    }
}

impl Run {
    fn one(&mut self, encoding: &Encoding) -> Result<(), Error> {
        Ok(self.model.run(encoding.ids(), encoding.type_ids(), &mut self.logits)?)
    }

    fn add(&mut self, encoding: &Encoding) -> Result<(), Error> {
        self.one(encoding)?;
        for (sum, logit) in self.sum.iter_mut().zip(&self.logits) {
            *sum += logit;
        }
        Ok(())
    }

    fn mean(&mut self, windows: usize) {
        for (logit, sum) in self.logits.iter_mut().zip(&self.sum) {
            *logit = sum / windows as f32;
        }
    }
}
