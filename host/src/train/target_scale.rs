use crate::bert::{Array, CLASSIFIER, CLASSIFIER_BIAS, Checkpoint, Classifier};
use crate::data::{Dataset, Task};
use crate::metrics::mean_and_deviation;
use std::collections::BTreeMap;

/// Standardises the targets of a regression: training sees (y - mean) / deviation of each number. Each update
/// moves a weight by about the learning rate, whatever the unit of the targets, so without this a head would
/// take very long to reach thousands, and of several numbers the largest would count most.
///
/// Checkpoints on disk output values in the original unit. Classification is not affected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetScale {
    /// Of each number; none for other tasks.
    numbers: Vec<Scale>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    mean: f32,
    deviation: f32,
}

impl TargetScale {
    /// Returns the scale of a regression's targets; the identity for other tasks.
    pub fn of(data: &Dataset) -> Self {
        let scale = |number: usize| {
            let targets = data.examples.iter().filter_map(|example| example.target.numbers().get(number));
            let (mean, deviation) = mean_and_deviation(targets.map(|target| f64::from(*target)));
            Scale { mean, deviation }
        };
        let numbers = if data.task == Task::Regression { data.width() } else { 0 };
        Self { numbers: (0..numbers).map(scale).collect() }
    }

    /// Converts targets, [texts, numbers], to this scale.
    pub fn standardise(&self, targets: &mut [f32]) {
        self.change(targets, 1, |x, of| (x - of.mean) / of.deviation);
    }

    /// Converts values on this scale, [texts, numbers], back to targets.
    pub fn restore(&self, values: &mut [f32]) {
        self.change(values, 1, |x, of| x * of.deviation + of.mean);
    }

    /// Converts a head's weights on this scale, [numbers, width], to those that output targets.
    pub fn restore_weights(&self, weights: &mut [f32]) {
        self.change(weights, self.width(weights), |w, of| w * of.deviation);
    }

    /// Returns the standard deviation of each number; none for other tasks.
    pub fn deviations(&self) -> impl Iterator<Item = f32> {
        self.numbers.iter().map(|of| of.deviation)
    }

    /// Converts a model that outputs targets to one on this scale.
    pub(super) fn enter(&self, model: &mut Classifier) {
        let weights = model.weights_mut();
        let standardise = |w: &mut [f32]| self.change(w, self.width(w), |w, of| w / of.deviation);
        change_head(weights, standardise, |bias| self.standardise(bias));
    }

    /// Converts a model on this scale to a checkpoint that outputs targets.
    pub(super) fn leave(&self, model: &Classifier) -> Checkpoint {
        let mut checkpoint = model.checkpoint();
        change_head(&mut checkpoint.tensors, |w| self.restore_weights(w), |bias| self.restore(bias));
        checkpoint
    }

    /// Returns the width of a head's weights, [numbers, width].
    fn width(&self, weights: &[f32]) -> usize {
        weights.len() / self.numbers.len().max(1)
    }

    /// Changes values, […, numbers, width], by the scale of their number.
    fn change(&self, values: &mut [f32], width: usize, change: impl Fn(f32, &Scale) -> f32) {
        if self.numbers.is_empty() {
            return;
        }
        for (values, of) in values.chunks_exact_mut(width).zip(self.numbers.iter().cycle()) {
            values.iter_mut().for_each(|x| *x = change(*x, of));
        }
    }
}

fn change_head(
    tensors: &mut BTreeMap<String, Array>,
    weight: impl FnOnce(&mut [f32]),
    bias: impl FnOnce(&mut [f32]),
) {
    if let Some(array) = tensors.get_mut(CLASSIFIER) {
        weight(&mut array.data);
    }
    if let Some(array) = tensors.get_mut(CLASSIFIER_BIAS) {
        bias(&mut array.data);
    }
}
