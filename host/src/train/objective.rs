use super::{ClassWeights, Encoded, Error, TargetScale, TrainOptions, WeightRule};
use crate::bert::ops::{Distribution, Loss};
use crate::bert::{Batch, Output, OutputGradient};
use crate::data::{Dataset, Target, Task};

/// The loss that a training step minimises.
pub trait Objective: Sync {
    /// Returns the loss of a batch made of `rows` of `encoded`, and its gradient with respect to the output. It is
    /// called on a thread of rayon's pool, so it must not hold a lock during parallel work.
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

    /// Returns whether the labels of the texts have to be the model's. Default: yes.
    fn needs_labels(&self) -> bool {
        true
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
            Task::Regression => {
                let mut targets: Vec<f32> = targets.flat_map(Target::numbers).copied().collect();
                self.target_scale.standardise(&mut targets);
                Loss::SquaredError { targets }
            }
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
        let (data, model) = (encoded.data.width(), output.logits.len() / batch.texts());
        if data != model {
            return Err(Error::Labels { data, model });
        }
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
        self.target_scale.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::Tokens;
    use crate::data::{Example, Labels};

    fn data(task: Task, targets: &[Target]) -> Dataset {
        let examples = targets.iter().map(|target| Example::new("x", target.clone())).collect();
        let labels = Labels::ordered(["a", "b", "c"].map(String::from).to_vec()).unwrap();
        Dataset { task, labels, examples, files: vec![] }
    }

    #[test]
    fn class_weights_follow_the_options() {
        let weights = |data: &Dataset, class_weights: ClassWeights| {
            let options = TrainOptions { class_weights, ..Default::default() };
            Supervised::new(data, &options).map(|loss| loss.weights)
        };
        let balanced = || ClassWeights::Rule(WeightRule::Balanced);
        // no row has c, which counts like one
        let classes = data(Task::SingleLabel, &[0, 0, 0, 1].map(Target::Class));
        assert_eq!(weights(&classes, balanced()).unwrap(), Some(vec![4.0 / 9.0, 4.0 / 3.0, 4.0 / 3.0]));
        // the square root of the ratio, and not below 1
        let sets: Vec<Target> = (0..10).map(|i| Target::Classes(vec![u32::from(i >= 2)])).collect();
        let sets = data(Task::MultiLabel, &sets);
        assert_eq!(weights(&sets, balanced()).unwrap(), Some(vec![2.0, 1.0, 3.0]));
        let named = |name: &str| ClassWeights::Named([(name.to_string(), 4.0)].into());
        assert_eq!(weights(&classes, named("b")).unwrap(), Some(vec![1.0, 4.0, 1.0]));
        assert!(matches!(weights(&classes, named("d")), Err(Error::ClassWeight(name)) if name == "d"));
        assert_eq!(weights(&classes, ClassWeights::Rule(WeightRule::None)).unwrap(), None);
    }

    #[test]
    fn sets_of_labels_have_focal_loss_too() {
        let sets = data(Task::MultiLabel, &[Target::Classes(vec![0, 2]), Target::Classes(vec![])]);
        let options = TrainOptions { focal: 2.0, ..Default::default() };
        let loss = Supervised::new(&sets, &options).unwrap().of_rows(&sets, &[1, 0]);
        let Loss::Binary { targets, weights: None, focal } = loss else { panic!("{loss:?}") };
        assert_eq!((targets, focal), (vec![0.0, 0.0, 0.0, 1.0, 0.0, 1.0], 2.0));
    }

    #[test]
    fn agreement_adds_half_of_the_divergence_of_two_passes() {
        let classes = data(Task::SingleLabel, &[Target::Class(1)]);
        let tokens = vec![Tokens { ids: vec![2, 3], type_ids: vec![0; 2] }];
        let batch = Batch::new([&tokens[0], &tokens[0]].into_iter(), 0);
        let encoded = Encoded { data: classes.into(), tokens, windows: None, truncated: 0 };
        let found = |agreement: f64, logits: &[f32]| {
            let options = TrainOptions { agreement, ..Default::default() };
            let objective = Supervised::new(&encoded.data, &options).unwrap();
            assert_eq!(objective.copies(), if agreement > 0.0 { 2 } else { 1 });
            let output = Output { logits: logits.to_vec(), cls: vec![], hidden: vec![] };
            let (loss, gradient) = objective.loss(&encoded, &[0, 0], &batch, &output).unwrap();
            (loss, gradient.logits)
        };
        let logits = [0.5f32, -1.0, 0.25, 1.5, 0.0, -0.5];
        let softmax = |row: &[f32]| {
            let all: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            row.iter().map(|x| f64::from(*x).exp() / all).collect::<Vec<_>>()
        };
        let (p, q) = (softmax(&logits[..3]), softmax(&logits[3..]));
        let terms = p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln());
        let (together, gradient) = found(3.0, &logits);
        let apart = 3.0 / 2.0 * terms.sum::<f64>() / 2.0;
        let alone = found(0.0, &logits).0;
        assert!((together - alone - apart).abs() < 1e-6, "{together} {alone} {apart}");
        for (at, found_here) in gradient.into_iter().enumerate() {
            let moved = |by: f32| {
                let mut logits = logits;
                logits[at] += by;
                found(3.0, &logits).0
            };
            let wanted = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((f64::from(found_here) - wanted).abs() < 1e-3, "{at}: {found_here} {wanted}");
        }
    }
}
