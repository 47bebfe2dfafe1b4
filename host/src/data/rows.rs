use super::cells::names;
use super::{DataError, Format, LabelColumns, Place, Source, delimited, detect_format, encoding, json};

/// Splits a label at its separators, of which one may end it. Empty parts are kept, as in a list of numbers one is
/// missing there, unless the separator is blank itself.
fn parts(label: &str, separator: &str) -> Vec<String> {
    let label = label.trim();
    if separator.trim().is_empty() {
        return label.split(separator).filter(|part| !is_blank(part)).map(str::to_owned).collect();
    }
    let label = label.strip_suffix(separator.trim_end()).unwrap_or(label);
    if is_blank(label) { Vec::new() } else { label.split(separator).map(str::to_owned).collect() }
}

/// Prefix of a fastText label.
pub(super) const PREFIX: &str = "__label__";

/// Contents of the label column, or columns.
#[derive(Debug, PartialEq)]
pub(super) enum Cell {
    One(String),
    /// Several labels in one column.
    Many(Vec<String>),
    /// The value in each of several columns.
    Each(Vec<String>),
}

/// One row as read, before its label is interpreted.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub line: u32,
    pub text: String,
    pub pair: Option<String>,
    pub label: Cell,
}

/// The rows of one file.
#[derive(Debug)]
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Lines of the other rows of a table, in which every field is blank; those below the last row do not count.
    pub blank: Vec<u32>,
    /// Name of the label column, or the labels that have a column each; empty if there are no columns.
    pub label: LabelColumns<String>,
    /// Whether several values of a cell are a list, rather than text around a separator.
    pub lists: bool,
    /// Human-readable description of how the file was read.
    pub reading: String,
    /// The source with everything that was detected filled in.
    pub resolved: Source,
}

/// Reads one source; refuses empty texts.
pub(super) fn read(source: &Source) -> Result<Rows, DataError> {
    let rows = read_all(source)?;
    let without_text = |row: &&Row| is_invisible(&row.text) || row.pair.as_deref().is_some_and(is_invisible);
    let mut empty = rows.rows.iter().filter(without_text);
    if let Some(row) = empty.next() {
        let second = !is_invisible(&row.text);
        return Err(DataError::EmptyText { at: at(source, row.line), second, more: empty.count() });
    }
    if rows.rows.is_empty() {
        return Err(DataError::NoRows { path: source.path.clone() });
    }
    Ok(rows)
}

/// Reads one source, which may have no rows.
pub(super) fn read_all(source: &Source) -> Result<Rows, DataError> {
    if source.label_separator.as_deref() == Some("") {
        let problem = "is empty".to_owned();
        return Err(DataError::Option { path: source.path.clone(), option: "label_separator", problem });
    }
    if source.label_separator.is_some() && matches!(source.label, Some(LabelColumns::Each(_))) {
        let problem = "does not go with a column for each label".to_owned();
        return Err(DataError::Option { path: source.path.clone(), option: "label_separator", problem });
    }
    if !source.unlabelled && matches!(&source.label, Some(LabelColumns::Each(columns)) if columns.is_empty())
    {
        let problem = "names no column".to_owned();
        return Err(DataError::Option { path: source.path.clone(), option: "label", problem });
    }
    let content = encoding::read(&source.path)?;
    let format = detect_format::format(source, &content)?;
    let mut rows = match format {
        Format::Jsonl => json::read(source, &content)?,
        Format::Lines => lines(source, &content)?,
        Format::FastText => fasttext(source, &content)?,
        Format::Csv | Format::Tsv | Format::Auto => delimited::read(source, &content, format)?,
    };
    rows.lists |= lists(source, &mut rows.rows)?;
    for row in &mut rows.rows {
        if let (Cell::One(label), Some(separator)) = (&row.label, &source.label_separator) {
            row.label = Cell::Many(parts(label, separator));
        }
        match &mut row.label {
            Cell::One(label) => trim(label),
            Cell::Many(values) | Cell::Each(values) => values.iter_mut().for_each(trim),
        }
    }
    Ok(rows)
}

