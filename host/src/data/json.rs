use serde_json::{Map, Value};

use super::rows::{Cell, Row, Rows, at};
use super::{Column, DataError, Source, detect};

/// JSON Lines: one object a line; the columns are the keys of the first one.
pub(super) fn read(source: &Source, content: &str) -> Result<Rows, DataError> {
    let mut rows = Vec::new();
    let mut keys: Option<Keys> = None;
    for (number, line) in (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let object: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| DataError::Json { at: at(source, number), problem: error.to_string() })?;
        let keys = match &keys {
            Some(keys) => keys,
            None => keys.insert(Keys::choose(source, &object, number)?),
        };
        let get = |key: &str| {
            object.get(key).ok_or_else(|| DataError::MissingColumn {
                at: at(source, number),
                column: format!("`{key}`"),
                columns: object.keys().cloned().collect(),
            })
        };
        let text = |key: &str| match get(key)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(wrong(source, number, key, other, "a string")),
        };
        let label = match get(&keys.label)? {
            Value::Array(items) => {
                let names = items.iter().map(|item| {
                    scalar(item)
                        .filter(|name| !name.trim().is_empty())
                        .ok_or_else(|| wrong(source, number, &keys.label, item, "label names in the array"))
                });
                Cell::Many(names.collect::<Result<_, _>>()?)
            }
            value => Cell::One(scalar(value).ok_or_else(|| {
                wrong(source, number, &keys.label, value, "a label, a number, or an array of labels")
            })?),
        };
        let pair = keys.pair.as_deref().map(text).transpose()?;
        rows.push(Row { line: number, text: text(&keys.text)?, pair, label });
    }
    let Some(keys) = keys else { return Err(DataError::NoRows { path: source.path.clone() }) };
    Ok(Rows { rows, reading: keys.reading(), label_name: Some(keys.label) })
}

struct Keys {
    text: String,
    pair: Option<String>,
    label: String,
}

impl Keys {
    fn choose(source: &Source, first: &Map<String, Value>, line: u32) -> Result<Self, DataError> {
        for (option, column) in [("text", &source.text), ("pair", &source.pair), ("label", &source.label)] {
            if let Some(Column::Position(_)) = column {
                let problem = "is a position; JSON columns have names".to_owned();
                return Err(DataError::Option { path: source.path.clone(), option, problem });
            }
        }
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        let columns = detect::columns(source, &names, |column| DataError::MissingColumn {
            at: at(source, line),
            column: column.to_string(),
            columns: first.keys().cloned().collect(),
        })?;
        let name = |index: usize| names[index].to_owned();
        Ok(Keys { text: name(columns.text), pair: columns.pair.map(name), label: name(columns.label) })
    }

    fn reading(&self) -> String {
        let pair = self.pair.as_ref().map(|pair| format!(", pair `{pair}`")).unwrap_or_default();
        format!("jsonl, text `{}`{pair}, label `{}`", self.text, self.label)
    }
}

/// A string, a number or a boolean as a label's name.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn wrong(source: &Source, line: u32, key: &str, value: &Value, expected: &'static str) -> DataError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "empty",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    DataError::JsonType { at: at(source, line), key: key.to_owned(), found, expected }
}
