use serde::Serialize;

use super::significance::{Interval, bootstrap, mcnemar, paired_shares};
use crate::data::{Dataset, Target, Task};
use crate::metrics::{self, ClassScores, Metric, Metrics, MetricsError, NumberScores};

/// Bootstrap draws and their seed, fixed so that reports are reproducible.
const ROUNDS: usize = 2000;
const SEED: u64 = 0;

/// Latency per text, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "percentiles are named as such")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// One model's outputs on the examples.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// `[examples, width]`, row-major, in the order of the data; see [`Dataset::width`].
    pub logits: &'a [f32],
    /// Multi-label: one probability threshold per label; [`metrics::THRESHOLD`] if `None`.
    pub thresholds: Option<&'a [f32]>,
    /// Size of the model's file.
    pub bytes: Option<u64>,
    /// Latency on this machine.
    pub latency: Option<Latency>,
}

/// The outputs of all models on the same examples.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The examples with their gold targets.
    pub data: &'a Dataset,
    /// The deciding metric; [`Metric::of`] the task if `None`.
    pub metric: Option<Metric>,
    /// The exported fp32 model.
    pub fp32: Outputs<'a>,
    /// The int8 model.
    pub int8: Outputs<'a>,
    /// The model as trained, to measure the effect of the export.
    pub host: Option<Outputs<'a>>,
}

/// Metrics, size and latency of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in `Outputs`")]
pub struct Measured {
    pub metrics: Metrics,
    pub bytes: Option<u64>,
    pub latency: Option<Latency>,
}

/// Examples that only one of the models gets right, and the p-value; see [`mcnemar`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct McNemar {
    pub only_fp32: u64,
    pub only_int8: u64,
    pub p: f64,
}

/// One class under both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassComparison {
    /// Its name.
    pub label: String,
    /// In the fp32 model.
    pub fp32: ClassScores,
    /// In the int8 model.
    pub int8: ClassScores,
    /// int8 minus fp32, in points (hundredths) of F1.
    pub delta: f64,
    /// Examples of the class that fp32 recognises and int8 does not.
    pub lost: u64,
    /// Examples of the class that int8 recognises and fp32 does not.
    pub gained: u64,
}

/// One of a regression's several numbers under both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NumberComparison {
    /// Its name.
    pub label: String,
    /// In the fp32 model.
    pub fp32: NumberScores,
    /// In the int8 model.
    pub int8: NumberScores,
}

/// fp32 and int8 side by side. Serialised, this is the JSON report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The task.
    pub task: Task,
    /// Which split of a run was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Rows>,
    /// Why a run refused to pack the int8 model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// SHA-256 of the examples, hexadecimal.
    pub data_digest: String,
    /// Number of examples.
    pub rows: usize,
    /// Number of further rows, skipped because the model lacks their label.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// The deciding metric.
    pub metric: Metric,
    /// The fp32 model.
    pub fp32: Measured,
    /// The int8 model.
    pub int8: Measured,
    /// The model as it was trained.
    pub host: Option<Measured>,
    /// int8 minus fp32 in the deciding metric, in points (hundredths).
    pub delta: f64,
    /// 95 % confidence interval of `delta`: of accuracy that of Agresti and Min, else by paired bootstrap.
    pub interval: Interval,
    /// 95 % confidence interval of int8's deciding metric, in points, by bootstrap; `None` for single labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_interval: Option<Interval>,
    /// Number of examples with the same answer from both; `None` for regression.
    pub agreeing: Option<u64>,
    /// McNemar's test on the two models; `None` for regression.
    pub mcnemar: Option<McNemar>,
    /// Largest logit difference between fp32 and int8.
    pub largest_logit_difference: f64,
    /// Largest logit difference between the model as trained and fp32.
    pub largest_export_difference: Option<f64>,
    /// Size of int8 divided by that of fp32.
    pub size_ratio: Option<f64>,
    /// Regression: mean squared difference between int8's and fp32's values, divided by the variance of the
    /// gold values or of fp32's, whichever is greater; of several numbers, the largest. `None` if all gold values
    /// are equal.
    pub unexplained_variance: Option<f64>,
    /// Classes by label id; empty for regression.
    pub per_class: Vec<ClassComparison>,
    /// The numbers of a regression, if it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_number: Vec<NumberComparison>,
    /// Names of the matrices that the int8 model keeps in half precision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wide: Vec<String>,
    /// The decision settings of the bundle, if they were fitted.
    pub fitted: Option<super::Fitted>,
}

/// The evaluation splits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// Held out from training; used to choose the checkpoint and fit the decision.
    Dev,
    /// Used for no decision.
    Test,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The reason why models cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {model} model: {problem}")]
