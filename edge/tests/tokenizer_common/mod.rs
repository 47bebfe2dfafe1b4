//! The oracle (Hugging Face `tokenizers`), synthetic and real vocabularies, and real data.
#![allow(dead_code)]
use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{AddedToken, DecoderWrapper, EncodeInput, TokenizerImpl};

pub type HuggingFace =
    TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, TemplateProcessing, DecoderWrapper>;

pub const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Returns `tokenizers`, set up as by the `tokenizer.json` of a BERT.
pub fn hugging_face(vocab_txt: &str, settings: Settings) -> HuggingFace {
    let vocab = WordPiece::read_bytes(vocab_txt.as_bytes()).unwrap();
    let id = |token: &str| (token.to_string(), vocab[token]);
    let template = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .unwrap()
        .try_pair("[CLS] $A [SEP] $B:1 [SEP]:1")
        .unwrap()
        .special_tokens(vec![id("[CLS]"), id("[SEP]")])
        .build()
        .unwrap();
    let normalizer =
        BertNormalizer::new(true, settings.chinese_chars, settings.strip_accents, settings.lowercase);
    let special: Vec<AddedToken> = SPECIAL
        .iter()
        .filter(|token| vocab.contains_key(**token))
        .map(|token| AddedToken::from(*token, true))
        .collect();
    let mut oracle = TokenizerImpl::new(WordPiece::builder().vocab(vocab).build().unwrap());
    oracle
        .with_normalizer(Some(normalizer))
        .unwrap()
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template));
    oracle.add_special_tokens(special).unwrap();
    oracle.set_encode_special_tokens(!settings.special_tokens_in_text);
    oracle
}

pub fn truncate(oracle: &mut HuggingFace, max_length: usize, stride: usize) {
    let direction = TruncationDirection::Right;
    let strategy = TruncationStrategy::LongestFirst;
    oracle.with_truncation(Some(TruncationParams { direction, max_length, strategy, stride })).unwrap();
}

/// Encodes a pair, truncated longest first by the full lengths of its texts, and returns whether truncation
/// was necessary. (`encode` of 0.23.2 reads a text only up to the word that completes `max_length` pieces and
/// truncates by those lengths; the versions before and after it do not.)
pub fn pair(oracle: &HuggingFace, a: &str, b: &str, max_length: usize) -> (tokenizers::Encoding, bool) {
    assert!(oracle.get_truncation().is_none());
    let alone = |text: &str| oracle.encode(text, false).unwrap();
    let (a, mut b) = (alone(a), alone(b));
    b.set_type_ids(vec![1; b.len()]);
    let (direction, strategy) = (TruncationDirection::Right, TruncationStrategy::LongestFirst);
    let params = TruncationParams { direction, max_length: max_length - 3, strategy, stride: 0 };
    let truncated = a.len() + b.len() > params.max_length;
    let (mut a, mut b) = truncate_encodings(a, Some(b), &params).unwrap();
    // overflowing encodings of the first text would be joined with each of the second
    a.take_overflowing();
    b.iter_mut().for_each(|b| drop(b.take_overflowing()));
    (oracle.post_process(a, b, true).unwrap(), truncated)
}

/// Returns the ids of all pieces of a text of any length, without special tokens, by
/// windows that do not overlap.
pub fn all_ids<V: AsRef<[u8]>>(ours: &Tokenizer<V>, text: &str, scratch: &mut Encoding) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut windows =
        ours.windows(512, 0, scratch, |window| ids.extend(&window.ids()[1..window.ids().len() - 1])).unwrap();
    windows.push(text);
    windows.finish();
    ids
}

pub fn oracle_ids<'s>(oracle: &HuggingFace, text: impl Into<EncodeInput<'s>>) -> Vec<u32> {
    oracle.encode(text, false).unwrap().get_ids().to_vec()
}

/// Returns the cased and the uncased settings, each with accents kept and stripped.
pub fn every_setting() -> Vec<Settings> {
    let mut all = Vec::new();
    for base in [Settings::uncased(), Settings::cased()] {
        for strip_accents in [None, Some(!base.lowercase)] {
            all.push(Settings { strip_accents, ..base });
        }
    }
    all
}

