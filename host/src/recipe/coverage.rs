//! Detection of texts that a base cannot read well.

use super::error::RunError;
use super::schema::USUAL_TOKENS;
use crate::bert::TokenizerFiles;
use crate::train::{self, Encoded};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Returns a warning if many words contain characters that the base lacks.
pub(super) fn unknown(texts: &Encoded, files: &TokenizerFiles) -> Result<Option<String>, RunError> {
    const MANY: f64 = 0.01;
    const SHOWN: usize = 5;
    let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings()).map_err(train::Error::from)?;
    let unknown = tokenizer.special_tokens().unk;
    let ids = texts.tokens.iter().flat_map(|tokens| &tokens.ids);
    let (mut pieces, mut lost) = (0usize, 0usize);
    ids.for_each(|id| (pieces, lost) = (pieces + 1, lost + usize::from(*id == unknown)));
    let share = lost as f64 / pieces.saturating_sub(special(texts)).max(1) as f64;
    if share < MANY {
        return Ok(None);
    }
    let mut encoding = Box::<Encoding>::default();
    let mut is_unknown = |text: &str| {
        let encoded = tokenizer.encode(text, None, USUAL_TOKENS[1], &mut encoding);
        encoded.is_ok() && encoding.ids().contains(&unknown)
    };
    let mut counts = HashMap::<char, usize>::new();
    let examples = texts.data.examples.iter();
    let all = examples.flat_map(|example| [Some(&example.text), example.pair.as_ref()]).flatten();
    for word in all.flat_map(|text| text.split_whitespace()).filter(|word| is_unknown(word)) {
        word.chars().for_each(|c| *counts.entry(c).or_default() += 1);
    }
    let mut counts: Vec<(char, usize)> =
        counts.into_iter().filter(|(c, _)| is_unknown(c.encode_utf8(&mut [0; 4]))).collect();
    counts.sort_by_key(|&(c, count)| (Reverse(count), c));
    let shown: Vec<String> = counts.into_iter().take(SHOWN).map(|(c, _)| c.to_string()).collect();
    let why = match shown.is_empty() {
        true => "very long words".to_owned(),
        false => shown.join(" "),
    };
    let share = share * 100.0;
    Ok(Some(format!(
        "the base does not know {share:.0} % of the word pieces, most often because of {why}: it cannot tell them apart"
    )))
}

/// Returns the number of pieces that words split into on average if it is so large that the base may not know
/// their language. With `models/base`, the words of eleven English data sets average 1.02 to 1.29 pieces,
/// French ones 1.7, Dutch 2.1 and German 2.3.
pub(super) fn foreign(texts: &Encoded, files: &TokenizerFiles) -> Option<f64> {
    const MANY: f64 = 1.5;
    const ENOUGH: usize = 100;
    let goes_on: Vec<bool> = files.pieces().map(|piece| piece.starts_with("##")).collect();
    let ids = || texts.tokens.iter().flat_map(|tokens| &tokens.ids);
    let words = ids().filter(|id| !goes_on[**id as usize]).count().saturating_sub(special(texts));
    let pieces = ids().count().saturating_sub(special(texts)) as f64 / words.max(1) as f64;
    (words >= ENOUGH && pieces > MANY).then_some(pieces)
}

/// Returns the number of special tokens: \[CLS\], and \[SEP\] after each text.
fn special(texts: &Encoded) -> usize {
    texts.tokens.len() * if texts.data.is_paired() { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    #[test]
    fn unknown_characters_are_named() {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nday\na\n##a\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 16,
        };
        let said = |texts: &[&str]| {
            let data = Dataset::unlabelled(texts.iter().map(|text| (text.to_string(), None)));
            unknown(&Encoded::new(data, &files, 16).unwrap(), &files).unwrap()
        };
        assert_eq!(said(&["good day", "good aa"]), None);
        let emoji = said(&["good 😀", "good 😀", "day 😢"]).unwrap();
        assert!(emoji.contains("50 %") && emoji.contains("because of 😀 😢:"), "{emoji}");
        let long = said(&[&"a".repeat(300), "good"]).unwrap();
        assert!(long.contains("very long words"), "{long}");
    }

    #[test]
    fn foreign_words_have_many_pieces() {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nd\n##a\n##y\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 512,
        };
        let said = |text: String| {
            foreign(&Encoded::new(Dataset::unlabelled([(text, None)]), &files, 512).unwrap(), &files)
        };
        assert_eq!(said("good good good day ".repeat(30)), None, "1.5 pieces");
        assert_eq!(said("good day ".repeat(60)), Some(2.0));
        assert_eq!(said("good day ".repeat(20)), None, "too few to tell");
    }
}
