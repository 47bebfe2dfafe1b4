//! Hugging Face `tokenizers` reads the `tokenizer.json` of a saved checkpoint and gives the same ids as the
//! device.

use goldcrest::bert::{Checkpoint, TokenizerFiles};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::path::Path;

#[test]
fn a_saved_tokenizer_is_the_devices() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let base = Checkpoint::load(&root.join("models/base")).unwrap();
    let messages = std::fs::read(root.join("tests/data/messages.txt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (lowercase, strip_accents, chinese_chars) in
        [(true, None, true), (false, None, true), (true, Some(false), true), (false, Some(true), false)]
    {
        let files = TokenizerFiles { lowercase, strip_accents, chinese_chars, ..base.tokenizer.clone() };
        files.save(folder.path(), 512).unwrap();
        let mut theirs = tokenizers::Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        theirs.with_truncation(None).unwrap();
        theirs.set_encode_special_tokens(true);
        let ours = Tokenizer::new(files.vocab.as_bytes(), files.settings()).unwrap();
        let mut found = Encoding::new();
        let mut compared = 0;
        for text in messages.split(|&b| b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
            let expected = theirs.encode(text, true).unwrap();
            if expected.len() <= 512 {
                ours.encode(text, None, 512, &mut found).unwrap();
                assert_eq!(expected.get_ids(), found.ids(), "{text:?}");
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared}");
    }
}