pub struct CompareError {
    /// The model whose outputs are at fault.
    pub model: &'static str,
    /// What is wrong.
    pub problem: MetricsError,
}

impl Comparison {
    /// Compares the models.
    ///
    /// # Errors
    /// [`CompareError`] if outputs do not fit the data or are not finite, or the task lacks the metric.
    pub fn new(inputs: &Inputs) -> Result<Self, CompareError> {
        let data = inputs.data;
        let metric = inputs.metric.unwrap_or(Metric::of(data.task));
        let by = |model| move |problem| CompareError { model, problem };
        if !metric.suits(data.task) {
            return Err(by("fp32")(MetricsError::Unsuited { task: data.task, metric }));
        }
        let fp32 = measured(data, &inputs.fp32).map_err(by("fp32"))?;
        let int8 = measured(data, &inputs.int8).map_err(by("int8"))?;
        let host = inputs.host.map(|host| measured(data, &host)).transpose().map_err(by("trained"))?;
        let answers = |outputs: &Outputs| metrics::predict(data, outputs.logits, outputs.thresholds);
        let answers = Answers {
            gold: data.examples.iter().map(|example| &example.target).collect(),
            fp32: answers(&inputs.fp32).map_err(by("fp32"))?,
            int8: answers(&inputs.int8).map_err(by("int8"))?,
        };
        let delta = in_points(&int8.metrics, metric) - in_points(&fp32.metrics, metric);
        let classes = data.task != Task::Regression;
        let (interval, int8_interval) = answers.intervals(data, metric);
        Ok(Comparison {
            task: data.task,
            of: None,
            refused: None,
            data_digest: data.digest_hex(),
            rows: data.len(),
            left_out: data.left_out(),
            metric,
            delta,
            interval,
            int8_interval,
            agreeing: classes.then(|| answers.count(|_, fp32, int8| fp32 == int8)),
            mcnemar: classes.then(|| answers.mcnemar()),
            largest_logit_difference: largest_difference(inputs.fp32.logits, inputs.int8.logits),
            largest_export_difference: inputs
                .host
                .map(|host| largest_difference(inputs.fp32.logits, host.logits)),
            unexplained_variance: if classes { None } else { answers.unexplained_variance(data.width()) },
            size_ratio: fp32.bytes.zip(int8.bytes).map(|(fp32, int8)| int8 as f64 / fp32 as f64),
            per_class: answers.per_class(data, &fp32.metrics, &int8.metrics),
            per_number: per_number(data, &fp32.metrics, &int8.metrics),
            wide: Vec::new(),
            fitted: None,
            fp32,
            int8,
            host,
        })
    }

    /// Returns the metric of one of the models, in points.
    pub fn points(&self, model: &Measured) -> f64 {
        in_points(&model.metrics, self.metric)
    }

    /// Returns how many points of the metric the export to fp32 cost.
    pub fn export_cost(&self) -> Option<f64> {
        self.host.as_ref().map(|host| self.points(host) - self.points(&self.fp32))
    }
}

/// Returns a metric that suits the task, in points.
fn in_points(metrics: &Metrics, metric: Metric) -> f64 {
    metrics.get(metric).unwrap_or_default() * 100.0
}

/// Measures one model.
pub(super) fn measured(data: &Dataset, outputs: &Outputs) -> Result<Measured, MetricsError> {
    let metrics = metrics::measure(data, outputs.logits, outputs.thresholds)?;
    Ok(Measured { metrics, bytes: outputs.bytes, latency: outputs.latency })
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// Gold targets and both models' answers, example by example.
struct Answers<'a> {
    gold: Vec<&'a Target>,
    fp32: Vec<Target>,
    int8: Vec<Target>,
}

