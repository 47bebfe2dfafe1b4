//! How good predictions are: for training, which picks its best checkpoint by them, and for [`evaluate`](crate::evaluate).
//!
//! Figures follow scikit-learn where it has them; shares are 0 to 1.

mod calibration;
mod classes;
mod numbers;
mod thresholds;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Target, Task};

pub(crate) use calibration::lowest;
pub use calibration::{Calibration, calibration, temperature};
pub use classes::{ClassScores, MultiLabel, SingleLabel};
pub use numbers::{Regression, spread, unexplained};
pub use thresholds::thresholds;

/// Probability at and above which a label of a multi-label task is given, unless thresholds are.
pub const THRESHOLD: f32 = 0.5;

/// All figures of a task over some examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as the tasks are")]
pub enum Metrics {
    SingleLabel(SingleLabel),
    MultiLabel(MultiLabel),
    Regression(Regression),
}

/// The one figure that chooses a checkpoint and that a gate watches. Larger is better in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of right labels; for multi-label, of wholly right sets.
    Accuracy,
    /// Mean of the classes' F1.
    MacroF1,
    /// F1 over all decisions.
    MicroF1,
    /// Mean of the classes' F1, weighted by support.
    WeightedF1,
    /// Matthews correlation.
    Mcc,
    /// Linear correlation.
    Pearson,
    /// Rank correlation.
    Spearman,
}

impl Metric {
    /// What a task is judged by when nothing else is said.
    pub fn of(task: Task) -> Self {
        match task {
            Task::SingleLabel => Metric::Accuracy,
            Task::MultiLabel => Metric::MacroF1,
            Task::Regression => Metric::Pearson,
        }
    }

    /// Whether the task has this figure.
    pub fn suits(self, task: Task) -> bool {
        match task {
            Task::SingleLabel => !matches!(self, Metric::Pearson | Metric::Spearman),
            Task::MultiLabel => !matches!(self, Metric::Pearson | Metric::Spearman | Metric::Mcc),
            Task::Regression => matches!(self, Metric::Pearson | Metric::Spearman),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Accuracy => "accuracy",
            Metric::MacroF1 => "macro-f1",
            Metric::MicroF1 => "micro-f1",
            Metric::WeightedF1 => "weighted-f1",
            Metric::Mcc => "mcc",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
        })
    }
}

/// Why there are no figures.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Logits or thresholds are not as many as they have to be.
    #[error("{found} {what} where {expected} are needed ({rows} examples of {width})")]
    Shape {
        /// Logits or thresholds.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many are needed.
        expected: usize,
        /// Examples.
        rows: usize,
        /// Logits an example.
        width: usize,
    },
    /// A model that gives NaN or infinity has no answer.
    #[error("example {row} (from 1) has a logit that is not finite")]
    NotFinite {
        /// From 1.
        row: usize,
    },
    /// Nothing to measure on.
    #[error("no examples to measure on")]
    Empty,
    /// The task has no such figure.
    #[error("a {task} task has no {metric}")]
    Unsuited {
        /// The task.
        task: Task,
        /// What was asked for.
        metric: Metric,
    },
}

/// Logits a row: one a label, or one number.
pub fn width(data: &Dataset) -> usize {
    if data.task == Task::Regression { 1 } else { data.labels.len() }
}

