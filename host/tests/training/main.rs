//! Training runs of a tiny model: it learns, is reproducible, and resumes after an interruption.

mod interruption;
mod learning;
mod numbers;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Config, Output, OutputGradient, TokenizerFiles};
use goldcrest::data::{Dataset, Example, Labels, Target, Task};
use goldcrest::distill::{Distill, FromTeacher};
use goldcrest::metrics::Metric;
use goldcrest::train::{
    Criterion, Encoded, Error, Event, Job, Objective, Summary, Supervised, TargetScale, TrainOptions,
    predict_with_vectors, train,
};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const WORDS: [&str; 8] = ["red", "green", "blue", "fast", "slow", "high", "low", "warm"];

fn checkpoint() -> Checkpoint {
    let vocab: String =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].iter().chain(&WORDS).map(|w| format!("{w}\n")).collect();
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    }))
    .unwrap();
    config.set_labels(&["no".into(), "yes".into()], Task::SingleLabel);
    let tokenizer =
        TokenizerFiles { vocab, lowercase: true, strip_accents: None, chinese_chars: true, max_length: 16 };
    Checkpoint { config, tensors: Default::default(), tokenizer }
}

/// Makes texts of four words, labelled `yes` if "warm" is among them.
fn data(rows: usize, from: usize) -> Dataset {
    let examples = (from..from + rows).map(|i| {
        let words: Vec<&str> = (0..4).map(|k| WORDS[(i * 7 + k * k * 3 + i / 5 * k) % 8]).collect();
        let target = Target::Class(u32::from(words.contains(&"warm")));
        Example::new(words.join(" "), target)
    });
    let labels = Labels::ordered(vec!["no".into(), "yes".into()]).unwrap();
    Dataset { task: Task::SingleLabel, labels, examples: examples.collect(), files: vec![] }
}

fn options() -> TrainOptions {
    TrainOptions {
        epochs: Some(10.0),
        batch_size: 8,
        learning_rate: Some(5e-3),
        eval_every: Some(10),
        seed: 3,
        ..Default::default()
    }
}

/// Fails after some updates, like a kill between two saved states.
struct Interrupted<'a>(&'a dyn Objective, AtomicUsize);

impl Objective for Interrupted<'_> {
    fn loss(&self, e: &Encoded, rows: &[u32], b: &Batch, o: &Output) -> Result<(f64, OutputGradient), Error> {
        if self.1.fetch_sub(1, Relaxed) == 1 { Err(Error::Empty) } else { self.0.loss(e, rows, b, o) }
    }

    fn target_scale(&self) -> TargetScale {
        self.0.target_scale()
    }
}

fn run(
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
) -> Result<(Summary, Classifier), Error> {
    run_from(checkpoint(), objective, options, folder)
}

fn run_from(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
) -> Result<(Summary, Classifier), Error> {
    run_watched(checkpoint, objective, options, folder, &mut |_| ())
}

fn run_watched(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
    watch: &mut dyn FnMut(Event),
) -> Result<(Summary, Classifier), Error> {
    run_job(checkpoint, objective, options, "test", folder, watch)
}

fn run_job(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    fingerprint: &str,
    folder: &Path,
    watch: &mut dyn FnMut(Event),
) -> Result<(Summary, Classifier), Error> {
    let mut model = Classifier::new(checkpoint, 1)?;
    let (train_data, dev) = (data(96, 0), data(40, 1000));
    let supervised = Supervised::new(&train_data, options)?;
    let encode = |data| Encoded::new(data, model.tokenizer(), 16);
    let (train_data, dev) = (encode(train_data)?, encode(dev)?);
    let mut job = Job {
        model: &mut model,
        train: &train_data,
        dev: Some((&dev, Criterion { metric: Metric::Accuracy, thresholds: true })),
        options,
        objective: objective.unwrap_or(&supervised),
        folder,
        fingerprint,
    };
    let summary = train(&mut job, watch)?;
    Ok((summary, model))
}

fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}
