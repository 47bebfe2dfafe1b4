//! What the values in columns tell, where their names tell nothing.

use super::LabelColumns;
use super::detect_columns::Columns;
use std::collections::HashMap;

/// Nothing is concluded from this many rows or fewer.
pub(super) const MAX_INCONCLUSIVE: usize = 10;

/// Finds the columns of a two-column table without known names, and whether the first row names them, by the
/// values: labels are numbers or repeat often, texts do neither. `None` if unclear.
pub(super) fn by_values(rows: &[[&str; 2]]) -> Option<(Columns, bool)> {
    let ([first, rest @ ..], true) = (rows, rows.len() > MAX_INCONCLUSIVE) else { return None };
    let counts = [0, 1].map(|column| counts(rest.iter().map(|row| row[column])));
    let label = match counts.each_ref().map(|counts| counts.keys().all(|field| is_number(field))) {
        [true, false] => 0,
        [false, true] => 1,
        _ => usize::from(counts[1].len() < counts[0].len()),
    };
    let (labels, texts) = (&counts[label], &counts[1 - label]);
    let header = names_columns(first[1 - label], first[label], texts, labels)?;
    let numbers = labels.keys().all(|field| is_number(field));
    let repeats = labels.len() > 1 && labels.len() * 2 <= rest.len().min(texts.len());
    let fractions = numbers && labels.keys().any(|field| field.trim().parse::<i64>().is_err());
    let plain = texts.len() * 4 > rest.len() && (repeats || fractions);
    plain.then_some((Columns { text: 1 - label, pair: None, label: LabelColumns::One(label) }, header))
}

/// Returns whether the first row of texts and labels names the columns, judged by the other rows. `None` if
/// unclear.
pub(super) fn header_by_values(rows: &[[&str; 2]]) -> Option<bool> {
    let ([[text, label], rest @ ..], true) = (rows, rows.len() > MAX_INCONCLUSIVE) else { return None };
    names_columns(text, label, &counts(rest.iter().map(|row| row[0])), &counts(rest.iter().map(|row| row[1])))
}

/// Returns whether `text` and `label` from the first row are column names rather than values. `None` if
/// unclear.
fn names_columns(text: &str, label: &str, texts: &Counts, labels: &Counts) -> Option<bool> {
    // columns numbered by pandas
    let numbers = [("0", "1"), ("1", "0"), ("1", "2"), ("2", "1")].contains(&(text.trim(), label.trim()));
    if numbers && !texts.keys().any(|text| is_number(text)) {
        return Some(true);
    }
    // a first row that could be a text with a unique label is not taken for a header
    let words = |field: &str| field.split_whitespace().count();
    let names = words(text) == 1 && texts.keys().filter(|text| words(text) > 1).count() * 2 > texts.len();
    match labels.keys().all(|field| is_number(field)) {
        true => Some(!is_number(label)),
        false if labels.contains_key(label) => Some(false),
        false if names && labels.values().all(|count| *count > 1) => Some(true),
        false => None,
    }
}

/// Returns whether a first row that is taken for data reads like names of columns: its text has one or two words,
/// fewer than nearly all others.
pub(super) fn looks_like_names<'a>(first: &str, texts: impl Iterator<Item = &'a str>) -> bool {
    let words = |text: &str| text.split_whitespace().count();
    let (most, mut all, mut short) = (words(first), 0, 0);
    for text in texts {
        all += 1;
        short += usize::from(words(text) <= most);
    }
    most <= 2 && all > MAX_INCONCLUSIVE && short * 20 <= all
}

/// Returns whether these are few values that repeat often, as labels do, and not users, dates or prices.
pub(super) fn repeat<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let counts = counts(values);
    let rows: usize = counts.values().sum();
    let most = if counts.keys().all(|value| is_number(value)) { 5 } else { 30 };
    (2..=most).contains(&counts.len()) && counts.len() * 5 <= rows
}

/// Number of occurrences of each value.
type Counts<'a> = HashMap<&'a str, usize>;

fn counts<'a>(values: impl Iterator<Item = &'a str>) -> Counts<'a> {
    let mut counts = Counts::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts
}

pub(super) fn is_number(field: &str) -> bool {
    field.trim().parse::<f64>().is_ok()
}
