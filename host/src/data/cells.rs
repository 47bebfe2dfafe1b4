//! From label cells to targets.

use super::rows::{self, Cell};
use super::{DataError, LabelColumns, Labels, Place, Target, Task, column_names};

/// What usually separates several labels in one cell.
pub(super) const SEPARATORS: [char; 3] = ['|', ';', ','];

/// Returns the values of a cell that are not empty: label names, unless there is a column for each.
pub(super) fn names(label: &Cell) -> impl Iterator<Item = &str> {
    values(label).iter().map(String::as_str).filter(|name| !name.is_empty())
}

fn values(label: &Cell) -> &[String] {
    match label {
        Cell::One(value) => std::slice::from_ref(value),
        Cell::Many(values) | Cell::Each(values) => values,
    }
}

/// Turns the label cells of one file into targets.
pub(super) struct Cells<'a> {
    task: Task,
    labels: &'a Labels,
    /// The label of each column; empty unless there are several columns.
    columns: Vec<String>,
    /// The column of each number; empty unless there are several columns.
    order: Vec<usize>,
    /// Whether several labels in one cell might be taken for one.
    joined: bool,
}

impl<'a> Cells<'a> {
    pub fn new(
        task: Task,
        labels: &'a Labels,
        read: &LabelColumns<String>,
        joined: bool,
        at: &Place,
    ) -> Result<Self, DataError> {
        let LabelColumns::Each(each) = read else {
            return Ok(Cells { task, labels, columns: vec![], order: vec![], joined });
        };
        let names = labels.names();
        // a column is found whatever the case of its name
        let as_known = |column: &String| {
            column_names::by_name(names, column).map_or(column.clone(), |index| names[index].clone())
        };
        let columns: Vec<String> = each.iter().map(as_known).collect();
        let column = |label: &String| {
            columns.iter().position(|column| column == label).ok_or_else(|| DataError::MissingLabel {
                at: at.clone(),
                label: label.clone(),
                columns: each.to_vec(),
            })
        };
        let order = match names {
            // a regression of one number
            [] => (0..each.len()).collect(),
            // formats without columns name the labels in each row
            _ if each.is_empty() => vec![],
            _ => names.iter().map(column).collect::<Result<_, _>>()?,
        };
        Ok(Cells { task, labels, columns, order, joined: false })
    }

    /// Returns the target in a cell.
    pub fn target(&self, cell: Cell, at: impl Fn() -> Place) -> Result<Target, DataError> {
        let cell = match cell {
            Cell::Each(values) if self.task == Task::Regression => {
                Cell::Each(self.order.iter().map(|column| values[*column].clone()).collect())
            }
            Cell::Each(values) => self.labels_that_hold(&values, &at)?,
            cell => cell,
        };
        if self.task == Task::Regression {
            let texts = values(&cell);
            let (expected, found) = (self.labels.len().max(1), texts.len());
            if found != expected {
                return Err(DataError::NumberCount { at: at(), found, expected });
            }
            let empty = texts.iter().position(String::is_empty).filter(|_| expected > 1);
            if let Some(index) = empty {
                return Err(DataError::EmptyNumber { at: at(), number: index + 1, of: expected });
            }
            let numbers = texts.iter().map(|text| number(text, &at));
            return Ok(Target::Numbers(numbers.collect::<Result<_, _>>()?));
        }
        if self.task == Task::MultiLabel {
            if let Cell::One(label) = &cell
                && let Some(separator) = self.separator(label)
            {
                return Err(DataError::Joined { at: at(), label: label.clone(), separator });
            }
            let mut ids = names(&cell).map(|name| self.id(name, &at)).collect::<Result<Vec<u32>, _>>()?;
            ids.sort_unstable();
            ids.dedup();
            return Ok(Target::Classes(ids));
        }
        let mut labels = names(&cell);
        match (labels.next(), labels.count()) {
            (None, _) => Err(DataError::EmptyLabel { at: at(), more: 0 }),
            (Some(label), 0) => Ok(Target::Class(self.id(label, &at)?)),
            (Some(_), more) => Err(DataError::SeveralLabels { at: at(), count: 1 + more }),
        }
    }

    /// Returns what separates several labels in a value that seems to hold them: it is no label, and its parts are, or
    /// might be.
    fn separator(&self, value: &str) -> Option<char> {
        let several = |separator: &char| {
            let mut parts = value.split(*separator).map(str::trim);
            value.contains(*separator) && (self.joined || parts.all(|part| self.labels.id(part).is_some()))
        };
        let known = !self.joined && self.labels.id(value).is_some();
        SEPARATORS.into_iter().find(several).filter(|_| !known)
    }

    /// Returns the labels whose column says that they apply.
    fn labels_that_hold(&self, values: &[String], at: impl Fn() -> Place) -> Result<Cell, DataError> {
        let mut labels = Vec::new();
        for (column, found) in self.columns.iter().zip(values) {
            match rows::binary(found) {
                Some(true) => labels.push(column.clone()),
                Some(false) => {}
                None => {
                    let (column, found) = (column.clone(), found.clone());
                    return Err(DataError::NotBinary { at: at(), column, found });
                }
            }
        }
        Ok(Cell::Many(labels))
    }

    fn id(&self, label: &str, at: impl Fn() -> Place) -> Result<u32, DataError> {
        if label.len() > Labels::MAX_NAME_BYTES {
            return Err(DataError::LongLabel { at: at(), bytes: label.len() });
        }
        if label.contains(char::is_control) {
            return Err(DataError::ControlCharacter { at: at(), label: label.to_owned() });
        }
        self.labels.id(label).ok_or_else(|| DataError::UnknownLabel {
            at: at(),
            label: label.to_owned(),
            labels: self.labels.shared_names(),
            like: None,
            more: 0,
        })
    }
}

fn number(text: &str, at: impl Fn() -> Place) -> Result<f32, DataError> {
    let number = text.parse().ok().filter(|number: &f32| number.is_finite());
    number.ok_or_else(|| match text.is_empty() {
        true => DataError::EmptyLabel { at: at(), more: 0 },
        false => DataError::Number { at: at(), found: text.to_owned() },
    })
}
