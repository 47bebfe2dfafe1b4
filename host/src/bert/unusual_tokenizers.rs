//! Tokenizers that read texts in another way than BERT's, although their folder looks like BERT's. All are
//! refused by name, but for those that give no token types.

use super::Error;
use super::tokenizer_files::SPECIAL;
use serde_json::{Value, json};

/// Returns the normalizer of `tokenizer.json`, which may stand in a list by itself.
pub(super) fn normalizer(fast: &Value) -> &Value {
    alone(&fast["normalizer"], "normalizers")
}

/// Returns the only item of a sequence.
fn alone<'a>(value: &'a Value, list: &str) -> &'a Value {
    match value[list].as_array().map(Vec::as_slice) {
        Some([alone]) => alone,
        _ => value,
    }
}

/// Returns whether `tokenizer.json` decides about case and accents, rather than `tokenizer_config.json`.
pub(super) fn decides(config: &Value, fast: &Value) -> bool {
    DECIDED_BY_TOKENIZER_JSON.contains(&class(config)) && !fast["model"].is_null()
}

/// Classes that do what `tokenizer.json` says.
const DECIDED_BY_TOKENIZER_JSON: [&str; 3] =
    ["PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"];

/// Models whose tokenizers read a text as BERT's.
const AS_BERT: [&str; 9] = [
    "Bert",
    "DPRContextEncoder",
    "DPRQuestionEncoder",
    "DistilBert",
    "Electra",
    "LayoutLM",
    "Lxmert",
    "MobileBert",
    "SqueezeBert",
];

fn class(config: &Value) -> &str {
    config["tokenizer_class"].as_str().unwrap_or_default()
}

/// Returns whether the tokenizer tells the texts of a pair apart. Without token types, Transformers gives the
/// model those of the first text for both.
pub(super) fn gives_token_types(config: &Value) -> bool {
    match config["model_input_names"].as_array() {
        Some(names) => names.iter().any(|name| name == "token_type_ids"),
        None => !class(config).starts_with("DistilBert"),
    }
}

/// Rejects other models, normalizers, pre-tokenizers, post-processors and sides. `id` returns the id of a word piece.
pub(super) fn check_kind(
    config: &Value,
    fast: &Value,
    id: impl Fn(&str) -> Option<usize>,
) -> Result<(), Error> {
    let class = class(config);
    let of_model = class.strip_suffix("Fast").unwrap_or(class).strip_suffix("Tokenizer").unwrap_or(class);
    if !class.is_empty() && !DECIDED_BY_TOKENIZER_JSON.contains(&class) && !AS_BERT.contains(&of_model) {
        let instead = match fast["model"].is_null() {
            true => "\"BertTokenizer\", and do_lower_case",
            false => "\"PreTrainedTokenizerFast\", which does what tokenizer.json says",
        };
        return Err(Error::Tokenizer(format!(
            "tokenizer_class (in tokenizer_config.json, else in config.json) is {class:?}; only BERT's are supported. If it reads texts as BERT's, write {instead}, in tokenizer_config.json"
        )));
    }
    let none = json!("none");
    let kind = |part: &'static str, list: &str| match &fast[part] {
        Value::Null if !fast["model"].is_null() => &none,
        part => &alone(part, list)["type"],
    };
    let normalizer_kind = match kind("normalizer", "normalizers") {
        // without effect where the other file decides
        none if *none == "none" && !decides(config, fast) => &Value::Null,
        kind => kind,
    };
    let (model, normalizer) = (&fast["model"], normalizer(fast));
    let kinds = [
        ("tokenizer.json: model.type", &model["type"], json!("WordPiece")),
        ("tokenizer.json: model.continuing_subword_prefix", &model["continuing_subword_prefix"], json!("##")),
        ("tokenizer.json: model.unk_token", &model["unk_token"], json!("[UNK]")),
        ("tokenizer.json: model.max_input_chars_per_word", &model["max_input_chars_per_word"], json!(100)),
        ("tokenizer.json: pre_tokenizer", kind("pre_tokenizer", "pretokenizers"), json!("BertPreTokenizer")),
        ("tokenizer.json: normalizer", normalizer_kind, json!("BertNormalizer")),
        ("tokenizer.json: normalizer.clean_text", &normalizer["clean_text"], json!(true)),
        ("tokenizer.json: truncation.direction", &fast["truncation"]["direction"], json!("Right")),
        ("tokenizer_config.json: truncation_side", &config["truncation_side"], json!("right")),
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
        None if !fast["model"].is_null() && !is_bert_post_processor(&fast["post_processor"], id) => {
            let problem = "tokenizer.json: the post_processor does not add [CLS] and [SEP] as BERT's does";
            Err(Error::Tokenizer(problem.into()))
        }
        None => Ok(()),
    }
}

