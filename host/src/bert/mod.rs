//! The model for training: configuration, checkpoint, encoder, heads, fused operators.

mod checkpoint;
mod config;
mod error;
mod model;
pub mod ops;
mod tokenizer_files;

pub use checkpoint::{Array, Checkpoint, PROJECTION, WORD_EMBEDDINGS};
pub use config::{Config, LayerShape, ProblemType, StudentShape};
pub use error::Error;
pub use model::{Batch, Classifier, Output, Tokens, WordRows};
pub use tokenizer_files::TokenizerFiles;
