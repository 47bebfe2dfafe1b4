use super::table::Table;
use super::{
    ClassEvaluation, Comparison, Evaluation, Interval, Measured, NumberComparison, NumberEvaluation, Rows,
};
use crate::data::Task;
use crate::metrics::{ClassScores, Metric, Metrics, NumberScores};

/// What a report consists of, in this order.
struct Report {
    summary: Table,
    notes: Vec<String>,
    classes: Option<Table>,
}

impl Report {
    fn text(&self) -> String {
        let mut parts = vec![self.summary.text(), self.notes.join("\n") + "\n"];
        parts.extend(self.classes.as_ref().map(Table::text));
        parts.join("\n")
    }

    fn markdown(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        let mut parts = vec![self.summary.markdown(), notes];
        parts.extend(self.classes.as_ref().map(Table::markdown));
        parts.join("\n")
    }
}

impl Comparison {
    /// Renders tables for a terminal.
    pub fn text(&self) -> String {
        self.report().text()
    }

    /// Renders Markdown.
    pub fn markdown(&self) -> String {
        self.report().markdown()
    }

    fn report(&self) -> Report {
        Report { summary: self.summary(), notes: self.notes(), classes: self.classes() }
    }

    fn summary(&self) -> Table {
        let trained = self.host.as_ref().map(|host| ("trained", host));
        let sides = trained.into_iter().chain([("fp32", &self.fp32), ("int8", &self.int8)]);
        figures(self.rows, &sides.collect::<Vec<_>>(), Some("int8 - fp32"))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.refused.iter().map(|why| format!("**refused, no bundle is packed**: {why}")));
        notes.extend(self.of.map(|rows| match rows {
            Rows::Dev if self.task == Task::Regression => {
                "of held-out rows, which also chose the checkpoint".to_owned()
            }
            Rows::Dev => {
                "of held-out rows, which also chose the checkpoint and fitted the decision".to_owned()
            }
            Rows::Test => "of the test rows, which decided nothing".to_owned(),
        }));
        let how = if self.metric == Metric::Accuracy { "Agresti and Min" } else { "paired bootstrap" };
        notes.push(match self.interval {
            Interval { low, high } if low < high => format!(
                "{}: int8 - fp32 is {:+.2} points, 95 % interval {low:+.2} to {high:+.2} ({how})",
                self.metric, self.delta
            ),
            _ => format!(
                "{}: int8 - fp32 is {:+.2} points; no answer that counts differs",
                self.metric, self.delta
            ),
        });
        let classes = self.per_class.iter().map(|class| (&*class.label, class.int8.support));
        notes.extend(accuracy_by_chance("int8 on", &self.int8.metrics, self.rows, classes));
        notes.extend(on_other_rows("int8 on", self.metric, self.int8_interval));
        let labels: Vec<&str> = self.per_class.iter().map(|class| &*class.label).collect();
        notes.extend(confusions("int8 ", &self.int8.metrics, &labels));
        notes.extend(left_out(self.left_out));
        if let Some(agreeing) = self.agreeing {
            let share = 100.0 * agreeing as f64 / self.rows as f64;
            notes.push(format!("same answer for {agreeing} of {} ({share:.2} %)", self.rows));
        }
        if let Some(test) = self.mcnemar {
            notes.push(format!(
                "right in fp32 alone {}, in int8 alone {}: McNemar's exact p {:.3}",
                test.only_fp32, test.only_int8, test.p
            ));
        }
        notes.push(format!("largest logit difference, fp32 to int8: {:.4}", self.largest_logit_difference));
        if let Some(difference) = self.largest_export_difference {
            notes.push(format!("largest logit difference, trained to fp32: {difference:.1e}"));
        }
        if !self.wide.is_empty() {
            notes.push(format!("in half precision: {}", self.wide.join(", ")));
        }
        notes.extend(self.fitted.iter().flat_map(super::Fitted::notes));
        notes.push(format!("data sha256 {}", self.data_digest));
        notes
    }

    fn classes(&self) -> Option<Table> {
        if !self.per_number.is_empty() {
            let mut table =
                Table::new(["number", "pearson fp32", "int8", "spearman fp32", "int8", "mae fp32", "int8"]);
            for NumberComparison { label, fp32, int8 } in &self.per_number {
                let points = [fp32.pearson, int8.pearson, fp32.spearman, int8.spearman];
                let points = points.map(|value| Show::Points.value(value));
                let errors = [fp32.mae, int8.mae].map(|value| Show::Plain.value(value));
                table.row([label.clone()].into_iter().chain(points).chain(errors));
            }
            return Some(table);
        }
        let header = [
            "label",
            "examples",
            "recall fp32",
            "int8",
            "precision fp32",
            "int8",
            "F1 fp32",
            "int8",
            "delta",
            "lost",
            "gained",
        ];
        let mut table = Table::new(header);
        for class in &self.per_class {
            let (fp32, int8) = (class.fp32, class.int8);
            let points = [fp32.recall, int8.recall, fp32.precision, int8.precision, fp32.f1, int8.f1]
                .map(|value| of_class(&fp32, value));
            table.row([class.label.clone(), fp32.support.to_string()].into_iter().chain(points).chain([
                if fp32.support > 0 { format!("{:+.2}", class.delta) } else { "-".into() },
                class.lost.to_string(),
                class.gained.to_string(),
            ]));
        }
        (!self.per_class.is_empty()).then_some(table)
    }
}

