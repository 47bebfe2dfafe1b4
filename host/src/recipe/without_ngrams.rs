//! Whether a model that learned without n-grams is better than one that learned from them too.

use super::error::RunError;
use super::prepare::Prepared;
use crate::bert::{Checkpoint, Classifier};
use crate::data::{Dataset, Task};
use crate::evaluate::{CompareError, Comparison, Inputs, Outputs};
use crate::metrics;
use crate::train::{self, Criterion};
use std::path::Path;

/// Returns whether the model of one folder is better on dev than that of another by more than chance.
pub(super) fn is_better(folder: &Path, than: &Path, prepared: &Prepared) -> Result<bool, RunError> {
    let logits = |folder: &Path| -> Result<Vec<f32>, RunError> {
        let model = Classifier::trained(Checkpoint::load(folder)?)?;
        let dev = prepared.to_measure(&prepared.dev, model.tokenizer())?;
        Ok(dev.of_examples(train::predict(&model, &dev, &mut |_| ())?))
    };
    Ok(beyond_chance(&prepared.dev, prepared.criterion, [&logits(than)?, &logits(folder)?])?)
}

/// Returns whether the second of two models is better than the first by more than a standard error of the
/// difference. Both answer the same rows, and those on which they agree say nothing about which is better.
fn beyond_chance(data: &Dataset, criterion: Criterion, logits: [&[f32]; 2]) -> Result<bool, CompareError> {
    let fitted = criterion.thresholds && data.task == Task::MultiLabel;
    let thresholds = logits.map(|logits| fitted.then(|| metrics::thresholds(data, logits)));
    let outputs = |model: usize| Outputs {
        logits: logits[model],
        thresholds: thresholds[model].as_deref(),
        bytes: None,
        latency: None,
    };
    let metric = Some(criterion.metric);
    let compared = Comparison::new(&Inputs { data, metric, fp32: outputs(0), int8: outputs(1), host: None })?;
    // one row is never enough
    if compared.agreeing.is_some_and(|agreeing| agreeing + 1 >= compared.rows as u64) {
        return Ok(false);
    }
    // a 95 % interval extends 1.96 standard errors to either side
    let error = (compared.interval.high - compared.interval.low) / 2.0 / 1.96;
    Ok(compared.delta > error + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Labels, Target};
    use crate::metrics::Metric;

    #[test]
    fn only_rows_that_are_answered_differently_count() {
        let examples = (0..100).map(|row| Example::new(String::new(), Target::Class(row % 2))).collect();
        let labels = Labels::ordered(vec!["a".into(), "b".into()]).unwrap();
        let data = Dataset { task: Task::SingleLabel, labels, examples, files: vec![] };
        // right on these rows
        let answers = |right: std::ops::Range<usize>| -> Vec<f32> {
            (0..100)
                .flat_map(|row| [0.0, if right.contains(&row) == (row % 2 == 1) { 1.0 } else { -1.0 }])
                .collect()
        };
        let better = |first, second| {
            let logits = [answers(first), answers(second)];
            let criterion = |metric| Criterion { metric, thresholds: true };
            let [accuracy, f1] = [Metric::Accuracy, Metric::MacroF1]
                .map(|metric| beyond_chance(&data, criterion(metric), [&logits[0], &logits[1]]).unwrap());
            assert_eq!(accuracy, f1);
            accuracy
        };
        // three rows more of 100: less than the standard error of 80 %, which is 4, yet none was lost
        assert!(better(0..80, 0..83) && !better(0..83, 0..80));
        // 20 gained and 17 lost
        assert!(!better(0..80, 17..100));
        assert!(better(0..60, 17..100));
        assert!(!better(0..80, 0..81) && !better(0..80, 0..80));
    }
}
