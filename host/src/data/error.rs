use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Labels, Task};
use crate::listed;

/// A line of a file; for a row that spans several lines, the first. If a JSON array is on a single line, its objects
/// count as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is what its name says, and the message shows it")]
pub enum DataError {
    #[error("cannot read {path}: {cause}")]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{path} is not UTF-8 text: {hint}")]
    NoText { path: PathBuf, hint: String },
    #[error("{at}: byte {byte} of the file is not valid UTF-8: {hint}")]
    Encoding { at: Place, byte: usize, hint: String },
    #[error("{path}: {problem}; decide it with {}", shown(options))]
    Ambiguous { path: PathBuf, problem: String, options: Vec<&'static str> },
    #[error("{path}: `{option}` {problem}")]
    Option { path: PathBuf, option: &'static str, problem: String },
    #[error("{at}: there is no column {column}; the columns are {}", quoted(columns))]
    MissingColumn { at: Place, column: String, columns: Vec<String> },
    #[error(
        "{at}: no column is read for the label `{label}`, only {}; give --label (`label` in a recipe) for every label",
        quoted(columns)
    )]
    MissingLabel { at: Place, label: String, columns: Vec<String> },
    #[error("example {row}: {problem}")]
    Example { row: usize, problem: &'static str },
    #[error("{at}: {found} fields where {expected} are expected{hint}")]
    FieldCount { at: Place, found: usize, expected: usize, hint: &'static str },
    #[error(
        "{at}: {problem}; where `\"` is an ordinary character, give --quoting false (`quoting` in a recipe)"
    )]
    Quote { at: Place, problem: &'static str },
    #[error("{at}: not JSON: {problem}")]
    Json { at: Place, problem: String },
    #[error("{at}: `{key}` is {found}; expected {expected}")]
    JsonType { at: Place, key: String, found: &'static str, expected: &'static str },
    #[error("{at}: no tab; a line is `label<TAB>text` (or choose another `format`)")]
    NoTab { at: Place },
    #[error("{at}: no `__label__` at the start; a line is `__label__NAME text` (or choose another `format`)")]
    NoPrefix { at: Place },
    #[error(
        "{at}: `{found}` in column `{column}`, which says whether a label applies: 1 or 0, true or false; where such columns hold quantities, --task regression (`kind` under [task] in a recipe) says so"
    )]
    NotBinary { at: Place, column: String, found: String },
    #[error(
        "{at}: the {} is empty{}; remove such rows or fill them in{}",
        if *.second { "second text" } else { "text" },
        and_more(*.more),
        if *.second { ", or name the column of a single text with --text (`text` in a recipe)" } else { "" }
    )]
    EmptyText { at: Place, second: bool, more: usize },
    #[error(
        "{at}: the label is empty{}; fill it in, or remove the row (a model can learn from such texts in a file of their own, --unlabelled); if a row may have several labels or none, --label-separator (`label_separator` in a recipe) says what separates them",
        and_more(*.more)
    )]
    EmptyLabel { at: Place, more: usize },
    #[error(
        "{at}: `{found}` is not a finite number, and the task is regression; {}",
        if is_decimal_comma(found) { "write the decimal comma as a point" } else if found.parse::<f64>().is_ok_and(f64::is_finite) { "it is too large for f32" } else if found.parse::<f64>().is_ok() { "remove the row" } else { "if it is a class, --task single-label (`kind` in a recipe) says so" }
    )]
    Number { at: Place, found: String },
    #[error(
        "{at}: {found} numbers where {expected} are expected, one for each that is predicted; --label (`label` in a recipe) names their columns, and if these are labels, --task multi-label (`kind` in a recipe) says so"
    )]
    NumberCount { at: Place, found: usize, expected: usize },
    #[error("{at}: of {of} numbers, number {number} is empty; fill it in, or remove the row")]
    EmptyNumber { at: Place, number: usize, of: usize },
    #[error(
        "{at}: {count} labels in a row of a single-label task; --task multi-label (`kind` in a recipe) allows for that"
    )]
    SeveralLabels { at: Place, count: usize },
    #[error(
        "{at}: in a multi-label task, several labels must be separated: does `{label}` hold several? --label-separator '{separator}' (`label_separator` in a recipe) separates them"
    )]
    Joined { at: Place, label: String, separator: char },
    #[error(
        "{at}: a list of {count} zeros and ones, one for each label; write the names of the labels that apply, or a column of 0 and 1 for each label"
    )]
    ZerosAndOnes { at: Place, count: usize },
    #[error(
        "{at}: unknown label `{label}`{}{}; the labels are {}",
        like.as_ref().map_or(String::new(), |like| format!(", another spelling of `{like}`")),
        match more {
            0 => String::new(),
            1 => " (1 more row has an unknown label)".to_owned(),
            more => format!(" ({more} more rows have unknown labels)"),
        },
        quoted(labels)
    )]
    UnknownLabel { at: Place, label: String, labels: Arc<[String]>, like: Option<String>, more: usize },
    #[error("{at}: {}", if *.expected { "one text where the other rows have two" } else { "two texts where the other rows have one" })]
    PairMix { at: Place, expected: bool },
    #[error(
        "{path}: {}", if *.paired {
            "the rows have one text, and the model reads two; name their columns with --text and --pair"
        } else {
            "the rows have two texts, and the model reads one; name its column with --text"
        }
    )]
    OtherTexts { path: PathBuf, paired: bool },
    #[error("no file was named")]
    NoSource,
    #[error("{path}: no rows")]
    NoRows { path: PathBuf },
    #[error("{path}: every row has the same {} ({value}); there is nothing to learn", if *.task == Task::Regression { "number, to the digits that f32 has," } else { "label" })]
    SingleClass { path: PathBuf, task: Task, value: String },
    #[error(
        "{at}: the label is {bytes} bytes long; a name has at most {}. Are text and label swapped? --text and --label (`text` and `label` in a recipe) say which column is which",
        Labels::MAX_NAME_BYTES
    )]
    LongLabel { at: Place, bytes: usize },
    #[error("{at}: the label {label:?} holds a line end or another control character")]
    ControlCharacter { at: Place, label: String },
    #[error(
        "{path}: {found} different labels; at most {} are possible. {}. Read as {reading}",
        Labels::MAX,
        if *numbers { "Where they are quantities, --task regression (`kind` under [task] in a recipe) says so" } else { "Are text and label swapped? --text and --label (`text` and `label` in a recipe) say which column is which" }
    )]
    TooManyLabels { path: PathBuf, found: usize, numbers: bool, reading: String },
    #[error("the label `{label}` is named twice")]
    LabelTwice { label: String },
    #[error(
        "cannot split {rows} rows ({groups} different texts) with a fraction of {fraction}: both sides need at least one text: give others to choose on with --dev (`dev` under [data]), or a larger `dev_fraction`"
    )]
    Split { rows: usize, groups: usize, fraction: f64 },
}

