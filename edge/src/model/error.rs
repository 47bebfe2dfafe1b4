//! What can be wrong with a model or with what it is given.

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no ONNX protobuf.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A constant of the graph whose bytes are missing, out of bounds or of the wrong size.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The initializer's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A valid model of a kind that is not run here.
    #[error("{0}")]
    Unsupported(String),
    /// tract refused the graph, or failed while running it.
    #[error("tract: {0}")]
    Tract(String),
    /// The instruction set asked for is unknown or not here.
    #[error(transparent)]
    Kernels(#[from] crate::kernels::KernelError),
    /// No token at all: even an empty text is `[CLS] [SEP]`.
    #[error("no tokens to classify")]
    Empty,
    /// More tokens than the model was loaded for.
    #[error("{tokens} tokens, the model takes at most {max}")]
    TooLong {
        /// Tokens given.
        tokens: usize,
        /// Tokens the model was loaded for.
        max: usize,
    },
    /// A token id outside the embedding table.
    #[error("token id {id}, the vocabulary has {vocabulary} pieces")]
    TokenId {
        /// The id given.
        id: u32,
        /// Rows of the word embedding table.
        vocabulary: usize,
    },
    /// A token type id outside the token type table.
    #[error("token type id {id}, the model has {types} types")]
    TypeId {
        /// The id given.
        id: u8,
        /// Rows of the token type embedding table.
        types: usize,
    },
    /// A slice that does not fit the call.
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
