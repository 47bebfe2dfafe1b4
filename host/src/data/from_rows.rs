//! From the rows of files to examples: task, labels, and rows with unknown labels.

use std::collections::{BTreeMap, HashSet};

use super::column_names;
use super::detect_task::detect_task;
use super::rows::{self, Cell, Rows};
use super::{DataError, Dataset, Example, File, LabelColumns, Labels, Place, Source, Target, Task};

impl Dataset {
    /// Makes a dataset of the rows of all files.
    pub(super) fn of_rows(
        sources: &[Source],
        files: Vec<Rows>,
        task: Option<Task>,
        labels: Option<Labels>,
        unknown_labels: UnknownLabels,
    ) -> Result<Self, DataError> {
        if files.is_empty() {
            return Err(DataError::NoSource);
        }
        let task = match task {
            Some(task) => task,
            None => detect_task(&sources[0], &files, labels.is_some())?,
        };
        let given = labels.is_some();
        let labels = match labels {
            Some(labels) if task != Task::Regression => labels,
            _ => labels_of(&files, task)?,
        };
        if labels.len() > Labels::MAX {
            let (path, reading) = (sources[0].path.clone(), files[0].reading.clone());
            let numbers = labels.names().iter().all(|name| name.parse::<f64>().is_ok());
            return Err(DataError::TooManyLabels { path, found: labels.len(), numbers, reading });
        }
        // whether a label cell could hold several labels: their names are not known yet
        let joined = task == Task::MultiLabel && !given;
        let mut data = Dataset { task, labels, examples: Vec::new(), files: Vec::new() };
        let mut paired = None;
        for (index, (source, file)) in (0..).zip(sources.iter().zip(files)) {
            data.files.push(File {
                path: source.path.clone(),
                reading: file.reading,
                resolved: file.resolved,
                left_out: 0,
            });
            data.examples.reserve(file.rows.len());
            // a column is found whatever the case of its name
            let as_known = |column: &str| {
                let names = data.labels.names();
                column_names::by_name(names, column).map(|index| &names[index])
            };
            // whether a label without a column applies is unknown
            if let LabelColumns::Each(columns) = &file.label
                && !columns.is_empty()
                && let Some(label) = data
                    .labels
                    .names()
                    .iter()
                    .find(|label| !columns.iter().any(|column| as_known(column) == Some(*label)))
            {
                let (label, columns) = (label.clone(), columns.clone());
                return Err(DataError::MissingLabel { at: rows::at(source, 1), label, columns });
            }
            let joined = joined && matches!(file.label, LabelColumns::One(_));
            let by_columns =
                given && matches!(&file.label, LabelColumns::Each(columns) if !columns.is_empty());
            let spelling = |label: Cell| match label {
                Cell::Many(labels) if by_columns => {
                    let known = |label: String| as_known(&label).cloned().unwrap_or(label);
                    Cell::Many(labels.into_iter().map(known).collect())
                }
                label => label,
            };
            let (rows, mut left_out) = (file.rows.len(), LeftOut::default());
            for row in file.rows {
                let at = || rows::at(source, row.line);
                let expected = *paired.get_or_insert(row.pair.is_some());
                if row.pair.is_some() != expected {
                    return Err(DataError::PairMix { at: at(), expected });
                }
                if let (true, Cell::One(label)) = (joined, &row.label)
                    && label.contains(['|', ';', ','])
                {
                    return Err(DataError::Joined { at: at(), label: label.clone() });
                }
                let target = match target(task, &data.labels, spelling(row.label), at) {
                    Err(error @ DataError::UnknownLabel { .. }) if unknown_labels == UnknownLabels::Skip => {
                        left_out.add(error);
                        continue;
                    }
                    target => target?,
                };
                data.examples.push(Example {
                    text: row.text,
                    pair: row.pair,
                    target,
                    file: index,
                    line: row.line,
                });
            }
            let file = &mut data.files[index as usize];
            file.left_out = left_out.count;
            file.reading += &left_out.describe(rows, &data.labels)?;
        }
        Ok(data)
    }
}