/// What logits say: `logits` is `[examples, width]`, row-major, in the order of `data`.
/// Single label: the first largest logit. Multi-label: every label whose sigmoid reaches its threshold (one a label;
/// [`THRESHOLD`] for all when `None`). Regression: the number itself.
///
/// # Errors
/// [`MetricsError::Shape`], [`MetricsError::NotFinite`].
pub fn predict(
    data: &Dataset,
    logits: &[f32],
    thresholds: Option<&[f32]>,
) -> Result<Vec<Target>, MetricsError> {
    let (rows, width) = (data.len(), width(data));
    let shape = |what, found, expected| MetricsError::Shape { what, found, expected, rows, width };
    if logits.len() != rows * width {
        return Err(shape("logits", logits.len(), rows * width));
    }
    if let Some(thresholds) = thresholds.filter(|thresholds| thresholds.len() != width) {
        return Err(shape("thresholds", thresholds.len(), width));
    }
    if rows == 0 {
        return Ok(Vec::new());
    }
    if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(MetricsError::NotFinite { row: index / width + 1 });
    }
    let threshold = |label: usize| f64::from(thresholds.map_or(THRESHOLD, |thresholds| thresholds[label]));
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
    let predicted = logits.chunks_exact(width).map(|row| match data.task {
        Task::SingleLabel => Target::Class(argmax(row)),
        Task::MultiLabel => Target::Classes(
            (0..)
                .zip(row)
                .filter(|&(id, &logit)| sigmoid(logit) >= threshold(id as usize))
                .map(|(id, _)| id)
                .collect(),
        ),
        Task::Regression => Target::Value(row[0]),
    });
    Ok(predicted.collect())
}

/// The index of the first largest value.
pub(crate) fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best as u32
}

/// All figures for the logits of a model on `data`; arguments as for [`predict`].
///
/// # Errors
/// [`MetricsError`].
pub fn measure(data: &Dataset, logits: &[f32], thresholds: Option<&[f32]>) -> Result<Metrics, MetricsError> {
    let predicted = predict(data, logits, thresholds)?;
    let pairs = data.examples.iter().map(|example| &example.target).zip(&predicted);
    let mut metrics = of_pairs(data.task, data.labels.len(), pairs).ok_or(MetricsError::Empty)?;
    if let Metrics::SingleLabel(metrics) = &mut metrics {
        let gold = data.examples.iter().filter_map(|example| match example.target {
            Target::Class(id) => Some(id),
            Target::Classes(_) | Target::Value(_) => None,
        });
        metrics.calibration_error = calibration(logits, width(data), gold).error;
    }
    Ok(metrics)
}

/// All figures of (gold, predicted) pairs but those that need probabilities; `None` without pairs.
pub fn of_pairs<'a>(
    task: Task,
    labels: usize,
    pairs: impl Iterator<Item = (&'a Target, &'a Target)>,
) -> Option<Metrics> {
    match task {
        Task::SingleLabel => SingleLabel::of(labels, pairs).map(Metrics::SingleLabel),
        Task::MultiLabel => MultiLabel::of(labels, pairs).map(Metrics::MultiLabel),
        Task::Regression => Regression::of(pairs).map(Metrics::Regression),
    }
}

impl Metrics {
    /// One figure, if the task has it.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match (self, metric) {
            (Metrics::SingleLabel(m), Metric::Accuracy | Metric::MicroF1) => Some(m.accuracy),
            (Metrics::SingleLabel(m), Metric::MacroF1) => Some(m.macro_f1),
            (Metrics::SingleLabel(m), Metric::WeightedF1) => Some(m.weighted_f1),
            (Metrics::SingleLabel(m), Metric::Mcc) => Some(m.mcc),
            (Metrics::MultiLabel(m), Metric::Accuracy) => Some(m.subset_accuracy),
            (Metrics::MultiLabel(m), Metric::MacroF1) => Some(m.macro_f1),
            (Metrics::MultiLabel(m), Metric::MicroF1) => Some(m.micro_f1),
            (Metrics::MultiLabel(m), Metric::WeightedF1) => Some(m.weighted_f1),
            (Metrics::Regression(m), Metric::Pearson) => Some(m.pearson),
            (Metrics::Regression(m), Metric::Spearman) => Some(m.spearman),
            _ => None,
        }
    }

    /// The classes' figures, by label id; none for regression.
    pub fn per_class(&self) -> &[ClassScores] {
        match self {
            Metrics::SingleLabel(m) => &m.per_class,
            Metrics::MultiLabel(m) => &m.per_class,
            Metrics::Regression(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests;
