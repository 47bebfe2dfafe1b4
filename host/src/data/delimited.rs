//! CSV and TSV. The lenient parsing of the `csv` crate (quotes that never close, text after a closing quote)
//! would silently merge rows, so such input is refused here.

use csv::StringRecord;

use super::records::{Record, check_quotes, reader, records, swallowed};
use super::rows::{self, Cell, Row, Rows, at, labels_shown};
use super::{Column, DataError, Format, LabelColumns, Source, column_names, column_values, detect_columns};

pub(super) fn read(source: &Source, content: &str, format: Format) -> Result<Rows, DataError> {
    let (said, content) = excel_delimiter(content);
    let delimiter = delimiter(source, content, format, said)?;
    let quoting = quoting(source, content, format, delimiter)?;
    if quoting && let Err((line, problem)) = check_quotes(content, delimiter) {
        return Err(DataError::Quote { at: at(source, line), problem });
    }
    let records = records(content, delimiter, quoting);
    let Some(first) = records.first() else { return Err(DataError::NoRows { path: source.path.clone() }) };
    let (columns, header) = match by_values(source, &records) {
        Some(found) => found,
        None => by_names(source, &records)?,
    };
    let names = names(first, header);
    // a label column without a name is called by its position
    let label = columns.label.map(|index| match names[*index].trim() {
        "" => (index + 1).to_string(),
        name => name.to_owned(),
    });
    let mut rows = Vec::with_capacity(records.len());
    let mut again = 0;
    let broken = |index: usize| records[index..].iter().take(2).any(|record| record.after_return);
    for (index, record) in records.iter().enumerate().skip(usize::from(header)) {
        let fields = &record.fields;
        // concatenated files repeat the header
        if header && *fields == first.fields {
            again += 1;
            continue;
        }
        if fields.len() != names.len() {
            let hint = match record.lines > 1 {
                true => {
                    "; the row spans lines: is a quote never closed? (--quoting false makes it a character)"
                }
                false if fields.len() < names.len() && broken(index) => {
                    "; a carriage return without a line feed ends a row here: take it out of the text"
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
            label: match &columns.label {
                LabelColumns::One(index) => Cell::One(fields[*index].to_owned()),
                LabelColumns::Each(indices) => {
                    Cell::Each(indices.iter().map(|index| fields[*index].to_owned()).collect())
                }
            },
        });
    }
    let texts = records.iter().skip(1).map(|record| record.fields.get(columns.text).unwrap_or_default());
    let first = |column: usize| first.fields.get(column).unwrap_or_default();
    let word = columns.label.columns().iter().all(|column| !column_values::is_number(first(*column)));
    let doubtful = source.header.is_none()
        && !header
        && word
        && column_values::looks_like_names(first(columns.text), texts);
    let swallowed = match &columns.label {
        LabelColumns::One(label) if quoting => swallowed(&records, delimiter, names.len(), *label),
        _ => None,
    };
    let reading =
        Reading { format, header, doubtful, quoting, names: &names, columns: &columns, again, swallowed }
            .describe();
    // by name where possible: similar files may order their columns differently
    let position = |index: usize| match names[index].trim() {
        name if !name.is_empty() && names.iter().filter(|other| other.trim() == name).count() == 1 => {
            Column::Name(name.to_owned())
        }
        _ => Column::Position(index + 1),
    };
    let resolved = Source {
        format,
        text: Some(position(columns.text)),
        pair: columns.pair.map(position),
        label: Some(columns.label.map(|index| position(*index))),
        header: Some(header),
        quoting: Some(quoting),
        delimiter: Some(char::from(delimiter)),
        ..source.clone()
    };
    let blank = records.iter().skip(usize::from(header)).flat_map(|record| &record.blank_before).copied();
    Ok(Rows { blank: blank.collect(), rows, label, lists: false, reading, resolved })
}

/// How a file was read.
struct Reading<'a> {
    format: Format,
    header: bool,
    /// Whether the first row may be a header all the same.
    doubtful: bool,
    quoting: bool,
    names: &'a [&'a str],
    columns: &'a detect_columns::Columns,
    /// How often the header was found again.
    again: usize,
    /// Where a row spans lines that look like rows, and how many.
    swallowed: Option<(u32, u32)>,
}

