//! Helpers shared by the tests of this module.

use crate::bert::{Checkpoint, Config, TokenizerFiles};
use std::collections::BTreeMap;

/// Makes the smallest possible model: one layer, four word pieces, and no weights yet.
pub(super) fn without_weights() -> Checkpoint {
    let config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 4, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2,
    }))
    .unwrap();
    let tokenizer = TokenizerFiles {
        vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\n".into(),
        lowercase: true,
        strip_accents: None,
        chinese_chars: true,
        max_length: 8,
    };
    Checkpoint { config, tensors: BTreeMap::new(), tokenizer }
}