impl Evaluation {
    /// Renders tables for a terminal.
    pub fn text(&self) -> String {
        self.report().text()
    }

    /// Renders Markdown.
    pub fn markdown(&self) -> String {
        self.report().markdown()
    }

    fn report(&self) -> Report {
        Report { summary: self.summary(), notes: self.notes(), classes: self.classes() }
    }

    fn summary(&self) -> Table {
        figures(self.rows, &[("", &self.model)], None)
    }

    fn notes(&self) -> Vec<String> {
        let classes = self.per_class.iter().map(|class| (&*class.label, class.scores.support));
        let chance = accuracy_by_chance("on", &self.model.metrics, self.rows, classes);
        let labels: Vec<&str> = self.per_class.iter().map(|class| &*class.label).collect();
        let confusions = confusions("", &self.model.metrics, &labels);
        let other = on_other_rows("on", Metric::of(self.task), self.interval);
        let mut notes: Vec<String> =
            chance.into_iter().chain(other).chain(confusions).chain(left_out(self.left_out)).collect();
        notes.extend(self.fitted.notes());
        notes.push(format!("data sha256 {}", self.data_digest));
        notes
    }

    fn classes(&self) -> Option<Table> {
        if !self.per_number.is_empty() {
            let mut table = Table::new(["number", "pearson", "spearman", "mse", "mae"]);
            for NumberEvaluation { label, scores } in &self.per_number {
                let points = [scores.pearson, scores.spearman].map(|value| Show::Points.value(value));
                let errors = [scores.mse, scores.mae].map(|value| Show::Plain.value(value));
                table.row([label.clone()].into_iter().chain(points).chain(errors));
            }
            return Some(table);
        }
        let mut table = Table::new(["label", "examples", "recall", "precision", "F1"]);
        for ClassEvaluation { label, scores } in &self.per_class {
            let points = [scores.recall, scores.precision, scores.f1].map(|value| of_class(scores, value));
            table.row([label.clone(), scores.support.to_string()].into_iter().chain(points));
        }
        (!self.per_class.is_empty()).then_some(table)
    }
}

