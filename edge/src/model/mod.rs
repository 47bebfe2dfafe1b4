//! Runs `model.onnx` on tract, with a BERT classifier replaced by a fused int8 operator.
//!
//! [`Model::load`] decodes the protobuf and looks for a BERT classifier in it (`recognise`). The int8 graph
//! that goldcrest packs into bundles becomes a single operator on the int8 kernels (`bert`) in tract's graph
//! (`fused`). Any other graph runs on tract's stock operators (`stock`), which are also the oracle of the
//! fused path. [`Model::run`] takes one text of 1 to [`Model::max_tokens`] tokens, without padding.

mod bert;
mod decoded_size;
mod error;
mod fused;
mod graph;
mod layer_norm;
mod onnx;
mod recognise;
mod split;
mod stock;

use std::fmt;
use std::sync::Arc;

pub use bytes::Bytes;

use crate::kernels::{Isa, Kernels};
use bert::Bert;
pub use error::Error;
use fused::Fused;
use graph::{Graph, expect};
pub use onnx::EXTERNAL_LOCATION;
use prost::Message;
#[doc(hidden)]
pub use split::{Exchange, Part};
use stock::Stock;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether to run a recognised BERT classifier in fused int8 operators.
    pub fuse: bool,
    /// Instruction set of the fused operators, and of the decision made from the logits. `None` means the one that
    /// `GOLDCREST_ISA` names, by default the fastest.
    pub isa: Option<Isa>,
    /// Maximum sequence length in tokens, which determines the size of the working memory.
    pub max_tokens: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, isa: None, max_tokens: crate::tokenizer::capacity::MAX_TOKENS }
    }
}

/// A text classifier, ready to run.
pub struct Model {
    engine: Engine,
    kernels: Kernels,
    max_tokens: usize,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stock = matches!(self.engine, Engine::Stock { .. });
        f.debug_struct("Model").field("stock", &stock).field("max_tokens", &self.max_tokens).finish()
    }
}

/// The two ways to run a model.
enum Engine {
    Fused(Box<Fused>),
    Stock { stock: Stock, reason: String },
}

/// What [`Model::describe`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What runs in fused operators, and on which instruction set.
    pub fused: Option<String>,
    /// What runs on tract's stock operators, and why.
    pub stock: Option<String>,
    /// Memory of the fused path; that of tract's operators is not known.
    pub memory: Option<Memory>,
}

/// Memory of the fused path, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights and embedding tables, except a word table that stays in the file.
    pub weights: usize,
    /// Weights in the bundle of which these are a copy.
    pub copied: usize,
    /// Maximum additional memory while loading.
    pub loading: usize,
    /// Working memory of each model that [shares](Model::share) the weights.
    pub scratch: usize,
}

/// Numbers of rows of a model's embedding tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Word pieces.
    pub pieces: usize,
    /// Token types.
    pub types: usize,
    /// Positions.
    pub positions: usize,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, what: &str, text: &Option<String>| {
            writeln!(f, "{what}: {}", text.as_deref().unwrap_or("nothing"))
        };
        line(f, "fused", &self.fused)?;
        line(f, "stock", &self.stock)?;
        match self.memory {
            Some(Memory { weights, scratch, .. }) => {
                write!(f, "memory: {weights} bytes of weights, {scratch} bytes of scratch")
            }
            None => write!(f, "memory: not known"),
        }
    }
}

impl Model {
    /// Loads an ONNX classifier. `external` holds the tensors outside the protobuf (empty if there are none).
    /// The model keeps it in use: the fused path reads its tables in place, for example in a memory map.
    ///
    /// A graph that is not recognised as a BERT goes to tract, which computes its constant parts at once: a small one can
    /// be crafted so that this takes any time or memory. Load only what you trust.
    ///
    /// # Errors
    /// If the bytes are not an ONNX model or would fill the memory once decoded, a tensor is damaged or points outside
    /// `external`, tract refuses the graph, or the requested instruction set is not available.
    pub fn load(onnx: &[u8], external: Bytes, options: &Options) -> Result<Model, Error> {
        Self::load_releasing(onnx, external, options, &|_| ())
    }

