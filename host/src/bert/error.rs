use std::path::PathBuf;

/// What can go wrong with a checkpoint or a model built from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the checkpoint folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The weights are not there, or in another format.
    #[error(
        "{path} is missing: weights are read from this one file; save those of other files (pytorch_model.bin, several parts) with Transformers: save_pretrained(FOLDER, max_shard_size=\"100GB\")"
    )]
    NoWeights {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file does not say what it must.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// `model.safetensors` is not what safetensors writes.
    #[error("{path}: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// A configuration this crate cannot run.
    #[error("config.json: {0}")]
    Config(String),
    /// Layers that the model does not have, or in another order.
    #[error("layers {asked} of a model that has {all}: name them in order, counted from 0, or say how many")]
    Layers {
        /// What was asked for.
        asked: String,
        /// How many there are.
        all: usize,
    },
    /// A weight is missing.
    #[error("the checkpoint has no tensor {name} ({hint})")]
    Missing {
        /// Name in Hugging Face's layout.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// A weight has another shape than the configuration says.
    #[error("tensor {name} has shape {found:?}, config.json asks for {wanted:?}")]
    Shape {
        /// Name in Hugging Face's layout.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by the configuration.
        wanted: Vec<usize>,
    },
    /// A tensor of a type other than f32, f16 or bf16.
    #[error("tensor {name} is {dtype}; f32, f16 and bf16 are read")]
    Dtype {
        /// Name in the file.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A weight that is no number.
    #[error("tensor {name} holds {value}: the training that made it diverged, or the file is damaged")]
    NotFinite {
        /// Name in the file.
        name: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// What is wrong with the files of a folder.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// A text that the model has no embeddings for.
    #[error("a text has the {what} {id}, but the model has only {rows}: was it encoded for another model?")]
    Id {
        /// Of which kind.
        what: &'static str,
        /// The number.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// The vocabulary file cannot serve.
    #[error("vocab.txt: {0}")]
    Vocabulary(String),
}

impl Error {
    /// The same, naming the folder where it names no file.
    pub(super) fn of(self, path: &std::path::Path) -> Self {
        match self {
            Error::Io { source, path }
                if source.kind() == std::io::ErrorKind::NotFound && path.ends_with("model.safetensors") =>
            {
                Error::NoWeights { path }
            }
            Error::Io { .. } | Error::Json { .. } | Error::Safetensors { .. } => self,
            source => Error::Folder { path: path.into(), source: Box::new(source) },
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
