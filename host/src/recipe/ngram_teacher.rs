//! Adding what n-grams say to the answers of the networks.

use super::base;
use super::error::RunError;
use super::prepare::Prepared;
use super::progress::{Progress, Watch};
use crate::bert::Classifier;
use crate::data::Dataset;
use crate::distill::NgramModel;
use crate::train::{self, Encoded, Objective, Supervised, TrainOptions};
use std::path::Path;
use std::sync::Arc;

/// Weights to try for each of the two.
const WEIGHTS: [f32; 12] = [0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0];

/// What a logistic regression on the training texts' n-grams says about the texts to learn from and the dev
/// texts: logits, [texts, labels].
pub(super) struct NgramAnswers {
    texts: Vec<f32>,
    dev: Vec<f32>,
}

impl NgramAnswers {
    /// Fits the regression, with word pieces as `network` has them, and asks it.
    pub fn new(
        network: &Path,
        texts: &Arc<Dataset>,
        prepared: &Prepared,
        watch: Watch,
    ) -> Result<Self, RunError> {
        let files = base::load(network)?.tokenizer;
        let encode = |data: &Arc<Dataset>| Encoded::new(data.clone(), &files, prepared.input.max_tokens);
        let ngrams =
            NgramModel::fit(&encode(&prepared.train)?, &files, &objective(prepared)?, &mut |done, all| {
                watch(Progress::Fitted { done, all })
            });
        let dev = prepared.to_measure(&prepared.dev, &files)?;
        Ok(Self { texts: ngrams.logits(&encode(texts)?), dev: dev.of_examples(ngrams.logits(&dev)) })
    }

    /// Turns the networks' mean logits on the texts into a weighted sum of them and of these. The weights are
    /// those that explain the labels of the dev texts best: what has never read a language is often sure of
    /// wrong answers.
    pub fn add_to(
        &self,
        logits: &mut [f32],
        networks: &[&Path],
        prepared: &Prepared,
        watch: Watch,
    ) -> Result<(), RunError> {
        let mut of_networks = vec![0.0; self.dev.len()];
        for network in networks {
            let model = Classifier::trained(base::load(network)?)?;
            let dev = prepared.to_measure(&prepared.dev, model.tokenizer())?;
            let answers = dev.of_examples(train::predict(&model, &dev, &mut |_| ())?);
            let mean = answers.into_iter().map(|logit| logit / networks.len() as f32);
            of_networks.iter_mut().zip(mean).for_each(|(sum, logit)| *sum += logit);
        }
        let objective = objective(prepared)?;
        let [network, ngram] = best_weights([&of_networks, &self.dev], &prepared.dev, &objective);
        watch(Progress::Note(&format!(
            "n-grams of the training texts teach too (distill.ngrams): their logits count {ngram} times, those of the network {network} times"
        )));
        // numbers of a regression are weighted as deviations from the mean
        let scale = objective.target_scale();
        let mut more = self.texts.clone();
        scale.standardise(logits);
        scale.standardise(&mut more);
        logits.iter_mut().zip(more).for_each(|(logit, more)| *logit = *logit * network + more * ngram);
        scale.restore(logits);
        Ok(())
    }
}

fn objective(prepared: &Prepared) -> Result<Supervised, RunError> {
    Ok(Supervised::new(&prepared.train, &TrainOptions::default())?)
}

/// Returns the weights of two models' logits whose sum has the least loss.
fn best_weights(logits: [&[f32]; 2], data: &Dataset, objective: &Supervised) -> [f32; 2] {
    let (count, scale) = (data.len(), objective.target_scale());
    let all: Vec<u32> = (0..count as u32).collect();
    let loss = objective.of_rows(data, &all);
    let scaled = logits.map(|logits| {
        let mut scaled = logits.to_vec();
        scale.standardise(&mut scaled);
        scaled
    });
    let of_weights = |[a, b]: [f32; 2]| {
        let sums: Vec<f32> = scaled[0].iter().zip(&scaled[1]).map(|(x, y)| a * x + b * y).collect();
        loss.value_and_gradient(&sums, count).0
    };
    let all = WEIGHTS.iter().flat_map(|a| WEIGHTS.iter().map(|b| [*a, *b]));
    // a few dev texts may like neither
    let some = all.filter(|weights| *weights != [0.0; 2]);
    let best = some.map(|weights| (of_weights(weights), weights)).min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or([1.0, 1.0], |(_, weights)| weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Labels, Target, Task};

    #[test]
    fn weights_follow_what_each_knows() {
        let example = |i: u32| Example::new(String::new(), Target::Class(i % 2));
        let data = Dataset {
            task: Task::SingleLabel,
            labels: Labels::ordered(vec!["a".into(), "b".into()]).unwrap(),
            examples: (0..40).map(example).collect(),
            files: vec![],
        };
        let objective = Supervised::new(&data, &TrainOptions::default()).unwrap();
        // right nine times out of ten, and always sure; right half of the time
        let knows = (0..40)
            .flat_map(|i| [8.0, -8.0].map(|x: f32| if (i % 2 == 1) == (i % 10 != 3) { -x } else { x }));
        let guesses = (0..40).flat_map(|i| [5.0, -5.0].map(|x: f32| if i % 4 < 2 { -x } else { x }));
        let both = [guesses.collect::<Vec<_>>(), knows.collect()];
        let [guesses, knows] = best_weights([&both[0], &both[1]], &data, &objective);
        assert!(guesses == 0.0 && (0.1..=0.2).contains(&knows), "{guesses} {knows}");
        // always wrong
        let wrong: Vec<f32> = both[1].iter().map(|logit| -logit).collect();
        let weights = best_weights([&wrong, &wrong], &data, &objective);
        assert!([[0.0, 0.1], [0.1, 0.0]].contains(&weights), "{weights:?}");
    }
}