impl Reading<'_> {
    /// Describes it for humans.
    fn describe(&self) -> String {
        let Reading { format, header, doubtful, quoting, names, columns, again, swallowed } = self;
        let column = |index: usize| match header {
            true => format!("`{}`", names[index].trim()),
            false => format!("{}", index + 1),
        };
        let used = |index: &usize| {
            *index == columns.text || Some(*index) == columns.pair || columns.label.columns().contains(index)
        };
        let unused = (0..names.len()).filter(|index| !used(index)).map(column);
        let again = match again {
            0 => String::new(),
            1 => "; the header again in a row, which is left out".to_owned(),
            again => format!("; the header again in {again} rows, which are left out"),
        };
        let swallowed = swallowed.map_or(String::new(), |(line, lines)| {
            format!(
                "; the row at line {line} spans {lines} lines that look like rows: is a quote out of place? (--quoting false makes it a character)"
            )
        });
        format!(
            "{format}, {}, {}, text {}{}{}{}{again}{swallowed}",
            match (*header, *doubtful) {
                (true, _) => "header",
                (false, true) => "no header (the first row may be one all the same: then --header true)",
                (false, false) => "no header",
            },
            if *quoting { "quoted" } else { "not quoted" },
            column(columns.text),
            columns.pair.map(|pair| format!(", pair {}", column(pair))).unwrap_or_default(),
            labels_shown(&columns.label.map(|index| column(*index))),
            detect_columns::unused(unused),
        )
    }
}

/// Finds the columns, and whether the first row names them, from the options and the first row.
fn by_names(source: &Source, records: &[Record]) -> Result<(detect_columns::Columns, bool), DataError> {
    let first = &records[0];
    let header = has_header(source, records)?;
    let names = names(first, header);
    let missing = |column: &Column| DataError::MissingColumn {
        at: at(source, first.line),
        column: column.to_string(),
        columns: match header {
            true => names.iter().map(|&name| name.to_owned()).collect(),
            false => (1..=names.len()).map(|position| position.to_string()).collect(),
        },
    };
    let rows = &records[usize::from(header)..];
    let binary = |index: &usize| {
        rows.iter().all(|row| row.fields.get(*index).is_some_and(|value| rows::binary(value).is_some()))
    };
    let repeats = |index: &usize| {
        column_values::repeat(rows.iter().map(|row| row.fields.get(*index).unwrap_or_default()))
    };
    Ok((detect_columns::columns(source, &names, binary, repeats, missing)?, header))
}

/// Returns the column names of the first row; empty ones if it is not a header.
fn names(first: &Record, header: bool) -> Vec<&str> {
    first.fields.iter().map(|name| if header { name } else { "" }).collect()
}

/// Returns the delimiter from a first line such as `sep=;`, which Excel writes and reads, and the content
/// after it. That starts with the line end, to keep line numbers right.
fn excel_delimiter(content: &str) -> (Option<char>, &str) {
    let said = content.get(..4).filter(|start| start.eq_ignore_ascii_case("sep=")).and_then(|_| {
        let delimiter = content[4..].chars().next().filter(|c| !matches!(c, '\r' | '\n'))?;
        let rest = &content[4 + delimiter.len_utf8()..];
        rest.starts_with(['\r', '\n']).then_some((delimiter, rest))
    });
    said.map_or((None, content), |(delimiter, rest)| (Some(delimiter), rest))
}

fn delimiter(source: &Source, content: &str, format: Format, said: Option<char>) -> Result<u8, DataError> {
    let delimiter = match (source.delimiter.or(said), format) {
        (Some(given), _) => given,
        (None, Format::Tsv) => '\t',
        (None, _) => usual_delimiter(source, content)?,
    };
    match u8::try_from(delimiter) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(byte),
        _ => {
            let problem = format!("{delimiter:?} is not one ASCII character other than a quote or line end");
            Err(DataError::Option { path: source.path.clone(), option: "delimiter", problem })
        }
    }
}

/// Returns the common delimiter that separates known column names or, failing that, occurs equally often in
/// every row.
fn usual_delimiter(source: &Source, content: &str) -> Result<char, DataError> {
    const USUAL: [char; 4] = [',', ';', '\t', '|'];
    let quoting = source.quoting.unwrap_or(true);
    let header = |delimiter: &char| {
        let mut first = StringRecord::new();
        let read = reader(content, *delimiter as u8, quoting).read_record(&mut first);
        read.is_ok() && first.len() > 1 && column_names::is_header(first.iter())
    };
    if let Some(delimiter) = USUAL.into_iter().find(header) {
        return Ok(delimiter);
    }
    let table = |delimiter: &char| {
        let delimiter = *delimiter as u8;
        let records = records(content, delimiter, quoting);
        let columns = records.first().map_or(0, |row| row.fields.len());
        columns > 1
            && records.iter().all(|row| row.fields.len() == columns)
            && (!quoting || check_quotes(content, delimiter).is_ok())
    };
    let tables: Vec<char> = USUAL.into_iter().filter(table).collect();
    match tables[..] {
        [] => Ok(','),
        [delimiter] => Ok(delimiter),
        [a, b, ..] => {
            let problem = format!("every row has as many columns between {a:?} as between {b:?}");
            Err(DataError::Ambiguous { path: source.path.clone(), problem, options: vec!["delimiter"] })
        }
    }
}

