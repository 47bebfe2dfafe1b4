//! The BERT tokenizer in fixed memory.
use serde::{Deserialize, Serialize};
/// stand-in
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// l
    pub lowercase: bool,
    /// s
    pub strip_accents: Option<bool>,
    /// c
    pub chinese_chars: bool,
    /// t
    pub special_tokens_in_text: bool,
}
