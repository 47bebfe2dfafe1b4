//! Metrics of predictions, used in training to choose the best checkpoint, and by
//! [`evaluate`](crate::evaluate).
//!
//! Definitions follow scikit-learn where it has them; shares range from 0 to 1.

mod calibration;
mod classes;
mod numbers;
mod thresholds;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Target, Task};

pub(crate) use calibration::golden_section;
pub use calibration::{Calibration, calibration, temperature};
pub use classes::{ClassScores, MultiLabel, SingleLabel};
pub(crate) use numbers::mean_and_deviation;
pub use numbers::{NumberScores, Ranked, Regression, balanced, pearson_of, spread, unexplained_variance};
pub use thresholds::thresholds;

/// Default probability threshold of a multi-label task.
pub const THRESHOLD: f32 = 0.5;

/// All metrics of a task over some examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as the tasks are")]
pub enum Metrics {
    SingleLabel(SingleLabel),
    MultiLabel(MultiLabel),
    Regression(Regression),
}

/// The metric that chooses a checkpoint and that a gate watches. Larger is always better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of right labels; for multi-label, of exactly right sets.
    Accuracy,
    /// Mean of the classes' F1.
    MacroF1,
    /// F1 over all decisions.
    MicroF1,
    /// Mean of the classes' F1, weighted by support.
    WeightedF1,
    /// Matthews correlation.
    Mcc,
    /// Linear correlation; of several numbers, the mean.
    Pearson,
    /// Rank correlation; of several numbers, the mean.
    Spearman,
}

impl Metric {
    /// All metrics, in the order of reports.
    pub const ALL: [Metric; 7] = [
        Metric::Accuracy,
        Metric::MacroF1,
        Metric::MicroF1,
        Metric::WeightedF1,
        Metric::Mcc,
        Metric::Pearson,
        Metric::Spearman,
    ];

    /// Returns its name in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::MacroF1 => "macro-f1",
            Metric::MicroF1 => "micro-f1",
            Metric::WeightedF1 => "weighted-f1",
            Metric::Mcc => "mcc",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
        }
    }

    /// Returns the default metric of a task.
    pub fn of(task: Task) -> Self {
        match task {
            Task::SingleLabel => Metric::Accuracy,
            Task::MultiLabel => Metric::MacroF1,
            Task::Regression => Metric::Pearson,
        }
    }

    /// Returns whether the metric is defined for a task.
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
        f.write_str(self.name())
    }
}

/// A text is no name of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is accuracy, macro-f1, micro-f1, weighted-f1, mcc, pearson or spearman")]
pub struct UnknownMetric;

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        Self::ALL.into_iter().find(|metric| metric.name() == text).ok_or(UnknownMetric)
    }
}

/// Why metrics cannot be computed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The number of logits or thresholds is wrong.
    #[error("{found} {what} where {expected} are needed ({rows} examples of {width})")]
    Shape {
        /// Which of them.
        what: &'static str,
        /// Number given.
        found: usize,
        /// Number needed.
        expected: usize,
        /// Number of examples.
        rows: usize,
        /// Number of logits per example.
        width: usize,
    },
    /// A logit is NaN or infinite.
    #[error("example {row} (from 1) has a logit that is not finite")]
    NotFinite {
        /// Number of the example, counted from 1.
        row: usize,
    },
    /// There are no examples.
    #[error("no examples to measure on")]
    Empty,
    /// The task lacks the metric.
    #[error("a {task} task has no {metric}")]
    Unsuited {
        /// The task.
        task: Task,
        /// The requested metric.
        metric: Metric,
    },
}

/// Converts logits to predictions. `logits` is `[examples, width]`, row-major, in the order of `data`.
/// Single label: the first largest logit. Multi-label: every label whose sigmoid reaches its threshold (one
/// per label; [`THRESHOLD`] for all if `None`). Regression: the numbers themselves.
///
/// # Errors
/// [`MetricsError::Shape`], [`MetricsError::NotFinite`].
pub fn predict(
    data: &Dataset,
    logits: &[f32],
    thresholds: Option<&[f32]>,
) -> Result<Vec<Target>, MetricsError> {
    let (rows, width) = (data.len(), data.width());
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
        Task::Regression => Target::Numbers(row.to_vec()),
    });
    Ok(predicted.collect())
}

/// Returns the index of the first largest value.
pub(crate) fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best as u32
}

/// Computes all metrics for a model's logits on `data`; arguments as for [`predict`].
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
            Target::Classes(_) | Target::Numbers(_) => None,
        });
        metrics.calibration_error = calibration(logits, data.width(), gold).error;
    }
    Ok(metrics)
}

/// Computes all metrics of (gold, predicted) pairs except those that need probabilities; `None` without
/// pairs.
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
    /// Returns one metric, if the task has it.
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
            (Metrics::Regression(m), Metric::Pearson) => Some(m.mean.pearson),
            (Metrics::Regression(m), Metric::Spearman) => Some(m.mean.spearman),
            _ => None,
        }
    }

    /// Returns the scores of the classes, by label id; empty for regression.
    pub fn per_class(&self) -> &[ClassScores] {
        match self {
            Metrics::SingleLabel(m) => &m.per_class,
            Metrics::MultiLabel(m) => &m.per_class,
            Metrics::Regression(_) => &[],
        }
    }

    /// Returns the scores of a regression's numbers, if it has several.
    pub fn per_number(&self) -> &[NumberScores] {
        match self {
            Metrics::Regression(m) => &m.per_number,
            Metrics::SingleLabel(_) | Metrics::MultiLabel(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests;
