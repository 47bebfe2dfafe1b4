use super::{Error, unusual_tokenizers as unusual};
use goldcrest_edge::bundle::save;
use goldcrest_edge::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::path::Path;

/// The special tokens by their names in `tokenizer_config.json`.
pub(super) const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];

/// Returns whether a word piece is a special token, which is no part of a text.
pub(crate) fn is_special(piece: &str) -> bool {
    SPECIAL.iter().any(|(_, token)| *token == piece)
}

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
    /// Reads `vocab.txt` (or the vocabulary in `tokenizer.json`) and the settings, from where Transformers takes
    /// them: for the classes `PreTrainedTokenizerFast`, `PreTrainedTokenizer` and `TokenizersBackend` from the normalizer
    /// in `tokenizer.json`, for BERT's from `tokenizer_config.json`. That file names the class, or else `config.json`.
    ///
    /// # Errors
    /// [`Error`], which names the file: there is no vocabulary, or the tokenizer reads texts in another way than
    /// BERT's.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::read(dir, vocabulary(dir)?, |_| ())
    }

    /// Checks a vocabulary and reads the settings; `adapt` changes what the JSON files say.
    pub(super) fn read(dir: &Path, vocab: String, adapt: fn(&mut Value)) -> Result<Self, Error> {
        // spaces at a line's end are no part of a piece
        let pieces: Vec<&str> = vocab.lines().map(str::trim_end).collect();
        let object = |name: &str| {
            let mut object = json_object(&dir.join(name))?;
            adapt(&mut object);
            Ok::<_, Error>(object)
        };
        let (mut config, fast) = (config(dir)?, object("tokenizer.json")?);
        adapt(&mut config);
        let id = |token: &str| pieces.iter().position(|piece| *piece == token);
        unusual::check_kind(&config, &fast, id)?;
        let (map, added) = (object("special_tokens_map.json")?, object("added_tokens.json")?);
        unusual::check_special_tokens(&config, &map)?;
        unusual::check_added_tokens(&config, &map, &fast, &added)?;
        if let Some(fast) = fast["model"]["vocab"].as_object() {
            // blank ones are in no text, and several of them are one in JSON
            let visible = |piece: &&str| !piece.trim().is_empty();
            let differs = |(id, piece): &(usize, &&str)| fast.get(**piece).is_none_or(|other| *other != *id);
            let ours = || pieces.iter().enumerate().filter(|(_, piece)| visible(piece));
            let (count, in_fast) = (ours().count(), fast.keys().map(String::as_str).filter(visible).count());
            let problem = match ours().find(differs) {
                Some((id, piece)) => {
                    format!("`{piece}` has the id {id} there, and none or another in tokenizer.json")
                }
                None if count != in_fast => {
                    format!("{count} pieces there, and {in_fast} in tokenizer.json")
                }
                None => String::new(),
            };
            if !problem.is_empty() {
                return Err(Error::Vocabulary(format!("{problem}: remove the file that is not the model's")));
            }
        }
        let rules = unusual::decides(&config, &fast).then(|| unusual::normalizer(&fast));
        let setting = |name: &str, in_normalizer: &str| {
            let (file, name, value) = match rules {
                Some(rules) => ("tokenizer.json", in_normalizer, &rules[in_normalizer]),
                None => ("tokenizer_config.json", name, &config[name]),
            };
            match value {
                Value::Null => Ok(None),
                Value::Bool(value) => Ok(Some(*value)),
                other => {
                    Err(Error::Tokenizer(format!("{file}: {name} is {other}; it must be true or false")))
                }
            }
        };
        let max_length = config["model_max_length"].as_f64().map_or(512, |n| n.min(512.0) as usize);
        // a word between two special tokens
        if max_length < 3 {
            let found = &config["model_max_length"];
            let problem = format!("tokenizer_config.json: model_max_length is {found}; it must be 3 or more");
            return Err(Error::Tokenizer(problem));
        }
        let files = Self {
            lowercase: setting("do_lower_case", "lowercase")?.unwrap_or(true),
            strip_accents: setting("strip_accents", "strip_accents")?,
            chinese_chars: setting("tokenize_chinese_chars", "handle_chinese_chars")?.unwrap_or(true),
            max_length,
            vocab: pieces.iter().flat_map(|piece| [piece, "\n"]).collect(),
        };
        Tokenizer::new(files.vocab.as_bytes(), files.settings())
            .map_err(|error| Error::Vocabulary(error.to_string()))?;
        Ok(files)
    }

    /// Returns whether the folder's tokenizer gives the texts of a pair different token types.
    pub(super) fn gives_token_types(dir: &Path) -> Result<bool, Error> {
        Ok(unusual::gives_token_types(&config(dir)?))
    }

    /// Writes `vocab.txt`, `tokenizer_config.json`, `special_tokens_map.json` and `tokenizer.json`.
    ///
    /// `longest` is the number of tokens that the model reads.
    ///
    /// # Errors
    /// If a file cannot be written, or the vocabulary lacks \[CLS\] or \[SEP\].
    pub fn save(&self, dir: &Path, longest: usize) -> Result<(), Error> {
        let path = dir.join("vocab.txt");
        save(&path, self.vocab.as_bytes()).map_err(Error::io(&path))?;
        // Transformers would give tokens that the vocabulary lacks ids beyond the embeddings
        let there = |token: &&(&str, &str)| self.pieces().any(|piece| piece == token.1);
        let special: serde_json::Map<String, Value> =
            SPECIAL.iter().filter(there).map(|(name, token)| (name.to_string(), json!(token))).collect();
        write_json(&dir.join("special_tokens_map.json"), &special)?;
        let mut config = json!({
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.chinese_chars,
            "model_max_length": self.max_length.min(longest),
        });
        for (name, token) in special {
            config[name] = token;
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
        let added = SPECIAL
            .iter()
            .map(|(_, token)| token)
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

/// Returns `vocab.txt`, or the vocabulary in `tokenizer.json`.
pub(super) fn vocabulary(dir: &Path) -> Result<String, Error> {
    let (path, json) = (dir.join("vocab.txt"), dir.join("tokenizer.json"));
    if is_there(&path) {
        std::fs::read_to_string(&path).map_err(Error::io(&path))
    } else if is_there(&json) {
        vocab_of_tokenizer_json(&json)
    } else {
        Err(Error::NoTokenizer { path: dir.into() })
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

/// Reads `tokenizer_config.json`. The class of tokenizer may be named in `config.json` instead.
fn config(dir: &Path) -> Result<Value, Error> {
    let mut config = json_object(&dir.join("tokenizer_config.json"))?;
    if config.is_object() && config["tokenizer_class"].is_null() {
        let model = json_object(&dir.join("config.json"))?;
        config["tokenizer_class"] = model["tokenizer_class"].clone();
    }
    Ok(config)
}

/// Reads a file that may be absent.
fn json_object(path: &Path) -> Result<Value, Error> {
    if is_there(path) { read_json(path) } else { Ok(json!({})) }
}

/// Returns whether there is a file of this name. A link to a missing file is one too: reading it says so.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&text).map_err(|cause| Error::Json { path: path.into(), cause })
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).expect("JSON of plain values");
    text.push(b'\n');
    save(path, &text).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a folder with these files, and loads it.
    fn load_files(files: &[(&str, &Value)]) -> Result<TokenizerFiles, String> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, value)| write_json(&folder.path().join(name), value).unwrap());
        TokenizerFiles::load(folder.path()).map_err(|error| error.to_string())
    }

    fn load(fast: &Value, config: &Value) -> Result<TokenizerFiles, String> {
        load_files(&[("tokenizer.json", fast), ("tokenizer_config.json", config)])
    }

    fn fast(normalizer: &Value) -> Value {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 512,
        };
        let mut fast = files.tokenizer_json().unwrap();
        fast["normalizer"] = normalizer.clone();
        fast
    }

    /// What Transformers 4.57 and 5.24 do.
    #[test]
    fn settings_come_from_where_transformers_takes_them() {
        let bert = json!({
            "type": "BertNormalizer", "lowercase": false, "strip_accents": true, "handle_chinese_chars": false,
        });
        let settings = |normalizer: &Value, config: Value| {
            load(&fast(normalizer), &config)
                .map(|files| (files.lowercase, files.strip_accents, files.chinese_chars))
        };
        let generic = json!({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true});
        assert_eq!(settings(&bert, generic.clone()), Ok((false, Some(true), false)));
        let listed = json!({"type": "Sequence", "normalizers": [bert]});
        assert_eq!(settings(&listed, generic.clone()), Ok((false, Some(true), false)));
        for class in [json!("BertTokenizer"), json!("BertTokenizerFast"), json!(null)] {
            assert_eq!(settings(&bert, json!({"tokenizer_class": class})), Ok((true, None, true)));
            let given =
                json!({"tokenizer_class": class, "do_lower_case": false, "tokenize_chinese_chars": false});
            assert_eq!(settings(&listed, given), Ok((false, None, false)));
        }
        assert!(settings(&json!(null), generic).unwrap_err().contains("normalizer is \"none\""));
        let mut other = fast(&bert);
        other["model"]["type"] = json!("BPE");
        assert!(load(&other, &json!({})).unwrap_err().contains("holds no WordPiece vocabulary"));
    }

    #[test]
    fn the_class_may_be_named_in_the_config_of_the_model() {
        let cased = fast(&json!({"type": "BertNormalizer", "lowercase": false}));
        let lowercase = |own: Value, model: Value| {
            let files =
                [("tokenizer.json", &cased), ("tokenizer_config.json", &own), ("config.json", &model)];
            load_files(&files).map(|files| files.lowercase)
        };
        let generic = || json!({"tokenizer_class": "PreTrainedTokenizerFast"});
        assert_eq!(lowercase(json!({}), generic()), Ok(false));
        assert_eq!(lowercase(json!({"tokenizer_class": null}), generic()), Ok(false));
        assert_eq!(lowercase(json!({"tokenizer_class": "BertTokenizer"}), generic()), Ok(true));
        assert_eq!(lowercase(json!({}), json!([])), Ok(true));
        let error = lowercase(json!({}), json!({"tokenizer_class": "BertJapaneseTokenizer"})).unwrap_err();
        assert!(error.contains("BertJapaneseTokenizer"), "{error}");
    }

    #[test]
    fn blank_lines_of_a_vocabulary_keep_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[PAD]\n\n[UNK]\n[CLS]\n\u{3000}\n[SEP]\n\nA\n\n\n";
        std::fs::write(folder.path().join("vocab.txt"), text).unwrap();
        let files = TokenizerFiles::load(folder.path()).unwrap();
        assert_eq!(files.pieces().position(|piece| piece == "A"), Some(7));
        files.save(folder.path(), 512).unwrap();
        assert_eq!(TokenizerFiles::load(folder.path()).unwrap(), files);
    }

    #[test]
    fn tokenizers_that_read_otherwise_are_refused() {
        let bert = json!({"type": "BertNormalizer", "lowercase": true});
        let refused = |change: &dyn Fn(&mut Value, &mut Value), said: &str| {
            let (mut fast, mut config) = (fast(&bert), json!({}));
            change(&mut fast, &mut config);
            let error = load(&fast, &config).unwrap_err();
            assert!(error.contains(said), "{error}");
        };
        refused(&|fast, _| fast["post_processor"] = json!(null), "the post_processor does not add");
        for part in ["post_processor", "pre_tokenizer"] {
            refused(&|fast, _| drop(fast.as_object_mut().unwrap().remove(part)), part);
        }
        refused(
            &|fast, _| drop(fast["post_processor"]["single"].as_array_mut().unwrap().pop()),
            "post_processor",
        );
        refused(
            &|fast, _| fast["post_processor"]["pair"][3]["Sequence"]["type_id"] = json!(0),
            "the post_processor",
        );
        refused(&|_, config| config["cls_token"] = json!({"content": "<s>"}), "cls_token is \"<s>\"");
        refused(&|_, config| config["unk_token"] = json!("<unk>"), "unk_token is \"<unk>\"");
        refused(&|_, config| config["truncation_side"] = json!("left"), "truncation_side is \"left\"");
        refused(&|_, config| config["model_max_length"] = json!(1), "model_max_length is 1;");
        refused(&|_, config| config["additional_special_tokens"] = json!(["<user>"]), "\"<user>\"");
        refused(&|_, config| config["extra_special_tokens"] = json!({"user_token": "<user>"}), "\"<user>\"");
        refused(&|fast, _| fast["model"]["unk_token"] = json!("<unk>"), "model.unk_token is \"<unk>\"");
        refused(&|fast, _| fast["normalizer"]["clean_text"] = json!(false), "clean_text is false");
        refused(&|fast, _| fast["truncation"] = json!({"direction": "Left"}), "direction is \"Left\"");
        refused(&|_, config| config["subword_tokenizer_type"] = json!("character"), "is \"character\"");
        refused(&|_, config| config["mask_token"] = json!("<mask>"), "\"<mask>\"");
        refused(&|_, config| config["bos_token"] = json!({"content": "<s>"}), "\"<s>\"");
        refused(&|_, config| config["eos_token"] = json!("</s>"), "\"</s>\"");
        refused(&|_, config| config["added_tokens_decoder"] = json!({"6": {"content": "<n>"}}), "\"<n>\"");
        let processed = |sep: &str, cls: &str| {
            let mut fast = fast(&bert);
            fast["post_processor"] = json!({"type": "BertProcessing", "sep": [sep, 3], "cls": [cls, 2]});
            load(&fast, &json!({}))
        };
        assert!(processed("[SEP]", "[CLS]").is_ok());
        refused(
            &|fast, _| fast["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([5]),
            "the post_processor",
        );
        refused(&|_, config| config["image_token"] = json!("<x>"), "\"<x>\"");
        refused(&|_, config| config["pad_token"] = json!({"content": "<pad>"}), "\"<pad>\"");
        for class in ["BertJapaneseTokenizer", "CanineTokenizer", "MPNetTokenizerFast", "Fast", "MyTokenizer"]
        {
            refused(&|_, config| config["tokenizer_class"] = json!(class), class);
        }
        for (sep, cls) in [("A", "[CLS]"), ("[SEP]", "A")] {
            assert!(processed(sep, cls).unwrap_err().contains("the post_processor"), "{sep} {cls}");
        }
        for (file, value, said) in [
            ("special_tokens_map.json", json!({"sep_token": "</s>"}), "sep_token is \"</s>\""),
            ("special_tokens_map.json", json!({"additional_special_tokens": ["<user>"]}), "\"<user>\""),
            ("added_tokens.json", json!({"<url>": 6}), "\"<url>\""),
        ] {
            let error = load_files(&[("tokenizer.json", &fast(&bert)), (file, &value)]).unwrap_err();
            assert!(error.contains(said), "{file}: {error}");
        }
        let shadowed = [
            ("tokenizer_config.json", json!({"cls_token": "[CLS]"})),
            ("special_tokens_map.json", json!({"cls_token": "<s>"})),
        ];
        let fast_file = ("tokenizer.json", fast(&bert));
        let files: Vec<_> = shadowed.iter().chain([&fast_file]).map(|(name, value)| (*name, value)).collect();
        assert!(load_files(&files).unwrap_err().contains("cls_token is \"<s>\""));
        let usual = json!({"[MASK]": 4, "[unused7]": 6});
        assert!(load_files(&[("tokenizer.json", &fast(&bert)), ("added_tokens.json", &usual)]).is_ok());
    }
}
