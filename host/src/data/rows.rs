use super::{DataError, Format, Place, Source, delimited, detect, encoding, json};

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
    /// The name of the label column, where it has one.
    pub label_name: Option<String>,
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
    let content = encoding::read(&source.path)?;
    let format = detect::format(source, &content)?;
    let mut rows = match format {
        Format::Jsonl => json::read(source, &content)?,
        Format::Lines => lines(source, &content)?,
        Format::Csv | Format::Tsv | Format::Auto => delimited::read(source, &content, format)?,
    };
    for row in &mut rows.rows {
        if is_blank(&row.text) || row.pair.as_deref().is_some_and(is_blank) {
            return Err(DataError::EmptyText { at: at(source, row.line) });
        }
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
    Ok(rows)
}

/// `label<TAB>text`, everything as it stands.
fn lines(source: &Source, content: &str) -> Result<Rows, DataError> {
    for (option, given) in [
        ("text", source.text.is_some()),
        ("pair", source.pair.is_some()),
        ("label", source.label.is_some()),
        ("header", source.header.is_some()),
        ("quoting", source.quoting.is_some()),
        ("delimiter", source.delimiter.is_some()),
    ] {
        if given {
            let problem = "does not go with format lines, which is `label<TAB>text`; use tsv".to_owned();
            return Err(DataError::Option { path: source.path.clone(), option, problem });
        }
    }
    let rows = (1..).zip(content.lines()).filter(|(_, line)| !is_blank(line)).map(|(number, line)| {
        let (label, text) =
            line.split_once('\t').ok_or_else(|| DataError::NoTab { at: at(source, number) })?;
        Ok(Row { line: number, text: text.to_owned(), pair: None, label: Cell::One(label.to_owned()) })
    });
    Ok(Rows {
        rows: rows.collect::<Result<_, _>>()?,
        label_name: None,
        reading: "lines, label<TAB>text".to_owned(),
        resolved: Source { format: Format::Lines, ..source.clone() },
    })
}

pub(super) fn at(source: &Source, line: u32) -> Place {
    Place { path: source.path.clone(), line }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn trim(text: &mut String) {
    if text.trim().len() != text.len() {
        *text = text.trim().to_owned();
    }
}
