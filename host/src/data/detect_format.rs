//! Detection of file formats.

use super::column_names::is_known;
use super::column_values::{MAX_INCONCLUSIVE, by_values};
use super::rows::PREFIX;
use super::{DataError, Format, LabelColumns, Source};

/// Returns whether a first line begins JSON; a label in brackets before a tab does not.
fn is_json(first: &str) -> bool {
    let whole = || serde_json::from_str::<serde::de::IgnoredAny>(first).is_ok();
    first.starts_with(['{', '[']) && (!first.contains('\t') || whole())
}

/// Returns the first line that is not blank, without leading space.
pub(super) fn first_line(content: &str) -> &str {
    content.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim_start()
}

/// Returns the given format, or detects it by the extension or the first line that is not blank.
pub(super) fn format(source: &Source, content: &str) -> Result<Format, DataError> {
    if source.format != Format::Auto {
        return Ok(source.format);
    }
    let first = first_line(content);
    let extension = source.path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let ambiguous = |problem: String| DataError::Ambiguous {
        path: source.path.clone(),
        problem,
        options: vec!["format"],
    };
    Ok(match extension.to_ascii_lowercase().as_str() {
        "csv" => Format::Csv,
        "tsv" | "tab" => Format::Tsv,
        "jsonl" | "ndjson" => Format::Jsonl,
        _ if first.starts_with(PREFIX) => Format::FastText,
        _ if source.delimiter.is_some() => Format::Csv,
        _ if is_json(first) => Format::Jsonl,
        _ if first.split('\t').count() > 1 => {
            // A table has a header, more than two columns, its labels last, or options about columns.
            // Anything else is `label<TAB>text`, which is usually published without a header.
            let told = source.text.is_some() || source.label.is_some() || source.header.is_some();
            let named = first.split('\t').any(is_known);
            let columns = first.split('\t').count();
            let more = columns > 2
                && content.lines().take(MAX_INCONCLUSIVE).all(|line| line.split('\t').count() == columns);
            let label_last = || {
                let rows = content.lines().filter(|line| !line.trim().is_empty());
                let two = rows.map(|line| line.split_once('\t').filter(|(_, rest)| !rest.contains('\t')));
                let two = two.map(|row| row.map(|(a, b)| [a, b])).collect::<Option<Vec<_>>>();
                let found = two.and_then(|rows| by_values(&rows));
                found.is_some_and(|(columns, _)| columns.label == LabelColumns::One(1))
            };
            if told || named || more || label_last() { Format::Tsv } else { Format::Lines }
        }
        _ if first.split([',', ';']).any(is_known) => Format::Csv,
        _ => return Err(ambiguous("neither the extension nor the first line tells the format".to_owned())),
    })
}
