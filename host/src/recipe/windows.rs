//! Splitting long training texts into windows.

use crate::bert::{TextWindows, TokenizerFiles};
use crate::data::{Dataset, Text};
use crate::train::Error;
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::ops::Range;

/// Returns the examples with each text longer than `max_tokens` replaced by its windows, which share its
/// label; and the number of texts truncated because they need more windows than allowed.
///
/// A window is a substring, so that students with another vocabulary can read it too. It ends between two
/// words, where the device may split a word, and so can be a few pieces shorter.
///
/// # Errors
/// If the vocabulary does not make a tokenizer.
pub(super) fn windowed(
    data: &Dataset,
    files: &TokenizerFiles,
    max_tokens: usize,
    windows: TextWindows,
) -> Result<(Dataset, usize), Error> {
    let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings())?;
    let room = max_tokens.saturating_sub(2);
    let mut encoding = Box::<Encoding>::default();
    let mut pieces = |text: &str| {
        tokenizer.encode(text, None, max_tokens, &mut encoding)?;
        Ok(encoding.pieces())
    };
    let (mut examples, mut cut_off) = (Vec::with_capacity(data.len()), 0);
    for example in &data.examples {
        if pieces(&example.text)? <= room {
            examples.push(example.clone());
            continue;
        }
        let units = units(&example.text, room, &mut pieces)?;
        let parts = cut(&units, room, windows.overlap as usize);
        cut_off += usize::from(parts.len() > windows.most as usize);
        examples.extend(parts.into_iter().take(windows.most as usize).map(|part| {
            let mut window = example.clone();
            window.text = example.text[part].to_owned();
            window
        }));
    }
    Ok((Dataset { examples, ..data.subset([]) }, cut_off))
}

/// Splits unlabelled single texts into windows.
pub(super) fn windowed_texts(
    texts: Vec<Text>,
    files: &TokenizerFiles,
    max_tokens: usize,
    windows: TextWindows,
) -> Result<Vec<Text>, Error> {
    let (data, _) = windowed(&Dataset::unlabelled(texts), files, max_tokens, windows)?;
    Ok(data.examples.into_iter().map(|example| (example.text, example.pair)).collect())
}

/// An indivisible part of a text, and the maximum number of word pieces in it.
type Unit = (Range<usize>, usize);

/// Splits a text into words, and words too long for a window into characters.
fn units(
    text: &str,
    room: usize,
    pieces: &mut impl FnMut(&str) -> Result<usize, Error>,
) -> Result<Vec<Unit>, Error> {
    let mut units = Vec::new();
    for word in text.split_whitespace() {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        match pieces(word)? {
            0 => {}
            count if count <= room => units.push((start..start + word.len(), count)),
            _ => {
                for (at, c) in word.char_indices() {
                    let part = &word[at..at + c.len_utf8()];
                    // a letter may decompose into several pieces
                    units.push((start + at..start + at + part.len(), pieces(part)?.max(1)));
                }
            }
        }
    }
    Ok(units)
}

/// Groups units into parts of at most `room` pieces, each starting with about `overlap` pieces of the
/// previous part.
fn cut(units: &[Unit], room: usize, overlap: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut first = 0;
    while first < units.len() {
        let mut count = 0;
        let fits = |(_, pieces): &&Unit| {
            count += pieces;
            count <= room
        };
        let end = first + units[first..].iter().take_while(fits).count().max(1);
        parts.push(units[first].0.start..units[end - 1].0.end);
        if end == units.len() {
            break;
        }
        // the next unit must fit beside the overlap
        let most = overlap.min(room.saturating_sub(units[end].1));
        let mut shared = 0;
        let again = |(_, pieces): &&Unit| {
            shared += pieces;
            shared <= most
        };
        first = end - units[first + 1..end].iter().rev().take_while(again).count();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Labels, Target, Task};
    use proptest::prelude::*;

    fn files() -> TokenizerFiles {
        let letters = ('a'..='z').flat_map(|c| [c.to_string(), format!("##{c}")]);
        let pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "word", "语"].map(str::to_owned).into_iter();
        TokenizerFiles {
            vocab: pieces.chain(letters).map(|piece| piece + "\n").collect(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 512,
        }
    }

    fn windows(text: &str, max_tokens: usize, overlap: u32, most: u32) -> Vec<String> {
        let target = Target::Class(1);
        let example = Example { text: text.to_owned(), pair: None, target: target.clone(), file: 0, line: 7 };
        let labels = Labels::sorted(["a", "b"]);
        let data = Dataset { task: Task::SingleLabel, labels, examples: vec![example], files: Vec::new() };
        let (data, cut_off) = windowed(&data, &files(), max_tokens, TextWindows { overlap, most }).unwrap();
        assert!(cut_off == 0 || data.len() == most as usize);
        assert!(data.examples.iter().all(|example| example.target == target && example.line == 7));
        data.examples.into_iter().map(|example| example.text).collect()
    }

    #[test]
    fn long_texts_become_several() {
        assert_eq!(windows(" word  word ", 4, 1, 9), [" word  word "]);
        let five = "word word abc word  word";
        assert_eq!(windows(five, 6, 0, 9), ["word word", "abc word", "word"]);
        assert_eq!(windows(five, 6, 1, 9), ["word word", "word abc", "word  word"]);
        assert_eq!(windows(five, 6, 0, 2), ["word word", "abc word"]);
        // text without blanks is split between characters
        assert_eq!(windows("abcdefg", 5, 1, 9), ["abc", "cde", "efg"]);
        assert_eq!(windows("语语语语", 4, 0, 9), ["语语", "语语"]);
        assert_eq!(windows("", 4, 0, 9), [""]);
    }

    proptest! {
        #[test]
        fn windows_cover_the_text_and_fit(
            words in prop::collection::vec("[a-d]{1,9}|word|语{1,3}", 1..40), max_tokens in 5usize..20, overlap in 0usize..3,
        ) {
            let (text, files, room) = (words.join(" "), files(), max_tokens - 2);
            let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings()).unwrap();
            let mut encoding = Box::<Encoding>::default();
            let mut pieces = |text: &str| {
                tokenizer.encode(text, None, max_tokens, &mut encoding)?;
                Ok(encoding.pieces())
            };
            let parts = cut(&units(&text, room, &mut pieces).unwrap(), room, overlap);
            prop_assert_eq!((parts[0].start, parts.last().unwrap().end), (0, text.len()));
            for part in &parts {
                prop_assert!(pieces(&text[part.clone()]).unwrap() <= room);
            }
            for two in parts.windows(2) {
                prop_assert!(two[0].start < two[1].start && two[0].end < two[1].end);
                // windows are separated by blanks only, or share at most the overlap
                match text.get(two[0].end..two[1].start) {
                    Some(between) => prop_assert!(between.trim().is_empty()),
                    None => prop_assert!(pieces(&text[two[1].start..two[0].end]).unwrap() <= overlap),
                }
            }
        }
    }
}
