//! Compares logits, losses and gradients of the training model with those of Hugging Face's
//! `BertForSequenceClassification` and `MPNetForSequenceClassification`, recorded by `scripts/reference-forward.py`.

use std::collections::BTreeMap;
use std::path::Path;

use goldcrest::bert::ops::{Loss, Precision};
use goldcrest::bert::{Batch, Checkpoint, Classifier, Gradients, Mode, OutputGradient, Tape, Tokens};
use goldcrest::data::Task;
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u8>>,
    token_type_ids: Vec<Vec<u8>>,
    labels: serde_json::Value,
    logits: Vec<Vec<f32>>,
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
}

/// Loads a recorded folder, adding a vocabulary, which these models lack.
fn load(case: &Path) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(case.join(name), folder.path().join(name)).unwrap();
    }
    let pieces: String = (4..64).map(|i| format!("piece{i}\n")).collect();
    let special = match case.ends_with("case_mpnet") {
        true => "<s>\n<pad>\n</s>\n[UNK]\n",
        false => "[PAD]\n[UNK]\n[CLS]\n[SEP]\n",
    };
    std::fs::write(folder.path().join("vocab.txt"), format!("{special}{pieces}")).unwrap();
    let mut checkpoint = Checkpoint::load(folder.path()).unwrap();
    // recorded in evaluation mode; gradients need training mode here
    checkpoint.config.hidden_dropout_prob = 0.0;
    checkpoint.config.attention_probs_dropout_prob = 0.0;
    checkpoint
}

fn recorded_loss(task: Task, labels: &serde_json::Value) -> Loss {
    let floats = |v: &serde_json::Value| -> Vec<f32> {
        let rows = v.as_array().unwrap().iter();
        rows.flat_map(|r| r.as_array().cloned().unwrap_or_else(|| vec![r.clone()]))
            .map(|x| x.as_f64().unwrap() as f32)
            .collect()
    };
    match task {
        Task::SingleLabel => Loss::CrossEntropy {
            classes: floats(labels).into_iter().map(|x| x as u32).collect(),
            smoothing: 0.0,
            weights: None,
            focal: 0.0,
        },
        Task::MultiLabel => Loss::Binary { targets: floats(labels), weights: None, focal: 0.0 },
        Task::Regression => Loss::SquaredError { targets: floats(labels) },
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Returns the name of a weight in the recorded model.
fn name_in(model: &Classifier, weight: &str) -> String {
    if !model.config().only_teaches() {
        return weight.to_string();
    }
    let names = [
        ("bert.pooler.dense.", "classifier.dense."),
        ("attention.self.query.", "attention.attn.q."),
        ("attention.self.key.", "attention.attn.k."),
        ("attention.self.value.", "attention.attn.v."),
        ("attention.output.dense.", "attention.attn.o."),
        ("attention.output.LayerNorm.", "attention.LayerNorm."),
    ];
    if let Some(rest) = weight.strip_prefix("classifier.") {
        return format!("classifier.out_proj.{rest}");
    }
    let named = names.iter().fold(weight.to_string(), |name, (ours, theirs)| name.replace(ours, theirs));
    named.replace("bert.", "mpnet.")
}

#[test]
fn equals_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf_reference");
    let mut cases = 0;
    for case in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        cases += 1;
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(case.join("io.json")).unwrap();
        let recorded: Recorded = serde_json::from_str(&text).unwrap();
        let checkpoint = load(&case);
        let task = checkpoint.config.problem_type.unwrap();
        let model = Classifier::new(checkpoint, 0).unwrap();

        let rows = recorded.input_ids.iter().zip(&recorded.token_type_ids).zip(&recorded.attention_mask);
        let texts: Vec<Tokens> = rows
            .map(|((ids, types), mask)| {
                let n = mask.iter().filter(|m| **m == 1).count();
                Tokens { ids: ids[..n].to_vec(), type_ids: types[..n].to_vec() }
            })
            .collect();
        let batch = Batch::new(texts.iter(), model.config().pad_token_id as u32);
        let mut tape = Tape::default();
        for mode in [Mode::Train { seed: 1, precision: Precision::F32 }, Mode::Evaluate, Mode::Differentiate]
        {
            let logits = &model.forward(&batch, mode, &mut tape).unwrap().logits;
            for (ours, theirs) in logits.iter().zip(recorded.logits.iter().flatten()) {
                assert!((ours - theirs).abs() < 1e-5, "{name}: logit {ours}, Transformers has {theirs}");
            }
        }

        let loss = recorded_loss(task, &recorded.labels);
        let (value, logits) = loss.value_and_gradient(&tape.output().logits, batch.texts());
        assert!(
            (value - recorded.loss).abs() < 1e-5 * (1.0 + value),
            "{name}: loss {value}, {}",
            recorded.loss
        );

        let mut gradients = Gradients::new(model.weights());
        model.backward(&mut tape, &OutputGradient { logits, ..Default::default() }, &mut gradients);
        for weight in model.weights().keys() {
            let Some(wanted) = recorded.gradient_norms.get(&name_in(&model, weight)).copied() else {
                assert!(model.config().only_teaches() && weight.contains("token_type"), "{name}: {weight}");
                continue;
            };
            if weight.contains("relative_attention_bias") {
                assert!(gradients.get(weight).is_none(), "it is not trained");
                continue;
            }
            let found = if weight == "bert.embeddings.word_embeddings.weight" {
                norm(gradients.rows().flat_map(|(_, row)| row).copied())
            } else {
                let gradient = gradients.get(weight);
                let gradient = gradient.unwrap_or_else(|| panic!("{name}: {weight} receives no gradient"));
                norm(gradient.iter().copied())
            };
            // the gradient of a key bias is zero up to rounding
            let close = (found - wanted).abs() < 1e-4 * wanted + 1e-6;
            assert!(close, "{name}: gradient of {weight} has norm {found}, Transformers {wanted}");
        }
    }
    assert_eq!(cases, 8, "recorded cases");
}