/// Returns whether `"` quotes fields. In CSV it does; TSV exists in both kinds, told apart by which of them
/// parses cleanly.
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
            return Err(DataError::Ambiguous {
                path: source.path.clone(),
                problem,
                options: vec!["quoting"],
            });
        }
    }
    Ok(quoted || !plain)
}

/// Finds the columns of a two-column table, without known or given names, by their values.
fn by_values(source: &Source, records: &[Record]) -> Option<(detect_columns::Columns, bool)> {
    let label = match &source.label {
        Some(LabelColumns::One(label)) => Some(label),
        Some(LabelColumns::Each(_)) => return None,
        None => None,
    };
    let given = [source.text.as_ref(), label].map(|column| match column {
        Some(Column::Position(position @ 1..=2)) => Some(position - 1),
        _ => None,
    });
    let said = [source.text.as_ref(), source.pair.as_ref(), label].into_iter().flatten().count();
    let [text, label] = given;
    let names = source.header != Some(false) && is_header(records);
    if said > given.iter().flatten().count() || names || text.is_some() && text == label {
        return None;
    }
    let two = records.iter().map(|Record { fields, .. }| match fields.len() {
        2 => Some([&fields[0], &fields[1]]),
        _ => None,
    });
    let (mut columns, header) = column_values::by_values(&two.collect::<Option<Vec<_>>>()?)?;
    if let Some(text) = text.or(label.map(|label| 1 - label)) {
        (columns.text, columns.label) = (text, LabelColumns::One(1 - text));
    }
    if source.unlabelled {
        columns.label = LabelColumns::Each(Vec::new());
    }
    Some((columns, source.header.unwrap_or(header)))
}

fn has_header(source: &Source, records: &[Record]) -> Result<bool, DataError> {
    let first = &records[0].fields;
    let labels = source.label.iter().flat_map(LabelColumns::columns);
    let mut given = source.text.iter().chain(&source.pair).chain(labels);
    let named = given.any(|column| matches!(column, Column::Name(_)));
    match source.header {
        Some(false) if named => {
            let problem = "is false, but a column is given by name".to_owned();
            Err(DataError::Option { path: source.path.clone(), option: "header", problem })
        }
        Some(header) => Ok(header),
        None if named || is_header(records) => Ok(true),
        None => {
            if let Some(header) = header_by_values(source, records) {
                return Ok(header);
            }
            let shown = |field: &str| match field.char_indices().nth(40) {
                Some((end, _)) => format!("`{}…`", &field[..end]),
                None => format!("`{field}`"),
            };
            let fields: Vec<String> = first.iter().take(10).map(shown).collect();
            let unknown = match first.len() {
                1 if !source.unlabelled => {
                    "only one column is found in the first row, which may be a title to remove, or the delimiter is another one (--delimiter, --format)"
                }
                _ => "no known column name in the first row",
            };
            let (problem, hint, options) =
                match source.text.is_some() && (source.label.is_some() || source.unlabelled) {
                    true => ("the first row may name the columns or be data", "", vec!["header"]),
                    false if source.unlabelled => (unknown, "", vec!["text"]),
                    false => {
                        let hint = "; where it is data, give positions, counted from 1";
                        (unknown, hint, vec!["text", "label"])
                    }
                };
            let problem = format!("{problem}: {}{hint}", fields.join(", "));
            Err(DataError::Ambiguous { path: source.path.clone(), problem, options })
        }
    }
}

/// Returns whether the first row's names make it a header. They do not if the only known name is also a label
/// of other rows.
fn is_header(records: &[Record]) -> bool {
    let first = &records[0].fields;
    let mut known = (0..first.len()).filter(|column| column_names::is_known(&first[*column]));
    let only = known.next().filter(|_| known.next().is_none());
    let again = |column: usize| {
        let mut same = records[1..].iter().filter(|row| row.fields.get(column) == first.get(column));
        same.nth(1).is_some() && first.len() > 1 && !records[1..].iter().any(|row| row.fields == *first)
    };
    column_names::is_header(first.iter()) && !only.is_some_and(again)
}

/// Returns whether the first row is a header, if the positions of text and label are given.
fn header_by_values(source: &Source, records: &[Record]) -> Option<bool> {
    let (Some(Column::Position(text)), Some(LabelColumns::One(Column::Position(label)))) =
        (&source.text, &source.label)
    else {
        return None;
    };
    let (text, label) = (text.checked_sub(1)?, label.checked_sub(1)?);
    let rows = records.iter().map(|row| Some([row.fields.get(text)?, row.fields.get(label)?]));
    column_values::header_by_values(&rows.collect::<Option<Vec<_>>>()?)
}
