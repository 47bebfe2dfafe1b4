//! CSV and TSV. The `csv` crate parses; what it is lenient about (quotes that never close, text after a closing
//! quote) would silently merge rows, so it is refused here.

use csv::{ReaderBuilder, StringRecord};

use super::rows::{Cell, Row, Rows, at};
use super::{Column, DataError, Format, Source, detect};

pub(super) fn read(source: &Source, content: &str, format: Format) -> Result<Rows, DataError> {
    let delimiter = delimiter(source, content, format)?;
    let quoting = quoting(source, content, format, delimiter)?;
    if quoting && let Err((line, problem)) = check_quotes(content, delimiter) {
        return Err(DataError::Quote { at: at(source, line), problem });
    }
    let records = records(content, delimiter, quoting);
    let Some(first) = records.first() else { return Err(DataError::NoRows { path: source.path.clone() }) };
    let by_values = by_values(source, &records);
    let header = match &by_values {
        Some((_, header)) => *header,
        None => has_header(source, &first.fields)?,
    };

    let names: Vec<&str> = if header { first.fields.iter().collect() } else { vec![""; first.fields.len()] };
    let missing = |column: &Column| DataError::MissingColumn {
        at: at(source, first.line),
        column: column.to_string(),
        columns: match header {
            true => names.iter().map(|&name| name.to_owned()).collect(),
            false => (1..=names.len()).map(|position| position.to_string()).collect(),
        },
    };
    let columns = match by_values {
        Some((columns, _)) => columns,
        None => detect::columns(source, &names, missing)?,
    };
    let mut rows = Vec::with_capacity(records.len());
    for record in &records[usize::from(header)..] {
        let fields = &record.fields;
        if fields.len() != names.len() {
            let hint = match record.lines > 1 {
                true => {
                    "; the row spans lines: is a quote never closed? (`quoting = false` makes it a character)"
                }
                false if quoting => "; a field that holds the delimiter needs quotes",
                false => "",
            };
            let (found, expected) = (fields.len(), names.len());
            return Err(DataError::FieldCount { at: at(source, record.line), found, expected, hint });
        }
        rows.push(Row {
            line: record.line,
            text: fields[columns.text].to_owned(),
            pair: columns.pair.map(|pair| fields[pair].to_owned()),
            label: Cell::One(fields[columns.label].to_owned()),
        });
    }
    let column = |index: usize| match header {
        true => format!("`{}`", names[index].trim()),
        false => format!("{}", index + 1),
    };
    let reading = format!(
        "{format}, {}, {}, text {}{}, label {}",
        if header { "header" } else { "no header" },
        if quoting { "quoted" } else { "not quoted" },
        column(columns.text),
        columns.pair.map(|pair| format!(", pair {}", column(pair))).unwrap_or_default(),
        column(columns.label),
    );
    let label_name = header.then(|| names[columns.label].trim().to_owned());
    Ok(Rows { rows, label_name, reading })
}

struct Record {
    /// The first line, from 1, and how many it spans.
    line: u32,
    lines: u32,
    fields: StringRecord,
}

/// All rows, of whatever length. Line numbers are counted here: the reader's own do not see blank lines.
fn records(content: &str, delimiter: u8, quoting: bool) -> Vec<Record> {
    let bytes = content.as_bytes();
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quoting(quoting)
        .from_reader(bytes);
    let newlines = |from: usize, to: usize| bytes[from..to].iter().filter(|&&b| b == b'\n').count() as u32;
    let (mut counted, mut line) = (0, 1);
    let mut records = Vec::new();
    let mut fields = StringRecord::new();
    // reading a valid string from memory cannot fail
    while let Ok(true) = reader.read_record(&mut fields) {
        let mut start = fields.position().map_or(0, |position| position.byte() as usize);
        while matches!(bytes.get(start), Some(b'\n' | b'\r')) {
            start += 1;
        }
        line += newlines(counted, start);
        counted = start;
        let end = (reader.position().byte() as usize).max(start);
        let row = bytes[start..end].trim_ascii_end().len();
        records.push(Record { line, lines: 1 + newlines(start, start + row), fields: fields.clone() });
    }
    records
}

