use crate::bert::{Array, CLASSIFIER, Checkpoint, Classifier};
use crate::data::{Dataset, Target, Task};
use crate::metrics::spread;
use std::collections::BTreeMap;

/// Standardises the targets of a regression: training sees (y - mean) / deviation. Each update moves a weight
/// by about the learning rate, whatever the unit of the targets, so without this a head would take very long
/// to reach thousands.
///
/// Checkpoints on disk output values in the original unit. Classification is not affected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetScale {
    mean: f32,
    deviation: f32,
}

impl Default for TargetScale {
    fn default() -> Self {
        Self { mean: 0.0, deviation: 1.0 }
    }
}

impl TargetScale {
    /// Returns the scale of a regression's targets; the identity for other tasks.
    pub fn of(data: &Dataset) -> Self {
        let numbers = data.examples.iter().filter_map(|example| match example.target {
            Target::Value(value) if data.task == Task::Regression => Some(f64::from(value)),
            _ => None,
        });
        let count = numbers.clone().count().max(1) as f64;
        let mean = numbers.clone().sum::<f64>() / count;
        let deviation = (spread(numbers) / count).sqrt() as f32;
        match deviation.is_normal() {
            true => Self { mean: mean as f32, deviation },
            false => Self { mean: mean as f32, ..Self::default() },
        }
    }

    /// Converts a target to this scale.
    pub fn of_number(&self, number: f32) -> f32 {
        (number - self.mean) / self.deviation
    }

    /// Converts a value on this scale back to a target.
    pub fn number(&self, value: f32) -> f32 {
        value * self.deviation + self.mean
    }

    /// Converts a difference on this scale to a difference of targets.
    pub fn difference(&self, value: f32) -> f32 {
        value * self.deviation
    }

    /// Converts a model that outputs targets to one on this scale.
    pub(super) fn enter(&self, model: &mut Classifier) {
        self.scale_head(model.weights_mut(), |w| w / self.deviation, |b| self.of_number(b));
    }

    /// Converts a model on this scale to a checkpoint that outputs targets.
    pub(super) fn leave(&self, model: &Classifier) -> Checkpoint {
        let mut checkpoint = model.checkpoint();
        self.scale_head(&mut checkpoint.tensors, |w| self.difference(w), |b| self.number(b));
        checkpoint
    }

    fn scale_head(
        &self,
        tensors: &mut BTreeMap<String, Array>,
        weight: impl Fn(f32) -> f32,
        bias: impl Fn(f32) -> f32,
    ) {
        if *self == Self::default() {
            return;
        }
        let mut set = |name: &str, f: &dyn Fn(f32) -> f32| {
            tensors.get_mut(name).into_iter().flat_map(|array| &mut array.data).for_each(|x| *x = f(*x));
        };
        set(CLASSIFIER, &weight);
        set("classifier.bias", &bias);
    }
}