/// Returns a vocabulary of the special tokens and of these pieces without repeats, each also with `##`.
pub fn vocab_of<'s>(pieces: impl IntoIterator<Item = &'s str>) -> String {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut vocab: String = SPECIAL.map(|token| format!("{token}\n")).concat();
    for piece in pieces {
        if !piece.trim().is_empty() && !piece.ends_with(char::is_whitespace) && seen.insert(piece.to_string())
        {
            vocab += &format!("{piece}\n##{piece}\n");
        }
    }
    vocab
}

/// Characters for random text: some of each kind that the tokenizer treats differently.
pub const ALPHABET: &str = "abcdeghilmnorstuvwyABEISTZ0129 \t\n.,!?'-[]#$+^`~\u{0}\u{7}\u{7f}\u{85}\u{a0}\u{ad}\
    àéîõüçßÅØİıſKΣσςАЙйёאָ\u{300}\u{301}\u{307}\u{308}\u{323}\u{327}\u{345}\u{34f}\u{302e}\u{302f}\u{1b44}\u{1bf2}\
    \u{a953}\u{d4d}\u{1d165}\u{1d16d}\u{1e000}\u{8d4}\u{cc0}\u{ccb}\u{f73}\u{344}한글가각漢字中\u{f900}\u{2f81a}\u{2b820}\u{2b920}\
    かが゙カ\u{3000}\u{2028}\u{2029}\u{200b}\u{200d}\u{feff}\u{fe0f}\u{fffd}\u{e000}\u{f8ff}\u{e0041}😀👍🏽“”—…§¿\u{2329}\u{226e}\u{1fef}\u{212b}\u{1e9e}";

/// Returns a vocabulary that needs no files: every character of [`ALPHABET`] (unchanged, decomposed,
/// lower-cased), syllables and words, so that most text could be split into pieces in more than one way.
pub fn synthetic_vocab() -> String {
    use unicode_normalization_alignments::UnicodeNormalization;
    let mut pieces: Vec<String> = (' '..='~').map(String::from).collect();
    for c in ALPHABET.chars() {
        pieces.push(c.into());
        for d in c.to_string().nfd().map(|(d, _)| d).chain(c.to_lowercase()) {
            pieces.push(d.into());
            pieces.extend(d.to_lowercase().map(String::from));
        }
    }
    for a in "bcdghlmnrst".chars() {
        for b in "aeiouwyàéü".chars() {
            pieces.push(format!("{a}{b}"));
            pieces.push(format!("{b}{a}"));
            pieces.push(format!("{a}{b}{a}"));
        }
    }
    let words = "the light lights lighting kitchen turn on off volume please alarm morning good goodness bad badly \
        un unbeliev unbelievable able ably resume résumé naïve naive straße strasse istanbul goldcrest gold crest \
        bird birds small smallest tests testing nation national international ation 漢字 한글 ることの привет мир";
    pieces.extend(words.split_whitespace().map(String::from));
    // `]` and the like never occur inside a word, so their `##` forms are never used
    vocab_of(pieces.iter().map(String::as_str))
}

/// Returns the vocabulary of the base model in the folder GOLDCREST_BASE; by default that of all-MiniLM-L6-v2
/// if available, otherwise the part of it that is in `models/base`.
pub fn real_vocab() -> String {
    let whole = repository("base/all-MiniLM-L6-v2");
    let found = if whole.exists() { whole } else { repository("models/base") };
    let base = env::var_os("GOLDCREST_BASE").map_or(found, PathBuf::from);
    std::fs::read_to_string(base.join("vocab.txt")).unwrap()
}

/// Returns the texts of the real data, file by file. If there are none, prints the reason.
pub fn real_data() -> Vec<(PathBuf, String)> {
    let root = env::var_os("GOLDCREST_DATA").map_or_else(|| repository("../shared/data"), PathBuf::from);
    let mut files = Vec::new();
    for entry in walk(&root) {
        // files that are not UTF-8 are read as Latin-1: any text will do here
        let bytes = std::fs::read(&entry).unwrap();
        let text =
            String::from_utf8(bytes).unwrap_or_else(|e| e.as_bytes().iter().map(|&b| b as char).collect());
        files.push((entry, text));
    }
    if files.is_empty() {
        skip(format_args!("no data in {} (GOLDCREST_DATA names the folder)", root.display()));
    }
    files
}

/// Writes to stderr directly, because the test harness captures what tests print.
#[allow(clippy::explicit_write)]
fn skip(why: std::fmt::Arguments) {
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
