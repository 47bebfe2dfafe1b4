use super::{Column, DataError, Source, detect, encoding, rows};
use std::path::Path;

/// Reads texts whose labels are not there or not wanted: CSV, TSV and JSON by the names of their text columns, lines that begin as
/// fastText's do without their labels, any other file as one text a line.
///
/// Columns that `like` names are taken where the file has them, and its other options where the file cannot be read without; where
/// `like` is unlabelled itself it says how the file is read.
///
/// With `paired`, every row has two texts (in plain text with a tab between); without it, the two texts of a row count as
/// two.
///
/// # Errors
/// [`DataError`], which names file and line.
pub fn unlabelled(
    path: &Path,
    paired: bool,
    like: &Source,
) -> Result<Vec<(String, Option<String>)>, DataError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let table = ["csv", "tsv", "tab", "jsonl", "ndjson", "json"].contains(&extension.as_str());
    let found: Vec<(u32, String, Option<String>)> = if table {
        let told = Source { unlabelled: true, path: path.to_owned(), ..like.clone() };
        let named = |column: &Option<Column>| column.clone().filter(|c| matches!(c, Column::Name(_)));
        let plain = Source { unlabelled: true, ..Source::new(path) };
        let named = Source { text: named(&like.text), pair: named(&like.pair), ..plain.clone() };
        let without_columns = Source { text: None, pair: None, label: None, ..told.clone() };
        let ways = match like.unlabelled {
            true => vec![told],
            false => vec![named, plain, without_columns, Source { label: None, ..told }],
        };
        let read = first_that_reads(&ways)?;
        read.rows.into_iter().map(|row| (row.line, row.text, row.pair)).collect()
    } else {
        let content = encoding::read(path)?;
        let prefixed = detect::first_line(&content).starts_with(rows::PREFIX);
        let line = |line| if prefixed { rows::prefixes(line).1 } else { line };
        let row = |(number, line): (u32, &str)| match line.split_once('\t') {
            Some((text, pair)) if paired => (number, text.to_owned(), Some(pair.to_owned())),
            _ => (number, line.to_owned(), None),
        };
        (1..).zip(content.lines().map(line)).filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
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

fn first_that_reads(ways: &[Source]) -> Result<rows::Rows, DataError> {
    let mut failed = None;
    for way in ways {
        match rows::read(way) {
            Ok(read) => return Ok(read),
            // that a column is not there says nothing of a file that need not have it
            Err(error) if matches!(failed, None | Some(DataError::MissingColumn { .. })) => {
                failed = Some(error)
            }
            Err(_) => {}
        }
    }
    Err(failed.expect("there is a way"))
}
