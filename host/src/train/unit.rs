use crate::bert::{Array, Checkpoint, Classifier};
use crate::data::{Dataset, Target, Task};
use std::collections::BTreeMap;

/// What 1 and 0 stand for while numbers are learned: their deviation, and their mean. A head reaches thousands no sooner than
/// thousandths otherwise: an update moves a weight by about the learning rate, whatever it is to say.
///
/// Checkpoints on disk say the numbers themselves. Of classes it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    mean: f32,
    deviation: f32,
}

impl Default for Unit {
    fn default() -> Self {
        Self { mean: 0.0, deviation: 1.0 }
    }
}

impl Unit {
    /// Mean and deviation of a regression's numbers; 0 and 1 for other tasks.
    pub fn of(data: &Dataset) -> Self {
        let numbers = data.examples.iter().filter_map(|example| match example.target {
            Target::Value(value) if data.task == Task::Regression => Some(f64::from(value)),
            _ => None,
        });
        let count = numbers.clone().count().max(1) as f64;
        let mean = numbers.clone().sum::<f64>() / count;
        let deviation = (numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt() as f32;
        match deviation.is_normal() {
            true => Self { mean: mean as f32, deviation },
            false => Self { mean: mean as f32, ..Self::default() },
        }
    }

    /// A number in this unit.
    pub fn of_number(&self, number: f32) -> f32 {
        (number - self.mean) / self.deviation
    }

    /// The number that a value in this unit stands for.
    pub fn number(&self, value: f32) -> f32 {
        value * self.deviation + self.mean
    }

    /// The difference of two numbers whose values in this unit differ by so much.
    pub fn difference(&self, value: f32) -> f32 {
        value * self.deviation
    }

    /// Makes a model that says numbers say them in this unit.
    pub(super) fn enter(&self, model: &mut Classifier) {
        self.scale_head(model.weights_mut(), |w| w / self.deviation, |b| self.of_number(b));
    }

    /// A model that says them in this unit, saying the numbers.
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
        set("classifier.weight", &weight);
        set("classifier.bias", &bias);
    }
}
