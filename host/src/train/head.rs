use super::one_vs_rest::one_vs_rest;
use super::prototypes::prototypes;
use super::{Encoded, Error, TargetScale};
use crate::bert::{CLASSIFIER, CLASSIFIER_BIAS, Classifier, Mode, Tape};
use crate::data::{Dataset, Target, Task};

/// Maximum number of texts used, overall and per class.
const TEXTS: usize = 4096;
const PER_CLASS: usize = 64;
/// Batch size.
const BATCH: usize = 64;
/// Scale of the initial head, as a share of the scale that fits the texts best. At 1, the head alone would
/// soon separate a few texts, and the encoder would learn little from them. (Measured with 1: 5 points less
/// after training on 100 texts of TREC-6, docs/defaults.md.)
pub(super) const INITIAL_CONFIDENCE: f32 = 0.2;

/// A linear layer: weight [labels, width], bias [labels].
pub(super) struct Head {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Initialises the head from the pooled vectors of the texts. For single-label tasks, logits follow the
/// distances to the mean vectors of the classes; for multi-label tasks, to the means of the texts with and
/// without each label. For regression, the outputs start at the means of the targets and with their spread.
///
/// Returns whether the head was set; it is not if there is nothing to learn it from.
///
/// # Errors
/// If the model cannot read a text.
///
/// # Panics
/// If a text has a class that the model lacks.
pub fn set_head(model: &mut Classifier, train: &Encoded) -> Result<bool, Error> {
    let labels = model.config().num_labels();
    let data = &train.data;
    let head = match data.task {
        Task::SingleLabel => {
            let (vectors, targets) = vectors(model, train)?;
            let classes: Vec<u32> = targets.into_iter().flatten().copied().collect();
            prototypes(&vectors, &classes, labels)
        }
        Task::MultiLabel => {
            let (vectors, targets) = vectors(model, train)?;
            one_vs_rest(&vectors, &targets, &shares(data, labels))
        }
        Task::Regression => {
            let scale = TargetScale::of(data);
            let (mut weight, mut bias) = (model.weights()[CLASSIFIER].data.clone(), vec![0.0; labels]);
            scale.restore_weights(&mut weight);
            scale.restore(&mut bias);
            Some(Head { weight, bias })
        }
    };
    let Some(Head { weight, bias }) = head else { return Ok(false) };
    for (name, values) in [(CLASSIFIER, weight), (CLASSIFIER_BIAS, bias)] {
        model.weights_mut().get_mut(name).expect("every classifier has a head").data = values;
    }
    Ok(true)
}

/// Returns the classes of a text.
fn classes(target: &Target) -> &[u32] {
    match target {
        Target::Class(class) => std::slice::from_ref(class),
        Target::Classes(classes) => classes,
        Target::Numbers(_) => &[],
    }
}

/// Returns the share of texts with each label, smoothed to exclude 0 and 1.
fn shares(data: &Dataset, labels: usize) -> Vec<f32> {
    let mut counts = vec![0.5f32; labels];
    data.examples.iter().flat_map(|e| classes(&e.target)).for_each(|label| counts[*label as usize] += 1.0);
    counts.iter().map(|count| count / (data.len() + 1) as f32).collect()
}

/// Returns the pooled vectors [texts, width] of the first texts of each class, and of those without any, with
/// their classes.
fn vectors<'a>(model: &Classifier, train: &'a Encoded) -> Result<(Vec<f32>, Vec<&'a [u32]>), Error> {
    let labels = model.config().num_labels();
    let most = (TEXTS / labels).clamp(2, PER_CLASS);
    let mut taken = vec![0; labels + 1];
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (row, example) in (0..).zip(&train.data.examples) {
        let classes = classes(&example.target);
        let places = if classes.is_empty() { &[labels as u32] } else { classes };
        if places.iter().any(|class| taken[*class as usize] < most) {
            places.iter().for_each(|class| taken[*class as usize] += 1);
            rows.push(row);
            targets.push(classes);
        }
    }
    let (mut vectors, mut tape) = (Vec::new(), Tape::default());
    for rows in rows.chunks(BATCH) {
        model.forward(&train.batch(rows, model.config().pad_token_id as u32), Mode::Evaluate, &mut tape)?;
        vectors.extend(tape.pooled());
    }
    Ok((vectors, targets))
}

pub(super) fn squares(x: &[f32]) -> f32 {
    x.iter().map(|x| x * x).sum()
}

pub(super) fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}