/// Returns a table of the figures of all sides, which have names, and, if named, of the changes between the
/// last two.
fn figures(rows: usize, sides: &[(&str, &Measured)], changes: Option<&str>) -> Table {
    let title = format!("{rows} examples");
    let names = sides.iter().map(|(name, _)| *name).chain(changes);
    let mut table = Table::new([&*title].into_iter().chain(names));
    let mut row = |name: &str, value: &dyn Fn(&Measured) -> Option<f64>, show: Show| {
        let values: Vec<Option<f64>> = sides.iter().map(|(_, side)| value(side)).collect();
        // the model as it was trained lacks some
        let (Some(Some(last)), before) = (values.last(), values.iter().nth_back(1)) else { return };
        let change = changes.map(|_| before.copied().flatten().map(|before| show.change(before, *last)));
        let shown = values.iter().map(|value| value.map(|value| show.value(value)));
        let cells = shown.chain(change).map(Option::unwrap_or_default);
        table.row([name.to_owned()].into_iter().chain(cells));
    };
    for metric in Metric::ALL {
        // with one label per example, micro-F1 equals accuracy
        let again =
            |side: &Measured| metric == Metric::MicroF1 && matches!(side.metrics, Metrics::SingleLabel(_));
        // of several labels, those of an example have to be right all together
        let sets = metric == Metric::Accuracy
            && sides.iter().any(|(_, side)| matches!(side.metrics, Metrics::MultiLabel(_)));
        let name = if sets { "accuracy of whole sets" } else { metric.name() };
        row(name, &|side| side.metrics.get(metric).filter(|_| !again(side)), Show::Points);
    }
    row("calibration error, no temperature", &calibration_error, Show::Points);
    row("mse", &|side| regression(side).map(|number| number.mse), Show::Plain);
    row("mae", &|side| regression(side).map(|number| number.mae), Show::Plain);
    row("size, MB", &|side| side.bytes.map(|bytes| bytes as f64 / 1e6), Show::Ratio(2));
    row("p50, µs", &|side| side.latency.map(|latency| latency.p50), Show::Ratio(0));
    row("p90, µs", &|side| side.latency.map(|latency| latency.p90), Show::Ratio(0));
    row("p99, µs", &|side| side.latency.map(|latency| latency.p99), Show::Ratio(0));
    table
}

/// States how precise the accuracy is for this number of rows, and what a constant answer would score.
/// `classes` are labels and their numbers of rows.
fn accuracy_by_chance<'a>(
    on: &str,
    metrics: &Metrics,
    rows: usize,
    classes: impl Iterator<Item = (&'a str, u64)>,
) -> Option<String> {
    let Metrics::SingleLabel(_) = metrics else { return None };
    let accuracy = metrics.get(Metric::Accuracy)?;
    let [low, high] = wilson(accuracy, rows as f64).map(|share| share * 100.0);
    let (most, support) = classes.max_by_key(|(_, support)| *support)?;
    let always = 100.0 * support as f64 / rows.max(1) as f64;
    let nothing = match () {
        // of a single class, all are right by chance
        () if support == rows as u64 => "",
        () if accuracy * 100.0 <= always => ": this model has learned no more than that",
        () if low <= always => ": these rows do not show that this model has learned more than that",
        () => "",
    };
    Some(format!(
        "{on} other rows: accuracy {low:.2} to {high:.2} (95 % interval, Wilson); always `{most}` is right for {always:.2} %{nothing}"
    ))
}

/// States how precise a figure is for this number of rows.
fn on_other_rows(on: &str, metric: Metric, interval: Option<Interval>) -> Option<String> {
    let Interval { low, high } = interval.filter(|interval| interval.low < interval.high)?;
    Some(format!("{on} other rows: {metric} {low:.2} to {high:.2} (95 % interval, bootstrap)"))
}

