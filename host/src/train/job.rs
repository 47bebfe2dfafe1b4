use super::{Encoded, Objective, TrainOptions};
use crate::bert::Classifier;
use crate::metrics::{Metric, Metrics};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::path::Path;

/// How to measure the dev set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Criterion {
    /// The deciding metric.
    pub metric: Metric,
    /// For multi-label tasks, whether to use the best threshold for each label, as a fitted decision does; of
    /// many labels, few reach a half before they are well learned. Otherwise
    /// [`THRESHOLD`](crate::metrics::THRESHOLD) is used.
    pub thresholds: bool,
}

/// One training run.
pub struct Job<'a> {
    /// The model, trained in place. Its checkpoint was made ready for the data by
    /// [`prepare_for`](crate::bert::Checkpoint::prepare_for).
    pub model: &'a mut Classifier,
    /// Training data.
    pub train: &'a Encoded,
    /// Dev set and criterion that choose the best checkpoint. Without them, the last one is kept.
    pub dev: Option<(&'a Encoded, Criterion)>,
    /// Training options.
    pub options: &'a TrainOptions,
    /// The loss to minimise.
    pub objective: &'a dyn Objective,
    /// Output folder: receives the best checkpoint, `metrics.jsonl` and, until
    /// [`remove_state`](super::remove_state), `state.safetensors` and `best/`.
    pub folder: &'a Path,
    /// Fingerprint of model, data and options; a saved state is resumed only if it matches.
    pub fingerprint: &'a str,
}

/// An event during training.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training starts, or resumes after `done` of `steps` updates.
    Started {
        /// Number of updates already done.
        done: u64,
        /// Number of updates in the whole run.
        steps: u64,
    },
    /// An update was made.
    Step {
        /// Number of the update, counted from 1.
        step: u64,
        /// Its loss.
        loss: f32,
        /// Set to true, it makes training save its state and end with [`Error::Interrupted`](super::Error::Interrupted).
        stop: &'a Cell<bool>,
    },
    /// The dev set is being measured.
    Evaluating {
        /// Number of texts classified so far.
        done: usize,
        /// Number of texts in all.
        all: usize,
        /// Set to true, it makes training save its state (from the first update on) and end with
        /// [`Error::Interrupted`](super::Error::Interrupted).
        stop: &'a Cell<bool>,
    },
    /// The dev set was measured.
    Evaluated {
        /// Number of updates before it.
        step: u64,
        /// All metrics.
        metrics: &'a Metrics,
        /// Value of the deciding metric.
        value: f64,
        /// Whether this checkpoint becomes the one kept.
        kept: bool,
    },
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Value of the deciding metric for the checkpoint kept.
    pub best: f64,
    /// Number of updates before that checkpoint.
    pub best_step: u64,
    /// Number of updates made; for averaged runs, in the longest of them.
    pub steps: u64,
    /// Number of runs whose weights were averaged; 1 for a single run.
    pub runs: usize,
    /// Training time in seconds, over all interruptions.
    pub seconds: f64,
}
