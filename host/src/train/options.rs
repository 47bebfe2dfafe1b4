use crate::bert::Config;
use crate::bert::ops::{Bf16, Precision};
use crate::ranges::{
    Checked, MOST_PASSES, count, ensure, not_negative, number, optional_counts, part, positive, share,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The learning-rate schedule after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Linear decay to 0.
    #[default]
    Linear,
    /// Cosine decay to 0.
    Cosine,
    /// Constant.
    Constant,
}

/// Weights of the classes in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"none\", \"balanced\", or a table of label names with weights such as { spam = 4.0 }"
)]
pub enum ClassWeights {
    /// `none` or `balanced`.
    Rule(WeightRule),
    /// Weight by label name; 1 for labels not named.
    Named(BTreeMap<String, f64>),
}

/// Class weights by rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightRule {
    /// All 1.
    None,
    /// Inversely proportional to class frequency, and 1 on average over the examples. For multi-label tasks,
    /// the square root of the ratio of texts without the label to texts with it, at least 1.
    Balanced,
}

/// The precision of the products of linear layers while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionRule {
    /// bf16 if the processor has AMX, else f32.
    #[default]
    Auto,
    /// f32.
    F32,
    /// bf16, or an error if the processor has no AMX.
    Bf16,
}

impl PrecisionRule {
    /// Returns what it means on this processor; `None` if that is not possible.
    pub fn here(self) -> Option<Precision> {
        match self {
            Self::Auto => Some(Precision::fastest()),
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Bf16::detect().map(Precision::Bf16),
        }
    }
}

/// `[train]`: fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Number of passes over the data; fractions end within one, and 0 uses the base as it is. Default: see
    /// [`epochs`](TrainOptions::epochs).
    pub epochs: Option<f64>,
    /// Examples per batch. Default: 32.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for one update. Default: 1.
    pub accumulate: usize,
    /// Peak learning rate. Default: see [`learning_rate`](TrainOptions::learning_rate).
    pub learning_rate: Option<f64>,
    /// Share of the steps used for warm-up. Default: 0.1.
    pub warmup: f64,
    /// Schedule after warm-up: `linear`, `cosine` or `constant`. Default: `linear`.
    pub schedule: Schedule,
    /// Weight decay of AdamW, except on biases and norms. Default: 0.01.
    pub weight_decay: f64,
    /// Learning rate of each layer relative to the one above it. Default: 1.
    pub layer_decay: f64,
    /// Gradient clipping: largest norm of the gradient; 0 disables it. Default: 1.
    pub clip: f64,
    /// Dropout rate, if not the checkpoint's own. Applied by the recipe, not by [`train`](super::train()).
    pub dropout: Option<f64>,
    /// Label smoothing: share of the target spread over all labels. Default: 0.
    pub label_smoothing: f64,
    /// `"none"`, `"balanced"`, or weights by label name. Default: `"none"`.
    pub class_weights: ClassWeights,
    /// Steps between evaluations. Default: see [`eval_every`](TrainOptions::eval_every()).
    pub eval_every: Option<usize>,
    /// Decay of an exponential moving average of the weights, such as 0.999, which is then evaluated and kept
    /// instead of the weights. Default: 0, no average.
    pub average: f64,
    /// Exponent of the focal loss (Lin et al., arXiv 1708.02002): the higher it is, the less weight have
    /// examples that are already right. Default: 0.
    pub focal: f64,
    /// Weight of R-Drop (Liang et al., arXiv 2106.14448): each text passes twice with different dropout, and
    /// the disagreement is added to the loss. Takes twice the time. Default: 0.
    pub agreement: f64,
    /// Distance of adversarial perturbation: the word vectors of a batch are moved together along the
    /// gradient of the loss, and the batch is trained on again (Miyato et al., arXiv 1605.07725). Takes twice
    /// the time; 0 disables it. Default in a recipe: see [`adversarial`](TrainOptions::adversarial()).
    pub adversarial: Option<f64>,
    /// Number of runs with different order and dropout whose weights are averaged. Applied by the recipe, not
    /// by [`train`](super::train()). Default in a recipe: see [`soup`](TrainOptions::soup()).
    pub soup: Option<usize>,
    /// Early stopping: evaluations without improvement after which training ends. Default: never.
    pub patience: Option<usize>,
    /// Seed of order, dropout and new weights. Default: 0.
    pub seed: u64,
    /// Precision of the products of linear layers while training: `auto`, `f32` or `bf16`. Everything else is
    /// f32. Default: `auto`.
    pub precision: PrecisionRule,
    /// Number of threads; default: all cores. Parallel work uses rayon's pool, so this is for the program
    /// that creates the pool. Results do not depend on it.
    pub threads: Option<usize>,
    /// Minimum number of seconds between saved states, from which an interrupted run resumes. Default: 30.
    /// Results do not depend on it.
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
            precision: PrecisionRule::Auto,
            threads: None,
            save_every: 30.0,
        }
    }
}

