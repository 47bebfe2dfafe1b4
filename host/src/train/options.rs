use crate::bert::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the learning rate goes on after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Down to 0 in half a cosine.
    Cosine,
    /// As it is.
    Constant,
}

/// What a mistake in a class costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"none\", \"balanced\", or a table of label names with weights such as { spam = 4.0 }"
)]
pub enum ClassWeights {
    /// `none` or `balanced`.
    Rule(WeightRule),
    /// By name; 1 for labels not named.
    Named(BTreeMap<String, f64>),
}

/// Class weights without naming classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightRule {
    /// All 1.
    None,
    /// Inverse to how often a class occurs; 1 on average over the examples. Of several labels the root of how many
    /// lack it for each that has it, at least 1.
    Balanced,
}

/// `[train]`: fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the data; a fraction ends within one, 0 takes the base as it is. When not given see
    /// [`epochs`](TrainOptions::epochs).
    pub epochs: Option<f64>,
    /// Examples a step: 32.
    pub batch_size: usize,
    /// Batches whose gradients are averaged before the weights move: 1.
    pub accumulate: usize,
    /// The highest. When not given see [`learning_rate`](TrainOptions::learning_rate).
    pub learning_rate: Option<f64>,
    /// Share of the steps in which the learning rate rises to it: 0.1.
    pub warmup: f64,
    /// `linear`, `cosine` or `constant` after that: linear.
    pub schedule: Schedule,
    /// AdamW's, not for biases and norms: 0.01.
    pub weight_decay: f64,
    /// Learning rate of each layer relative to the one above it: 1.
    pub layer_decay: f64,
    /// Largest norm of the gradient; 0 does not clip: 1.
    pub clip: f64,
    /// Instead of the checkpoint's own; by the recipe's step and not by [`train`](super::train()).
    pub dropout: Option<f64>,
    /// Share of the target spread over all labels: 0.
    pub label_smoothing: f64,
    /// `"none"`, `"balanced"`, or weights by label name: none.
    pub class_weights: ClassWeights,
    /// Steps between evaluations. When not given see [`eval_every`](TrainOptions::eval_every()).
    pub eval_every: Option<usize>,
    /// Decay of a moving average of the weights, which then is measured and kept instead of them, such as 0.999; 0 for none: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub average: f64,
    /// Focal loss (Lin et al., arXiv 1708.02002): mistakes count more than what is right already, the more so the higher this
    /// power: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub focal: f64,
    /// R-Drop (Liang et al., arXiv 2106.14448): each text passes twice, with different parts dropped out, and this times the
    /// difference between both answers is added to the loss. Twice the time: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub agreement: f64,
    /// How far the word vectors of a batch, all together, are moved along the gradient of the loss, where the batch is learned from
    /// once more (Miyato et al., arXiv 1605.07725), in twice the time; 0 for once only. When a recipe does not say see
    /// [`adversarial`](TrainOptions::adversarial()).
    pub adversarial: Option<f64>,
    /// Runs with different orders and dropout whose weights are averaged, by the recipe's step and not by [`train`](super::train()).
    /// When a recipe does not say see [`soup`](TrainOptions::soup()).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soup: Option<usize>,
    /// Evaluations without improvement after which training stops; never when not given.
    pub patience: Option<usize>,
    /// Of order, dropout and new weights: 0.
    pub seed: u64,
    /// Threads; all cores when not given. Parallel work takes those of rayon's pool, so this is for the program that makes the pool.
    /// They change no bit of the result, so they are not part of what identifies a run.
    #[serde(skip_serializing)]
    pub threads: Option<usize>,
    /// Least seconds between saved states, which an interrupted run continues from: 30. It decides nothing about the
    /// result, so it is not part of what identifies a run.
    #[serde(skip_serializing)]
    pub save_every: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            epochs: None,
            batch_size: 32,
            accumulate: 1,
            learning_rate: None,
            warmup: 0.1,
            schedule: Schedule::Linear,
            weight_decay: 0.01,
            layer_decay: 1.0,
            clip: 1.0,
            dropout: None,
            label_smoothing: 0.0,
            class_weights: ClassWeights::Rule(WeightRule::None),
            eval_every: None,
            average: 0.0,
            focal: 0.0,
            agreement: 0.0,
            adversarial: None,
            soup: None,
            patience: None,
            seed: 0,
            threads: None,
            save_every: 30.0,
        }
    }
}

/// Few examples are learned in so many steps, of one run or of several.
const STEPS: f64 = 1_500.0;

impl TrainOptions {
    /// Passes over so many examples of so many classes: as given, or 3; of few examples as many as make 500 steps and 13 for each
    /// class, 1,500 at most, but not more passes than 10; of very many as many as make 10,000, but not less than 1. Of `long` texts
    /// 400 and 3,000 steps, since each takes as long as ten of short ones, and 30 passes at most.
    pub fn epochs(&self, examples: usize, classes: usize, long: bool) -> f64 {
        let per_epoch = self.steps_per_epoch(examples) as f64;
        let enough = (500.0 + 13.0 * classes as f64).min(STEPS);
        let ([least, most], passes) =
            if long { ([400.0, 3_000.0], 30.0) } else { ([enough, 10_000.0], 10.0) };
        let usual: f64 = (least / per_epoch).clamp(3.0, passes);
        self.epochs.unwrap_or(usual.min((most / per_epoch).max(1.0)))
    }

