//! Reading a `vocab.txt`, its errors, and the limits of requests.
mod tokenizer_common;

use goldcrest_edge::tokenizer::capacity::{MAX_PIECES, MAX_TOKENS, MAX_VOCAB_BYTES};
use goldcrest_edge::tokenizer::{Encoding, Error, Settings, Tokenizer};
use proptest::prelude::*;
use tokenizer_common::*;
use tokenizers::Model;
use tokenizers::models::wordpiece::WordPiece;

const SMALL: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n";

fn open(vocab: &[u8]) -> Result<Tokenizer<&[u8]>, Error> {
    Tokenizer::new(vocab, Settings::uncased())
}

#[test]
fn ids_are_line_numbers_as_in_tokenizers() {
    let endings = [
        SMALL.into(),
        SMALL.replace('\n', "\r\n"),
        SMALL.trim_end().into(),
        SMALL.replace('\n', " \u{3000}\n"),
    ];
    let blank = SMALL.replace("##a\n", "\n\u{2028}\n\n##a\n") + "\n";
    for vocab in endings.iter().chain([&blank, &synthetic_vocab(), &real_vocab()]) {
        let theirs = WordPiece::read_bytes(vocab.as_bytes()).unwrap();
        let ours = Tokenizer::new(vocab, Settings::uncased()).unwrap();
        for (piece, &id) in theirs.iter().filter(|(piece, _)| !piece.is_empty()) {
            assert_eq!(ours.id(piece), Some(id), "{piece:?}");
        }
        for (id, piece) in vocab.lines().enumerate().step_by(97) {
            assert_eq!(ours.piece(id as u32), Some(piece.trim_end()));
        }
        assert_eq!(ours.vocab_size(), vocab.lines().count());
        assert_eq!(ours.id(""), None);
        assert_eq!(ours.id("nosuchpiece"), None);
        assert_eq!(ours.piece(ours.vocab_size() as u32), None);
        assert!(WordPiece::builder().vocab(theirs).build().unwrap().get_vocab_size() <= ours.vocab_size());
    }
}

#[test]
fn special_tokens() {
    let special = open(SMALL.as_bytes()).unwrap().special_tokens();
    assert_eq!((special.unk, special.cls, special.sep), (1, 2, 3));
    assert_eq!((special.pad, special.mask), (Some(0), Some(4)));
    let without = open(b"[UNK]\n[CLS]\n[SEP]").unwrap().special_tokens();
    assert_eq!((without.pad, without.mask), (None, None));
}

#[test]
fn a_lone_prefix_is_a_piece() {
    let vocabulary = format!("{SMALL}##\n");
    assert_eq!(open(vocabulary.as_bytes()).unwrap().id("##"), Some(8));
    assert_eq!(open(SMALL.as_bytes()).unwrap().id("##"), None);
}

#[test]
fn invalid_vocabularies_are_refused() {
    let error = |vocab: &[u8]| open(vocab).err().unwrap();
    assert_eq!(error(b""), Error::Empty);
    assert_eq!(error(b"[UNK]\n[CLS]\na\xFFb\n"), Error::NotUtf8 { line: 3 });
    assert_eq!(error(b"[UNK]\n[SEP]\n"), Error::MissingSpecial("[CLS]"));
    assert_eq!(error(b"\xEF\xBB\xBF[CLS]\n[UNK]\n[SEP]\n"), Error::MissingSpecial("[CLS]"));
    assert_eq!(error(format!("{SMALL}x\n##b\na\n").as_bytes()), Error::Duplicate { line: 11, first: 6 });
    assert_eq!(error(format!("{SMALL}##a \n").as_bytes()), Error::Duplicate { line: 9, first: 7 });
    let long = format!("{SMALL}##{}\n", "x".repeat(401));
    assert_eq!(error(long.as_bytes()), Error::PieceTooLong { line: 9, bytes: 401 });
    let many: String = (0..=MAX_PIECES).map(|i| format!("{i}\n")).collect();
    assert_eq!(error(many.as_bytes()), Error::TooManyPieces);
    assert_eq!(error(&vec![b'a'; MAX_VOCAB_BYTES + 1]), Error::TooLarge { bytes: MAX_VOCAB_BYTES + 1 });
    let most: String = (6..MAX_PIECES).map(|i| format!("{i}\n")).collect();
    assert!(open(format!("{SMALL}{most}").trim_end().as_bytes()).is_err_and(|e| e == Error::TooManyPieces));
    assert_eq!(open(format!("{SMALL}{}", &most[4..]).as_bytes()).unwrap().vocab_size(), MAX_PIECES);
}

#[test]
fn limits_of_requests() {
    let tokenizer = open(SMALL.as_bytes()).unwrap();
    let mut encoding = Encoding::new();
    for max_tokens in [0, 1, MAX_TOKENS + 1] {
        let refused = Err(Error::MaxTokens { max_tokens, least: 2 });
        assert_eq!(tokenizer.encode("a", None, max_tokens, &mut encoding), refused);
    }
    let refused = Err(Error::MaxTokens { max_tokens: 2, least: 3 });
    assert_eq!(tokenizer.encode("a", Some("b"), 2, &mut encoding), refused);
    tokenizer.encode("a", None, 2, &mut encoding).unwrap();
    assert_eq!((encoding.ids(), encoding.pieces(), encoding.truncated()), (&[2, 3][..], 1, true));
    let refused = tokenizer.windows(10, 8, &mut encoding, |_| ()).err();
    assert_eq!(refused, Some(Error::Stride { stride: 8, room: 8 }));
    let mut encoder = tokenizer.encoder(10, &mut encoding).unwrap();
    encoder.begin_second().unwrap();
    assert_eq!(encoder.begin_second(), Err(Error::TooManyTexts));
    encoder.finish();
    assert_eq!(encoding.ids(), [2, 3, 3]);
    assert_eq!(encoding.type_ids(), [0, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random small vocabularies: long pieces, pieces that share beginnings, non-ASCII ones.
    #[test]
    fn any_vocabulary(
        pieces in prop::collection::btree_set("(##)?([ab]{1,5}|[abé]{1,12}|[a]{28,40}|(漢|é|a){9,14})", 0..60),
        words in prop::collection::vec("[abé]{1,60}|a{20,99}|(漢|é|a){1,40}", 1..10),
    ) {
        let vocab = SPECIAL.join("\n") + "\n" + &pieces.iter().map(|piece| format!("{piece}\n")).collect::<String>();
        let settings = Settings { chinese_chars: false, ..Settings::cased() };
        let oracle = hugging_face(&vocab, settings);
        let ours = Tokenizer::new(&vocab, settings).unwrap();
        let text = words.join(" ");
        prop_assert_eq!(oracle_ids(&oracle, &*text), all_ids(&ours, &text, &mut Encoding::new()));
    }

    /// Any bytes give an error or a vocabulary, never a panic.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
        let vocab = [b"[UNK]\n[CLS]\n[SEP]\n", &bytes[..]].concat();
        if let Ok(tokenizer) = open(&vocab) {
            tokenizer.encode(&text, None, 64, &mut Encoding::new()).unwrap();
        }
    }
}
