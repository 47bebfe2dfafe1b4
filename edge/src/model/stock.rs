//! Runs any ONNX BERT classifier on tract's stock operators: the oracle of the fused path, and the way to run
//! models exported by other tools.
//!
//! The sequence length stays a symbol: batch size 1, no padding, an attention mask of ones.

use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, TDim};
use tract_onnx::tract_hir::infer::Factoid;

use super::{Error, layer_norm, onnx};

/// What a graph input takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Feed {
    Ids,
    Mask,
    Types,
}

/// A classifier that tract has loaded, optimised and planned. Clones share the plan.
#[derive(Clone)]
pub(super) struct Stock {
    plan: Arc<TypedRunnableModel>,
    feeds: Vec<(Feed, DatumType)>,
    pub(super) classes: usize,
}

impl Stock {
    /// Loads a decoded model whose external tensors are in `external`.
    pub(super) fn load(mut model: ModelProto, external: &[u8]) -> Result<Stock, Error> {
        onnx::inline_external(&mut model, external)?;
        guarded("loading", || Self::build(model))
    }

    fn build(model: ModelProto) -> Result<Stock, Error> {
        let mut framework = tract_onnx::onnx();
        layer_norm::check_axes(&mut framework);
        let mut graph = framework.model_for_proto_model(&model).map_err(tract)?;
        drop(model);
        let sequence: TDim = graph.symbols.sym("sequence").into();
        let mut feeds = vec![];
        let inputs = graph.input_outlets().map_err(tract)?.to_vec();
        for (ix, outlet) in inputs.iter().enumerate() {
            let name = graph.node(outlet.node).name.clone();
            let fact = graph.input_fact(ix).map_err(tract)?;
            if fact.shape.dim(1).is_some_and(|d| d.concretize().is_some_and(|d| d.to_i64().is_ok())) {
                return Err(Error::Unsupported(format!(
                    "input `{name}` has a fixed sequence length; export with a dynamic sequence axis"
                )));
            }
            let datum_type = fact.datum_type().unwrap_or(i64::datum_type());
            if !datum_type.is_integer() {
                return Err(Error::Unsupported(format!("input `{name}` holds {datum_type:?}, not integers")));
            }
            let feed = Feed::of(&name, ix, inputs.len())?;
            if feeds.iter().any(|&(other, _)| other == feed) {
                return Err(Error::Unsupported(format!(
                    "input `{name}` seems to be the same as another one"
                )));
            }
            feeds.push((feed, datum_type));
            let fact = InferenceFact::dt_shape(datum_type, tvec!(1.to_dim(), sequence.clone()));
            graph.set_input_fact(ix, fact).map_err(tract)?;
        }
        let graph = graph.into_optimized().map_err(tract)?;
        let output = graph.output_fact(0).map_err(tract)?;
        if output.datum_type != f32::datum_type() {
            return Err(Error::Unsupported(format!(
                "the first output holds {:?}; export a model whose logits are f32",
                output.datum_type
            )));
        }
        let shape = &output.shape;
        let classes = shape.volume().to_usize().ok().filter(|_| shape.rank() <= 2).ok_or_else(|| {
            Error::Unsupported(format!(
                "the first output has shape {shape:?}, a classifier's logits are [batch, labels]"
            ))
        })?;
        Ok(Stock { plan: graph.into_runnable().map_err(tract)?, feeds, classes })
    }

    /// Returns the number of nodes of the optimised plan.
    pub(super) fn nodes(&self) -> usize {
        self.plan.model().nodes().len()
    }

    /// Computes the logits of a text. The caller must have checked the lengths.
    pub(super) fn run(&self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        let input = |&(feed, datum_type): &(Feed, DatumType)| -> TractResult<TValue> {
            let values: Vec<i64> = match feed {
                Feed::Ids => ids.iter().map(|&i| i.into()).collect(),
                Feed::Types => types.iter().map(|&t| t.into()).collect(),
                Feed::Mask => vec![1; ids.len()],
            };
            let tensor = Tensor::from_shape(&[1, ids.len()], &values)?;
            Ok(tensor.cast_to_dt(datum_type)?.into_owned().into_tvalue())
        };
        guarded("running", || {
            let inputs = self.feeds.iter().map(input).collect::<TractResult<TVec<_>>>().map_err(tract)?;
            let outputs = self.plan.run(inputs).map_err(tract)?;
            let found = outputs[0].try_as_plain_ram().and_then(|v| v.as_slice::<f32>()).map_err(tract)?;
            if found.len() != logits.len() {
                return Err(Error::Tract(format!("{} logits, expected {}", found.len(), logits.len())));
            }
            logits.copy_from_slice(found);
            Ok(())
        })
    }
}

impl Feed {
    /// Returns what the input of this name takes. Exporters agree on the names; a single input takes the ids.
    pub(super) fn of(name: &str, ix: usize, inputs: usize) -> Result<Feed, Error> {
        let lower = name.to_lowercase();
        if lower.contains("position") {
            Err(Error::Unsupported(format!(
                "input `{name}` is not given here; export a model that counts positions itself"
            )))
        } else if lower.contains("mask") {
            Ok(Feed::Mask)
        } else if lower.contains("type") || lower.contains("segment") {
            Ok(Feed::Types)
        } else if lower.contains("ids") || (ix == 0 && inputs == 1) {
            Ok(Feed::Ids)
        } else {
            Err(Error::Unsupported(format!(
                "input `{name}` is neither input_ids, attention_mask nor token_type_ids"
            )))
        }
    }
}

/// Turns a panic into an error (where panics unwind): tract still panics on some malformed graphs. A bundle
/// is verified by its digest before it comes here, but other files are not.
fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Tract(format!("panicked while {doing} the graph"))))
}

fn tract(error: TractError) -> Error {
    Error::Tract(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_known_by_their_names() {
        let known = |name| Feed::of(name, 0, 3).ok();
        assert_eq!(known("input_ids"), Some(Feed::Ids));
        assert_eq!(known("attention_mask"), Some(Feed::Mask));
        assert_eq!(known("token_type_ids"), Some(Feed::Types));
        assert_eq!(known("segment_ids"), Some(Feed::Types));
        assert_eq!((known("position_ids"), known("tokens")), (None, None));
        assert_eq!(Feed::of("tokens", 0, 1).ok(), Some(Feed::Ids));
    }
}
