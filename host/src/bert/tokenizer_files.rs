use super::Error;
use goldcrest_edge::bundle::save;
use goldcrest_edge::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::path::Path;

/// Vocabulary and tokenizer settings of a checkpoint.
///
/// `vocab.txt` is authoritative; `tokenizer.json` is written from it so that fast tokenizers can load the
/// folder.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerFiles {
    /// Contents of `vocab.txt`: one word piece per line.
    pub vocab: String,
    /// `do_lower_case`.
    pub lowercase: bool,
    /// `strip_accents`; follows `lowercase` if `None`.
    pub strip_accents: Option<bool>,
    /// `tokenize_chinese_chars`.
    pub chinese_chars: bool,
    /// `model_max_length`, in tokens.
    pub max_length: usize,
}

impl TokenizerFiles {
    /// Reads `vocab.txt` (or the vocabulary in `tokenizer.json`) and `tokenizer_config.json`. Settings
    /// missing there, as in folders of `PreTrainedTokenizerFast`, come from the normalizer in
    /// `tokenizer.json`.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let (path, json) = (dir.join("vocab.txt"), dir.join("tokenizer.json"));
        let vocab = if is_there(&path) {
            std::fs::read_to_string(&path).map_err(Error::io(&path))?
        } else if is_there(&json) {
            vocab_of_tokenizer_json(&json)?
        } else {
            return Err(Error::NoTokenizer { path: dir.into() });
        };
        let object = |name: &str| {
            let path = dir.join(name);
            if is_there(&path) { read_json(&path) } else { Ok(json!({})) }
        };
        let [config, fast, added]: [Value; 3] =
            [object("tokenizer_config.json")?, object("tokenizer.json")?, object("added_tokens.json")?];
        check_kind(&config, &fast)?;
        check_added_tokens(&config, &fast, &added)?;
        let pieces: Vec<&str> = vocab.lines().collect();
        if let Some(fast) = fast["model"]["vocab"].as_object()
            && let Some((id, piece)) = (0..).zip(&pieces).find(|(_, piece)| {
                // duplicate pieces are not a contradiction
                let other = fast.get(**piece).and_then(Value::as_u64);
                other.is_some_and(|other| pieces.get(other as usize) != Some(piece))
            })
        {
            let problem = format!(
                "`{piece}` has the id {id} there and another in tokenizer.json: remove the one that is not the model's"
            );
            return Err(Error::Vocabulary(problem));
        }
        let normalizer = bert_normalizer(&fast["normalizer"]);
        let setting = |name: &str, in_normalizer: &str| match &config[name] {
            Value::Null => Ok(normalizer.and_then(|normalizer| normalizer[in_normalizer].as_bool())),
            Value::Bool(value) => Ok(Some(*value)),
            other => {
                let problem = format!("tokenizer_config.json: {name} is {other}; it must be true or false");
                Err(Error::Tokenizer(problem))
            }
        };
        let files = Self {
            vocab,
            lowercase: setting("do_lower_case", "lowercase")?.unwrap_or(true),
            strip_accents: setting("strip_accents", "strip_accents")?,
            chinese_chars: setting("tokenize_chinese_chars", "handle_chinese_chars")?.unwrap_or(true),
            max_length: config["model_max_length"].as_f64().map_or(512, |n| n.min(512.0) as usize),
        };
        Tokenizer::new(files.vocab.as_bytes(), files.settings())
            .map_err(|error| Error::Vocabulary(error.to_string()))?;
        Ok(files)
    }

    /// Writes `vocab.txt`, `tokenizer_config.json`, `special_tokens_map.json` and `tokenizer.json`.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("vocab.txt");
        save(&path, self.vocab.as_bytes()).map_err(Error::io(&path))?;
        let special = json!({
            "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
            "cls_token": "[CLS]", "mask_token": "[MASK]",
        });
        write_json(&dir.join("special_tokens_map.json"), &special)?;
        let mut config = json!({
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.chinese_chars,
            "model_max_length": self.max_length,
        });
        for (k, v) in special.as_object().expect("an object") {
            config[k] = v.clone();
        }
        write_json(&dir.join("tokenizer_config.json"), &config)?;
        write_json(&dir.join("tokenizer.json"), &self.tokenizer_json()?)
    }

    /// Returns the settings of the device's tokenizer. Special tokens written out in a text are treated as
    /// ordinary text.
    pub fn settings(&self) -> goldcrest_edge::tokenizer::Settings {
        goldcrest_edge::tokenizer::Settings {
            lowercase: self.lowercase,
            strip_accents: self.strip_accents,
            chinese_chars: self.chinese_chars,
            special_tokens_in_text: false,
        }
    }

    /// Returns the word pieces in order of their ids.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.vocab.lines()
    }

    /// Builds `tokenizer.json` in the format of Hugging Face `tokenizers`.
    fn tokenizer_json(&self) -> Result<Value, Error> {
        let vocab: serde_json::Map<String, Value> =
            self.pieces().enumerate().map(|(i, p)| (p.to_owned(), json!(i))).collect();
        let id = |piece: &str| {
            vocab
                .get(piece)
                .cloned()
                .ok_or_else(|| Error::Vocabulary(format!("the piece {piece} is missing")))
        };
        let added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            .iter()
            .filter(|piece| vocab.contains_key(**piece))
            .map(|piece| {
                Ok(json!({
                    "id": id(piece)?, "content": piece, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                }))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let special = |piece: &str, type_id: u32| json!({"SpecialToken": {"id": piece, "type_id": type_id}});
        let sequence = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
        let entry =
            |piece: &str| Ok::<_, Error>(json!({"id": piece, "ids": [id(piece)?], "tokens": [piece]}));
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": self.chinese_chars,
                "strip_accents": self.strip_accents, "lowercase": self.lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
                "pair": [
                    special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0),
                    sequence("B", 1), special("[SEP]", 1),
                ],
                "special_tokens": {"[CLS]": entry("[CLS]")?, "[SEP]": entry("[SEP]")?},
            },
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab,
            },
        }))
    }
}

