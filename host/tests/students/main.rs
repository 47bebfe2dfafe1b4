//! Tests of students: cutting, factorising, transfer sets and smaller bases.

mod cutting;
mod smaller_base;
#[path = "../support/mod.rs"]
mod support;
mod teaching;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Config, Mode, Tape, TokenizerFiles, Tokens};
use goldcrest::data::{Dataset, Example, Labels, Source, Target, Task};
use goldcrest::distill::cut_layers;
use goldcrest::recipe::Progress;
use goldcrest::train::{Encoded, predict_with_vectors};
use support::checkpoint;

const WORDS: [&str; 10] = ["red", "green", "blue", "fast", "slow", "high", "low", "warm", "cold", "##er"];

fn model() -> Checkpoint {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let vocab: String = special.iter().chain(&WORDS).map(|w| format!("{w}\n")).collect();
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    }))
    .unwrap();
    config.set_labels(&["no".into(), "yes".into()], Task::SingleLabel);
    let tokenizer =
        TokenizerFiles { vocab, lowercase: true, strip_accents: None, chinese_chars: true, max_length: 16 };
    Classifier::new(Checkpoint { config, tensors: Default::default(), tokenizer }, 5).unwrap().checkpoint()
}

fn data(texts: &[&str]) -> Dataset {
    let example = |text: &&str| Example::new(*text, Target::Class(0));
    Dataset {
        task: Task::SingleLabel,
        labels: Labels::ordered(vec!["no".into(), "yes".into()]).unwrap(),
        examples: texts.iter().map(example).collect(),
        files: vec![],
    }
}

fn logits(model: &Checkpoint) -> Vec<f32> {
    let model = Classifier::new(model.clone(), 0).unwrap();
    let tokens = Tokens { ids: vec![2, 5, 9, 13, 7, 3], type_ids: vec![0; 6] };
    let batch = Batch::new([&tokens].into_iter(), 0);
    model.forward(&batch, Mode::Evaluate, &mut Tape::default()).unwrap().logits.clone()
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance)
}