/// Lists the pairs of classes that are confused most often, at least twice; of two classes, the figures of each tell.
fn confusions(who: &str, metrics: &Metrics, labels: &[&str]) -> Option<String> {
    const SHOWN: usize = 5;
    let Metrics::SingleLabel(metrics) = metrics else { return None };
    let mut pairs: Vec<(u64, &str, &str)> = Vec::new();
    for (counts, gold) in metrics.confusion.iter().zip(labels) {
        let others = counts.iter().zip(labels).filter(|(count, answer)| **count > 1 && *answer != gold);
        pairs.extend(others.map(|(count, answer)| (*count, *gold, *answer)));
    }
    pairs.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    let pairs = pairs
        .iter()
        .take(SHOWN)
        .map(|(count, gold, answer)| format!("`{gold}` for `{answer}` {count} times"));
    let pairs: Vec<String> = pairs.collect();
    (labels.len() > 2 && !pairs.is_empty()).then(|| format!("{who}mistakes most often {}", pairs.join(", ")))
}

/// Formats a figure of a class, which has none without examples.
fn of_class(scores: &ClassScores, value: f64) -> String {
    if scores.support > 0 { Show::Points.value(value) } else { "-".into() }
}

fn left_out(rows: usize) -> Option<String> {
    (rows > 0).then(|| {
        format!(
            "rows with a label that the model lacks, about which it is wrong and which are not counted: {rows}"
        )
    })
}

fn calibration_error(side: &Measured) -> Option<f64> {
    match &side.metrics {
        Metrics::SingleLabel(metrics) => Some(metrics.calibration_error),
        Metrics::MultiLabel(_) | Metrics::Regression(_) => None,
    }
}

/// Returns the scores of a regression of one number. Errors of several, in units of their own, have no mean.
fn regression(side: &Measured) -> Option<NumberScores> {
    match &side.metrics {
        Metrics::Regression(metrics) if metrics.per_number.is_empty() => Some(metrics.mean),
        _ => None,
    }
}

/// Numbers from this size on are written with an exponent.
const LARGE: f64 = 1e7;

/// How a figure and its change are formatted.
#[derive(Clone, Copy)]
enum Show {
    /// A share, in hundredths.
    Points,
    /// Unscaled.
    Plain,
    /// With this many decimals; the change is a ratio.
    Ratio(usize),
}

impl Show {
    fn value(self, value: f64) -> String {
        match self {
            Show::Points => format!("{:.2}", value * 100.0),
            Show::Plain if value.abs() >= LARGE => format!("{value:.4e}"),
            Show::Plain => format!("{value:.4}"),
            Show::Ratio(decimals) => format!("{value:.decimals$}"),
        }
    }

    fn change(self, fp32: f64, int8: f64) -> String {
        match self {
            Show::Points => format!("{:+.2}", (int8 - fp32) * 100.0),
            Show::Plain if fp32.abs() >= LARGE => format!("{:+.4e}", int8 - fp32),
            Show::Plain => format!("{:+.4}", int8 - fp32),
            Show::Ratio(_) => format!("x {:.2}", int8 / fp32),
        }
    }
}

/// Returns the 95 % score interval of a share observed in `rows` rows (Wilson, 1927).
fn wilson(share: f64, rows: f64) -> [f64; 2] {
    const Z: f64 = 1.96;
    let square = Z * Z / rows;
    let middle = (share + square / 2.0) / (1.0 + square);
    let half = Z / (1.0 + square) * (share * (1.0 - share) / rows + square / rows / 4.0).sqrt();
    [middle - half, middle + half]
}

#[cfg(test)]
mod tests {
    use super::wilson;

    #[test]
    fn an_interval_by_hand() {
        // 8 of 10: 0.4902 to 0.9433 (statsmodels, proportion_confint, wilson)
        let [low, high] = wilson(0.8, 10.0);
        assert!((low - 0.4902).abs() < 1e-3 && (high - 0.9433).abs() < 1e-3, "{low} {high}");
        let [low, high] = wilson(1.0, 1.0);
        assert!((low - 0.2065).abs() < 1e-3 && (high - 1.0).abs() < 1e-9, "{low} {high}");
    }
}
