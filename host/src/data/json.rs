use serde_json::{Map, Value};
use std::collections::HashSet;

use super::rows::{self, Cell, Row, Rows, at, labels_shown};
use super::{Column, DataError, Format, LabelColumns, Source, detect_columns};

/// Reads JSON Lines (one object per line) or one array of objects. The columns are the keys of the first
/// object and of objects nested in it.
pub(super) fn read(source: &Source, content: &str) -> Result<Rows, DataError> {
    let mut rows = Vec::new();
    let mut keys: Option<Keys> = None;
    let array = content.trim_start().starts_with('[');
    let objects: Box<dyn Iterator<Item = Result<Object, DataError>>> =
        if array { Box::new(Array::new(source, content)) } else { Box::new(of_lines(source, content)) };
    for object in objects {
        let (number, object) = object?;
        // top-level keys take precedence over nested ones
        let own: Vec<String> = match keys {
            Some(_) => Vec::new(),
            None => {
                object.iter().filter(|(_, value)| !value.is_object()).map(|(key, _)| key.clone()).collect()
            }
        };
        let object = flat(object);
        let keys = match &keys {
            Some(keys) => keys,
            None => keys.insert(Keys::choose(source, &own, &object, number)?),
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
        let label = match &keys.label {
            LabelColumns::One(key) => one_key(source, number, key, get(key)?)?,
            LabelColumns::Each(keys) => {
                let value = |key: &String| {
                    let value = get(key)?;
                    scalar(value).ok_or_else(|| wrong(source, number, key, value, "0 or 1, or a number"))
                };
                Cell::Each(keys.iter().map(value).collect::<Result<_, _>>()?)
            }
        };
        let pair = keys.pair.as_deref().map(text).transpose()?;
        rows.push(Row { line: number, text: text(&keys.text)?, pair, label });
    }
    let Some(keys) = keys else { return Err(DataError::NoRows { path: source.path.clone() }) };
    let column = |name: &String| Column::Name(name.clone());
    let resolved = Source {
        format: Format::Jsonl,
        text: Some(column(&keys.text)),
        pair: keys.pair.as_ref().map(column),
        label: Some(keys.label.map(column)),
        ..source.clone()
    };
    let lists = rows.iter().any(|row| matches!(row.label, Cell::Many(_)));
    Ok(Rows { rows, blank: Vec::new(), lists, reading: keys.reading(), label: keys.label, resolved })
}

/// Reads the label or labels under one key.
fn one_key(source: &Source, number: u32, key: &str, value: &Value) -> Result<Cell, DataError> {
    let Value::Array(items) = value else {
        let expected = "a label, a number, or an array of labels";
        return scalar(value).map(Cell::One).ok_or_else(|| wrong(source, number, key, value, expected));
    };
    let name = |item| {
        let name = scalar(item).filter(|name| !name.trim().is_empty());
        name.ok_or_else(|| wrong(source, number, key, item, "label names in the array"))
    };
    Ok(Cell::Many(items.iter().map(name).collect::<Result<_, _>>()?))
}

/// An object and the line on which it begins.
type Object = (u32, Map<String, Value>);

/// Parses one object per line.
fn of_lines<'a>(
    source: &'a Source,
    content: &'a str,
) -> impl Iterator<Item = Result<Object, DataError>> + 'a {
    let lines = (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| match serde_json::from_str(line) {
        Ok(object) => Ok((number, object)),
        Err(error) => Err(DataError::Json { at: at(source, number), problem: described(&error) }),
    })
}

/// Describes a JSON error without its line, which is relative to the object's beginning.
fn described(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
    format!("{problem} (column {})", error.column())
}

/// Parses one array of objects, up to its end or the first error.
struct Array<'a> {
    source: &'a Source,
    content: &'a str,
    /// What is left of `content`, from the next object or the end of the array on.
    rest: &'a str,
    /// The line of the last object, or its number if all are on one line, and the number of bytes before it.
    line: u32,
    counted: usize,
    one_line: bool,
}

impl<'a> Array<'a> {
    fn new(source: &'a Source, content: &'a str) -> Self {
        let content = content.trim_end();
        let rest = content.trim_start().strip_prefix('[').unwrap_or(content).trim_start();
        let one_line = !content.trim().contains('\n');
        Self { source, content, rest, line: u32::from(!one_line), counted: 0, one_line }
    }

