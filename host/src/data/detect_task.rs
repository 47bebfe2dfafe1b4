//! Detection of the task from the label column.

use super::error::is_decimal_comma;
use super::from_rows::names;
use super::rows::{self, Cell, Rows};
use super::{DataError, Source, Task, column_names};
use std::collections::{HashMap, HashSet};

/// More distinct fractional numbers than this cannot be class names.
const FRACTIONS: usize = 20;

/// Detects the task. With `classes`, labels are given, which rules out regression.
pub(super) fn detect_task(source: &Source, files: &[Rows], classes: bool) -> Result<Task, DataError> {
    let cells = files.iter().flat_map(|file| &file.rows).map(|row| &row.label);
    let ambiguous = |problem: String| {
        Err(DataError::Ambiguous { path: source.path.clone(), problem, options: vec!["task"] })
    };
    let numbers = |values: &[String]| values.iter().all(|value| is_number(value));
    // whether the values of a cell can be labels, and whether they can be quantities
    let several: Vec<(bool, bool)> = cells
        .clone()
        .filter_map(|cell| match cell {
            Cell::One(_) => None,
            Cell::Many(values) => Some((values.iter().all(|value| is_integer(value)), numbers(values))),
            Cell::Each(values) => {
                Some((values.iter().all(|value| rows::binary(value).is_some()), numbers(values)))
            }
        })
        .collect();
    if !several.is_empty() {
        let fractions = several.iter().any(|(labels, _)| !labels);
        let quantities = !classes && fractions && several.iter().all(|(_, numbers)| *numbers);
        return Ok(if quantities { Task::Regression } else { Task::MultiLabel });
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
    if column_names::same(column, column_names::LABELS)
        && cells.clone().flat_map(names).any(|name| name.contains([',', ';', '|']))
    {
        return ambiguous(format!(
            "`{column}` may hold several labels (then also give --label-separator) or one"
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
    ['|', ';', ','].into_iter().find_map(|separator| {
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