/// Formats command-line options together with the equivalent recipe keys.
fn shown(keys: &[&str]) -> String {
    let flags: Vec<String> = keys.iter().map(|key| format!("--{}", key.replace('_', "-"))).collect();
    let names: Vec<String> = keys
        .iter()
        .map(|key| if *key == "task" { "`kind`".to_owned() } else { format!("`{key}`") })
        .collect();
    let section = if keys.contains(&"task") { "[task]" } else { "[data]" };
    format!("{} ({} under {section} in a recipe)", flags.join(" and "), names.join(", "))
}

/// Returns whether a text is a number with a decimal comma.
pub(super) fn is_decimal_comma(text: &str) -> bool {
    text.split_once(',').is_some_and(|(whole, rest)| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits(whole.trim_start_matches(['-', '+'])) && digits(rest)
    })
}

/// Quotes at most a dozen names.
fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    listed(&names, 12)
}

/// Something suspicious in usable data. Where it is about single rows, it names the first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is what its name says, and the message shows it")]
pub enum Warning {
    /// Rows whose text occurred earlier with the same label.
    Duplicates { count: usize, first: Place, again: Place },
    /// Rows whose text occurred earlier with another label.
    Conflicts { count: usize, first: Place, again: Place },
    /// Rows whose text also occurs in data that must not share any.
    Overlap { count: usize, row: Place, held_out: Place, removed: bool },
    /// More than half as many labels as rows.
    ManyLabels { labels: usize, rows: usize },
    /// Two labels that differ only in case, and the number of further such pairs.
    SameButForCase { labels: [String; 2], more: usize },
    /// Labels without a row.
    Absent { labels: Vec<String> },
    /// Labels that may mean "missing".
    Missing { labels: Vec<String> },
    /// Many labels that are all whole numbers, and so may be quantities.
    Quantities { labels: usize },
    /// Labels that consist of several other labels.
    Parts { count: usize, label: String, parts: Vec<String> },
    /// A label separator was given, but no row has several labels.
    NoSeparator { separator: String, path: PathBuf },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repeat = |count: &usize| match count {
            1 => "1 row repeats".to_owned(),
            count => format!("{count} rows repeat"),
        };
        match self {
            Warning::Duplicates { count, first, again } => {
                write!(f, "{} an earlier text and label, such as {again} ({first})", repeat(count))
            }
            Warning::Conflicts { count, first, again } => {
                write!(f, "{} an earlier text with another label, such as {again} ({first})", repeat(count))
            }
            Warning::Overlap { count, row, held_out, removed } => {
                let done = if *removed { "left out" } else { "kept" };
                write!(f, "{count} texts are also held out, such as {row} ({held_out}): {done}")
            }
            Warning::ManyLabels { labels, rows } => {
                write!(f, "{labels} different labels in {rows} rows: are text and label swapped?")
            }
            Warning::SameButForCase { labels: [one, other], more } => {
                let more = match more {
                    0 => String::new(),
                    1 => ", and 1 more pair is such".to_owned(),
                    more => format!(", and {more} more pairs are such"),
                };
                write!(f, "`{one}` and `{other}` are two labels{more}: is one of them a mistake?")
            }
            Warning::Absent { labels } => write!(f, "no row of {}", quoted(labels)),
            Warning::Missing { labels } => {
                write!(f, "{} are taken as labels: do these rows have none?", quoted(labels))
            }
            Warning::Parts { count, label, parts } => {
                let parts = quoted(parts);
                write!(
                    f,
                    "labels made of others: {count}, such as `{label}` of {parts}: can a row have several? (--label-separator)"
                )
            }
            Warning::NoSeparator { separator, path } => {
                write!(f, "{}: no row has `{separator}` between labels (label_separator)", path.display())
            }
            Warning::Quantities { labels } => {
                write!(
                    f,
                    "{labels} different whole numbers are labels; --task regression (`kind` under [task] in a recipe) if they are quantities"
                )
            }
        }
    }
}

/// Counts the further rows with the same problem.
fn and_more(rows: usize) -> String {
    match rows {
        0 => String::new(),
        1 => ", and that of 1 more row".to_owned(),
        rows => format!(", and those of {rows} more rows"),
    }
}
