//! Texts that a base cannot read.

use super::run::RunError;
use crate::bert::TokenizerFiles;
use crate::train::{self, Encoded};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::cmp::Reverse;
use std::collections::HashMap;

/// What is said where many words hold characters that the base does not have.
pub(super) fn unknown(texts: &Encoded, files: &TokenizerFiles) -> Result<Option<String>, RunError> {
    const MANY: f64 = 0.01;
    const SHOWN: usize = 5;
    let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings()).map_err(train::Error::from)?;
    let unknown = tokenizer.special_tokens().unk;
    let ids = texts.tokens.iter().flat_map(|tokens| &tokens.ids);
    let (mut pieces, mut lost) = (0usize, 0usize);
    ids.for_each(|id| (pieces, lost) = (pieces + 1, lost + usize::from(*id == unknown)));
    let share = lost as f64 / pieces.saturating_sub(2 * texts.tokens.len()).max(1) as f64;
    if share < MANY {
        return Ok(None);
    }
    let mut counts = HashMap::<char, usize>::new();
    let examples = texts.data.examples.iter();
    for text in examples.flat_map(|example| [Some(&example.text), example.pair.as_ref()]).flatten() {
        text.chars().filter(|c| !c.is_whitespace()).for_each(|c| *counts.entry(c).or_default() += 1);
    }
    let mut encoding = Box::<Encoding>::default();
    let mut is_unknown = |c: char| {
        let encoded = tokenizer.encode(c.encode_utf8(&mut [0; 4]), None, 8, &mut encoding);
        encoded.is_ok() && encoding.ids().contains(&unknown)
    };
    let mut counts: Vec<(char, usize)> = counts.into_iter().filter(|&(c, _)| is_unknown(c)).collect();
    counts.sort_by_key(|&(c, count)| (Reverse(count), c));
    let shown: Vec<String> = counts.into_iter().take(SHOWN).map(|(c, _)| c.to_string()).collect();
    let why = match shown.is_empty() {
        true => "very long words".to_owned(),
        false => shown.join(" "),
    };
    let share = share * 100.0;
    Ok(Some(format!(
        "the base does not know {share:.0} % of the word pieces, most often because of {why}: to it they are all the same"
    )))
}