/// Returns the labels that occur; none for a regression.
fn labels_of(files: &[Rows], task: Task) -> Result<Labels, DataError> {
    Ok(match &files[0].label {
        _ if task == Task::Regression => Labels::default(),
        LabelColumns::Each(names) if !names.is_empty() => Labels::ordered(names.clone())?,
        _ => Labels::sorted(files.iter().flat_map(|file| &file.rows).flat_map(|row| names(&row.label))),
    })
}

/// What to do with rows whose label is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownLabels {
    /// The first such row is an error.
    Refuse,
    /// They are skipped if they are few.
    Skip,
}

/// The skipped rows of a file.
#[derive(Default)]
struct LeftOut {
    count: usize,
    /// Number of rows with each unknown label.
    labels: BTreeMap<String, usize>,
    /// The error for the first such row.
    first: Option<DataError>,
}

impl LeftOut {
    /// Skipping more than one row in this many is an error.
    const ONE_IN: usize = 20;

    fn add(&mut self, error: DataError) {
        self.count += 1;
        if let DataError::UnknownLabel { label, .. } = &error {
            *self.labels.entry(label.clone()).or_default() += 1;
        }
        self.first.get_or_insert(error);
    }

    /// Describes the skipped rows of a file of `rows` rows. Too many of them are an error, and so is another
    /// spelling of a known label.
    fn describe(self, rows: usize, known: &Labels) -> Result<String, DataError> {
        const SHOWN: usize = 6;
        let Some(first) = self.first else { return Ok(String::new()) };
        let letters = |label: &str| -> String {
            label.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let known: HashSet<String> = known.names().iter().map(|name| letters(name)).collect();
        let misspelt = self.labels.keys().any(|label| known.contains(&letters(label)));
        if misspelt || self.count * Self::ONE_IN > rows {
            return Err(first);
        }
        let shown = self.labels.iter().take(SHOWN).map(|(label, count)| format!("`{label}` {count}"));
        let more = if self.labels.len() > SHOWN { ", …" } else { "" };
        Ok(format!(
            "; {} of {rows} rows are left out: their labels are unknown ({}{more})",
            self.count,
            shown.collect::<Vec<_>>().join(", ")
        ))
    }
}

/// Returns the label names in a cell.
pub(super) fn names(label: &Cell) -> impl Iterator<Item = &str> {
    let names = match label {
        Cell::One(name) => std::slice::from_ref(name),
        Cell::Many(names) => names,
    };
    names.iter().map(String::as_str).filter(|name| !name.is_empty())
}

fn target(task: Task, labels: &Labels, cell: Cell, at: impl Fn() -> Place) -> Result<Target, DataError> {
    let id = |label: &str| {
        if label.len() > Labels::MAX_NAME_BYTES {
            return Err(DataError::LongLabel { at: at(), bytes: label.len() });
        }
        if label.contains(char::is_control) {
            return Err(DataError::ControlCharacter { at: at(), label: label.to_owned() });
        }
        labels.id(label).ok_or_else(|| DataError::UnknownLabel {
            at: at(),
            label: label.to_owned(),
            labels: labels.shared_names(),
        })
    };
    if task == Task::MultiLabel {
        let mut ids = names(&cell).map(id).collect::<Result<Vec<u32>, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        return Ok(Target::Classes(ids));
    }
    let label = match &cell {
        Cell::One(label) => label.as_str(),
        Cell::Many(labels) if labels.len() > 1 => {
            return Err(DataError::SeveralLabels { at: at(), count: labels.len() });
        }
        Cell::Many(labels) => labels.first().map_or("", String::as_str),
    };
    if label.is_empty() {
        return Err(DataError::EmptyLabel { at: at() });
    }
    if task == Task::SingleLabel {
        return Ok(Target::Class(id(label)?));
    }
    match label.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(Target::Value(value)),
        _ => Err(DataError::Number { at: at(), found: label.to_owned() }),
    }
}
