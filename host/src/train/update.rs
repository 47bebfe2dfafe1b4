//! One update of the weights.

use super::adversarial::perturb_words;
use super::average::Average;
use super::{AdamW, Error, Job, TrainOptions};
use crate::bert::ops::{Precision, mix};
use crate::bert::{Classifier, Gradients, Mode, Tape};

/// Returns the learning rate of a weight relative to the head's.
fn layer_scale(name: &str, layers: usize, decay: f64) -> f64 {
    let below_head = if let Some(rest) = name.strip_prefix("bert.encoder.layer.") {
        let index = rest.split('.').next().and_then(|i| i.parse::<usize>().ok()).unwrap_or(0);
        layers - index
    } else if name.starts_with("bert.embeddings") {
        layers + 1
    } else {
        0
    };
    decay.powi(below_head as i32)
}

/// What is kept in memory between updates.
pub(super) struct Memory {
    pub adam: AdamW,
    pub average: Option<Average>,
    pub precision: Precision,
    tape: Tape,
    gradients: Gradients,
}

impl Memory {
    pub fn new(model: &Classifier, options: &TrainOptions, precision: Precision) -> Self {
        let gradients = Gradients::new(model.weights());
        let average = (options.average > 0.0).then(|| Average::new(model, options.average));
        Self { adam: AdamW::default(), average, precision, tape: Tape::default(), gradients }
    }
}

/// Makes one update, the one after `step` others, from some batches and returns their mean loss.
pub(super) fn update(
    job: &mut Job,
    memory: &mut Memory,
    step: u64,
    batches: &[Vec<u32>],
    rate: f64,
) -> Result<f32, Error> {
    let options = job.options;
    memory.gradients.clear();
    let distance = options.adversarial.unwrap_or(0.0);
    let share = if distance > 0.0 { 0.5 } else { 1.0 };
    let mut total = gradients_of(job, memory, step, batches, 0, share)?;
    if distance > 0.0 {
        let original = perturb_words(job.model.weights_mut(), &memory.gradients, distance);
        let moved = gradients_of(job, memory, step, batches, batches.len(), share);
        original.restore(job.model.weights_mut());
        total += moved?;
    }
    let Memory { adam, average, gradients, .. } = memory;
    let norm = gradients.norm();
    let clip = if options.clip > 0.0 && norm > options.clip { options.clip / (norm + 1e-6) } else { 1.0 };
    let layers = job.model.config().num_hidden_layers;
    let rates = |name: &str| rate * layer_scale(name, layers, options.layer_decay);
    adam.update(job.model.weights_mut(), gradients, rates, options.weight_decay, clip);
    if let Some(average) = average {
        average.add(job.model, step + 1);
    }
    Ok(total)
}

/// Adds the mean gradient of some batches, times `share`, and returns their mean loss times `share`. `passed`
/// is the number of batches already passed in this update, for the dropout seed.
fn gradients_of(
    job: &Job,
    memory: &mut Memory,
    step: u64,
    batches: &[Vec<u32>],
    passed: usize,
    share: f32,
) -> Result<f32, Error> {
    let pad_id = job.model.config().pad_token_id as u32;
    let share = share / batches.len() as f32;
    let mut total = 0.0;
    for (i, rows) in batches.iter().enumerate() {
        let rows = &rows.repeat(job.objective.copies());
        let batch = job.train.batch(rows, pad_id);
        let seed = mix(job.options.seed as u32 ^ mix(step as u32 ^ mix((passed + i) as u32 + 1)));
        let output =
            job.model.forward(&batch, Mode::Train { seed, precision: memory.precision }, &mut memory.tape)?;
        let (loss, mut gradient) = job.objective.loss(job.train, rows, &batch, output)?;
        let value = loss as f32 * share;
        if !value.is_finite() {
            return Err(Error::Diverged { step: step + 1, loss: value });
        }
        total += value;
        if share < 1.0 {
            gradient.scale(share);
        }
        job.model.backward(&mut memory.tape, &gradient, &mut memory.gradients);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Example, Labels, Target, Task};
    use crate::train::test_support::without_weights;
    use crate::train::{Encoded, Supervised};
    use std::path::Path;

    #[test]
    fn rates_decay_downwards() {
        let scale = |name: &str| layer_scale(name, 3, 0.5);
        assert_eq!([scale("classifier.weight"), scale("bert.pooler.dense.bias")], [1.0, 1.0]);
        assert_eq!(scale("bert.encoder.layer.2.output.dense.weight"), 0.5);
        assert_eq!(scale("bert.encoder.layer.0.output.dense.weight"), 0.125);
        assert_eq!(scale("bert.embeddings.word_embeddings.weight"), 0.0625);
    }

    /// Updates a model once, and returns the norm of the gradient that Adam saw.
    fn seen(batches: &[Vec<u32>], clip: f64) -> f64 {
        let mut checkpoint = without_weights();
        let labels = ["a", "b"].map(String::from);
        checkpoint.config.set_labels(&labels, Task::SingleLabel);
        checkpoint.config.set_dropout(0.0);
        let examples = (0..8).map(|i| Example::new("x ".repeat(1 + i % 3), Target::Class((i % 2) as u32)));
        let labels = Labels::ordered(labels.to_vec()).unwrap();
        let data = Dataset::new(Task::SingleLabel, labels, examples.collect()).unwrap();
        let train = Encoded::new(data, &checkpoint.tokenizer, 8).unwrap();
        let mut model = Classifier::new(checkpoint, 1).unwrap();
        let options = TrainOptions { clip, ..TrainOptions::default() };
        let mut memory = Memory::new(&model, &options, Precision::F32);
        let mut job = Job {
            model: &mut model,
            train: &train,
            dev: None,
            options: &options,
            objective: &Supervised::new(&train.data, &options).unwrap(),
            folder: Path::new(""),
            fingerprint: "test",
        };
        update(&mut job, &mut memory, 0, batches, 1e-3).unwrap();
        let first = memory.adam.moments.values().flat_map(|(first, _)| first);
        // after one update, the first moment is a tenth of the gradient
        10.0 * first.map(|m| f64::from(*m).powi(2)).sum::<f64>().sqrt()
    }

    /// The weights do not show it: what Adam does is the same for gradients of any scale.
    #[test]
    fn gradients_are_means_of_batches_and_clipped() {
        let all: Vec<u32> = (0..8).collect();
        let (one, four) = ([all.clone()], all.chunks(2).map(<[u32]>::to_vec).collect::<Vec<_>>());
        let whole = seen(&one, 0.0);
        // clipping adds a little to the norm, which is small here
        let is = |found: f64, wanted: f64| (found / wanted - 1.0).abs() < 0.01;
        assert!(is(seen(&four, 0.0), whole), "{} {whole}", seen(&four, 0.0));
        assert!(is(seen(&one, 2.0 * whole), whole), "{} {whole}", seen(&one, 2.0 * whole));
        assert!(is(seen(&one, 0.25 * whole), 0.25 * whole), "{} {whole}", seen(&one, 0.25 * whole));
    }
}
