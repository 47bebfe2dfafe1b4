use crate::bert;
use crate::data::Task;
use crate::metrics::MetricsError;
use std::path::PathBuf;

/// Why training fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the model or its checkpoint.
    #[error(transparent)]
    Bert(#[from] bert::Error),
    /// The outputs cannot be measured.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A file in the output folder cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The vocabulary does not make a tokenizer.
    #[error("tokenizer: {0}")]
    Tokenizer(goldcrest_edge::tokenizer::Error),
    /// A text cannot be read.
    #[error(transparent)]
    Read(#[from] goldcrest_edge::classifier::Error),
    /// The model cannot decide: it has too many labels.
    #[error(transparent)]
    Decision(#[from] goldcrest_edge::decision::Error),
    /// The loss became NaN or infinite.
    #[error("the loss is {loss} at step {step}: lower the learning rate")]
    Diverged {
        /// Number of the update.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// The model gives no usable answers before any training.
    #[error("the model that training starts from answers {value}: its weights are damaged or far too large")]
    NotFinite {
        /// A logit.
        value: f32,
    },
    /// The observer asked to stop.
    #[error("interrupted after step {step} of {steps}; the same command continues there")]
    Interrupted {
        /// Number of updates made.
        step: u64,
        /// Number of updates in all.
        steps: u64,
    },
    /// Training texts are read in windows.
    #[error("training texts are read in windows; each window has to be a text of its own")]
    Windows,
    /// Class weights name a label that the data lacks.
    #[error("train.class_weights names {0:?}, which is no label of the data")]
    ClassWeight(String),
    /// An option has an unusable value.
    #[error("`{key}` {problem}")]
    Option {
        /// The key in a recipe.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Data and model have different numbers of labels.
    #[error("the data has {data} labels, the model {model}")]
    Labels {
        /// Number of labels in the data.
        data: usize,
        /// Number of outputs of the model.
        model: usize,
    },
    /// The model was made for another task or other labels.
    #[error("the model has another task or other labels than the data, whose task is {task}, with the labels {}", labels.join(", "))]
    OtherLabels {
        /// Task of the data.
        task: Task,
        /// Labels of the data.
        labels: Vec<String>,
    },
    /// There are no examples.
    #[error("there is nothing to train on")]
    Empty,
}

// by hand: `#[from]` would make a source of what the message says
impl From<goldcrest_edge::tokenizer::Error> for Error {
    fn from(error: goldcrest_edge::tokenizer::Error) -> Self {
        Error::Tokenizer(error)
    }
}

impl Error {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Error::Io { path, cause }
    }
}
