//! `model.onnx` to logits: ONNX into tract, with the BERT parts replaced by fused int8 operators.
//!
//! [`Model::load`] decodes the protobuf and looks for a BERT classifier in it (`recognise`). One that
//! `goldcrest export` wrote in int8 becomes a single operator on the int8 kernels (`bert`) in tract's graph
//! (`fused`). Any other graph runs on tract's stock operators (`stock`), which is also the oracle of the fused path.
//! [`Model::run`] takes one text of any length from 1 to [`Model::max_tokens`], without padding.

mod bert;
mod dense;
mod error;
mod fused;
mod graph;
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
    /// Replace the BERT parts by fused int8 operators where they are recognised.
    pub fuse: bool,
    /// Instruction set of the fused operators; what `GOLDCREST_ISA` names, or the best here, if none.
    pub isa: Option<Isa>,
    /// Longest text, in tokens, that [`Model::run`] will be given: working memory is sized from it.
    pub max_tokens: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, isa: None, max_tokens: 512 }
    }
}

/// A text classifier, ready to run.
pub struct Model {
    path: Path,
    max_tokens: usize,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stock = matches!(self.path, Path::Stock { .. });
        f.debug_struct("Model").field("stock", &stock).field("max_tokens", &self.max_tokens).finish()
    }
}

/// The two ways to run.
enum Path {
    Fused(Box<Fused>),
    Stock { stock: Stock, reason: String },
}

/// What [`Model::describe`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What runs in fused operators, and on which instruction set.
    pub fused: Option<String>,
    /// What runs on tract's stock operators, and why.
    pub stock: Option<String>,
    /// What the fused path takes; of tract's operators nobody knows.
    pub memory: Option<Memory>,
}

/// Bytes that the fused path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Weights on the heap; the tables stay in the file.
    pub weights: usize,
    /// The bundle's weights that these are a copy of.
    pub copied: usize,
    /// What is held besides while it is loaded, at most.
    pub loading: usize,
    /// Working memory of each model that [shares](Model::share) the weights.
    pub scratch: usize,
}