    /// Runs whose weights are averaged: as given, or where neither they nor the epochs are, as many as make 1,500 steps together, 3
    /// at most; of `long` texts one.
    pub fn soup(&self, examples: usize, classes: usize, long: bool) -> usize {
        let steps = self.epochs(examples, classes, long) * self.steps_per_epoch(examples) as f64;
        let usual = if self.epochs.is_some() || long { 1.0 } else { (STEPS / steps).round().clamp(1.0, 3.0) };
        self.soup.unwrap_or(usual as usize)
    }

    /// Steps of one pass over so many examples.
    pub fn steps_per_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.batch_size).div_ceil(self.accumulate).max(1) as u64
    }

    /// Steps between evaluations on `dev` texts: as given, or once an epoch, or more often where that were fewer than five times.
    /// Three times where measuring takes longer than training: a text that is measured takes a third of one that is learned from.
    pub fn eval_every(&self, examples: usize, dev: usize, steps: u64) -> u64 {
        let usual = self.steps_per_epoch(examples).min(steps.div_ceil(5));
        let as_long = dev.div_ceil(3 * self.batch_size * self.accumulate) as u64;
        let usual = usual.max(as_long.min(steps.div_ceil(3)));
        self.eval_every.map_or(usual, |given| given as u64).clamp(1, steps.max(1))
    }

    /// How far word vectors are moved: as given, or 0.5 where there are 2,000 to 20,000 examples. Of fewer nothing is gained, and
    /// of more, or of `long` ones, it takes long.
    pub fn adversarial(&self, examples: usize, long: bool) -> f64 {
        let usual = (2_000..=20_000).contains(&examples) && !long;
        self.adversarial.unwrap_or(if usual { 0.5 } else { 0.0 })
    }

    /// The highest learning rate: as given, or 2e-4 for 3 layers of width 384 and less for larger models, by the square of
    /// the width and the root of the depth, but not more than 3e-4. That makes 2.5e-5 for BERT base, in the middle of what
    /// its authors recommend.
    pub fn learning_rate(&self, model: &Config) -> f64 {
        let (width, depth) = (384.0 / model.hidden_size as f64, 3.0 / model.num_hidden_layers as f64);
        self.learning_rate.unwrap_or((2e-4 * width.powi(2) * depth.sqrt()).min(3e-4))
    }
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_examples_are_seen_more_often_than_many_and_large_models_move_less() {
        let options = TrainOptions::default();
        let epochs = [100, 1000, 4800, 1_000_000].map(|examples| options.epochs(examples, 0, false));
        assert_eq!(epochs, [10.0, 10.0, 500.0 / 150.0, 1.0]);
        assert_eq!((options.epochs(64_000, 0, false), options.epochs(160_000, 0, false)), (3.0, 2.0));
        // many classes take longer
        let epochs = [20, 77, 200].map(|classes| options.epochs(8000, classes, false));
        assert_eq!(epochs, [760.0 / 250.0, 6.0, 6.0]);
        let soup = [100, 4800, 9600, 64_000].map(|examples| options.soup(examples, 0, false));
        assert_eq!((soup, options.soup(8000, 77, false), options.soup(100, 0, true)), ([3, 3, 2, 1], 1, 1));
        assert_eq!(
            (options.eval_every(4800, 500, 1500), options.eval_every(64_000, 7000, 6000)),
            (150, 1200)
        );
        assert_eq!((options.eval_every(9, 1, 0), options.eval_every(9, 1, 3)), (1, 1));
        // dev is thirty times as large
        assert_eq!((options.eval_every(100, 3000, 120), options.eval_every(100, 30_000, 120)), (32, 40));
        let rate = |layers: usize, width: usize| {
            let config = serde_json::json!({
                "vocab_size": 100, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width / 32,
                "intermediate_size": 4 * width,
            });
            options.learning_rate(&serde_json::from_value(config).unwrap())
        };
        assert_eq!((rate(3, 384), rate(12, 768), rate(2, 128)), (2e-4, 2.5e-5, 3e-4));
        assert_eq!([1999, 2000, 20_000, 20_001].map(|n| options.adversarial(n, false)), [0.0, 0.5, 0.5, 0.0]);
        // long texts take longer
        let epochs = [100, 4800, 1_000_000].map(|examples| options.epochs(examples, 0, true));
        assert_eq!((epochs, options.adversarial(4800, true)), ([30.0, 3.0, 1.0], 0.0));
        assert_eq!(options.epochs(64_000, 0, true), 1.5);
        let given = TrainOptions { epochs: Some(0.5), adversarial: Some(0.0), ..options };
        assert_eq!((given.epochs(10, 0, false), given.adversarial(10, false)), (0.5, 0.0));
        assert_eq!(
            (given.soup(10, 0, false), TrainOptions { soup: Some(2), ..given }.soup(10, 0, true)),
            (1, 2)
        );
    }
}