/// Rejects tokenizers that split texts in another way than BERT's, although there is a `vocab.txt`.
fn check_kind(config: &Value, fast: &Value) -> Result<(), Error> {
    let (model, normalizer) = (&fast["model"], &fast["normalizer"]);
    // the usual normalizer may stand in a list by itself
    let normalizer = match normalizer["normalizers"].as_array().map(Vec::as_slice) {
        Some([alone]) => alone,
        _ => normalizer,
    };
    let none = json!("none");
    let pre_tokenizer = match fast.get("pre_tokenizer") {
        Some(Value::Null) => &none,
        _ => &fast["pre_tokenizer"]["type"],
    };
    let kinds = [
        ("tokenizer.json: model.type", &model["type"], json!("WordPiece")),
        ("tokenizer.json: model.continuing_subword_prefix", &model["continuing_subword_prefix"], json!("##")),
        ("tokenizer.json: model.unk_token", &model["unk_token"], json!("[UNK]")),
        ("tokenizer.json: model.max_input_chars_per_word", &model["max_input_chars_per_word"], json!(100)),
        ("tokenizer.json: pre_tokenizer", pre_tokenizer, json!("BertPreTokenizer")),
        ("tokenizer.json: normalizer", &normalizer["type"], json!("BertNormalizer")),
        ("tokenizer.json: normalizer.clean_text", &normalizer["clean_text"], json!(true)),
        // those of BertJapaneseTokenizer
        ("tokenizer_config.json: word_tokenizer_type", &config["word_tokenizer_type"], json!("basic")),
        (
            "tokenizer_config.json: subword_tokenizer_type",
            &config["subword_tokenizer_type"],
            json!("wordpiece"),
        ),
    ];
    match kinds.into_iter().find(|(_, found, known)| !found.is_null() && *found != known) {
        Some((key, found, known)) => {
            Err(Error::Tokenizer(format!("{key} is {found}; only {known} is supported")))
        }
        None => Ok(()),
    }
}