/// Splits labels that are all written as lists, such as `['a', 'b']` or `[0 2]` (Python, JSON, NumPy).
/// Returns whether they are.
fn lists(source: &Source, rows: &mut [Row]) -> Result<bool, DataError> {
    let lists: Option<Vec<List>> = rows
        .iter()
        .map(|row| match &row.label {
            Cell::One(label) => list(label),
            Cell::Many(_) | Cell::Each(_) => None,
        })
        .collect();
    // a single word in brackets may be a name
    let Some(lists) = lists.filter(|lists| lists.iter().any(|list| list.plain)) else { return Ok(false) };
    if source.label_separator.is_some() {
        let problem = "does not go with labels that are lists, `[...]`: leave it out".to_owned();
        return Err(DataError::Option { path: source.path.clone(), option: "label_separator", problem });
    }
    rows.iter_mut().zip(lists).for_each(|(row, list)| row.label = Cell::Many(list.items));
    Ok(true)
}

struct List {
    items: Vec<String>,
    /// Whether it clearly is a list: it has quotes, commas or numbers.
    plain: bool,
}

/// Splits a list at commas or, where all items are quoted or numbers, at blanks, as NumPy writes it.
fn list(cell: &str) -> Option<List> {
    let inside = cell.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(cell) {
        let name = |item: &serde_json::Value| match item {
            serde_json::Value::String(name) => Some(name.trim().to_owned()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            serde_json::Value::Bool(holds) => Some(holds.to_string()),
            _ => None,
        };
        let plain = !items.is_empty();
        return Some(List { items: items.iter().map(name).collect::<Option<_>>()?, plain });
    }
    let (mut items, mut commas, mut words) = (Vec::new(), false, false);
    let mut rest = inside;
    while !rest.is_empty() {
        let (item, after) = match rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            Some(quote) => rest[1..].split_once(quote)?,
            None => {
                let number =
                    rest.split([',', ' ', '\n']).next().is_some_and(|word| word.parse::<f64>().is_ok());
                words |= !number;
                let end = |c: char| c == ',' || number && c.is_whitespace();
                rest.split_at(rest.find(end).unwrap_or(rest.len()))
            }
        };
        if item.contains(['[', ']', '\\']) {
            return None;
        }
        items.push(item.trim().to_owned());
        let after = after.trim_start();
        commas |= after.starts_with(',');
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    let plain = commas || !words && !items.is_empty();
    Some(List { items, plain })
}

/// Refuses indicator vectors such as `[1, 0, 1]`, whose numbers would become label names.
pub(super) fn refuse_indicator_vectors(source: &Source, rows: &[Row]) -> Result<(), DataError> {
    let mut first = None;
    let mut length = None;
    for row in rows {
        let Cell::Many(_) = &row.label else { return Ok(()) };
        let labels: Vec<&str> = names(&row.label).collect();
        let same = *length.get_or_insert(labels.len()) == labels.len();
        if !same || labels.len() < 2 || !labels.iter().all(|label| binary(label).is_some()) {
            return Ok(());
        }
        // in a real list of labels, each occurs once, usually in order
        if !labels.is_sorted_by(|a, b| a < b) {
            first = first.or(Some(row.line));
        }
    }
    match first {
        Some(line) => {
            Err(DataError::ZerosAndOnes { at: at(source, line), count: length.unwrap_or_default() })
        }
        None => Ok(()),
    }
}

/// Fails if a column option is given for a format without columns.
fn check_no_columns(source: &Source, problem: &str) -> Result<(), DataError> {
    for (option, given) in [
        ("text", source.text.is_some()),
        ("pair", source.pair.is_some()),
        ("label", source.label.is_some()),
        ("header", source.header.is_some()),
        ("quoting", source.quoting.is_some()),
        ("delimiter", source.delimiter.is_some()),
    ] {
        if given {
            let problem = problem.to_owned();
            return Err(DataError::Option { path: source.path.clone(), option, problem });
        }
    }
    Ok(())
}

/// Reads `label<TAB>text` lines, without any quoting.
fn lines(source: &Source, content: &str) -> Result<Rows, DataError> {
    check_no_columns(source, "does not go with format lines, which is `label<TAB>text`; use tsv")?;
    let rows = (1..).zip(content.lines()).filter(|(_, line)| !is_blank(line)).map(|(number, line)| {
        let (label, text) =
            line.split_once('\t').ok_or_else(|| DataError::NoTab { at: at(source, number) })?;
        Ok(Row { line: number, text: text.to_owned(), pair: None, label: Cell::One(label.to_owned()) })
    });
    Ok(Rows {
        rows: rows.collect::<Result<_, _>>()?,
        blank: Vec::new(),
        label: LabelColumns::Each(Vec::new()),
        lists: false,
        reading: "lines, label<TAB>text".to_owned(),
        resolved: Source { format: Format::Lines, ..source.clone() },
    })
}

/// Reads texts preceded by labels, each marked by [`PREFIX`]; single labels unless a row has several.
fn fasttext(source: &Source, content: &str) -> Result<Rows, DataError> {
    check_no_columns(source, "does not go with format fasttext, which is `__label__NAME text`")?;
    let rows = (1..).zip(content.lines()).filter(|(_, line)| !is_blank(line)).map(|(number, line)| {
        let (labels, text) = prefixes(line);
        if labels.is_empty() {
            return Err(DataError::NoPrefix { at: at(source, number) });
        }
        Ok((number, labels, text))
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let single = rows.iter().all(|(_, labels, _)| labels.len() == 1);
    let row = |(line, labels, text): (u32, Vec<&str>, &str)| {
        let label = match single {
            true => Cell::One(labels[0].to_owned()),
            false => Cell::Many(labels.into_iter().map(str::to_owned).collect()),
        };
        Row { line, text: text.to_owned(), pair: None, label }
    };
    Ok(Rows {
        rows: rows.into_iter().map(row).collect(),
        blank: Vec::new(),
        label: LabelColumns::Each(Vec::new()),
        lists: false,
        reading: "fasttext, __label__NAME text".to_owned(),
        resolved: Source { format: Format::FastText, ..source.clone() },
    })
}

/// Splits a fastText line into its leading labels and the text.
pub(super) fn prefixes(line: &str) -> (Vec<&str>, &str) {
    let (mut labels, mut text) = (Vec::new(), line.trim_start());
    while let Some(rest) = text.strip_prefix(PREFIX) {
        let (label, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        labels.push(label);
        text = after.trim_start();
    }
    (labels, text)
}

/// Describes the label columns for humans, after a comma; nothing if there are none.
pub(super) fn labels_shown(label: &LabelColumns<String>) -> String {
    let kind = match label {
        LabelColumns::Each(columns) if columns.is_empty() => return String::new(),
        LabelColumns::Each(_) => "labels",
        LabelColumns::One(_) => "label",
    };
    format!(", {kind} {}", label.columns().join(", "))
}

/// Parses 1 or 0, or an equivalent word.
pub(super) fn binary(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" => Some(true),
        "0" | "0.0" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn at(source: &Source, line: u32) -> Place {
    Place { path: source.path.clone(), line }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns whether a text consists only of characters that the tokenizer drops.
pub(crate) fn is_invisible(text: &str) -> bool {
    let unseen = |c: char| {
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffd}' | '\u{e0001}'..='\u{e007f}')
    };
    text.chars().all(|c| c.is_whitespace() || c.is_control() || unseen(c))
}

fn trim(text: &mut String) {
    if text.trim().len() != text.len() {
        *text = text.trim().to_owned();
    }
}
