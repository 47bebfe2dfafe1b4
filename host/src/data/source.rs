use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a file writes its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Decided by the file's extension, else by its first line.
    #[default]
    Auto,
    /// Fields between commas, quoted where needed (RFC 4180).
    Csv,
    /// Fields between tabs, quoted or not.
    Tsv,
    /// One JSON object a line, or one array of objects.
    Jsonl,
    /// `label<TAB>text` a line: no header, no quoting, everything after the first tab is the text.
    Lines,
    /// `__label__NAME`, once or several times, then the text, a line (<https://fasttext.cc/docs/en/supervised-tutorial.html>).
    FastText,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Auto => "auto",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
            Format::Lines => "lines",
            Format::FastText => "fasttext",
        })
    }
}

/// A column, by the name in the header (or the JSON key) or by its position, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a column or its position, counted from 1")]
pub enum Column {
    /// Counted from 1, as `cut` and spreadsheets do.
    Position(usize),
    /// As written in the header or the JSON object.
    Name(String),
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

/// Where the label stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column, by name or position, or a list of columns of 0 and 1, one for each label"
)]
pub enum LabelColumns<C = Column> {
    /// The column of the label, the labels or the number.
    One(C),
    /// A column of 0 and 1 (or false and true) for each label, which has the column's name.
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
    /// All of them.
    pub fn columns(&self) -> &[C] {
        match self {
            LabelColumns::One(column) => std::slice::from_ref(column),
            LabelColumns::Each(columns) => columns,
        }
    }

    /// The same with each column named otherwise.
    pub(super) fn map<D>(&self, name: impl FnMut(&C) -> D) -> LabelColumns<D> {
        let mut names = self.columns().iter().map(name);
        match self {
            LabelColumns::One(_) => LabelColumns::One(names.next().expect("one column")),
            LabelColumns::Each(_) => LabelColumns::Each(names.collect()),
        }
    }
}

/// A file of labelled texts and how to read it. What is `None` is detected; where that is ambiguous, reading fails
/// and names the option that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// How rows are written.
    pub format: Format,
    /// The column of the text.
    pub text: Option<Column>,
    /// The column of the second text. Detected only where `text` is detected too.
    pub pair: Option<Column>,
    /// The column of the label, the labels or the number, or a column for each label.
    pub label: Option<LabelColumns>,
    /// Whether the first row names the columns.
    pub header: Option<bool>,
    /// Whether `"` quotes a field; if not it is an ordinary character.
    pub quoting: Option<bool>,
    /// The character between fields, instead of the format's comma or tab. One byte.
    pub delimiter: Option<char>,
    /// The text between several labels in one column (multi-label).
    pub label_separator: Option<String>,
    /// The label is not wanted and may be absent.
    pub unlabelled: bool,
}

impl Source {
    /// A file about which everything else is detected.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Source { path: path.into(), ..Source::default() }
    }
}
