use super::{Column, DataError, Format, Source, Text, detect_format, encoding, rows};
use std::path::Path;

/// Reads texts, ignoring any labels. In CSV, TSV and JSON the text columns are found by name; labels of
/// fastText are stripped; any other file has one text per line, which may follow a label and a tab if the
/// format of `like` is [`Format::Lines`].
///
/// Columns named in `like` are used if the file has them. Its other options are used only if the file cannot
/// be read without them, unless `like` is itself unlabelled: then it describes this file.
///
/// With `paired`, every row must have two texts (separated by a tab in plain text). Otherwise a row with two
/// texts counts as two.
///
/// # Errors
/// [`DataError`], which names the file and line.
pub fn unlabelled(path: &Path, paired: bool, like: &Source) -> Result<Vec<Text>, DataError> {
    let columns = like.text.is_some() || like.pair.is_some();
    let said = columns || matches!(like.format, Format::Csv | Format::Tsv | Format::Jsonl);
    let found: Vec<(u32, String, Option<String>)> = if is_table(path) || (like.unlabelled && said) {
        let told = Source { path: path.to_owned(), ..like.clone() };
        let read = if like.unlabelled { rows::read(&told) } else { detect_or_as_told(&told) }?;
        read.rows.into_iter().map(|row| (row.line, row.text, row.pair)).collect()
    } else {
        plain(path, paired, like.format == Format::Lines)?
    };
    let mut texts = Vec::with_capacity(found.len());
    for (line, text, pair) in found {
        match (paired, pair) {
            (true, Some(pair)) => texts.push((text, Some(pair))),
            (true, None) => {
                let at = super::Place { path: path.to_owned(), line };
                return Err(DataError::PairMix { at, expected: true });
            }
            (false, pair) => texts.extend(std::iter::once(text).chain(pair).map(|text| (text, None))),
        }
    }
    Ok(texts)
}

/// The texts of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// The line where each row begins, from 1, and its text or pair of texts.
    pub rows: Vec<(u32, Text)>,
    /// Human-readable description of how the table was read.
    pub reading: String,
}

/// Reads the texts of all rows of a table, empty ones too, ignoring any labels; pairs if `paired`. Blank lines are no
/// rows.
///
/// # Errors
/// [`DataError`], which names the file and line.
pub fn texts(source: &Source, paired: bool) -> Result<Texts, DataError> {
    let source = Source { unlabelled: true, label: None, label_separator: None, ..source.clone() };
    let read = rows::read_all(&source)?;
    if read.rows.iter().any(|row| row.pair.is_some() != paired) {
        return Err(DataError::OtherTexts { path: source.path.clone(), paired });
    }
    let blank = read.blank.into_iter().map(|line| (line, (String::new(), paired.then(String::new))));
    let filled = read.rows.into_iter().map(|row| (row.line, (row.text, row.pair)));
    let mut rows: Vec<(u32, Text)> = filled.chain(blank).collect();
    rows.sort_by_key(|(line, _)| *line);
    Ok(Texts { rows, reading: read.reading })
}

/// Returns whether the texts in this file are in columns, by its extension.
pub fn is_table(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    ["csv", "tsv", "tab", "jsonl", "ndjson", "json"].contains(&extension.as_str())
}

/// Reads one text, or a pair with a tab between, per line. Removes the labels of fastText and, if they may be
/// there (`labelled`) and the first line has a tab, whatever precedes a tab.
fn plain(path: &Path, paired: bool, labelled: bool) -> Result<Vec<(u32, String, Option<String>)>, DataError> {
    let content = encoding::read(path)?;
    let first = detect_format::first_line(&content);
    let (prefixed, labelled) = (first.starts_with(rows::PREFIX), labelled && first.contains('\t'));
    let row = |(number, line)| {
        let line = if prefixed { rows::prefixes(line).1 } else { line };
        match line.split_once('\t') {
            Some((text, pair)) if paired => (number, text.to_owned(), Some(pair.to_owned())),
            Some((_, text)) if labelled => (number, text.to_owned(), None),
            _ => (number, line.to_owned(), None),
        }
    };
    let lines = (1..).zip(content.lines()).filter(|(_, line)| !rows::is_invisible(line));
    Ok(lines.map(row).filter(|(_, text, pair)| !rows::is_invisible(text) || pair.is_some()).collect())
}

/// Detects how to read the file, and falls back to the options of `told`.
fn detect_or_as_told(told: &Source) -> Result<rows::Rows, DataError> {
    // use the named columns only if they exist
    let read = |source: &Source| match rows::read(source) {
        Err(DataError::MissingColumn { .. }) => {
            rows::read(&Source { text: None, pair: None, ..source.clone() })
        }
        read => read,
    };
    // a table has no labelled lines, even if the training data are such lines
    let format = if told.format == Format::Lines { Format::Auto } else { told.format };
    let told = Source { unlabelled: true, label: None, format, ..told.clone() };
    let named = |column: &Option<Column>| column.clone().filter(|c| matches!(c, Column::Name(_)));
    let (text, pair) = (named(&told.text), named(&told.pair));
    let plain = Source { unlabelled: true, text, pair, ..Source::new(&told.path) };
    match read(&plain) {
        Err(_) if told != plain => read(&told),
        read => read,
    }
}
