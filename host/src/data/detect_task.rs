//! Detection of the task from the label column.

use super::cells::{SEPARATORS, names};
use super::error::is_decimal_comma;
use super::rows::{self, Cell, Rows};
use super::{DataError, LabelColumns, Source, Task, column_names};
use std::collections::{HashMap, HashSet};

/// More distinct fractional numbers than this cannot be class names.
const FRACTIONS: usize = 20;

/// Detects the task. With `classes`, labels are given, which rules out regression.
pub(super) fn detect_task(source: &Source, files: &[Rows], classes: bool) -> Result<Task, DataError> {
    let cells = files.iter().flat_map(|file| &file.rows).map(|row| &row.label);
    let ambiguous = |problem: String| {
        Err(DataError::Ambiguous { path: source.path.clone(), problem, options: vec!["task"] })
    };
    let several: Vec<&[String]> = cells
        .clone()
        .filter_map(|cell| match cell {
            Cell::One(_) => None,
            Cell::Many(values) | Cell::Each(values) => Some(&**values),
        })
        .collect();
    if !several.is_empty() {
        let numbers = !classes && several.iter().all(|values| values.iter().all(|value| is_number(value)));
        let columns = matches!(&files[0].label, LabelColumns::Each(columns) if !columns.is_empty());
        if numbers && columns && hold_quantities(&several) {
            return Ok(Task::Regression);
        }
        if numbers && files.iter().all(|file| file.lists) && are_vectors(&several) {
            return ambiguous("the lists hold as many numbers each: regression or multi-label".to_owned());
        }
        return Ok(Task::MultiLabel);
    }
    if classes {
        return Ok(Task::SingleLabel);
    }
    let column = files[0].label.columns().first().map_or("", String::as_str);
    if column_names::last_word(column) == column_names::SCORE {
        let of_two = cells.clone().flat_map(names).all(|name| rows::binary(name).is_some());
        if of_two && !column_names::same(column, column_names::SCORE) {
            return ambiguous(format!("`{column}` holds 0 and 1: single-label or regression"));
        }
        return Ok(Task::Regression);
    }
    let of_several = |name: &str| SEPARATORS.into_iter().find(|separator| name.contains(*separator));
    if column_names::same(column, column_names::LABELS)
        && let Some((label, separator)) =
            cells.clone().flat_map(names).find_map(|name| Some((name, of_several(name)?)))
    {
        return ambiguous(format!(
            "`{column}` may hold several labels, such as `{label}` (then also give --label-separator '{separator}'), or one"
        ));
    }
    let number = |cell: &Cell| names(cell).all(is_number);
    let integer = |cell: &Cell| names(cell).all(is_integer);
    let whole = |cell: &Cell| names(cell).all(|name| name.parse::<f64>().is_ok_and(|x| x.fract() == 0.0));
    if cells.clone().all(number) && !cells.clone().all(integer) {
        if cells.clone().all(whole) {
            return ambiguous(
                "the labels are whole numbers with a point: single-label or regression".to_owned(),
            );
        }
        if cells.flat_map(names).collect::<HashSet<_>>().len() > FRACTIONS {
            return Ok(Task::Regression);
        }
        return ambiguous("the labels are numbers with fractions: single-label or regression".to_owned());
    }
    let comma = |name: &str| is_decimal_comma(name) || is_number(name);
    if cells.clone().flat_map(names).all(comma) && cells.clone().flat_map(names).any(is_decimal_comma) {
        return ambiguous(
            "the labels look like numbers with decimal commas; for regression write points".to_owned(),
        );
    }
    if let Some((separator, label)) = joined(cells) {
        return ambiguous(format!(
            "`{label}` looks like several labels, which also occur separately: --label-separator '{separator}' splits them; or is it the name of one label"
        ));
    }
    Ok(Task::SingleLabel)
}

/// Returns whether each column holds mostly other numbers than 0 and 1. A few of them are mistakes.
fn hold_quantities(rows: &[&[String]]) -> bool {
    let columns = rows.first().map_or(0, |values| values.len());
    (0..columns).all(|column| {
        let binary = rows.iter().filter(|values| rows::binary(&values[column]).is_some()).count();
        2 * binary < rows.len()
    })
}

/// Returns whether all rows have equally many values, at least two, some of which are fractions.
fn are_vectors(rows: &[&[String]]) -> bool {
    let length = rows.first().map_or(0, |values| values.len());
    let fraction = |value: &String| value.parse::<f64>().is_ok_and(|number| number.fract() != 0.0);
    length > 1
        && rows.iter().all(|values| values.len() == length)
        && rows.iter().any(|values| values.iter().any(fraction))
}

fn is_integer(name: &str) -> bool {
    name.parse::<i64>().is_ok()
}

fn is_number(name: &str) -> bool {
    name.parse::<f32>().is_ok_and(f32::is_finite)
}

/// Returns a character that seems to separate several labels in a cell, and such a cell. It qualifies if most
/// of the parts also occur elsewhere, alone or with others.
fn joined<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<(char, &'a str)> {
    let labels: HashSet<&str> = cells.flat_map(names).collect();
    SEPARATORS.into_iter().find_map(|separator| {
        let mut counts = HashMap::<&str, usize>::new();
        let parts = |label: &'a str| label.split(separator).map(str::trim);
        for label in &labels {
            // count a part once per label
            let mut seen = HashSet::new();
            parts(label)
                .filter(|part| seen.insert(*part))
                .for_each(|part| *counts.entry(part).or_default() += 1);
        }
        let several: Vec<&str> = labels.iter().copied().filter(|label| label.contains(separator)).collect();
        let known = |label: &&&'a str| parts(label).all(|part| counts[part] > 1);
        let plain = several.len() > 1 && several.iter().filter(known).count() * 5 >= several.len() * 4;
        plain.then(|| (separator, several.into_iter().min().unwrap_or_default()))
    })
}
