//! `model.onnx` to logits: ONNX into tract.
//!
//! [`Model::load`] decodes the protobuf; [`Model::run`] takes the ids of one text, of any length from 1 to
//! [`Options::max_tokens`], without padding.

mod error;
mod onnx;
mod stock;

use bytes::Bytes;

pub use error::Error;
pub use onnx::EXTERNAL_LOCATION;
use stock::Stock;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Replace the BERT parts by fused int8 operators where they are recognised.
    pub fuse: bool,
    /// Longest text, in tokens, that [`Model::run`] will be given; scratch memory is sized from it.
    pub max_tokens: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, max_tokens: 512 }
    }
}

/// A text classifier, ready to run.
pub struct Model {
    stock: Stock,
    max_tokens: usize,
}

impl Model {
    /// Loads an ONNX classifier. Tensors kept outside the protobuf lie in `external` (empty when there are
    /// none), which the model shares and may read from as long as it lives: a memory map, say.
    pub fn load(onnx: &[u8], external: Bytes, options: &Options) -> Result<Model, Error> {
        let proto = onnx::decode(onnx)?;
        let stock = Stock::load(proto, &external)?;
        Ok(Model { stock, max_tokens: options.max_tokens })
    }

    /// Logits a text gets.
    pub fn classes(&self) -> usize {
        self.stock.classes
    }

    /// What was fused and what runs on stock operators, in words.
    pub fn describe(&self) -> String {
        format!("stock tract operators: {} nodes", self.stock.nodes())
    }

    /// Classifies one text: `ids` of its pieces with the special tokens, `types` as many token type ids,
    /// `logits` [`classes`](Model::classes) long.
    pub fn run(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        let lengths = [("token type ids", types.len(), ids.len()), ("logits", logits.len(), self.classes())];
        for (what, found, expected) in lengths {
            if found != expected {
                return Err(Error::Length { what, found, expected });
            }
        }
        match ids.len() {
            0 => Err(Error::Empty),
            tokens if tokens > self.max_tokens => Err(Error::TooLong { tokens, max: self.max_tokens }),
            _ => self.stock.run(ids, types, logits),
        }
    }
}
