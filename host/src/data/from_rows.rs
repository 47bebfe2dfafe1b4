//! From the rows of files to examples: task, labels, and rows with unknown labels.

use std::collections::{BTreeMap, HashMap};

use super::cells::{Cells, names};
use super::detect_task::detect_task;
use super::rows::{self, Cell, Rows};
use super::{DataError, Dataset, Example, File, LabelColumns, Labels, Place, Source, Task};
use crate::listed;

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
            // the name of a single number does not matter
            Some(labels) if task == Task::Regression && labels.len() == 1 => Labels::default(),
            Some(labels) => labels,
            None => labels_of(&files, task)?,
        };
        if labels.len() > Labels::MAX {
            let (path, reading) = (sources[0].path.clone(), files[0].reading.clone());
            let numbers = labels.names().iter().all(|name| name.parse::<f64>().is_ok());
            return Err(DataError::TooManyLabels { path, found: labels.len(), numbers, reading });
        }
        // a label cell could hold several labels, whose names are not known yet
        let joined = task == Task::MultiLabel && !given;
        let (mut examples, mut read, mut paired) = (Vec::new(), Vec::new(), None);
        for (index, (source, file)) in (0..).zip(sources.iter().zip(files)) {
            if task != Task::Regression {
                rows::refuse_indicator_vectors(source, &file.rows)?;
            }
            let cells = Cells::new(task, &labels, &file.label, joined, &rows::at(source, 1))?;
            let (rows, mut left_out) = (file.rows.len(), LeftOut::default());
            let unlabelled = file.rows.iter().filter(|row| names(&row.label).next().is_none()).count();
            examples.reserve(rows);
            for row in file.rows {
                let at = || rows::at(source, row.line);
                let expected = *paired.get_or_insert(row.pair.is_some());
                if row.pair.is_some() != expected {
                    return Err(DataError::PairMix { at: at(), expected });
                }
                let target = match cells.target(row.label, at) {
                    Err(DataError::UnknownLabel { label, at, .. })
                        if unknown_labels == UnknownLabels::Skip =>
                    {
                        left_out.add(label, at);
                        continue;
                    }
                    Err(DataError::EmptyLabel { at, .. }) => {
                        return Err(DataError::EmptyLabel { at, more: unlabelled.saturating_sub(1) });
                    }
                    target => target?,
                };
                examples.push(Example {
                    text: row.text,
                    pair: row.pair,
                    target,
                    file: index,
                    line: row.line,
                });
            }
            read.push(File {
                path: source.path.clone(),
                left_out: left_out.count,
                reading: file.reading + &left_out.describe(rows, &labels)?,
                resolved: file.resolved,
            });
        }
        Ok(Dataset { task, labels, examples, files: read })
    }
}

/// Returns the labels that occur, or the names of several numbers; none for a regression of one.
fn labels_of(files: &[Rows], task: Task) -> Result<Labels, DataError> {
    let of_columns = |names: &[String]| match Labels::ordered(names.to_vec()) {
        // a column may be named by its name and by its position
        Err(DataError::LabelTwice { label }) => Err(DataError::Option {
            path: files[0].resolved.path.clone(),
            option: "label",
            problem: format!("names `{label}` twice"),
        }),
        labels => labels,
    };
    Ok(match &files[0].label {
        LabelColumns::Each(names) if task == Task::Regression && names.len() > 1 => of_columns(names)?,
        // the numbers of a list have no names
        _ if task == Task::Regression => match files[0].rows.first().map(|row| &row.label) {
            Some(Cell::Many(numbers)) if numbers.len() > 1 => {
                Labels::ordered((1..=numbers.len()).map(|number| number.to_string()).collect())?
            }
            _ => Labels::default(),
        },
        LabelColumns::Each(names) if !names.is_empty() => of_columns(names)?,
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
    /// The unknown labels, with the number of rows that have it and the first of them.
    labels: BTreeMap<String, (usize, Place)>,
}

impl LeftOut {
    /// Skipping more than one row in this many is an error.
    const ONE_IN: usize = 20;

    fn add(&mut self, label: String, at: Place) {
        self.count += 1;
        self.labels.entry(label).or_insert((0, at)).0 += 1;
    }

    /// Describes the skipped rows of a file of `rows` rows. Too many of them are an error, and so is another
    /// spelling of a known label.
    fn describe(self, rows: usize, known: &Labels) -> Result<String, DataError> {
        let spelt: HashMap<String, &String> =
            known.names().iter().rev().map(|name| (spelling(name), name)).collect();
        let like = |label: &str| spelt.get(&spelling(label)).map(|name| name.to_string());
        // the first row of a misspelt label, else the first of all
        let first = self.labels.iter().min_by_key(|(label, (_, at))| (like(label).is_none(), at.line));
        let Some((label, (_, at))) = first else { return Ok(String::new()) };
        let like = like(label);
        if like.is_some() || self.count * Self::ONE_IN > rows {
            let (at, label, labels) = (at.clone(), label.clone(), known.shared_names());
            return Err(DataError::UnknownLabel { at, label, labels, like, more: self.count - 1 });
        }
        let labels: Vec<String> =
            self.labels.iter().map(|(label, (count, _))| format!("`{label}` {count}")).collect();
        Ok(format!(
            "; {} of {rows} rows are left out: their labels are unknown ({})",
            self.count,
            listed(&labels, 6)
        ))
    }
}

/// Returns a label without the case of its letters and what separates its words.
fn spelling(label: &str) -> String {
    let words: Vec<&str> = label.split(|c: char| c.is_whitespace() || c == '_' || c == '-').collect();
    // `-1` is not `1`, nor `1-2` twelve
    match words.iter().all(|word| !word.is_empty()) && label.contains(char::is_alphabetic) {
        true => words.concat().to_lowercase(),
        false => label.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::spelling;

    #[test]
    fn spellings_differ_in_case_and_between_words() {
        let same = |a: &str, b: &str| spelling(a) == spelling(b);
        assert!(same("Turn_On", "turn on") && same("turn-on", "TurnOn") && same("É", "é"));
        for (a, b) in
            [("-1", "1"), ("1-2", "12"), ("C++", "C"), ("😢", "😀"), ("turn on", "turn off"), ("-", "_")]
        {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
