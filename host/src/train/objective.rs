use super::{ClassWeights, Encoded, Error, TargetScale, TrainOptions, WeightRule};
use crate::bert::ops::{Distribution, Loss};
use crate::bert::{Batch, Output, OutputGradient};
use crate::data::{Dataset, Target, Task};

/// The loss that a training step minimises.
pub trait Objective {
    /// Returns the loss of a batch made of `rows` of `encoded`, and its gradient with respect to the output.
    ///
    /// # Errors
    /// If a teacher cannot read the batch.
    fn loss(
        &self,
        encoded: &Encoded,
        rows: &[u32],
        batch: &Batch,
        output: &Output,
    ) -> Result<(f64, OutputGradient), Error>;

    /// Returns how often each batch is repeated, as one copy after another. Default: once.
    fn copies(&self) -> usize {
        1
    }

    /// Returns the scale of the logits during training.
    fn target_scale(&self) -> TargetScale {
        TargetScale::default()
    }
}

/// The loss of `BertForSequenceClassification` for the data's task, with label smoothing and class weights.
#[derive(Debug, Clone)]
pub struct Supervised {
    smoothing: f64,
    weights: Option<Vec<f64>>,
    focal: f64,
    agreement: f64,
    target_scale: TargetScale,
}

impl Supervised {
    /// Creates the loss that the options describe; regression targets are standardised on this data.
    ///
    /// # Errors
    /// If class weights name a label that the data lacks.
    pub fn new(data: &Dataset, options: &TrainOptions) -> Result<Self, Error> {
        let weights = match &options.class_weights {
            ClassWeights::Rule(WeightRule::None) => None,
            ClassWeights::Rule(WeightRule::Balanced) => {
                let counts = data.class_counts();
                let (rows, classes) = (data.len() as f64, counts.len() as f64);
                let weight = |n: &usize| match (data.task, (*n as f64).max(1.0)) {
                    // a compromise between 1 and the full ratio, which would give a single row too much
                    // weight
                    (Task::MultiLabel, n) => ((rows - n) / n).max(1.0).sqrt(),
                    (_, n) => rows / (classes * n),
                };
                Some(counts.iter().map(weight).collect())
            }
            ClassWeights::Named(named) => {
                if let Some(name) = named.keys().find(|name| data.labels.id(name).is_none()) {
                    return Err(Error::ClassWeight(name.clone()));
                }
                let weight = |label: &String| named.get(label).copied().unwrap_or(1.0);
                Some(data.labels.names().iter().map(weight).collect())
            }
        };
        Ok(Self {
            smoothing: options.label_smoothing,
            weights,
            focal: options.focal,
            agreement: options.agreement,
            target_scale: TargetScale::of(data),
        })
    }

    /// Returns the loss on gold targets.
    pub(crate) fn of_rows(&self, data: &Dataset, rows: &[u32]) -> Loss {
        let targets = rows.iter().map(|row| &data.examples[*row as usize].target);
        match data.task {
            Task::SingleLabel => Loss::CrossEntropy {
                classes: targets.map(|t| if let Target::Class(c) = t { *c } else { 0 }).collect(),
                smoothing: self.smoothing,
                weights: self.weights.clone(),
                focal: self.focal,
            },
            Task::MultiLabel => {
                let labels = data.labels.len();
                let mut values = vec![0.0; rows.len() * labels];
                for (row, target) in values.chunks_exact_mut(labels).zip(targets) {
                    if let Target::Classes(classes) = target {
                        classes.iter().for_each(|c| row[*c as usize] = 1.0);
                    }
                }
                Loss::Binary { targets: values, weights: self.weights.clone(), focal: self.focal }
            }
            Task::Regression => Loss::SquaredError {
                targets: targets
                    .map(|t| self.target_scale.of_number(if let Target::Value(v) = t { *v } else { 0.0 }))
                    .collect(),
            },
        }
    }
}

impl Objective for Supervised {
    fn loss(
        &self,
        encoded: &Encoded,
        rows: &[u32],
        batch: &Batch,
        output: &Output,
    ) -> Result<(f64, OutputGradient), Error> {
        let loss = self.of_rows(&encoded.data, rows);
        let (mut value, mut logits) = loss.value_and_gradient(&output.logits, batch.texts());
        if self.agreement > 0.0 {
            debug_assert!(rows[..rows.len() / 2] == rows[rows.len() / 2..], "each text twice");
            let distribution = match encoded.data.task {
                Task::SingleLabel => Distribution::Categorical,
                Task::MultiLabel => Distribution::Bernoulli,
                Task::Regression => Distribution::Normal,
            };
            let apart = Loss::Agreement { distribution };
            let (apart, gradient) = apart.value_and_gradient(&output.logits, batch.texts());
            // the mean over the two passes, where the paper has the sum
            let weight = 0.5 * self.agreement;
            value += weight * apart;
            logits.iter_mut().zip(gradient).for_each(|(to, d)| *to += weight as f32 * d);
        }
        Ok((value, OutputGradient { logits, ..Default::default() }))
    }

    fn copies(&self) -> usize {
        if self.agreement > 0.0 { 2 } else { 1 }
    }

    fn target_scale(&self) -> TargetScale {
        self.target_scale
    }
}