    /// Like [`load`](Model::load), and calls `release` with each tensor that it has copied
    /// and will not read again.
    ///
    /// # Errors
    /// The same as for `load`.
    #[doc(hidden)]
    pub fn load_releasing(
        onnx: &[u8],
        external: Bytes,
        options: &Options,
        release: &dyn Fn(&[u8]),
    ) -> Result<Model, Error> {
        let proto = onnx::decode(onnx)?;
        let nodes = proto.graph.as_ref().map_or(0, |graph| onnx::nodes(graph).count());
        if nodes > MAX_NODES {
            return Err(Error::Unsupported(format!("the graph has {nodes} nodes, more than {MAX_NODES}")));
        }
        let mut reason = "not asked to fuse".to_string();
        let kernels = options.isa.map_or_else(Kernels::from_env, Kernels::new)?;
        if options.fuse {
            match fuse(&proto, &external, kernels, release) {
                Ok(bert) => {
                    let max_tokens = options.max_tokens.min(bert.positions());
                    let engine = Engine::Fused(Box::new(Fused::new(Arc::new(bert), max_tokens)?));
                    return Ok(Model { engine, kernels, max_tokens });
                }
                Err(difference) => reason = difference,
            }
        }
        let stock = Stock::load(proto, &external)?;
        Ok(Model { engine: Engine::Stock { stock, reason }, kernels, max_tokens: options.max_tokens })
    }

    /// Returns another model with the same weights and its own working memory, for another thread.
    ///
    /// # Errors
    /// If tract cannot plan the model again.
    pub fn share(&self) -> Result<Model, Error> {
        let engine = match &self.engine {
            Engine::Fused(fused) => {
                Engine::Fused(Box::new(Fused::new(fused.bert().clone(), self.max_tokens)?))
            }
            Engine::Stock { stock, reason } => Engine::Stock { stock: stock.clone(), reason: reason.clone() },
        };
        Ok(Model { engine, kernels: self.kernels, max_tokens: self.max_tokens })
    }

    /// Returns an exchange through which up to `parts` models that share weights can run one text. `None` if
    /// this model cannot split texts.
    #[doc(hidden)]
    pub fn exchange(&self, parts: usize) -> Option<Exchange> {
        self.fused().map(|fused| Exchange::new(fused.bert(), self.max_tokens, parts))
    }

    /// Returns the kernels of the fused operators, if there are any, and of the decision made from the logits.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Returns the numbers of rows of the embedding tables; not known for a model on stock operators.
    pub fn tables(&self) -> Option<Tables> {
        self.fused().map(|fused| fused.bert().tables())
    }

    /// Returns the number of logits per text.
    pub fn classes(&self) -> usize {
        match &self.engine {
            Engine::Fused(fused) => fused.bert().classes(),
            Engine::Stock { stock, .. } => stock.classes,
        }
    }

    /// Returns the maximum sequence length in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Describes what was fused, what runs on stock operators and why, and how much memory it takes.
    pub fn describe(&self) -> Description {
        match &self.engine {
            Engine::Fused(fused) => {
                let bert = fused.bert();
                let (layers, isa) = (bert.layers(), bert.kernels().isa());
                let precision = match bert.floats() {
                    0 => "int8".to_string(),
                    floats => format!("int8, {floats} matrices in f32"),
                };
                let text = format!(
                    "embeddings, {layers} encoder layers, pooler and classifier ({precision}, {isa})"
                );
                let (weights, scratch) = (bert.bytes(), fused.scratch_bytes());
                let (copied, loading) = (bert.copied(), bert.loading());
                let memory = Memory { weights, copied, loading, scratch };
                Description { fused: Some(text), stock: None, memory: Some(memory) }
            }
            Engine::Stock { stock, reason } => {
                let text = format!("{} nodes ({reason})", stock.nodes());
                Description { fused: None, stock: Some(text), memory: None }
            }
        }
    }

