//! A moving average of the weights (Polyak averaging).

use crate::bert::{Array, Classifier};
use std::collections::BTreeMap;

/// Number of updates between two steps of the average; averaging after each update would take a tenth of the
/// training time.
const EVERY: u64 = 8;

/// An exponential moving average of a model's weights.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    /// The averaged weights, by name.
    pub(super) weights: BTreeMap<String, Array>,
}

impl Average {
    /// Starts from the current weights. `decay` is per update.
    pub(super) fn new(model: &Classifier, decay: f64) -> Self {
        Self { decay, weights: model.weights().clone() }
    }

    /// Updates the average after update number `step`, counted from 1. Young averages decay faster, so that
    /// the start of training is forgotten.
    pub(super) fn add(&mut self, model: &Classifier, step: u64) {
        if step >= EVERY && !step.is_multiple_of(EVERY) {
            return;
        }
        let young = step as f64 / (step + 10 * EVERY) as f64;
        let keep = self.decay.powi(EVERY as i32).min(young) as f32;
        for (average, weight) in self.weights.values_mut().zip(model.weights().values()) {
            average.data.iter_mut().zip(&weight.data).for_each(|(a, w)| *a = *a * keep + w * (1.0 - keep));
        }
    }

    /// Swaps the average with the model's weights.
    pub(super) fn swap(&mut self, model: &mut Classifier) {
        std::mem::swap(&mut self.weights, model.weights_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::test_support::without_weights;

    #[test]
    fn follows_the_weights_and_swaps_with_them() {
        let mut model = Classifier::new(without_weights(), 0).unwrap();
        let set = |model: &mut Classifier, x: f32| {
            model.weights_mut().values_mut().flat_map(|w| &mut w.data).for_each(|w| *w = x);
        };
        let all = |weights: &BTreeMap<String, Array>, x: f32| {
            weights.values().flat_map(|w| &w.data).all(|w| (w - x).abs() < 1e-5)
        };
        set(&mut model, 0.0);
        let mut average = Average::new(&model, 0.9);
        set(&mut model, 1.0);
        average.add(&model, 8); // young: keeps 8 / (8 + 80)
        assert!(all(&average.weights, 1.0 - 8.0 / 88.0));
        average.add(&model, 9); // not averaged
        assert!(all(&average.weights, 1.0 - 8.0 / 88.0));
        let keep = 0.9f32.powi(8);
        average.add(&model, 8000);
        assert!(all(&average.weights, 1.0 - keep * 8.0 / 88.0));
        let mut first = Average::new(&model, 0.9);
        set(&mut model, 3.0);
        first.add(&model, 1); // keeps 1 / 81
        assert!(all(&first.weights, 3.0 - 2.0 / 81.0));
        set(&mut model, 1.0);
        average.swap(&mut model);
        assert!(all(&average.weights, 1.0) && !all(model.weights(), 1.0));
    }
}
