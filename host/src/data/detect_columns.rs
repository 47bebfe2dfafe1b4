//! Detection of the columns that hold texts and labels.

use super::column_names::{self, by_name, first_of_pair, is_id, labels, left_over, pairs, the_other, titles};
use super::{Column, DataError, LabelColumns, Source};
use crate::listed;

/// The columns of a table, as indices.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    pub text: usize,
    pub pair: Option<usize>,
    pub label: LabelColumns<usize>,
}

/// Finds the columns that `source` names, and detects the others by `names`. A number is taken as a name if a
/// column has it. `binary` tells whether a column holds only 0 and 1, and `repeats` whether it holds few values that
/// repeat often; `missing` makes the error for a missing column.
pub(super) fn columns(
    source: &Source,
    names: &[&str],
    binary: impl Fn(&usize) -> bool,
    repeats: impl Fn(&usize) -> bool,
    missing: impl Fn(&Column) -> DataError,
) -> Result<Columns, DataError> {
    let find = |option: &'static str, column: &Column| {
        let index = match column {
            Column::Position(position) => by_name(names, &position.to_string())
                .or_else(|| position.checked_sub(1).filter(|&index| index < names.len())),
            Column::Name(name) => {
                let alike = names.iter().filter(|other| other.trim() == name.trim()).count();
                if alike > 1 {
                    let problem =
                        format!("names {alike} columns, `{name}`: give the position of one, from 1");
                    return Err(DataError::Option { path: source.path.clone(), option, problem });
                }
                by_name(names, name)
            }
        };
        index.ok_or_else(|| missing(column))
    };
    let given =
        |option, column: &Option<Column>| column.as_ref().map(|column| find(option, column)).transpose();
    let (text, pair) = (given("text", &source.text)?, given("pair", &source.pair)?);
    let label = match (&source.label, text) {
        _ if source.unlabelled => LabelColumns::Each(Vec::new()),
        (Some(LabelColumns::One(column)), _) => LabelColumns::One(find("label", column)?),
        (Some(LabelColumns::Each(columns)), _) => {
            let columns = columns.iter().map(|column| find("label", column));
            LabelColumns::Each(columns.collect::<Result<_, _>>()?)
        }
        (None, Some(text)) if names.len() == 2 && labels(names).is_empty() => LabelColumns::One(1 - text),
        (None, _) => LabelColumns::One(one_label(source, names, binary, repeats)?),
    };
    let is_label = |index: usize| label.columns().contains(&index);
    let same = |option, other: &str| {
        let problem = format!("is the same column as `{other}`");
        Err(DataError::Option { path: source.path.clone(), option, problem })
    };
    if text.is_some_and(is_label) {
        return same("label", "text");
    }
    if pair.is_some_and(is_label) {
        return same("label", "pair");
    }
    if text.is_some() && text == pair {
        return same("pair", "text");
    }
    let (text, pair) = match (text, pair) {
        (Some(text), pair) => (text, pair),
        (None, None) if names.len() == 2 && source.label.is_some() && label.columns().len() == 1 => {
            (1 - label.columns()[0], None)
        }
        (None, Some(pair)) => {
            let mut candidates = first_of_pair(names);
            candidates.retain(|&index| index != pair && !is_label(index));
            (one(source, names, "text", &candidates)?, Some(pair))
        }
        (None, None) => texts(source, names, label.columns())?,
    };
    Ok(Columns { text, pair, label })
}

/// Finds the column of the text, or of both texts of a pair, by their names.
fn texts(source: &Source, names: &[&str], labels: &[usize]) -> Result<(usize, Option<usize>), DataError> {
    let mut pairs = pairs(names);
    pairs.retain(|(a, b)| !labels.contains(a) && !labels.contains(b));
    let in_pair = |index: &usize| pairs.iter().any(|(a, b)| a == index || b == index);
    let free = |index: &usize| !labels.contains(index) && !in_pair(index);
    let mut singles: Vec<usize> = column_names::texts(names).into_iter().filter(free).collect();
    if singles.is_empty() {
        singles.extend(titles(names).into_iter().filter(free));
    }
    if singles.is_empty() && pairs.is_empty() {
        singles.extend(labels.first().and_then(|label| the_other(names, *label)));
    }
    match (singles.as_slice(), pairs.as_slice()) {
        (&[], &[(a, b)]) => Ok((a, Some(b))),
        (singles, []) => Ok((one(source, names, "text", singles)?, None)),
        (singles, pairs) => {
            let mut all = singles.to_vec();
            all.extend(pairs.iter().flat_map(|&(a, b)| [a, b]));
            Ok((one(source, names, "text", &all)?, None))
        }
    }
}

/// Returns the label column. If none is known but several hold 0 and 1, the error suggests those as labels.
fn one_label(
    source: &Source,
    names: &[&str],
    binary: impl Fn(&usize) -> bool,
    repeats: impl Fn(&usize) -> bool,
) -> Result<usize, DataError> {
    let candidates = labels(names);
    if let (true, Some(rest)) = (candidates.is_empty(), left_over(names).filter(repeats)) {
        return Ok(rest);
    }
    let mut found = one(source, names, "label", &candidates);
    if let (Err(DataError::Ambiguous { problem, .. }), true) = (&mut found, candidates.is_empty()) {
        let columns = (0..names.len()).filter(|index| !is_id(names[*index]) && binary(index));
        let columns: Vec<String> = columns.map(|index| format!("`{}`", names[index].trim())).collect();
        if columns.len() > 1 {
            *problem += &format!("; {} hold 0 and 1: name all that are labels", listed(&columns, 12));
        }
    }
    found
}

fn one(
    source: &Source,
    names: &[&str],
    option: &'static str,
    candidates: &[usize],
) -> Result<usize, DataError> {
    let list = |indices: &mut dyn Iterator<Item = usize>| {
        listed(&indices.map(|index| format!("`{}`", names[index].trim())).collect::<Vec<_>>(), 12)
    };
    let problem = match candidates {
        [index] => return Ok(*index),
        [] if names.iter().all(|name| name.is_empty()) => {
            format!("without a header the {option} has to be given by position, counted from 1")
        }
        [] => format!("no column is known to be the {option}, among {}", list(&mut (0..names.len()))),
        several => {
            format!("{} columns could be the {option}: {}", several.len(), list(&mut several.iter().copied()))
        }
    };
    Err(DataError::Ambiguous { path: source.path.clone(), problem, options: vec![option] })
}

/// Describes the columns that are not used; empty if there are none.
pub(super) fn unused(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { String::new() } else { format!("; not used: {}", listed(&names, 6)) }
}
