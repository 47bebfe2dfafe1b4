//! The ids are exactly those of Hugging Face `tokenizers` 0.23.2: every scalar value,
//! real data, special tokens.
#[path = "../src/tokenizer/lowercase.rs"]
mod lowercase;
#[path = "../src/tokenizer/lowercase_table.rs"]
mod lowercase_table;
mod tokenizer_common;

use std::collections::BTreeSet;

use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use tokenizer_common::*;
use unicode_normalization_alignments::UnicodeNormalization;

/// Returns a vocabulary in which every character of `chars`, and everything it normalizes to, is a piece of
/// its own, so that no difference hides behind [UNK].
fn vocab_for(chars: &[char]) -> String {
    let mut all: BTreeSet<char> = ('!'..='~').chain("\u{301}\u{323}\u{302e}\u{1b44}".chars()).collect();
    for &c in chars {
        let lower = c.to_lowercase();
        for d in lower.chain(c.to_string().nfd().map(|(d, _)| d)) {
            all.extend(d.to_lowercase().chain([c, d]));
        }
    }
    let all: Vec<String> = all.into_iter().map(String::from).collect();
    vocab_of(all.iter().map(String::as_str))
}

/// Places a character alone, inside a word, twice, and among marks with which it may have to be reordered.
fn in_contexts(c: char) -> String {
    format!(" {c} a{c}b x{c}{c} e\u{302e}{c}\u{1b44} {c}\u{301}\u{1b44}A\n")
}

fn in_few_contexts(c: char) -> String {
    format!(" {c} a{c}b")
}

/// Compares the characters in the given contexts with every setting; returns how many ids were compared.
fn compare(chars: &[char], settings: &[Settings], context: fn(char) -> String) -> usize {
    const AT_ONCE: usize = 32_000;
    const PER_TEXT: usize = 64;
    let mut scratch = Encoding::new();
    let mut compared = 0;
    for chars in chars.chunks(AT_ONCE) {
        let vocab = vocab_for(chars);
        for &settings in settings {
            let oracle = hugging_face(&vocab, settings);
            let ours = Tokenizer::new(&vocab, settings).unwrap();
            let mut check = |text: &str| {
                let (expected, found) = (oracle_ids(&oracle, text), all_ids(&ours, text, &mut scratch));
                compared += found.len();
                expected == found
            };
            for group in chars.chunks(PER_TEXT) {
                if !check(&group.iter().map(|&c| context(c)).collect::<String>()) {
                    let bad = group.iter().find(|&&c| !check(&context(c)));
                    panic!("{bad:?} (or the group from {:?}) differs with {settings:?}", group[0]);
                }
            }
        }
    }
    compared
}

/// Returns the lower case of `c` by the table of the tokenizer, and by the standard library, which the oracle uses.
fn lower_cases(c: char) -> [Vec<char>; 2] {
    let mut ours = vec![];
    lowercase::lowercase(c, |c| ours.push(c));
    [ours, c.to_lowercase().collect()]
}

/// A Rust release with another version of Unicode than the table may know a lower case of more characters, or of fewer.
#[test]
fn every_lower_case_is_that_of_the_standard_library() {
    let differ: Vec<char> =
        ('\0'..=char::MAX).filter(|&c| matches!(lower_cases(c), [a, b] if a != b)).collect();
    for &c in &differ {
        let [ours, theirs] = lower_cases(c);
        let unknown = if char::UNICODE_VERSION > lowercase_table::UNICODE { ours } else { theirs };
        assert_eq!(unknown, [c]);
    }
    assert!(char::UNICODE_VERSION != lowercase_table::UNICODE || differ.is_empty(), "{differ:?}");
}

/// Assigned characters in many contexts; the empty and private planes and CJK extension B in few.
#[test]
fn every_scalar_value_in_context() {
    let (assigned, rest): (Vec<char>, Vec<char>) = ('\0'..=char::MAX)
        .filter(|&c| matches!(lower_cases(c), [ours, theirs] if ours == theirs))
        .partition(|&c| matches!(c as u32, 0..0x2_0000 | 0x2_A000..0x3_0000 | 0xE_0000..0xE_1000));
    let many = compare(&assigned, &every_setting(), in_contexts);
    let few = compare(&rest, &[Settings::uncased(), Settings::cased()], in_few_contexts);
    println!("{} and {} scalar values, {many} and {few} ids compared", assigned.len(), rest.len());
}

#[test]
fn every_line_of_the_real_data() {
    let (vocab, files) = (real_vocab(), real_data());
    let mut scratch = Encoding::new();
    let (mut lines, mut compared) = (0, 0);
    for settings in [Settings::uncased(), Settings::cased()] {
        let oracle = hugging_face(&vocab, settings);
        let ours = Tokenizer::new(&vocab, settings).unwrap();
        for (file, text) in &files {
            for (number, line) in text.lines().enumerate() {
                let found = all_ids(&ours, line, &mut scratch);
                assert_eq!(oracle_ids(&oracle, line), found, "{}:{}", file.display(), number + 1);
                lines += 1;
                compared += found.len();
            }
        }
    }
    println!("{lines} lines, {compared} ids compared");
}

#[test]
fn special_tokens_in_text() {
    let vocab = synthetic_vocab();
    let mut scratch = Encoding::new();
    for special_tokens_in_text in [false, true] {
        let settings = Settings { special_tokens_in_text, ..Settings::uncased() };
        let oracle = hugging_face(&vocab, settings);
        let ours = Tokenizer::new(&vocab, settings).unwrap();
        for text in [
            "good [SEP] bad",
            "good[SEP]bad[MASK]",
            "[CLS][CLS] [UNK]ab[PAD]",
            "[[SEP]] [SE[SEP] [SEP[SEP] [sep] [ SEP]",
            "e\u{302e}[SEP]\u{1b44}\u{301}",
            "[",
            "[SEP",
            "a[MASK",
            "[MASK]",
            "漢[SEP]字 [CLS\u{200b}] [C\u{301}LS]",
        ] {
            let expected = oracle_ids(&oracle, text);
            assert_eq!(expected, all_ids(&ours, text, &mut scratch), "{text:?}, {special_tokens_in_text}");
            let injected = expected.iter().any(|&id| id < 5 && id != 1);
            assert!(special_tokens_in_text || !injected, "{text:?} injected a special token");
        }
    }
}

#[test]
fn long_words_and_long_runs_of_marks() {
    let vocab = synthetic_vocab();
    let mut scratch = Encoding::new();
    let runs = [
        "a",
        "é",
        "\u{302e}",
        "\u{1b44}\u{302e}",
        "\u{301}",
        "漢",
        "\u{1d165}",
        "İ",
        "e\u{302e}\u{1b44}",
        "각",
    ];
    for settings in every_setting() {
        let oracle = hugging_face(&vocab, settings);
        let ours = Tokenizer::new(&vocab, settings).unwrap();
        for run in runs {
            for times in [1, 2, 33, 34, 49, 50, 51, 99, 100, 101, 102, 150, 1000] {
                for text in [
                    run.repeat(times),
                    format!("b{}c d", run.repeat(times)),
                    format!("{}! ok", run.repeat(times)),
                ] {
                    let found = all_ids(&ours, &text, &mut scratch);
                    assert_eq!(oracle_ids(&oracle, &*text), found, "{run:?} x {times}, {settings:?}");
                }
            }
        }
    }
}
