//! The trainable model: configuration, checkpoints, encoder, heads, and the operators of its training.

mod batch;
mod checkpoint;
mod config;
mod config_check;
mod embedding;
mod error;
mod factors;
mod gradients;
mod layer;
mod model;
mod mpnet;
pub mod ops;
mod output;
mod parts;
mod tape;
pub(crate) mod tensor_file;
mod tokenizer_files;
mod unusual_tokenizers;

pub use batch::{Batch, Tokens};
pub use checkpoint::{
    Array, CLASSIFIER, CLASSIFIER_BIAS, Checkpoint, POOLER, POOLER_BIAS, POSITION_EMBEDDINGS, PROJECTION,
    TYPE_EMBEDDINGS, WORD_EMBEDDINGS,
};
pub use config::{Config, InputFormat, InputOptions, LayerShape, StudentShape, TextWindows};
pub use error::Error;
pub use gradients::Gradients;
pub(crate) use model::bits_of;
#[cfg(test)]
pub(crate) use model::normal;
pub use model::{Classifier, Rounding};
pub use output::{Mode, Output, OutputGradient, Pooling};
pub use tape::Tape;
pub use tokenizer_files::TokenizerFiles;
pub(crate) use tokenizer_files::is_special;