impl Answers<'_> {
    fn iter(&self) -> impl Iterator<Item = (&Target, &Target, &Target)> {
        self.gold.iter().zip(&self.fp32).zip(&self.int8).map(|((&gold, fp32), int8)| (gold, fp32, int8))
    }

    fn count(&self, holds: impl Fn(&Target, &Target, &Target) -> bool) -> u64 {
        self.iter().filter(|&(gold, fp32, int8)| holds(gold, fp32, int8)).count() as u64
    }

    fn mcnemar(&self) -> McNemar {
        let only_fp32 = self.count(|gold, fp32, int8| fp32 == gold && int8 != gold);
        let only_int8 = self.count(|gold, fp32, int8| fp32 != gold && int8 == gold);
        McNemar { only_fp32, only_int8, p: mcnemar(only_fp32, only_int8) }
    }

    /// See [`Comparison::unexplained_variance`].
    fn unexplained_variance(&self, numbers: usize) -> Option<f64> {
        let of_number = |at: usize| {
            let number = |target: &Target| target.numbers().get(at).map_or(0.0, |number| f64::from(*number));
            let gold = metrics::spread(self.gold.iter().map(|target| number(target)));
            let spread = gold.max(metrics::spread(self.fp32.iter().map(number)));
            let distance: f64 =
                self.iter().map(|(_, fp32, int8)| (number(fp32) - number(int8)).powi(2)).sum();
            (gold > 0.0).then(|| distance / spread).filter(|share| share.is_finite())
        };
        (0..numbers).filter_map(of_number).max_by(f64::total_cmp)
    }

    /// Returns the confidence intervals of the difference in the metric and, but for single labels, of int8's, in points.
    fn intervals(&self, data: &Dataset, metric: Metric) -> (Interval, Option<Interval>) {
        if metric == Metric::Accuracy {
            let McNemar { only_fp32, only_int8, .. } = self.mcnemar();
            let Interval { low, high } = paired_shares(only_fp32, only_int8, data.len() as u64);
            let interval = Interval { low: low * 100.0, high: high * 100.0 };
            return (interval, metric_interval(data, metric, &self.int8));
        }
        let [int8, fp32] = [&self.int8, &self.fp32].map(|said| points(data, metric, said));
        let drawn = bootstrap(data.len(), ROUNDS, SEED, |draw| {
            let (int8, fp32) = (int8(draw), fp32(draw));
            [int8 - fp32, int8]
        });
        let [interval, own] = drawn.expect("what was measured has rows");
        (interval, Some(own.within(metric)).filter(|_| data.task != Task::SingleLabel))
    }

    fn per_class(&self, data: &Dataset, fp32: &Metrics, int8: &Metrics) -> Vec<ClassComparison> {
        let scores = fp32.per_class().iter().zip(int8.per_class());
        (0..)
            .zip(data.labels.names())
            .zip(scores)
            .map(|((id, label), (&fp32, &int8))| ClassComparison {
                label: label.clone(),
                fp32,
                int8,
                delta: (int8.f1 - fp32.f1) * 100.0,
                lost: self.count(|gold, fp32, int8| has(gold, id) && has(fp32, id) && !has(int8, id)),
                gained: self.count(|gold, fp32, int8| has(gold, id) && !has(fp32, id) && has(int8, id)),
            })
            .collect()
    }
}

/// A metric on some rows, in points.
type Points<'a> = Box<dyn Fn(&[usize]) -> f64 + Sync + 'a>;

/// Returns a metric of predictions.
fn points<'a>(data: &'a Dataset, metric: Metric, predicted: &'a [Target]) -> Points<'a> {
    let pair = move |row: usize| (&data.examples[row].target, &predicted[row]);
    match metric {
        Metric::Pearson => {
            Box::new(move |rows| metrics::pearson_of(rows.iter().map(|row| pair(*row))) * 100.0)
        }
        Metric::Spearman => {
            let ranked = metrics::Ranked::new((0..data.len()).map(pair));
            Box::new(move |rows| ranked.spearman(rows) * 100.0)
        }
        _ => Box::new(move |rows| {
            let pairs = rows.iter().map(|row| pair(*row));
            let all = metrics::of_pairs(data.task, data.labels.len(), pairs);
            all.and_then(|all| all.get(metric)).unwrap_or_default() * 100.0
        }),
    }
}

/// Returns the confidence interval of a metric, in points; `None` for single labels, where that of the accuracy is
/// known without drawing.
pub(super) fn metric_interval(data: &Dataset, metric: Metric, predicted: &[Target]) -> Option<Interval> {
    if data.task == Task::SingleLabel {
        return None;
    }
    let points = points(data, metric, predicted);
    let [interval] = bootstrap(data.len(), ROUNDS, SEED, |draw| [points(draw)])?;
    Some(interval.within(metric))
}

impl Interval {
    /// Returns the part that is possible for a metric, in points.
    pub(super) fn within(self, metric: Metric) -> Self {
        let lowest = match metric {
            Metric::Mcc | Metric::Pearson | Metric::Spearman => -100.0,
            Metric::Accuracy | Metric::MacroF1 | Metric::MicroF1 | Metric::WeightedF1 => 0.0,
        };
        Self { low: self.low.max(lowest), high: self.high.min(100.0) }
    }
}

fn per_number(data: &Dataset, fp32: &Metrics, int8: &Metrics) -> Vec<NumberComparison> {
    let scores = fp32.per_number().iter().zip(int8.per_number());
    let numbers = data.labels.names().iter().zip(scores);
    numbers.map(|(label, (&fp32, &int8))| NumberComparison { label: label.clone(), fp32, int8 }).collect()
}

fn has(target: &Target, id: u32) -> bool {
    match target {
        Target::Class(class) => *class == id,
        Target::Classes(classes) => classes.contains(&id),
        Target::Numbers(_) => false,
    }
}
