//! A tiny BERT with random weights, as a folder in Hugging Face's layout.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

const LAYERS: usize = 2;
const HIDDEN: usize = 32;
const HEADS: usize = 2;
const FFN: usize = 64;
const POSITIONS: usize = 64;

/// Writes `config.json`, `model.safetensors`, `vocab.txt` and `tokenizer_config.json` into `folder`.
/// The vocabulary is cut from `texts`: special tokens, single characters, then the most frequent words.
/// The same texts give the same bytes.
///
/// # Panics
/// If a file cannot be written.
pub fn write_tiny_checkpoint(folder: &Path, texts: &str) {
    fs::create_dir_all(folder).expect("folder of the checkpoint");
    let vocabulary = vocabulary(texts);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap_or_else(|e| panic!("{}/{name}: {e}", folder.display()));
    };
    write("vocab.txt", (vocabulary.join("\n") + "\n").as_bytes());
    write(
        "config.json",
        json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
            "vocab_size": vocabulary.len(), "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "intermediate_size": FFN, "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "initializer_range": 0.02, "pad_token_id": 0,
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        })
        .to_string()
        .as_bytes(),
    );
    write(
        "tokenizer_config.json",
        json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": POSITIONS,
            "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
            "mask_token": "[MASK]", "tokenize_chinese_chars": true, "strip_accents": null,
        })
        .to_string()
        .as_bytes(),
    );
    write("model.safetensors", &weights(vocabulary.len()));
}

fn vocabulary(texts: &str) -> Vec<String> {
    let lower = texts.to_lowercase();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| w.len() > 1) {
        *counts.entry(word).or_default() += 1;
    }
    let mut words: Vec<(&str, usize)> = counts.into_iter().filter(|&(_, count)| count > 2).collect();
    words.sort_by_key(|&(word, count)| (std::cmp::Reverse(count), word));
    let mut vocabulary: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).into();
    vocabulary.extend(('!'..='~').filter(|c| !c.is_ascii_uppercase()).map(String::from));
    vocabulary.extend(('a'..='z').chain('0'..='9').map(|c| format!("##{c}")));
    vocabulary.extend(words.into_iter().map(|(word, _)| word.to_owned()));
    vocabulary
}

fn weights(vocabulary: usize) -> Vec<u8> {
    let mut random = Random(1);
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut add = |name: String, shape: Vec<usize>| {
        let constant = if name.ends_with("LayerNorm.weight") {
            Some(1.0)
        } else {
            name.ends_with("bias").then_some(0.0)
        };
        let bytes = (0..shape.iter().product())
            .flat_map(|_| constant.unwrap_or_else(|| random.uniform() * 0.2).to_le_bytes())
            .collect();
        tensors.insert(name, (shape, bytes));
    };
    for (table, rows) in [("word", vocabulary), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("embeddings.{table}_embeddings.weight"), vec![rows, HIDDEN]);
    }
    let mut norms = vec!["embeddings".to_owned()];
    let mut linears = vec![("pooler.dense".to_owned(), HIDDEN, HIDDEN)];
    for layer in (0..LAYERS).map(|i| format!("encoder.layer.{i}")) {
        for name in
            ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
        {
            linears.push((format!("{layer}.{name}"), HIDDEN, HIDDEN));
        }
        linears.push((format!("{layer}.intermediate.dense"), FFN, HIDDEN));
        linears.push((format!("{layer}.output.dense"), HIDDEN, FFN));
        norms.extend([format!("{layer}.attention.output"), format!("{layer}.output")]);
    }
    for (name, outputs, inputs) in linears {
        add(format!("{name}.weight"), vec![outputs, inputs]);
        add(format!("{name}.bias"), vec![outputs]);
    }
    for name in norms {
        add(format!("{name}.LayerNorm.weight"), vec![HIDDEN]);
        add(format!("{name}.LayerNorm.bias"), vec![HIDDEN]);
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize(views, None).expect("serialize the checkpoint")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// Uniform in [-1, 1).
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