/// Default number of steps for small data sets, over all averaged runs.
const STEPS: f64 = 1_500.0;

impl TrainOptions {
    /// Maximum batch size.
    pub(crate) const MOST_TEXTS: usize = 1 << 20;

    /// Returns the options that decide the result; the others have their defaults.
    pub(crate) fn that_decide(&self) -> TrainOptions {
        let TrainOptions { threads, save_every, .. } = TrainOptions::default();
        TrainOptions { threads, save_every, ..self.clone() }
    }

    /// Returns the number of epochs for this many examples and classes: as given, or else 3. Small data sets
    /// get as many as make 500 steps plus 13 per class (at most 1,500 steps and 10 epochs), very large ones
    /// as many as make 10,000 steps (at least 1 epoch). For `long` texts, whose steps take about ten times as
    /// long, the limits are 400 and 3,000 steps, and 30 epochs.
    pub fn epochs(&self, examples: usize, classes: usize, long: bool) -> f64 {
        let per_epoch = self.steps_per_epoch(examples) as f64;
        let enough = (500.0 + 13.0 * classes as f64).min(STEPS);
        let ([least, most], passes) =
            if long { ([400.0, 3_000.0], 30.0) } else { ([enough, 10_000.0], 10.0) };
        let usual: f64 = (least / per_epoch).clamp(3.0, passes);
        self.epochs.unwrap_or(usual.min((most / per_epoch).max(1.0)))
    }

    /// Returns the number of runs whose weights are averaged: as given, or else 1 if the epochs are given or
    /// texts are `long`, or else as many as make 1,500 steps together, at most 3.
    pub fn soup(&self, examples: usize, classes: usize, long: bool) -> usize {
        let steps = self.epochs(examples, classes, long) * self.steps_per_epoch(examples) as f64;
        let usual = if self.epochs.is_some() || long { 1.0 } else { (STEPS / steps).round().clamp(1.0, 3.0) };
        self.soup.unwrap_or(usual as usize)
    }

