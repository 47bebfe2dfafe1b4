//! The ids are those of `tokenizers` for random text, random chunks, random truncation of
//! pairs and random windows.
mod tokenizer_common;

use std::cell::RefCell;

use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use proptest::prelude::*;
use proptest::sample::select;
use tokenizer_common::*;
use tokenizers::TruncationDirection;

/// The oracle and our tokenizer with the same settings.
struct Peers {
    oracle: RefCell<HuggingFace>,
    ours: Tokenizer<String>,
}

thread_local! {
    static PEERS: Vec<Peers> = {
        let vocab = synthetic_vocab();
        let special = Settings { special_tokens_in_text: true, ..Settings::uncased() };
        let no_chinese = Settings { chinese_chars: false, ..Settings::uncased() };
        let settings = every_setting().into_iter().chain([special, no_chinese]);
        settings
            .map(|settings| Peers {
                oracle: RefCell::new(hugging_face(&vocab, settings)),
                ours: Tokenizer::new(vocab.clone(), settings).unwrap(),
            })
            .collect()
    };
}

fn for_every_setting(check: impl Fn(&Peers) -> Result<(), TestCaseError>) -> Result<(), TestCaseError> {
    PEERS.with(|peers| peers.iter().try_for_each(check))
}

/// Text of interesting characters, arbitrary characters, words and special tokens.
fn text() -> impl Strategy<Value = String> {
    let known = select(ALPHABET.chars().collect::<Vec<_>>()).prop_map(String::from);
    let marks = select("\u{302e}\u{1b44}\u{1d165}\u{301}\u{34f}\u{8d4}\u{f73}".chars().collect::<Vec<_>>());
    let words = select(vec![
        "lighting",
        "Unbelievable ",
        "résumé",
        "goldcrests",
        "[SEP]",
        "[MASK] ",
        "[CL",
        "nation",
    ]);
    let part = prop_oneof![
        6 => known,
        3 => words.prop_map(String::from),
        2 => marks.prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{1,120}",
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// Splits the text into chunks that end anywhere between characters.
fn chunks<'t>(text: &'t str, cuts: &[prop::sample::Index]) -> Vec<&'t str> {
    let ends: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_in_chunks(text in text(), cuts in cuts()) {
        for_every_setting(|Peers { oracle, ours }| {
            truncate(&mut oracle.borrow_mut(), 512, 0);
            let expected = oracle.borrow().encode(&*text, true).unwrap();
            let mut found = Encoding::new();
            let mut encoder = ours.encoder(512, &mut found).unwrap();
            chunks(&text, &cuts).into_iter().for_each(|chunk| encoder.push(chunk));
            encoder.finish();
            prop_assert_eq!(expected.get_ids(), found.ids());
            let mut at_once = Encoding::new();
            ours.encode(&text, None, 512, &mut at_once).unwrap();
            prop_assert_eq!(at_once, found);
            Ok(())
        })?;
    }

    #[test]
    fn a_pair_truncated(a in text(), b in text(), cuts_a in cuts(), cuts_b in cuts(), max_tokens in 3..60usize) {
        for_every_setting(|Peers { oracle, ours }| {
            oracle.borrow_mut().with_truncation(None).unwrap();
            let (expected, truncated) = pair(&oracle.borrow(), &a, &b, max_tokens);
            let mut found = Encoding::new();
            let mut encoder = ours.encoder(max_tokens, &mut found).unwrap();
            chunks(&a, &cuts_a).into_iter().for_each(|chunk| encoder.push(chunk));
            encoder.begin_second().unwrap();
            chunks(&b, &cuts_b).into_iter().for_each(|chunk| encoder.push(chunk));
            encoder.finish();
            prop_assert_eq!(expected.get_ids(), found.ids());
            let type_ids: Vec<u32> = found.type_ids().iter().map(|&id| id.into()).collect();
            prop_assert_eq!(expected.get_type_ids(), &type_ids);
            prop_assert_eq!(found.truncated(), truncated);
            Ok(())
        })?;
    }

    #[test]
    fn windows(text in text(), cuts in cuts(), max_tokens in 3..40usize, stride in any::<prop::sample::Index>()) {
        let stride = stride.index(max_tokens - 2);
        for_every_setting(|Peers { oracle, ours }| {
            oracle.borrow_mut().with_truncation(None).unwrap();
            let mut first = oracle.borrow().encode(&*text, false).unwrap();
            first.truncate(max_tokens - 2, stride, TruncationDirection::Right);
            let expected: Vec<Vec<u32>> = std::iter::once(&first)
                .chain(first.get_overflowing())
                .map(|window| [&[2], window.get_ids(), &[3]].concat())
                .collect();
            let (mut found, mut scratch): (Vec<Vec<u32>>, _) = (Vec::new(), Encoding::new());
            let mut windows =
                ours.windows(max_tokens, stride, &mut scratch, |window| found.push(window.ids().into())).unwrap();
            chunks(&text, &cuts).into_iter().for_each(|chunk| windows.push(chunk));
            let pieces = windows.finish();
            prop_assert_eq!(&expected, &found);
            let mut whole = Encoding::new();
            ours.encode(&text, None, max_tokens, &mut whole).unwrap();
            prop_assert_eq!(whole.pieces(), pieces);
            Ok(())
        })?;
    }
}

/// Every pair of lengths around the limits, including two texts far longer than the buffer.
#[test]
fn longest_first_at_every_length() {
    PEERS.with(|peers| {
        let Peers { oracle, ours } = &peers[0];
        let text = |word: &str, pieces: usize| format!("{word} ").repeat(pieces);
        let mut found = Encoding::new();
        for max_tokens in [3_usize, 4, 5, 8, 13, 511, 512] {
            oracle.borrow_mut().with_truncation(None).unwrap();
            let (half, whole) = (max_tokens.div_ceil(2), max_tokens);
            let lengths: Vec<usize> = [0, 1, 2, half - 2, half - 1, half, half + 1]
                .into_iter()
                .chain([whole.saturating_sub(4), whole - 3, whole - 2, whole - 1, whole, 2 * whole, 2000])
                .collect();
            for &a in &lengths {
                for &b in &lengths {
                    let (first, second) = (text("good", a), text("bad", b));
                    let (expected, _) = pair(&oracle.borrow(), &first, &second, max_tokens);
                    ours.encode(&first, Some(&second), max_tokens, &mut found).unwrap();
                    assert_eq!(expected.get_ids(), found.ids(), "{a} and {b} pieces in {max_tokens}");
                    assert_eq!(found.pieces(), a + b);
                    assert_eq!(found.truncated(), a + b + 3 > max_tokens);
                }
            }
        }
    });
}
