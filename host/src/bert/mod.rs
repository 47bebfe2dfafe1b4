//! The model for training: configuration, checkpoint, encoder, heads, fused operators.

mod checkpoint;
mod config;
mod error;
pub mod ops;
mod tokenizer_files;

pub use checkpoint::{Array, Checkpoint};
pub use config::{Config, LayerShape, ProblemType, StudentShape};
pub use error::Error;
pub use tokenizer_files::TokenizerFiles;
