//! MPNet (Song et al., arXiv 2004.09297) as a teacher: a BERT whose attention also depends on the distance between
//! tokens. Checkpoints in Transformers' layout are turned into that form when they are read:
//!
//! | MPNet | here |
//! |---|---|
//! | `attention.attn.q`, `.k`, `.v`, `.o` | `attention.self.query`, `.key`, `.value`, `attention.output.dense` |
//! | `classifier.dense`, `classifier.out_proj` | pooler, classifier |
//! | `<s>`, `</s>`, `<pad>`, `<mask>` | \[CLS\], \[SEP\], \[PAD\], \[MASK\] |
//! | positions from 2 | positions from 0 |
//! | two separators and no token types for pairs | one separator, and token types that start at 0 |
//!
//! The bias of each distance is not trained.

use super::checkpoint::{POSITION_EMBEDDINGS, TYPE_EMBEDDINGS};
use super::tokenizer_files::{SPECIAL, TokenizerFiles, vocabulary};
use super::{Array, Config, Error};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// `model_type` of MPNet in Transformers.
pub(super) const MPNET: &str = "mpnet";
/// `model_type` of the form here, which Transformers refuses rather than ignore the distances.
pub(super) const CONVERTED: &str = "goldcrest-mpnet";
/// Rows of the table of distances: 16 for a token itself and those before it, 16 for those after.
pub(super) const BUCKETS: usize = 32;
/// The distances at which buckets of several distances begin: 8 * 2^(k/2), as Transformers rounds it.
const COARSE_FROM: [usize; 8] = [8, 12, 16, 23, 32, 46, 64, 91];
/// The rows before the first token's in the table of positions.
const BEFORE_FIRST: usize = 2;
/// The names of special tokens, in the order of [`SPECIAL`].
const TOKENS: [&str; 5] = ["<pad>", "[UNK]", "<s>", "</s>", "<mask>"];

/// Returns whether this is a checkpoint in Transformers' layout.
pub(super) fn is_mpnet(config: &Config) -> bool {
    config.extra.get("model_type").is_some_and(|kind| kind == MPNET)
}

/// Returns the bucket of the distance from a query to a key.
fn bucket(query: usize, key: usize) -> usize {
    let distance = query.abs_diff(key);
    let coarse = COARSE_FROM.iter().filter(|from| distance >= **from).count();
    (distance.min(COARSE_FROM[0] - 1) + coarse) + if key > query { BUCKETS / 2 } else { 0 }
}

/// Returns what is added to the products of queries and keys: [heads, sequence, sequence], from a table
/// [[`BUCKETS`], heads]. Later these products are divided by the root of `head_size`.
pub(super) fn relative_bias(table: &[f32], sequence: usize, head_size: usize, bias: &mut Vec<f32>) {
    let heads = table.len() / BUCKETS;
    let factor = (head_size as f32).sqrt();
    for head in 0..heads {
        for query in 0..sequence {
            bias.extend((0..sequence).map(|key| table[bucket(query, key) * heads + head] * factor));
        }
    }
}

/// Turns the configuration into that of the form here.
pub(super) fn convert_config(config: &mut Config) {
    config.relative_attention_num_buckets.get_or_insert(BUCKETS);
    config.type_vocab_size = 2;
    config.max_position_embeddings = config.max_position_embeddings.saturating_sub(BEFORE_FIRST);
    config.extra.insert("model_type".into(), CONVERTED.into());
}

