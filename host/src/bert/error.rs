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
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
