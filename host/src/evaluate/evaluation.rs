use serde::Serialize;

use super::comparison::{measured, metric_interval};
use super::{BundleRun, CompareError, Fitted, Interval, Measured, describe_decision};
use crate::data::{Dataset, Task};
use crate::metrics::{self, ClassScores, Metric, MetricsError, NumberScores};

/// One class of an evaluated model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassEvaluation {
    /// Its name.
    pub label: String,
    /// Its figures.
    #[serde(flatten)]
    pub scores: ClassScores,
}

/// One of a regression's several numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NumberEvaluation {
    /// Its name.
    pub label: String,
    /// Its figures.
    #[serde(flatten)]
    pub scores: NumberScores,
}

/// How well a bundle does on labelled texts. Serialised, this is the JSON report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The task.
    pub task: Task,
    /// SHA-256 of the examples, hexadecimal.
    pub data_digest: String,
    /// Number of examples.
    pub rows: usize,
    /// Number of further rows, skipped because the model lacks their label.
    pub left_out: usize,
    /// Figures of the best label of every text, answered or not; size and latency.
    pub model: Measured,
    /// 95 % confidence interval of the [usual](Metric::of) metric, in points, by bootstrap; `None` for single labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Classes by label id; empty for regression.
    pub per_class: Vec<ClassEvaluation>,
    /// The numbers of a regression, if it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_number: Vec<NumberEvaluation>,
    /// What the bundle's decision settings do on these texts.
    pub fitted: Fitted,
}

impl Evaluation {
    /// Evaluates the outputs of a bundle.
    ///
    /// # Errors
    /// [`CompareError`] if the outputs do not fit the data or are not finite.
    ///
    /// # Panics
    /// If the decision settings were changed to some that suit no model of these labels.
    pub fn new(data: &Dataset, run: &BundleRun) -> Result<Self, CompareError> {
        let by = |problem: MetricsError| CompareError { model: "packed", problem };
        let model = measured(data, &run.outputs()).map_err(by)?;
        let classes = data.labels.names().iter().zip(model.metrics.per_class());
        let numbers = data.labels.names().iter().zip(model.metrics.per_number());
        let answers = metrics::predict(data, &run.logits, run.outputs().thresholds).map_err(by)?;
        Ok(Evaluation {
            interval: metric_interval(data, Metric::of(data.task), &answers),
            task: data.task,
            data_digest: data.digest_hex(),
            rows: data.len(),
            left_out: data.left_out(),
            per_class: classes
                .map(|(label, &scores)| ClassEvaluation { label: label.clone(), scores })
                .collect(),
            per_number: numbers
                .map(|(label, &scores)| NumberEvaluation { label: label.clone(), scores })
                .collect(),
            fitted: describe_decision(&run.decision, data, &run.logits, None),
            model,
        })
    }
}
