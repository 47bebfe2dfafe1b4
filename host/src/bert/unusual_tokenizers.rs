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
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    ["PreTrainedTokenizerFast", "TokenizersBackend"].contains(&class) && !fast["model"].is_null()
}

/// Returns whether the tokenizer tells the texts of a pair apart. Without token types, Transformers gives the
/// model those of the first text for both.
pub(super) fn gives_token_types(config: &Value) -> bool {
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    match config["model_input_names"].as_array() {
        Some(names) => names.iter().any(|name| name == "token_type_ids"),
        None => !class.starts_with("DistilBert"),
    }
}

/// Rejects other models, normalizers, pre-tokenizers, post-processors and sides.
pub(super) fn check_kind(config: &Value, fast: &Value) -> Result<(), Error> {
    const OTHERS: [&str; 11] = [
        "Albert",
        "Bart",
        "Bertweet",
        "Camembert",
        "Deberta",
        "GPT",
        "Llama",
        "MPNet",
        "Roberta",
        "T5",
        "XLM",
    ];
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    if OTHERS.iter().any(|other| class.starts_with(other)) {
        let problem =
            format!("tokenizer_config.json: tokenizer_class is {class:?}; only BERT's are supported");
        return Err(Error::Tokenizer(problem));
    }
    let none = json!("none");
    // a part that is said to be absent; a file that does not mention it is none of Transformers'
    let kind = |part: &'static str, list: &str| match fast.get(part) {
        Some(Value::Null) => &none,
        _ => &alone(&fast[part], list)["type"],
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
        None if !fast.get("post_processor").is_none_or(is_bert_post_processor) => {
            let problem = "tokenizer.json: the post_processor does not add [CLS] and [SEP] as BERT's does";
            Err(Error::Tokenizer(problem.into()))
        }
        None => Ok(()),
    }
}

/// Returns whether a post-processor adds \[CLS\] and \[SEP\] as BERT's does, with token types 0 and 1.
fn is_bert_post_processor(processor: &Value) -> bool {
    let processor = alone(processor, "processors");
    let token = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    let single = json!([token("[CLS]", 0), text("A", 0), token("[SEP]", 0)]);
    let pair = json!([token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)]);
    match processor["type"].as_str() {
        Some("BertProcessing") => processor["cls"][0] == "[CLS]" && processor["sep"][0] == "[SEP]",
        Some("TemplateProcessing") => processor["single"] == single && processor["pair"] == pair,
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
        let found = [config, map].into_iter().find_map(|file| content(&file[name]));
        if let Some(other) = found.filter(|found| found != usual) {
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
    let single = ["mask_token", "bos_token", "eos_token"];
    let of_file = |file: &'a Value| {
        let several = several.into_iter().flat_map(move |name| items(&file[name]));
        several.chain(single.into_iter().map(move |name| &file[name]))
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
