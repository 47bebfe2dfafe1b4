//! Errors of models.

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an ONNX protobuf.
    #[error("not an ONNX model: {0}")]
    Decode(prost::DecodeError),
    /// The bytes of a constant of the graph are missing, out of bounds or of the wrong size.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The initializer's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model is valid, but of an unsupported kind.
    #[error("{0}")]
    Unsupported(String),
    /// tract refused the graph, or failed while running it.
    #[error("tract: {0}")]
    Tract(String),
    /// The requested instruction set is unknown or not available.
    #[error(transparent)]
    Kernels(#[from] crate::kernels::KernelError),
    /// There are no tokens; even an empty text is `[CLS] [SEP]`.
    #[error("no tokens to classify")]
    Empty,
    /// There are more tokens than the model was loaded for.
    #[error("{tokens} tokens, the model takes at most {max}")]
    TooLong {
        /// Number of tokens.
        tokens: usize,
        /// Maximum number of tokens.
        max: usize,
    },
    /// A token id has no row in the word embedding table.
    #[error("token id {id}, the vocabulary has {vocabulary} pieces")]
    TokenId {
        /// The id.
        id: u32,
        /// Number of rows of the table.
        vocabulary: usize,
    },
    /// A token type id has no row in the token type embedding table.
    #[error("token type id {id}, the model has {types} types")]
    TypeId {
        /// The id.
        id: u8,
        /// Number of rows of the table.
        types: usize,
    },
    /// A slice has the wrong length.
    #[error("{what}: length {found}, expected {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
}