    /// Computes the `logits` of one text, of which there are [`classes`](Model::classes), from its token ids,
    /// special tokens included, and as many token type ids. The fused path allocates nothing.
    ///
    /// # Errors
    /// If a length is wrong, an id has no row in its table, or tract fails.
    pub fn run(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        self.check(ids, types, logits)?;
        match &mut self.engine {
            Engine::Fused(fused) => fused.run(ids, types, logits),
            Engine::Stock { stock, .. } => stock.run(ids, types, logits),
        }
    }

    /// Like [`run`](Model::run), for one part of a text. Parts wait for each other, so each needs its own
    /// thread and its own model, all [shared](Model::share) from one. The first part writes the logits, with
    /// the same bits. No part of another text may begin before all parts of this one are done.
    ///
    /// # Errors
    /// The same as for `run`; all parts fail alike.
    #[doc(hidden)]
    pub fn run_part(
        &mut self,
        part: Part,
        exchange: &Exchange,
        ids: &[u32],
        types: &[u8],
        logits: &mut [f32],
    ) -> Result<(), Error> {
        self.check(ids, types, logits)?;
        match &mut self.engine {
            Engine::Fused(fused) => fused.run_part(part, exchange, ids, types, logits),
            Engine::Stock { .. } => unreachable!("it gives no exchange"),
        }
    }

    /// Returns the output of the last layer for \[CLS\] of the last text, `[hidden]`. `None` for stock
    /// operators, which do not provide it.
    pub fn cls(&mut self) -> Option<&[f32]> {
        match &mut self.engine {
            Engine::Fused(fused) => fused.cls(),
            Engine::Stock { .. } => None,
        }
    }

    /// Like [`run`](Model::run), but always through tract's plan, which allocates. Gives the same bits.
    ///
    /// # Errors
    /// The same as for `run`.
    #[doc(hidden)]
    pub fn run_plan(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        self.check(ids, types, logits)?;
        match &mut self.engine {
            Engine::Fused(fused) => fused.run_plan(ids, types, logits),
            Engine::Stock { stock, .. } => stock.run(ids, types, logits),
        }
    }

    fn fused(&self) -> Option<&Fused> {
        match &self.engine {
            Engine::Fused(fused) => Some(fused),
            Engine::Stock { .. } => None,
        }
    }

    fn check(&self, ids: &[u32], types: &[u8], logits: &[f32]) -> Result<(), Error> {
        let lengths = [("token type ids", types.len(), ids.len()), ("logits", logits.len(), self.classes())];
        for (what, found, expected) in lengths {
            if found != expected {
                return Err(Error::Length { what, found, expected });
            }
        }
        match ids.len() {
            0 => Err(Error::Empty),
            tokens if tokens > self.max_tokens => Err(Error::TooLong { tokens, max: self.max_tokens }),
            _ => Ok(()),
        }
    }
}

/// Maximum number of nodes: the time to load grows faster than their square. A BERT of 24
/// layers has 2,000 to 4,000.
const MAX_NODES: usize = 8000;
/// A quarter of what may be added to the weights of a small model to fill whole tiles, in bytes.
const PADDING: usize = 16 << 20;
/// The operator set that defines the operators of a recognised graph.
const OPSET: i64 = 17;

/// Returns the packed classifier, or why the graph is not one.
fn fuse(
    proto: &tract_onnx::pb::ModelProto,
    external: &Bytes,
    kernels: Kernels,
    release: &dyn Fn(&[u8]),
) -> Result<Bert, String> {
    let opset = proto.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let opset = opset.map_or(0, |set| set.version);
    expect(opset == OPSET, || format!("opset {opset}, not {OPSET}"))?;
    let graph = proto.graph.as_ref().ok_or("no graph")?;
    let graph = Graph::new(graph, external);
    let parts = recognise::recognise(&graph)?;
    let (room, file) = (Bert::room(kernels, &parts), proto.encoded_len() + external.len());
    let (int8, most, weights) = (room.int8, room.most, room.weights);
    // layers may share weights in the file, but not once they are packed
    expect(weights / 4 <= file, || format!("{weights} weights in a model of {file} bytes"))?;
    expect(most / 4 <= file + PADDING, || format!("{most} bytes of weights from a model of {file} bytes"))?;
    Bert::pack(kernels, parts, int8, release).map_err(|e| e.to_string())
}