/// Rows of the tables in which a model looks up what it is given.
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
    /// Loads an ONNX classifier. Tensors kept outside the protobuf lie in `external` (empty where there are none),
    /// which the model shares: the fused path reads its tables there, in a memory map say, as long as it lives.
    ///
    /// # Errors
    /// When the bytes are no ONNX model, a tensor is damaged or points outside `external`, tract refuses the graph,
    /// or the instruction set asked for is not there.
    pub fn load(onnx: &[u8], external: Bytes, options: &Options) -> Result<Model, Error> {
        Self::load_releasing(onnx, external, options, &|_| ())
    }

    /// As [`load`](Model::load), and tells of tensors that it has a copy of and does not read again, one after another.
    ///
    /// # Errors
    /// As `load`.
    #[doc(hidden)]
    pub fn load_releasing(
        onnx: &[u8],
        external: Bytes,
        options: &Options,
        release: &dyn Fn(&[u8]),
    ) -> Result<Model, Error> {
        let proto = onnx::decode(onnx)?;
        let mut reason = "not asked to fuse".to_string();
        if options.fuse {
            let kernels = options.isa.map_or_else(Kernels::from_env, Kernels::new)?;
            match fuse(&proto, &external, kernels, release) {
                Ok(bert) => {
                    let max_tokens = options.max_tokens.min(bert.positions());
                    let path = Path::Fused(Box::new(Fused::new(Arc::new(bert), max_tokens)?));
                    return Ok(Model { path, max_tokens });
                }
                Err(difference) => reason = difference,
            }
        }
        let stock = Stock::load(proto, &external)?;
        Ok(Model { path: Path::Stock { stock, reason }, max_tokens: options.max_tokens })
    }

    /// Another one of the same weights, with working memory of its own: for another thread.
    ///
    /// # Errors
    /// When tract refuses to plan it once more.
    pub fn share(&self) -> Result<Model, Error> {
        let path = match &self.path {
            Path::Fused(fused) => Path::Fused(Box::new(Fused::new(fused.bert().clone(), self.max_tokens)?)),
            Path::Stock { stock, reason } => Path::Stock { stock: stock.clone(), reason: reason.clone() },
        };
        Ok(Model { path, max_tokens: self.max_tokens })
    }

    /// Where up to `parts` models that share weights meet to run one text. `None`: this one cannot be split.
    #[doc(hidden)]
    pub fn exchange(&self, parts: usize) -> Option<Exchange> {
        match &self.path {
            Path::Fused(fused) => Some(Exchange::new(fused.bert(), self.max_tokens, parts)),
            Path::Stock { .. } => None,
        }
    }

    /// What the fused operators run on. `None`: there are none.
    pub fn kernels(&self) -> Option<Kernels> {
        match &self.path {
            Path::Fused(fused) => Some(fused.bert().kernels()),
            Path::Stock { .. } => None,
        }
    }

    /// Rows of its tables; of a model on stock operators nobody knows.
    pub fn tables(&self) -> Option<Tables> {
        match &self.path {
            Path::Fused(fused) => Some(fused.bert().tables()),
            Path::Stock { .. } => None,
        }
    }

    /// Logits a text gets.
    pub fn classes(&self) -> usize {
        match &self.path {
            Path::Fused(fused) => fused.bert().classes(),
            Path::Stock { stock, .. } => stock.classes,
        }
    }

    /// Longest text, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What was fused, what runs on stock operators and why, and the memory it takes.
    pub fn describe(&self) -> Description {
        match &self.path {
            Path::Fused(fused) => {
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
            Path::Stock { stock, reason } => {
                let text = format!("{} nodes ({reason})", stock.nodes());
                Description { fused: None, stock: Some(text), memory: None }
            }
        }
    }

    /// Classifies one text: `ids` of its pieces with the special tokens, `types` as many token type ids,
    /// `logits` [`classes`](Model::classes) long. On the fused path nothing is allocated.
    ///
    /// # Errors
    /// When lengths do not fit, an id has no row in its table, or tract fails.
    pub fn run(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        self.check(ids, types, logits)?;
        match &mut self.path {
            Path::Fused(fused) => fused.run(ids, types, logits),
            Path::Stock { stock, .. } => stock.run(ids, types, logits),
        }
    }

    /// One part of a text, as [`run`](Model::run) otherwise. Returns when all parts are far enough, so each needs a thread
    /// and a model of its own, all [shared](Model::share) from one. The first part writes the logits: the same bits.
    ///
    /// # Errors
    /// As `run`; all parts fail alike.
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
        match &mut self.path {
            Path::Fused(fused) => fused.run_part(part, exchange, ids, types, logits),
            Path::Stock { .. } => unreachable!("it gives no exchange"),
        }
    }

    /// The \[CLS\] vector after the last layer, of the text that was run last: one value a hidden unit. `None` where stock
    /// operators run, which do not give it.
    pub fn cls(&self) -> Option<&[f32]> {
        match &self.path {
            Path::Fused(fused) => fused.cls(),
            Path::Stock { .. } => None,
        }
    }

    /// As [`run`](Model::run), always through a turn of tract's plan, which allocates: the same bits.
    ///
    /// # Errors
    /// As `run`.
    #[doc(hidden)]
    pub fn run_plan(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        self.check(ids, types, logits)?;
        match &mut self.path {
            Path::Fused(fused) => fused.run_plan(ids, types, logits),
            Path::Stock { stock, .. } => stock.run(ids, types, logits),
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

/// What the operators that are looked for mean.
const OPSET: i64 = 17;

/// The packed classifier, or why the graph is not one.
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
    let packed = room.int8.saturating_add(room.wide);
    expect(packed / 4 <= file, || format!("{packed} bytes of packed weights in a model of {file}"))?;
    Bert::pack(kernels, parts, release).map_err(|e| e.to_string())
}
