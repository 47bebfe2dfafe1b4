use super::{DataError, Format, LabelColumns, Place, Source, delimited, detect, encoding, json};

/// What marks a label of fastText.
pub(super) const PREFIX: &str = "__label__";

/// What stands in the label column.
#[derive(Debug, PartialEq)]
pub(super) enum Cell {
    One(String),
    Many(Vec<String>),
}

/// One row as read, before it is known what its label means.
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
    /// What the label column is called, or the labels that have a column each; none where there are no columns.
    pub label: LabelColumns<String>,
    /// How the file was read, for people.
    pub reading: String,
    /// The same with nothing left to be detected.
    pub resolved: Source,
}

/// Reads one source and refuses empty texts.
pub(super) fn read(source: &Source) -> Result<Rows, DataError> {
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
    let format = detect::format(source, &content)?;
    let mut rows = match format {
        Format::Jsonl => json::read(source, &content)?,
        Format::Lines => lines(source, &content)?,
        Format::FastText => fasttext(source, &content)?,
        Format::Csv | Format::Tsv | Format::Auto => delimited::read(source, &content, format)?,
    };
    let without_text = |row: &&Row| says_nothing(&row.text) || row.pair.as_deref().is_some_and(says_nothing);
    let mut empty = rows.rows.iter().filter(without_text).map(|row| row.line);
    if let Some(line) = empty.next() {
        return Err(DataError::EmptyText { at: at(source, line), more: empty.count() });
    }
    lists(source, &mut rows.rows)?;
    for row in &mut rows.rows {
        if let (Cell::One(label), Some(separator)) = (&row.label, &source.label_separator) {
            let names = label.split(separator.as_str()).filter(|name| !is_blank(name)).map(str::to_owned);
            row.label = Cell::Many(names.collect());
        }
        match &mut row.label {
            Cell::One(label) => trim(label),
            Cell::Many(labels) => labels.iter_mut().for_each(trim),
        }
    }
    if rows.rows.is_empty() {
        return Err(DataError::NoRows { path: source.path.clone() });
    }
    no_zeros_and_ones(source, &rows.rows)?;
    Ok(rows)
}

/// Labels that are all written as lists, `['a', 'b']` or `[0 2]`, as Python and JSON write them, are several labels a row.
fn lists(source: &Source, rows: &mut [Row]) -> Result<(), DataError> {
    let lists: Option<Vec<List>> = rows
        .iter()
        .map(|row| match &row.label {
            Cell::One(label) => list(label),
            Cell::Many(_) => None,
        })
        .collect();
    // words in brackets may be names
    let Some(lists) = lists.filter(|lists| lists.iter().any(|list| list.plain)) else { return Ok(()) };
    if source.label_separator.is_some() {
        let problem = "does not go with labels that are lists, `[...]`: leave it out".to_owned();
        return Err(DataError::Option { path: source.path.clone(), option: "label_separator", problem });
    }
    rows.iter_mut().zip(lists).for_each(|(row, list)| row.label = Cell::Many(list.items));
    Ok(())
}

struct List {
    items: Vec<String>,
    /// It has quotes, commas or numbers.
    plain: bool,
}

/// The items of a list: commas part them, or blanks, as NumPy writes it, where all are quoted or numbers.
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

/// Refuses rows such as `[1, 0, 1]` that say of each label whether it holds: its numbers would become names.
fn no_zeros_and_ones(source: &Source, rows: &[Row]) -> Result<(), DataError> {
    let mut first = None;
    let mut length = None;
    for row in rows {
        let Cell::Many(labels) = &row.label else { return Ok(()) };
        let same = *length.get_or_insert(labels.len()) == labels.len();
        if !same || labels.len() < 2 || !labels.iter().all(|label| binary(label).is_some()) {
            return Ok(());
        }
        // names in a list are there once, and in order
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

/// Errors where something is said about columns of a file that has none.
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

/// `label<TAB>text`, everything as it stands.
fn lines(source: &Source, content: &str) -> Result<Rows, DataError> {
    check_no_columns(source, "does not go with format lines, which is `label<TAB>text`; use tsv")?;
    let rows = (1..).zip(content.lines()).filter(|(_, line)| !is_blank(line)).map(|(number, line)| {
        let (label, text) =
            line.split_once('\t').ok_or_else(|| DataError::NoTab { at: at(source, number) })?;
        Ok(Row { line: number, text: text.to_owned(), pair: None, label: Cell::One(label.to_owned()) })
    });
    Ok(Rows {
        rows: rows.collect::<Result<_, _>>()?,
        label: LabelColumns::Each(Vec::new()),
        reading: "lines, label<TAB>text".to_owned(),
        resolved: Source { format: Format::Lines, ..source.clone() },
    })
}

/// Labels before the text, each behind [`PREFIX`]; one each unless a row has several.
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
        label: LabelColumns::Each(Vec::new()),
        reading: "fasttext, __label__NAME text".to_owned(),
        resolved: Source { format: Format::FastText, ..source.clone() },
    })
}

/// The labels that a line of fastText begins with, and what follows them.
pub(super) fn prefixes(line: &str) -> (Vec<&str>, &str) {
    let (mut labels, mut text) = (Vec::new(), line.trim_start());
    while let Some(rest) = text.strip_prefix(PREFIX) {
        let (label, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        labels.push(label);
        text = after.trim_start();
    }
    (labels, text)
}

/// The names of those labels whose value says that they hold.
pub(super) fn labels_that_hold<'a>(
    source: &Source,
    line: u32,
    values: impl Iterator<Item = (&'a String, &'a str)>,
) -> Result<Cell, DataError> {
    let mut labels = Vec::new();
    for (name, value) in values {
        match binary(value) {
            Some(true) => labels.push(name.clone()),
            Some(false) => {}
            None => {
                let (column, found) = (name.clone(), value.to_owned());
                return Err(DataError::NotBinary { at: at(source, line), column, found });
            }
        }
    }
    Ok(Cell::Many(labels))
}

/// The columns of the labels, for people.
pub(super) fn labels_shown(label: &LabelColumns<String>) -> String {
    let several = matches!(label, LabelColumns::Each(_));
    format!("label{} {}", if several { "s" } else { "" }, label.columns().join(", "))
}

/// 1 or 0, or such words.
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

/// Whether a text is nothing but what the tokenizer leaves out.
pub(crate) fn says_nothing(text: &str) -> bool {
    let unseen = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    text.chars().all(|c| c.is_whitespace() || c.is_control() || unseen(c))
}

fn trim(text: &mut String) {
    if text.trim().len() != text.len() {
        *text = text.trim().to_owned();
    }
}