    /// Returns the number of steps per epoch.
    pub fn steps_per_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.batch_size.max(1)).div_ceil(self.accumulate.max(1)).max(1) as u64
    }

    /// Returns the number of steps between evaluations on `dev` texts: as given, or else once per epoch, but
    /// at least five times in all. If evaluating would take longer than training, at least three times;
    /// evaluating a text takes a third of the time of training on it.
    pub fn eval_every(&self, examples: usize, dev: usize, steps: u64) -> u64 {
        let usual = self.steps_per_epoch(examples).min(steps.div_ceil(5));
        let as_long = dev.div_ceil((3 * self.batch_size * self.accumulate).max(1)) as u64;
        let usual = usual.max(as_long.min(steps.div_ceil(3)));
        self.eval_every.map_or(usual, |given| given as u64).clamp(1, steps.max(1))
    }

    /// Returns the distance of adversarial perturbation: as given, or else 0.5 for 2,000 to 20,000 examples.
    /// With fewer it gains nothing; with more, or `long` ones, it takes too long.
    pub fn adversarial(&self, examples: usize, long: bool) -> f64 {
        let usual = (2_000..=20_000).contains(&examples) && !long;
        self.adversarial.unwrap_or(if usual { 0.5 } else { 0.0 })
    }

    /// Returns the peak learning rate: as given, or else 2e-4 for 3 layers of width 384, scaled by the
    /// inverse square of the width and the inverse root of the depth, at most 3e-4. For BERT base this gives
    /// 2.5e-5, in the middle of what its authors recommend.
    pub fn learning_rate(&self, model: &Config) -> f64 {
        let (width, depth) = (384.0 / model.hidden_size as f64, 3.0 / model.num_hidden_layers as f64);
        self.learning_rate.unwrap_or((2e-4 * width.powi(2) * depth.sqrt()).min(3e-4))
    }

    /// Checks all ranges.
    pub(crate) fn check(&self) -> Checked {
        let passes = |x| (0.0..=MOST_PASSES).contains(&x);
        number(self.epochs.unwrap_or_default(), passes, "train.epochs", "0 to 1000000")?;
        count(self.batch_size, "train.batch_size")?;
        count(self.accumulate, "train.accumulate")?;
        ensure(self.batch_size <= Self::MOST_TEXTS, "train.batch_size", "is more than 1048576")?;
        ensure(self.accumulate <= 1 << 20, "train.accumulate", "is more than 1048576")?;
        self.learning_rate.iter().try_for_each(|&rate| positive(rate, "train.learning_rate"))?;
        share(self.warmup, "train.warmup")?;
        not_negative(self.weight_decay, "train.weight_decay")?;
        number(
            self.layer_decay,
            |value| value > 0.0 && value <= 1.0,
            "train.layer_decay",
            "above 0, at most 1",
        )?;
        not_negative(self.clip, "train.clip")?;
        self.dropout.iter().try_for_each(|&dropout| part(dropout, "train.dropout"))?;
        part(self.label_smoothing, "train.label_smoothing")?;
        part(self.average, "train.average")?;
        not_negative(self.focal, "train.focal")?;
        not_negative(self.agreement, "train.agreement")?;
        self.adversarial.iter().try_for_each(|&far| not_negative(far, "train.adversarial"))?;
        not_negative(self.save_every, "train.save_every")?;
        if let ClassWeights::Named(weights) = &self.class_weights {
            weights.values().try_for_each(|&weight| positive(weight, "train.class_weights"))?;
        }
        let counts = [
            (self.eval_every, "train.eval_every"),
            (self.patience, "train.patience"),
            (self.soup, "train.soup"),
            (self.threads, "train.threads"),
        ];
        ensure(self.soup.is_none_or(|runs| runs <= 100), "train.soup", "are more than 100")?;
        ensure(self.threads.is_none_or(|threads| threads <= 256), "train.threads", "are more than 256")?;
        optional_counts(&counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_size_of_data_and_model() {
        let options = TrainOptions::default();
        let epochs = [100, 1000, 4800, 1_000_000].map(|examples| options.epochs(examples, 0, false));
        assert_eq!(epochs, [10.0, 10.0, 500.0 / 150.0, 1.0]);
        assert_eq!((options.epochs(64_000, 0, false), options.epochs(160_000, 0, false)), (3.0, 2.0));
        // many classes need more steps
        let epochs = [20, 77, 200].map(|classes| options.epochs(8000, classes, false));
        assert_eq!(epochs, [760.0 / 250.0, 6.0, 6.0]);
        let soup = [100, 4800, 9600, 64_000].map(|examples| options.soup(examples, 0, false));
        assert_eq!((soup, options.soup(8000, 77, false), options.soup(100, 0, true)), ([3, 3, 2, 1], 1, 1));
        assert_eq!(
            (options.eval_every(4800, 500, 1500), options.eval_every(64_000, 7000, 6000)),
            (150, 1200)
        );
        assert_eq!((options.eval_every(9, 1, 0), options.eval_every(9, 1, 3)), (1, 1));
        // dev is thirty times as large as train
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
        // long texts get fewer steps
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