    /// Parses what comes next; `None` at the end of the array.
    fn object(&mut self) -> Result<Option<Object>, DataError> {
        let problem = |line: u32, problem| DataError::Json { at: at(self.source, line.max(1)), problem };
        if let Some(after) = self.rest.strip_prefix(']') {
            let clean = after.trim().is_empty();
            return if clean { Ok(None) } else { Err(problem(self.line, "text follows the array".into())) };
        }
        let start = self.content.len() - self.rest.len();
        self.line += match self.one_line {
            true => 1,
            false => self.content[self.counted..start].matches('\n').count() as u32,
        };
        self.counted = start;
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let object = match values.next() {
            Some(Ok(object)) => object,
            Some(Err(error)) => {
                // the error's line is relative to the object's beginning
                let lines = if self.one_line { 0 } else { error.line().saturating_sub(1) as u32 };
                return Err(problem(self.line + lines, described(&error)));
            }
            None => return Err(problem(self.line, "the array is not closed".into())),
        };
        let rest = self.rest[values.byte_offset()..].trim_start();
        self.rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.starts_with(']') => rest,
            None => return Err(problem(self.line, "no comma or ] after what begins here".into())),
        };
        Ok(Some((self.line, object)))
    }
}

impl Iterator for Array<'_> {
    type Item = Result<Object, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.object().transpose()
    }
}

/// Flattens nested objects: `{"data": {"text": …}}` becomes `data.text`.
fn flat(object: Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (key, value) in object {
        match value {
            Value::Object(inner) => {
                let inner = flat(inner).into_iter();
                all.extend(inner.map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => drop(all.insert(key, value)),
        }
    }
    all
}

struct Keys {
    text: String,
    pair: Option<String>,
    label: LabelColumns<String>,
    /// Other keys of the first object.
    unused: Vec<String>,
}

impl Keys {
    /// Chooses among all keys or, if that is ambiguous, among the object's `own` top-level keys.
    fn choose(
        source: &Source,
        own: &[String],
        first: &Map<String, Value>,
        line: u32,
    ) -> Result<Self, DataError> {
        let given = [("text", source.text.as_ref()), ("pair", source.pair.as_ref())];
        let labels =
            source.label.iter().flat_map(LabelColumns::columns).map(|column| ("label", Some(column)));
        for (option, column) in given.into_iter().chain(labels) {
            if let Some(Column::Position(position)) = column
                && !first.contains_key(&position.to_string())
            {
                let problem = "is a position; JSON columns have names".to_owned();
                return Err(DataError::Option { path: source.path.clone(), option, problem });
            }
        }
        let missing = |column: &Column| DataError::MissingColumn {
            at: at(source, line),
            column: column.to_string(),
            columns: first.keys().cloned().collect(),
        };
        let among = |names: &[&str]| {
            let binary = |index: &usize| {
                first.get(names[*index]).and_then(scalar).is_some_and(|value| rows::binary(&value).is_some())
            };
            // a single object does not tell whether its values repeat
            let columns = detect_columns::columns(source, names, binary, |_| false, missing)?;
            let name = |index: usize| names[index].to_owned();
            let used: HashSet<&str> = [Some(columns.text), columns.pair]
                .into_iter()
                .flatten()
                .chain(columns.label.columns().iter().copied())
                .map(|index| names[index])
                .collect();
            Ok(Keys {
                unused: first.keys().filter(|name| !used.contains(name.as_str())).cloned().collect(),
                text: name(columns.text),
                pair: columns.pair.map(name),
                label: columns.label.map(|index| name(*index)),
            })
        };
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let all: Vec<&str> = first.keys().map(String::as_str).collect();
        match among(&all) {
            Err(DataError::Ambiguous { .. }) if own.len() < all.len() => among(&own).or_else(|_| among(&all)),
            found => found,
        }
    }

    fn reading(&self) -> String {
        let pair = self.pair.as_ref().map(|pair| format!(", pair `{pair}`")).unwrap_or_default();
        let labels = labels_shown(&self.label.map(|label| format!("`{label}`")));
        let unused = detect_columns::unused(self.unused.iter().map(|key| format!("`{key}`")));
        format!("jsonl, text `{}`{pair}{labels}{unused}", self.text)
    }
}

/// Returns a string, a number or a boolean as a label name.
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
