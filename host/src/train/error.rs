use crate::bert;
use crate::metrics::MetricsError;
use std::path::PathBuf;

/// Why training stops early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model or its checkpoint.
    #[error(transparent)]
    Bert(#[from] bert::Error),
    /// The outputs cannot be measured.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A file of the output folder.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The vocabulary does not make a tokenizer.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] goldcrest_edge::tokenizer::Error),
    /// The loss became NaN or infinite.
    #[error("the loss is {loss} at step {step}: lower the learning rate")]
    Diverged {
        /// Which update.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// The watcher asked for it.
    #[error("interrupted after step {step} of {steps}; the same command continues there")]
    Interrupted {
        /// Updates made.
        step: u64,
        /// Of so many.
        steps: u64,
    },
    /// Class weights that name no label.
    #[error("train.class_weights names {0:?}, which is no label of the data")]
    ClassWeight(String),
    /// A number that no training is possible with.
    #[error("train.{0}")]
    Option(&'static str),
    /// Data and model do not fit each other.
    #[error("the data has {data} labels, the model {model}")]
    Labels {
        /// Labels of the data.
        data: usize,
        /// Logits of the model.
        model: usize,
    },
    /// No examples.
    #[error("there is nothing to train on")]
    Empty,
}

impl Error {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
