use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The format of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Detected by the file's extension, else by its first line.
    #[default]
    Auto,
    /// Comma-separated fields, quoted where needed (RFC 4180).
    Csv,
    /// Tab-separated fields, quoted or not.
    Tsv,
    /// One JSON object per line, or one array of objects.
    Jsonl,
    /// `label<TAB>text` per line: no header, no quoting; everything after the first tab is the text.
    Lines,
    /// One or more `__label__NAME`, then the text, per line
    /// (<https://fasttext.cc/docs/en/supervised-tutorial.html>).
    FastText,
}

impl Format {
    const ALL: [Format; 6] =
        [Format::Auto, Format::Csv, Format::Tsv, Format::Jsonl, Format::Lines, Format::FastText];

    /// Returns its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
            Format::Lines => "lines",
            Format::FastText => "fasttext",
        }
    }
}

/// A text is no name of a [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is auto, csv, tsv, jsonl, lines or fasttext")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(UnknownFormat)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A column, by its name in the header (or JSON key) or its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a column or its position, counted from 1")]
pub enum Column {
    /// Position counted from 1, as in `cut` and spreadsheets.
    Position(usize),
    /// Name in the header or JSON object.
    Name(String),
}

impl Column {
    /// Returns the position that a text gives, or else the column of that name. `03` can only be a name.
    pub fn given(text: &str) -> Self {
        let position = text.parse().ok().filter(|position: &usize| position.to_string() == text);
        position.map_or(text.into(), Column::Position)
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Column::Name(name.to_owned())
    }
}

impl From<usize> for Column {
    fn from(position: usize) -> Self {
        Column::Position(position)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Position(position) => write!(f, "{position}"),
            Column::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// The column or columns that hold the label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column, by name or position, or a list of columns, one for each label or number"
)]
pub enum LabelColumns<C = Column> {
    /// One column with the label, the number, or a list of them.
    One(C),
    /// One column per label, which is named after it and holds 0 and 1 (or false and true); or one per number.
    Each(Vec<C>),
}

impl From<&str> for LabelColumns {
    fn from(name: &str) -> Self {
        LabelColumns::One(name.into())
    }
}

impl From<usize> for LabelColumns {
    fn from(position: usize) -> Self {
        LabelColumns::One(position.into())
    }
}

impl<C> LabelColumns<C> {
    /// Returns all columns.
    pub fn columns(&self) -> &[C] {
        match self {
            LabelColumns::One(column) => std::slice::from_ref(column),
            LabelColumns::Each(columns) => columns,
        }
    }

    /// Maps each column.
    pub(super) fn map<D>(&self, name: impl FnMut(&C) -> D) -> LabelColumns<D> {
        let mut names = self.columns().iter().map(name);
        match self {
            LabelColumns::One(_) => LabelColumns::One(names.next().expect("one column")),
            LabelColumns::Each(_) => LabelColumns::Each(names.collect()),
        }
    }
}

/// A file of labelled texts and how to read it. Anything `None` is detected; if that is ambiguous, reading
/// fails and names the option that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The format of its rows.
    pub format: Format,
    /// The column of the text.
    pub text: Option<Column>,
    /// The column of the second text. Detected only if `text` is detected too.
    pub pair: Option<Column>,
    /// The label column or columns.
    pub label: Option<LabelColumns>,
    /// Whether the first row names the columns.
    pub header: Option<bool>,
    /// Whether `"` quotes a field; if not, it is an ordinary character.
    pub quoting: Option<bool>,
    /// The field delimiter, if not the format's comma or tab. One byte.
    pub delimiter: Option<char>,
    /// The separator between several labels in one column (multi-label).
    pub label_separator: Option<String>,
    /// Whether the labels are ignored and may be absent.
    pub unlabelled: bool,
}

impl Source {
    /// Creates a source for a file, with everything else detected.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Source { path: path.into(), ..Source::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_has_one_name_everywhere() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
        assert_eq!("CSV".parse::<Format>(), Err(UnknownFormat));
    }
}
