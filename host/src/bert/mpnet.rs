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

use super::checkpoint::{POOLER, POOLER_BIAS, POSITION_EMBEDDINGS, TYPE_EMBEDDINGS};
use super::tokenizer_files::{SPECIAL, TokenizerFiles, json_object, vocabulary};
use super::{Array, Config, Error};
use std::collections::BTreeMap;
use std::path::Path;

/// `model_type` of MPNet in Transformers.
const MPNET: &str = "mpnet";
/// `model_type` of the form here, which Transformers refuses rather than ignore the distances.
pub(super) const CONVERTED: &str = "goldcrest-mpnet";
/// Rows of the table of distances: 16 for tokens before, 16 for tokens after.
pub(super) const BUCKETS: usize = 32;
/// The distances at which buckets of several distances begin: 8 * 2^(k/2), as Transformers rounds it.
const COARSE: [usize; 8] = [8, 12, 16, 23, 32, 46, 64, 91];
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
    let coarse = COARSE.iter().filter(|from| distance >= **from).count();
    (distance.min(COARSE[0] - 1) + coarse) + if key > query { BUCKETS / 2 } else { 0 }
}

/// Returns what is added to the products of queries and keys: [heads, sequence, sequence], from a table
/// [buckets, heads]. Later these products are divided by the root of `head_size`.
pub(super) fn relative_bias(table: &[f32], sequence: usize, head_size: usize, bias: &mut Vec<f32>) {
    let heads = table.len() / BUCKETS;
    let factor = (head_size as f32).sqrt();
    bias.clear();
    for head in 0..heads {
        for query in 0..sequence {
            bias.extend((0..sequence).map(|key| table[bucket(query, key) * heads + head] * factor));
        }
    }
}

/// Turns the configuration into that of the form here.
///
/// # Errors
/// [`Error::Config`] for a table of distances that Transformers could not use either, and for too few positions.
pub(super) fn convert_config(config: &mut Config) -> Result<(), Error> {
    let buckets = *config.relative_attention_num_buckets.get_or_insert(BUCKETS);
    if buckets != BUCKETS {
        let problem = format!("relative_attention_num_buckets is {buckets}; only {BUCKETS} is supported");
        return Err(Error::Config(problem));
    }
    config.max_position_embeddings = config.max_position_embeddings.saturating_sub(BEFORE_FIRST);
    config.extra.insert("model_type".into(), CONVERTED.into());
    Ok(())
}

/// Reads the tokenizer. It is BERT's but for the names of the special tokens, which change places with BERT's.
///
/// # Errors
/// [`Error`], which names the file.
pub(super) fn tokenizer(dir: &Path) -> Result<TokenizerFiles, Error> {
    let swapped = |piece: &str| -> String {
        let pairs = SPECIAL.iter().map(|(_, name)| *name).zip(TOKENS);
        let mut both = pairs.flat_map(|(usual, own)| [(usual, own), (own, usual)]);
        both.find(|(name, _)| *name == piece).map_or(piece, |(_, other)| other).to_owned() + "\n"
    };
    let vocab = vocabulary(dir)?.lines().map(|piece| swapped(piece.trim_end())).collect();
    let config = json_object(&dir.join("tokenizer_config.json"))?;
    let setting = |name: &str| config[name].as_bool();
    let files = TokenizerFiles {
        vocab,
        lowercase: setting("do_lower_case").unwrap_or(true),
        strip_accents: setting("strip_accents"),
        chinese_chars: setting("tokenize_chinese_chars").unwrap_or(true),
        max_length: config["model_max_length"].as_f64().map_or(512, |n| n.min(512.0) as usize),
    };
    files.check()?;
    Ok(files)
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
    if name.starts_with("embeddings.") || name.starts_with("encoder.") { format!("bert.{name}") } else { name }
}

/// Adds the token types, counts positions from 0, and makes an absent pooler one of zeros: as useless as that of any
/// sentence encoder.
pub(super) fn convert_tensors(config: &Config, tensors: &mut BTreeMap<String, Array>) {
    let width = config.hidden_size;
    if let Some(table) = tensors.get_mut(POSITION_EMBEDDINGS)
        && table.shape.len() == 2
    {
        let before = BEFORE_FIRST.min(table.shape[0]);
        table.data.drain(..before * table.shape[1]);
        table.shape[0] -= before;
    }
    tensors.insert(TYPE_EMBEDDINGS.into(), Array::zeros(&[config.type_vocab_size, width]));
    if !tensors.contains_key(POOLER) {
        tensors.insert(POOLER.into(), Array::zeros(&[width, width]));
        tensors.insert(POOLER_BIAS.into(), Array::zeros(&[width]));
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