/// Reads the tokenizer. It is BERT's but for the names of the special tokens, which change places with BERT's, and for
/// the separators of a pair.
///
/// # Errors
/// As [`TokenizerFiles::load`].
pub(super) fn tokenizer(dir: &Path) -> Result<TokenizerFiles, Error> {
    let vocab = vocabulary(dir)?;
    let vocab = vocab.lines().flat_map(|piece| [renamed(piece.trim_end()), "\n"]).collect();
    TokenizerFiles::read(dir, vocab, |file| {
        rename_all(file);
        if let Some(file) = file.as_object_mut() {
            if file.get("post_processor").is_some_and(|processor| processor["type"] == "RobertaProcessing") {
                // the same for a single text
                file["post_processor"]["type"] = "BertProcessing".into();
            }
            if let Some(Value::Array(tokens)) = file.get_mut("added_tokens") {
                // it is in the vocabulary, and nothing becomes it
                tokens.retain(|token| token["content"] != "<unk>");
            }
            let class = file.get("tokenizer_class").and_then(Value::as_str);
            if class.is_some_and(|class| class.starts_with("MPNetTokenizer")) {
                file.remove("tokenizer_class");
            }
        }
    })
}

/// Returns BERT's name for a special token, this name for BERT's, and every other piece as it is.
fn renamed(piece: &str) -> &str {
    let mut names = SPECIAL.iter().map(|(_, usual)| *usual).zip(TOKENS);
    let other = names.find_map(|(usual, own)| match piece {
        _ if piece == usual => Some(own),
        _ if piece == own => Some(usual),
        _ => None,
    });
    other.unwrap_or(piece)
}

/// Renames the special tokens wherever they are values or keys.
fn rename_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = renamed(text).to_owned(),
        Value::Array(items) => items.iter_mut().for_each(rename_all),
        Value::Object(fields) => {
            let renamed = std::mem::take(fields).into_iter().map(|(key, mut value)| {
                rename_all(&mut value);
                (renamed(&key).to_owned(), value)
            });
            *fields = renamed.collect();
        }
        _ => {}
    }
}

/// Returns BERT's name of a tensor.
pub(super) fn canonical(name: &str) -> String {
    let name = name.strip_prefix("mpnet.").unwrap_or(name);
    for (own, usual) in [("classifier.dense.", "bert.pooler.dense."), ("classifier.out_proj.", "classifier.")]
    {
        if let Some(rest) = name.strip_prefix(own) {
            return format!("{usual}{rest}");
        }
    }
    let parts = [
        ("attention.attn.q.", "attention.self.query."),
        ("attention.attn.k.", "attention.self.key."),
        ("attention.attn.v.", "attention.self.value."),
        ("attention.attn.o.", "attention.output.dense."),
        ("attention.LayerNorm.", "attention.output.LayerNorm."),
    ];
    let renamed = parts.into_iter().find(|(own, _)| name.contains(own));
    let name = renamed.map_or(name.to_owned(), |(own, usual)| name.replace(own, usual));
    // the pooler is used by no classifier
    if name.starts_with("embeddings.") || name.starts_with("encoder.") {
        format!("bert.{name}")
    } else {
        name
    }
}

/// Counts positions from 0, and adds token types, which make no difference at first.
pub(super) fn convert_tensors(config: &Config, tensors: &mut BTreeMap<String, Array>) {
    let Some(table) = tensors.get_mut(POSITION_EMBEDDINGS) else { return };
    if let [rows, width] = table.shape[..] {
        let before = BEFORE_FIRST.min(rows);
        table.data.drain(..before * width);
        table.shape[0] -= before;
        tensors.insert(TYPE_EMBEDDINGS.into(), Array::zeros(&[config.type_vocab_size, width]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the formula in Transformers (`MPNetEncoder.relative_position_bucket`).
    #[test]
    fn distances_fall_into_the_buckets_of_the_formula() {
        let formula = |query: i64, key: i64| -> i64 {
            let n = query - key;
            let half = if n < 0 { 16 } else { 0 };
            let n = n.abs();
            let coarse = || (8.0 + (n as f64 / 8.0).ln() / 16f64.ln() * 8.0 + 1e-9).floor() as i64;
            half + if n < 8 { n } else { coarse().min(15) }
        };
        for (query, key) in (0..512).flat_map(|distance| [(0, distance), (distance, 0), (300, distance)]) {
            assert_eq!(bucket(query, key) as i64, formula(query as i64, key as i64), "{query} {key}");
        }
    }
}
