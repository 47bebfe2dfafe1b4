use super::TextWindows;
use std::path::PathBuf;

/// What can go wrong with a checkpoint or a model built from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the checkpoint folder cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The weights are missing or in another format.
    #[error(
        "{path} is missing: weights are read from this one file; save those of other files (pytorch_model.bin, several parts) with Transformers: save_pretrained(FOLDER, max_shard_size=\"100GB\", safe_serialization=True)"
    )]
    NoWeights {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is malformed or lacks a required field.
    #[error("{path}: {cause}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause and its position.
        cause: serde_json::Error,
    },
    /// A file of weights is not a valid safetensors file.
    #[error("{path} is damaged or incomplete, or no safetensors file: {cause}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: safetensors::SafeTensorError,
    },
    /// A batch is empty.
    #[error("there is no text in the batch")]
    EmptyBatch,
    /// A file of weights is something else.
    #[error("{path} is {what}")]
    NoSafetensors {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A configuration that this crate cannot run.
    #[error("config.json: {0}")]
    Config(String),
    /// The requested layers do not exist or are out of order.
    #[error("layers {asked} of a model that has {all}: name them in order, counted from 0, or say how many")]
    Layers {
        /// The requested layers.
        asked: String,
        /// Number of layers in the model.
        all: usize,
    },
    /// A weight is missing.
    #[error("the checkpoint has no tensor {name} ({hint})")]
    Missing {
        /// Name in Hugging Face's layout.
        name: String,
        /// A hint at the cause or the remedy.
        hint: &'static str,
    },
    /// Two tensors of the file have the same name in the current convention.
    #[error("the tensors {first} and {second} are the same weight: keep one of them")]
    Twice {
        /// A name in the file.
        first: String,
        /// The other one.
        second: String,
    },
    /// A weight's shape contradicts the configuration.
    #[error("tensor {name} has shape {found:?}, config.json asks for {wanted:?}")]
    Shape {
        /// Name in Hugging Face's layout.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that the configuration implies.
        wanted: Vec<usize>,
    },
    /// A tensor is of no floating-point type.
    #[error("tensor {name} is {dtype}; f64, f32, f16 and bf16 are read")]
    Dtype {
        /// Name in the file.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A weight is NaN, infinite or absurdly large.
    #[error("tensor {name} holds {value:e}: the training that made it diverged, or the file is damaged")]
    Unusable {
        /// Name in the file.
        name: String,
        /// The value.
        value: f32,
    },
    /// An error in a checkpoint folder that names no file itself.
    #[error("{path}: {cause}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        cause: Box<Error>,
    },
    /// A text has an id that lies outside an embedding table.
    #[error("a text has the {what} {id}, but the model has only {rows}: was it encoded for another model?")]
    Id {
        /// Kind of id.
        what: &'static str,
        /// The id.
        id: u32,
        /// Number of rows in the table.
        rows: usize,
    },
    /// A model that can only teach is to be cut or exported.
    #[error(
        "an MPNet is neither cut nor exported: fine-tuned, it can teach a BERT (goldcrest run --teacher, or `other_teachers` in a recipe)"
    )]
    OnlyTeaches,
    /// More tokens are asked for than there are positions.
    #[error("{asked} tokens are asked for, and the checkpoint has {positions} positions")]
    Positions {
        /// The number asked for.
        asked: usize,
        /// Number of rows in the table of positions.
        positions: usize,
    },
    /// Inputs are so short that no text fits, or windows overlap by as much as they hold.
    #[error(
        "inputs of {max_tokens} tokens{} have no room for a text",
        windows.map_or(String::new(), |windows| format!(", in windows that overlap by {},", windows.overlap))
    )]
    NoRoom {
        /// Longest input.
        max_tokens: usize,
        /// How longer texts are read.
        windows: Option<TextWindows>,
    },
    /// Pairs are to be read in windows.
    #[error("pairs of texts cannot be read in windows: leave out `windows`")]
    PairInWindows,
    /// Pairs are asked for, and there is one token type.
    #[error("the checkpoint has one token type, so it cannot read pairs of texts")]
    Pairs,
    /// The tokenizer is not BERT's.
    #[error("{0}")]
    Tokenizer(String),
    /// There is neither of the files that hold a vocabulary.
    #[error(
        "{path} has no vocab.txt and no tokenizer.json: save them with Transformers: tokenizer.save_pretrained(FOLDER)"
    )]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// The vocabulary file is unusable.
    #[error("the vocabulary (vocab.txt, or else tokenizer.json): {0}")]
    Vocabulary(String),
}

impl Error {
    /// Adds the folder to an error that does not name a file itself.
    pub(super) fn of(self, path: &std::path::Path) -> Self {
        match self {
            Error::Io { cause, path }
                if cause.kind() == std::io::ErrorKind::NotFound && path.ends_with("model.safetensors") =>
            {
                Error::NoWeights { path }
            }
            Error::Io { .. }
            | Error::Json { .. }
            | Error::Safetensors { .. }
            | Error::NoSafetensors { .. }
            | Error::NoTokenizer { .. } => self,
            cause => Error::Folder { path: path.into(), cause: Box::new(cause) },
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Error::Io { path, cause }
    }
}