/// Rejects tokens that were added to the vocabulary and are found in a text before it is split into words. The
/// special ones and those kept free are no part of ordinary texts.
fn check_added_tokens(config: &Value, fast: &Value, added: &Value) -> Result<(), Error> {
    let content = |token: &Value| token["content"].as_str().map(String::from);
    let in_list = fast["added_tokens"].as_array().into_iter().flatten().filter_map(content);
    let decoder = config["added_tokens_decoder"].as_object();
    let in_decoder = decoder.into_iter().flat_map(|tokens| tokens.values()).filter_map(content);
    let in_map = added.as_object().into_iter().flat_map(|tokens| tokens.keys().cloned());
    let usual = |token: &str| {
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].contains(&token) || token.starts_with("[unused")
    };
    match in_list.chain(in_decoder).chain(in_map).find(|token| !usual(token)) {
        Some(token) => Err(Error::Tokenizer(format!(
            "the tokenizer has the added token {token:?}; only the word pieces of vocab.txt are supported"
        ))),
        None => Ok(()),
    }
}

/// Finds the BERT normalizer, alone or in a sequence.
fn bert_normalizer(normalizer: &Value) -> Option<&Value> {
    let is_bert = |normalizer: &Value| normalizer["type"] == "BertNormalizer";
    match normalizer["normalizers"].as_array() {
        Some(several) => several.iter().find(|normalizer| is_bert(normalizer)),
        None => Some(normalizer).filter(|normalizer| is_bert(normalizer)),
    }
}

fn vocab_of_tokenizer_json(path: &Path) -> Result<String, Error> {
    let json: Value = read_json(path)?;
    let word_piece = json["model"]["type"].as_str().is_none_or(|kind| kind == "WordPiece");
    let Some(map) = json["model"]["vocab"].as_object().filter(|_| word_piece) else {
        return Err(Error::Vocabulary(format!(
            "absent, and {} holds no WordPiece vocabulary",
            path.display()
        )));
    };
    let mut pieces: Vec<(u64, &str)> =
        map.iter().map(|(p, i)| (i.as_u64().unwrap_or(u64::MAX), p.as_str())).collect();
    pieces.sort_unstable();
    if pieces.iter().enumerate().any(|(i, (id, _))| i as u64 != *id) {
        return Err(Error::Vocabulary(format!("the ids in {} have gaps", path.display())));
    }
    Ok(pieces.iter().flat_map(|(_, p)| [p, "\n"]).collect())
}

/// Returns whether there is a file of this name. A link to a missing file is one too: reading it says so.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.into(), source })
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).expect("JSON of plain values");
    text.push(b'\n');
    save(path, &text).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_the_config_and_else_from_the_normalizer() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, value: Value| write_json(&folder.path().join(name), &value).unwrap();
        let vocab = json!({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "A": 5});
        let bert = json!({
            "type": "BertNormalizer", "lowercase": false, "strip_accents": true, "handle_chinese_chars": false,
        });
        let fast = |normalizer: &Value, kind: &str| json!({"normalizer": normalizer, "model": {"type": kind, "vocab": vocab}});
        write("tokenizer.json", fast(&bert, "WordPiece"));
        let load = || TokenizerFiles::load(folder.path());
        let settings = |files: TokenizerFiles| (files.lowercase, files.strip_accents, files.chinese_chars);
        assert_eq!(settings(load().unwrap()), (false, Some(true), false));
        write("tokenizer.json", fast(&json!({"type": "Sequence", "normalizers": [bert]}), "WordPiece"));
        assert_eq!(settings(load().unwrap()), (false, Some(true), false));
        write("tokenizer_config.json", json!({"do_lower_case": true, "strip_accents": null}));
        assert_eq!(settings(load().unwrap()), (true, Some(true), false));
        write("tokenizer.json", fast(&json!(null), "WordPiece"));
        assert_eq!(settings(load().unwrap()), (true, None, true));
        write("tokenizer.json", fast(&bert, "BPE"));
        assert!(load().unwrap_err().to_string().contains("holds no WordPiece vocabulary"));
    }
}
