use crate::train::{ClassWeights, TrainOptions, WeightRule};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[distill]`: a smaller model that learns from the trained one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distill {
    /// The teacher's layers that the student is made of: how many, evenly spread, or which, from 0.
    pub layers: Option<Layers>,
    /// Or a checkpoint folder to start from.
    pub student: Option<PathBuf>,
    /// Passes over the data: 3.
    #[serde(default = "default_epochs")]
    pub epochs: f64,
    /// The highest learning rate: 2e-4.
    #[serde(default = "default_distill_rate")]
    pub learning_rate: f64,
    /// Softens both distributions: 2.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Share of the loss on the gold labels, the rest on the teacher's: 0.1.
    #[serde(default = "default_alpha_hard")]
    pub alpha_hard: f64,
    /// Weight of the squared difference of hidden states: 1.
    #[serde(default = "default_hidden_weight")]
    pub hidden_weight: f64,
    /// Weight of the difference of relations between the texts of a batch: 0.
    #[serde(default)]
    pub relation_weight: f64,
    /// As in `[train]`, and taken from there when not given.
    pub batch_size: Option<usize>,
    /// Likewise.
    pub eval_every: Option<usize>,
    /// Likewise.
    pub patience: Option<usize>,
    /// Likewise.
    pub seed: Option<u64>,
}

/// A number of layers, or the layers by index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of layers or a list of them, counted from 0")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Layers {
    Count(usize),
    These(Vec<usize>),
}

fn default_epochs() -> f64 {
    3.0
}
fn default_distill_rate() -> f64 {
    2e-4
}
fn default_temperature() -> f64 {
    2.0
}
fn default_alpha_hard() -> f64 {
    0.1
}
fn default_hidden_weight() -> f64 {
    1.0
}

impl Distill {
    /// The options that the student is trained with: those of `[train]` where `[distill]` has none of its own. Class
    /// weights, label smoothing and layer decay are the teacher's alone.
    pub fn training(&self, train: &TrainOptions) -> TrainOptions {
        TrainOptions {
            epochs: self.epochs,
            learning_rate: self.learning_rate,
            batch_size: self.batch_size.unwrap_or(train.batch_size),
            eval_every: self.eval_every.or(train.eval_every),
            patience: self.patience.or(train.patience),
            seed: self.seed.unwrap_or(train.seed),
            label_smoothing: 0.0,
            layer_decay: 1.0,
            class_weights: ClassWeights::Rule(WeightRule::None),
            ..train.clone()
        }
    }
}