/// Returns whether a post-processor adds \[CLS\] and \[SEP\] as BERT's does, with token types 0 and 1 and the ids of the
/// vocabulary.
fn is_bert_post_processor(processor: &Value, id: impl Fn(&str) -> Option<usize>) -> bool {
    let processor = alone(processor, "processors");
    let token = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    let single = json!([token("[CLS]", 0), text("A", 0), token("[SEP]", 0)]);
    let pair = json!([token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)]);
    match processor["type"].as_str() {
        Some("BertProcessing") => [("cls", "[CLS]"), ("sep", "[SEP]")]
            .into_iter()
            .all(|(key, token)| processor[key] == json!([token, id(token)])),
        Some("TemplateProcessing") => {
            let ids = |token: &str| processor["special_tokens"][token]["ids"] == json!([id(token)]);
            processor["single"] == single && processor["pair"] == pair && ids("[CLS]") && ids("[SEP]")
        }
        _ => false,
    }
}

/// Returns the text of a token, which is written as a string or an object.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// Rejects other names of the tokens that begin, end and replace.
pub(super) fn check_special_tokens(config: &Value, map: &Value) -> Result<(), Error> {
    let used = SPECIAL.iter().filter(|(name, _)| ["unk_token", "cls_token", "sep_token"].contains(name));
    for (name, usual) in used {
        // which file wins depends on further keys
        let found = [config, map].into_iter().filter_map(|file| content(&file[name]));
        if let Some(other) = found.into_iter().find(|found| found != usual) {
            return Err(Error::Tokenizer(format!("{name} is {other:?}; only {usual:?} is supported")));
        }
    }
    Ok(())
}

/// Rejects tokens that were added to the vocabulary and are found in a text before it is split into words. The
/// usual ones and those kept free are no part of ordinary texts.
pub(super) fn check_added_tokens<'a>(
    config: &'a Value,
    map: &'a Value,
    fast: &'a Value,
    added: &'a Value,
) -> Result<(), Error> {
    // written as a list or by name
    fn items(value: &Value) -> impl Iterator<Item = &Value> {
        let named = value.as_object().into_iter().flat_map(|tokens| tokens.values());
        value.as_array().into_iter().flatten().chain(named)
    }
    let several = ["added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"];
    let of_file = |file: &'a Value| {
        let several = several.into_iter().flat_map(move |name| items(&file[name]));
        // Transformers 5 adds the tokens of names that it does not know
        let is_token = |name: &str| name.ends_with("_token") && !name.ends_with("auth_token");
        let single = file.as_object().into_iter().flatten().filter(move |(name, _)| is_token(name));
        several.chain(single.map(|(_, token)| token))
    };
    let tokens =
        items(&fast["added_tokens"]).chain([config, map].into_iter().flat_map(of_file)).filter_map(content);
    let in_map = added.as_object().into_iter().flat_map(|tokens| tokens.keys().map(String::as_str));
    let usual =
        |token: &&str| SPECIAL.iter().any(|(_, usual)| usual == token) || token.starts_with("[unused");
    match tokens.chain(in_map).find(|token| !usual(token)) {
        Some(token) => Err(Error::Tokenizer(format!(
            "the tokenizer has the added token {token:?}; only the word pieces of vocab.txt are supported"
        ))),
        None => Ok(()),
    }
}
