//! The fused classifier as one operator in tract's typed graph.
//!
//! tract checks and plans the graph like any other. Running a plan allocates (inputs, outputs, symbols).
//! Since this plan has a single node to run, [`Fused::run`] passes a text directly to the state of that node
//! and allocates nothing. [`Fused::run_plan`] runs the plan itself, with the same state and the same bits.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::Error;
use super::bert::{Bert, Scratch};
use super::split::{Exchange, Part};

/// The plan of a graph that consists of one classifier node.
pub(super) struct Fused {
    bert: Arc<Bert>,
    /// Never locked, only borrowed: tract's state may not be shared among threads, but a classifier may.
    plan: Mutex<TypedSimpleState>,
    node: usize,
    scratch_bytes: usize,
}

impl Fused {
    /// Plans the graph `ids, types -> logits` for texts of up to `max_tokens`.
    pub fn new(bert: Arc<Bert>, max_tokens: usize) -> Result<Fused, Error> {
        let build = || -> TractResult<Fused> {
            let mut graph = TypedModel::default();
            let sequence = graph.symbols.sym("sequence");
            let text = i64::fact(dims!(1, sequence));
            let ids = graph.add_source("input_ids", text.clone())?;
            let types = graph.add_source("token_type_ids", text)?;
            let operator = Classifier { bert: bert.clone(), max_tokens };
            let logits = graph.wire_node("classifier", operator, &[ids, types])?;
            graph.select_output_outlets(&logits)?;
            // one operator: there is nothing to optimise, and the optimiser would touch 1 to 2 MB of code
            let plan = graph.into_runnable()?.spawn()?;
            let node =
                plan.op_states.iter().position(Option::is_some).context("the operator has no state")?;
            let state = plan.op_states[node].as_ref().and_then(|state| state.downcast_ref::<State>());
            let scratch_bytes = state.context("the operator has another state")?.scratch.bytes();
            Ok(Fused { bert: bert.clone(), plan: plan.into(), node, scratch_bytes })
        };
        build().map_err(|e| Error::Tract(format!("{e:#}")))
    }

    pub fn bert(&self) -> &Arc<Bert> {
        &self.bert
    }

    /// Returns the size of the working memory in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Returns the output of the last layer for the first token of the last text.
    pub fn cls(&mut self) -> Option<&[f32]> {
        let bert = self.bert.clone();
        self.state_mut().ok().map(|state| bert.cls(&state.scratch))
    }

    /// Computes the logits of a text. The caller must have checked the lengths.
    pub fn run(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        self.bert.check(ids, types)?;
        let State { bert, scratch, .. } = self.state_mut()?;
        bert.run(ids, types, scratch, logits);
        Ok(())
    }

    /// Runs a part of a text. Every part checks all ids first, so that invalid ones make all parts fail
    /// before any waits for another.
    pub fn run_part(
        &mut self,
        part: Part,
        exchange: &Exchange,
        ids: &[u32],
        types: &[u8],
        logits: &mut [f32],
    ) -> Result<(), Error> {
        assert!(part.number < part.of && part.of <= ids.len(), "{part:?} of {} tokens", ids.len());
        self.bert.check(ids, types)?;
        let State { bert, scratch, .. } = self.state_mut()?;
        bert.run_part(ids, types, part.tokens(ids.len()), scratch, logits, |layer, width, key_values| {
            exchange.gather(part, layer, width, key_values);
        });
        Ok(())
    }

    fn state_mut(&mut self) -> Result<&mut State, Error> {
        let plan = self.plan.get_mut().unwrap_or_else(PoisonError::into_inner);
        let state = plan.op_states[self.node].as_mut().and_then(|s| s.downcast_mut::<State>());
        state.ok_or_else(|| Error::Tract("the operator lost its state".into()))
    }

    /// Like [`run`](Self::run), through tract's plan.
    pub fn run_plan(&mut self, ids: &[u32], types: &[u8], logits: &mut [f32]) -> Result<(), Error> {
        let ids: Vec<i64> = ids.iter().map(|&i| i.into()).collect();
        let types: Vec<i64> = types.iter().map(|&t| t.into()).collect();
        let plan = self.plan.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut run = || -> TractResult<()> {
            let shape = [1, ids.len()];
            let inputs = [Tensor::from_shape(&shape, &ids)?, Tensor::from_shape(&shape, &types)?];
            let outputs = plan.run(inputs.into_iter().map(IntoTValue::into_tvalue).collect())?;
            logits.copy_from_slice(outputs[0].try_as_plain_ram()?.as_slice()?);
            Ok(())
        };
        run().map_err(|e| Error::Tract(format!("{e:#}")))
    }
}

/// The operator: `ids, types` (i64 [1, sequence]) to `logits` (f32 [1, labels]).
#[derive(Clone)]
struct Classifier {
    bert: Arc<Bert>,
    max_tokens: usize,
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Classifier")
    }
}

impl PartialEq for Classifier {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bert, &other.bert)
    }
}

impl Eq for Classifier {}

impl Op for Classifier {
    fn name(&self) -> StaticName {
        "GoldcrestClassifier".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Classifier {
    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        let scratch = self.bert.scratch(self.max_tokens);
        Ok(Some(Box::new(State { bert: self.bert.clone(), scratch, max_tokens: self.max_tokens })))
    }

    not_out_of_plan!();
}

impl TypedOp for Classifier {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([1, self.bert.classes()])))
    }

    as_op!();
}

/// What the operator keeps between runs.
struct State {
    bert: Arc<Bert>,
    scratch: Scratch,
    max_tokens: usize,
}

impl OpState for State {
    fn eval(&mut self, _: &EvalContext, _: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let values = |i: usize| -> TractResult<&[i64]> { inputs[i].try_as_plain_ram()?.as_slice() };
        let ids = values(0)?.iter().map(|&v| Ok(v.try_into()?)).collect::<TractResult<Vec<u32>>>()?;
        let types = values(1)?.iter().map(|&v| Ok(v.try_into()?)).collect::<TractResult<Vec<u8>>>()?;
        let fits = (1..=self.max_tokens).contains(&ids.len()) && types.len() == ids.len();
        ensure!(fits, "{} ids and {} token types, 1 to {} expected", ids.len(), types.len(), self.max_tokens);
        self.bert.check(&ids, &types)?;
        let mut logits = vec![0.0; self.bert.classes()];
        self.bert.run(&ids, &types, &mut self.scratch, &mut logits);
        Ok(tvec!(Tensor::from_shape(&[1, logits.len()], &logits)?.into_tvalue()))
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

/// A clone has its own working memory.
impl Clone for State {
    fn clone(&self) -> Self {
        let scratch = self.bert.scratch(self.max_tokens);
        State { bert: self.bert.clone(), scratch, max_tokens: self.max_tokens }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Classifier state for {} tokens", self.max_tokens)
    }
}