fn delimiter(source: &Source, content: &str, format: Format) -> Result<u8, DataError> {
    let default = if format == Format::Tsv { '\t' } else { detect::delimiter(content) };
    let delimiter = source.delimiter.unwrap_or(default);
    match u8::try_from(delimiter) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(byte),
        _ => {
            let problem = format!("{delimiter:?} is not one ASCII character other than a quote or line end");
            Err(DataError::Option { path: source.path.clone(), option: "delimiter", problem })
        }
    }
}

/// Whether quotes quote. CSV says so; TSV comes in both kinds, told apart by which of them reads cleanly.
fn quoting(source: &Source, content: &str, format: Format, delimiter: u8) -> Result<bool, DataError> {
    if let Some(quoting) = source.quoting {
        return Ok(quoting);
    }
    if format == Format::Csv || !content.contains('"') {
        return Ok(true);
    }
    let uniform = |records: &[Record]| records.iter().all(|row| row.fields.len() == records[0].fields.len());
    let quoted = check_quotes(content, delimiter).is_ok();
    let plain = uniform(&records(content, delimiter, false));
    if quoted && plain {
        let records = records(content, delimiter, true);
        if let Some(row) = records.iter().find(|row| row.lines > 1) {
            let problem = format!(
                "line {} opens a quote that closes on another line, and also reads as text",
                row.line
            );
            return Err(DataError::Ambiguous { path: source.path.clone(), problem, option: "quoting" });
        }
    }
    Ok(quoted || !plain)
}

/// Two columns about which nothing was said and whose names, if any, are not known.
fn by_values(source: &Source, records: &[Record]) -> Option<(detect::Columns, bool)> {
    let said = source.text.is_some() || source.pair.is_some() || source.label.is_some();
    if said || source.header.is_some() || source.unlabelled || detect::is_header(records[0].fields.iter()) {
        return None;
    }
    let two = records.iter().map(|Record { fields, .. }| match fields.len() {
        2 => Some([&fields[0], &fields[1]]),
        _ => None,
    });
    detect::by_values(&two.collect::<Option<Vec<_>>>()?)
}

fn has_header(source: &Source, first: &StringRecord) -> Result<bool, DataError> {
    let given = [&source.text, &source.pair, &source.label];
    let named = given.iter().any(|column| matches!(column, Some(Column::Name(_))));
    match source.header {
        Some(false) if named => {
            let problem = "is false, but a column is given by name".to_owned();
            Err(DataError::Option { path: source.path.clone(), option: "header", problem })
        }
        Some(header) => Ok(header),
        None if named || detect::is_header(first.iter()) => Ok(true),
        None => {
            let shown = |field: &str| match field.char_indices().nth(40) {
                Some((end, _)) => format!("`{}…`", &field[..end]),
                None => format!("`{field}`"),
            };
            let fields: Vec<String> = first.iter().take(10).map(shown).collect();
            let (problem, option) = match source.text.is_some() && source.label.is_some() {
                true => ("the first row may name the columns or be data", "header"),
                false => ("no known column name in the first row", "text` and `label"),
            };
            let problem = format!("{problem}: {}", fields.join(", "));
            Err(DataError::Ambiguous { path: source.path.clone(), problem, option })
        }
    }
}

/// Whether every quoted field closes, directly before a delimiter or line end; otherwise the line it opens on.
fn check_quotes(content: &str, delimiter: u8) -> Result<(), (u32, &'static str)> {
    let mut bytes = content.bytes().peekable();
    let mut line = 1;
    let mut field_start = true;
    while let Some(byte) = bytes.next() {
        if byte == b'"' && field_start {
            let opened = line;
            loop {
                match bytes.next() {
                    None => return Err((opened, "the quote that opens here is never closed")),
                    Some(b'\n') => line += 1,
                    Some(b'"') if bytes.peek() == Some(&b'"') => drop(bytes.next()),
                    Some(b'"') => break,
                    Some(_) => {}
                }
            }
            match bytes.peek() {
                None | Some(b'\n' | b'\r') => {}
                Some(&byte) if byte == delimiter => {}
                Some(_) => return Err((opened, "text follows the quote that closes the field opened here")),
            }
            field_start = false;
            continue;
        }
        line += u32::from(byte == b'\n');
        field_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
    }
    Ok(())
}
