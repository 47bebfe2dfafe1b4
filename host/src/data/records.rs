//! The rows of CSV and TSV, and what quotes do to them.

use csv::{ReaderBuilder, StringRecord};
use std::collections::HashSet;

/// A row of a table.
pub(super) struct Record {
    /// First line, counted from 1, and the number of lines it spans.
    pub line: u32,
    pub lines: u32,
    /// Whether the row before ends in a carriage return, where others end in a line feed.
    pub after_return: bool,
    pub fields: StringRecord,
    /// Lines of the rows before it in which every field is blank.
    pub blank_before: Vec<u32>,
}

/// Returns the first row that spans lines most of which look like rows, with a label of other rows: two quotes out of
/// place make one field of all that is between them. Returns its line, and the number of lines.
pub(super) fn swallowed(
    records: &[Record],
    delimiter: u8,
    columns: usize,
    label: usize,
) -> Option<(u32, u32)> {
    const FEW: usize = 3;
    if records.iter().all(|record| record.lines == 1) {
        return None;
    }
    let labels: HashSet<&str> = records
        .iter()
        .filter(|record| record.lines == 1)
        .filter_map(|record| record.fields.get(label))
        .collect();
    let is_row = |line: &&&str| {
        let fields: Vec<&str> = line.split(char::from(delimiter)).collect();
        fields.len() == columns && labels.contains(fields[label])
    };
    let holds_rows = |record: &&Record| {
        // the first and the last are beside other fields
        let mut lines: Vec<&str> = Vec::new();
        for field in &record.fields {
            let all: Vec<&str> = field.lines().collect();
            lines.extend(all.get(1..all.len().saturating_sub(1)).unwrap_or_default());
        }
        lines.len() >= FEW && 2 * lines.iter().filter(is_row).count() > lines.len()
    };
    records
        .iter()
        .filter(|record| record.lines > 1)
        .find(holds_rows)
        .map(|record| (record.line, record.lines))
}

pub(super) fn reader(content: &str, delimiter: u8, quoting: bool) -> csv::Reader<&[u8]> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter).quoting(quoting);
    builder.from_reader(content.as_bytes())
}

/// Returns what ends a line: old spreadsheets write carriage returns only.
fn line_end(content: &str) -> u8 {
    if content.contains('\n') { b'\n' } else { b'\r' }
}

/// Returns all rows in which anything stands, of whatever length. Lines are counted here because the reader skips
/// blank ones.
pub(super) fn records(content: &str, delimiter: u8, quoting: bool) -> Vec<Record> {
    let bytes = content.as_bytes();
    let mut reader = reader(content, delimiter, quoting);
    let end = line_end(content);
    let newlines = |from: usize, to: usize| bytes[from..to].iter().filter(|&&b| b == end).count() as u32;
    let (mut counted, mut line) = (0, 1);
    let (mut records, mut blank) = (Vec::new(), Vec::new());
    let mut fields = StringRecord::new();
    // reading a valid string from memory cannot fail
    while let Ok(true) = reader.read_record(&mut fields) {
        let mut start = fields.position().map_or(0, |position| position.byte() as usize);
        while matches!(bytes.get(start), Some(b'\n' | b'\r')) {
            start += 1;
        }
        let mut ends = bytes[..start].iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let after_return = end == b'\n' && start > 0 && !ends.any(|byte| *byte == end);
        line += newlines(counted, start);
        counted = start;
        let end = (reader.position().byte() as usize).max(start);
        if fields.iter().all(|field| field.trim().is_empty()) {
            // a line of spaces is a blank line
            if fields.len() > 1 || bytes[start..end].contains(&b'"') {
                blank.push(line);
            }
            continue;
        }
        let row = bytes[start..end].trim_ascii_end().len();
        let lines = 1 + newlines(start, start + row);
        let blank_before = std::mem::take(&mut blank);
        records.push(Record { line, lines, after_return, fields: fields.clone(), blank_before });
    }
    // spreadsheets leave blank rows below a table: the last ones belong to no record
    records
}

/// Checks that every quoted field closes directly before a delimiter or line end; otherwise returns the line
/// where it opens.
pub(super) fn check_quotes(content: &str, delimiter: u8) -> Result<(), (u32, &'static str)> {
    let end = line_end(content);
    let mut bytes = content.bytes().peekable();
    let mut line = 1;
    let mut field_start = true;
    while let Some(byte) = bytes.next() {
        if byte == b'"' && field_start {
            let opened = line;
            loop {
                match bytes.next() {
                    None => return Err((opened, "the quote that opens here is never closed")),
                    Some(byte) if byte == end => line += 1,
                    Some(b'"') if bytes.peek() == Some(&b'"') => drop(bytes.next()),
                    Some(b'"') => break,
                    Some(_) => {}
                }
            }
            match bytes.peek() {
                None | Some(b'\n' | b'\r') => {}
                Some(&byte) if byte == delimiter => {}
                Some(_) if content.contains("\\\"") => {
                    return Err((
                        opened,
                        "text follows the quote that closes the field opened here (a quote inside a field is written twice, a backslash before it does not count)",
                    ));
                }
                Some(_) => return Err((opened, "text follows the quote that closes the field opened here")),
            }
            field_start = false;
            continue;
        }
        line += u32::from(byte == end);
        field_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
    }
    Ok(())
}
