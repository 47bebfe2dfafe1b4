use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::detect;
use super::detect_task::detect_task;
use super::rows::{self, Cell, Rows};
use super::{Column, DataError, LabelColumns, Labels, Place, Source, Task};

/// A text, or a pair of texts.
pub type Text = (String, Option<String>);

/// The gold label, or labels, of an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The id of the one label.
    Class(u32),
    /// The ids of all labels, ascending, each once.
    Classes(Vec<u32>),
    /// The target value of a regression.
    Value(f32),
}

/// One labelled text, or pair of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text as it appears in the file.
    pub text: String,
    /// The second text. Either all examples of a dataset have one, or none.
    pub pair: Option<String>,
    /// The gold label.
    pub target: Target,
    /// Index into [`Dataset::files`].
    pub file: u32,
    /// Line in that file, counted from 1.
    pub line: u32,
}

impl Example {
    /// Returns an example whose target means nothing and that comes from no file.
    pub(crate) fn unlabelled((text, pair): Text) -> Self {
        Example { text, pair, target: Target::Value(0.0), file: 0, line: 0 }
    }

    /// Returns a key that examples share if they are the same to a classifier: text and pair, ignoring case
    /// and repeated spaces.
    pub fn key(&self) -> String {
        key(&self.text, self.pair.as_deref())
    }

    /// Returns a key that examples share if they must be on the same side of a split: [`key`](Self::key),
    /// ignoring the order of the two texts of a pair.
    pub fn texts(&self) -> String {
        unordered_key(&self.text, self.pair.as_deref())
    }
}

fn key(text: &str, pair: Option<&str>) -> String {
    let mut key = String::with_capacity(text.len());
    for (index, text) in [Some(text), pair].into_iter().flatten().enumerate() {
        if index > 0 {
            key.push('\u{1f}');
        }
        for word in text.split_whitespace() {
            if !key.is_empty() && !key.ends_with('\u{1f}') {
                key.push(' ');
            }
            key.push_str(&word.to_lowercase());
        }
    }
    key
}

/// Returns the [`Example::texts`] of texts without a label.
pub(crate) fn unordered_key(text: &str, pair: Option<&str>) -> String {
    match pair {
        Some(pair) => key(text, Some(pair)).min(key(pair, Some(text))),
        None => key(text, None),
    }
}

/// A file that examples came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// Human-readable description of how it was read: format, header, columns.
    pub reading: String,
    /// The source with everything that was detected filled in.
    pub resolved: Source,
    /// Number of rows skipped because their label is unknown: see [`Dataset::read_like`].
    pub left_out: usize,
}

/// Labelled examples of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The task.
    pub task: Task,
    /// The labels; empty for regression.
    pub labels: Labels,
    /// The examples, in file order.
    pub examples: Vec<Example>,
    /// The files that the examples came from.
    pub files: Vec<File>,
}

impl Dataset {
    /// Wraps texts without labels.
    pub(crate) fn unlabelled(texts: impl IntoIterator<Item = Text>) -> Self {
        Self::of_numbers(texts.into_iter().map(Example::unlabelled).collect())
    }

    /// Wraps examples of a regression.
    pub(crate) fn of_numbers(examples: Vec<Example>) -> Self {
        Dataset { task: Task::Regression, labels: Labels::default(), examples, files: Vec::new() }
    }

    /// Reads training data.
    ///
    /// Without a `task` it is inferred. Lists of labels, a `label_separator` or one column per label mean
    /// multi-label. A label column named `score` (unless `labels` are given), or many different fractional
    /// numbers, mean regression. Anything else is single-label.
    ///
    /// Without `labels` they are the distinct names that occur, sorted.
    ///
    /// # Errors
    /// [`DataError`], which names the file, the line and the remedy.
    pub fn read(sources: &[Source], task: Option<Task>, labels: Option<Labels>) -> Result<Self, DataError> {
        let data = Self::of_rows(sources, read_all(sources)?, task, labels, UnknownLabels::Refuse)?;
        data.check_variety(sources)?;
        Ok(data)
    }

    /// Reads held-out data with the task and labels of `self`. Rows with unknown labels are skipped, and
    /// [`File::reading`] says so; if they are more than a twentieth of a file, that is an error. A file whose
    /// format is ambiguous is read like the first file of `self`.
    ///
    /// # Errors
    /// Like [`read`](Self::read), except that a single class is allowed.
    pub fn read_like(&self, sources: &[Source]) -> Result<Self, DataError> {
        let like = |source: &Source| match (rows::read(source), self.files.first()) {
            (Err(DataError::Ambiguous { .. }), Some(file)) => {
                rows::read(&Source { path: source.path.clone(), ..file.resolved.clone() })
            }
            (read, _) => read,
        };
        let files = sources.iter().map(like).collect::<Result<Vec<Rows>, _>>()?;
        let data =
            Self::of_rows(sources, files, Some(self.task), Some(self.labels.clone()), UnknownLabels::Skip)?;
        match (self.examples.first(), data.examples.first()) {
            (Some(ours), Some(theirs)) if ours.pair.is_some() != theirs.pair.is_some() => {
                Err(DataError::PairMix { at: data.place(theirs), expected: ours.pair.is_some() })
            }
            _ => Ok(data),
        }
    }

    /// Like [`read`](Self::read), for data that is only measured on: all rows may have the same class, and a
    /// few rows may have labels other than the given `labels`, as in [`read_like`](Self::read_like). For
    /// several labels, columns that are called like all of them need not be named.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub fn read_to_measure(
        sources: &[Source],
        task: Option<Task>,
        labels: Option<Labels>,
    ) -> Result<Self, DataError> {
        let files = match (read_all(sources), &labels) {
            (Err(first @ DataError::Ambiguous { .. }), Some(labels)) if task == Some(Task::MultiLabel) => {
                let each = LabelColumns::Each(labels.names().iter().cloned().map(Column::Name).collect());
                let of_labels = |source: &Source| Source {
                    label: Some(source.label.clone().unwrap_or_else(|| each.clone())),
                    ..source.clone()
                };
                // where they are not all there, the first error says more
                read_all(&sources.iter().map(of_labels).collect::<Vec<_>>()).map_err(|_| first)
            }
            (files, _) => files,
        }?;
        Self::of_rows(sources, files, task, labels, UnknownLabels::Skip)
    }

    fn of_rows(
        sources: &[Source],
        files: Vec<Rows>,
        task: Option<Task>,
        labels: Option<Labels>,
        unknown_labels: UnknownLabels,
    ) -> Result<Self, DataError> {
        if files.is_empty() {
            return Err(DataError::NoRows { path: PathBuf::new() });
        }
        let task = match task {
            Some(task) => task,
            None => detect_task(&sources[0], &files, labels.is_some())?,
        };
        let given = labels.is_some();
        let labels = match (task, labels) {
            (Task::Regression, _) => Labels::default(),
            (_, Some(labels)) => labels,
            (_, None) => match &files[0].label {
                LabelColumns::Each(names) if !names.is_empty() => Labels::ordered(names.clone())?,
                _ => {
                    Labels::sorted(files.iter().flat_map(|file| &file.rows).flat_map(|row| names(&row.label)))
                }
            },
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
            // whether a label without a column applies is unknown
            if let LabelColumns::Each(columns) = &file.label
                && !columns.is_empty()
                && let Some(label) = data
                    .labels
                    .names()
                    .iter()
                    .find(|label| !columns.iter().any(|column| detect::same(column, label)))
            {
                let (label, columns) = (label.clone(), columns.clone());
                return Err(DataError::MissingLabel { at: rows::at(source, 1), label, columns });
            }
            let joined = joined && matches!(file.label, LabelColumns::One(_));
            // a column is found whatever the case of its name
            let by_columns =
                given && matches!(&file.label, LabelColumns::Each(columns) if !columns.is_empty());
            let spelling = |label: Cell| match label {
                Cell::Many(labels) if by_columns => {
                    let as_known = |label: String| {
                        let mut known = data.labels.names().iter();
                        known.find(|known| detect::same(known, &label)).cloned().unwrap_or(label)
                    };
                    Cell::Many(labels.into_iter().map(as_known).collect())
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

    /// Checks that there is something to learn: two classes, or two different numbers.
    pub(crate) fn check_variety(&self, sources: &[Source]) -> Result<(), DataError> {
        let first = &self.examples[0].target;
        let value = match *first {
            Target::Class(id) => self.labels.name(id).unwrap_or_default().to_owned(),
            Target::Value(value) => value.to_string(),
            Target::Classes(_) if !self.labels.is_empty() => return Ok(()),
            Target::Classes(_) => "none".to_owned(),
        };
        if self.examples.iter().any(|example| example.target != *first) {
            return Ok(());
        }
        Err(DataError::SingleClass { path: sources[0].path.clone(), task: self.task, value })
    }

    /// Adds every pair again with its two texts swapped, unless that is already there.
    pub fn add_swapped(&mut self) {
        let mut there: HashSet<String> = self.examples.iter().map(Example::key).collect();
        let swap = |example: &Example| {
            let swapped =
                Example { text: example.pair.clone()?, pair: Some(example.text.clone()), ..example.clone() };
            there.insert(swapped.key()).then_some(swapped)
        };
        let swapped: Vec<Example> = self.examples.iter().filter_map(swap).collect();
        self.examples.extend(swapped);
    }

    /// Returns the number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Returns the number of rows skipped because their label is unknown.
    pub fn left_out(&self) -> usize {
        self.files.iter().map(|file| file.left_out).sum()
    }

    /// Returns whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Returns whether the examples are pairs of texts.
    pub fn is_paired(&self) -> bool {
        self.examples.first().is_some_and(|example| example.pair.is_some())
    }

    /// Returns the number of examples of each label, by id; empty for regression.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for example in &self.examples {
            match &example.target {
                Target::Class(id) => counts[*id as usize] += 1,
                Target::Classes(ids) => ids.iter().for_each(|&id| counts[id as usize] += 1),
                Target::Value(_) => {}
            }
        }
        counts
    }

    /// Returns where an example comes from; the path is empty if it came from no file.
    pub fn place(&self, example: &Example) -> Place {
        let file = self.files.get(example.file as usize);
        Place { path: file.map(|file| file.path.clone()).unwrap_or_default(), line: example.line }
    }

    /// Returns the examples at `indices`, in that order.
    pub fn subset(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let examples = indices.into_iter().map(|index| self.examples[index].clone()).collect();
        Dataset { task: self.task, labels: self.labels.clone(), files: self.files.clone(), examples }
    }

    /// Returns the [digest](Self::digest) in hexadecimal.
    pub(crate) fn digest_hex(&self) -> String {
        self.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the SHA-256 of task, labels and examples in order, each part with its length; file names and
    /// lines are not included.
    pub fn digest(&self) -> [u8; 32] {
        fn text(hash: &mut Sha256, text: &str) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut hash = Sha256::new();
        text(&mut hash, "goldcrest data 1");
        text(&mut hash, &self.task.to_string());
        hash.update((self.labels.len() as u64).to_le_bytes());
        self.labels.names().iter().for_each(|name| text(&mut hash, name));
        for example in &self.examples {
            text(&mut hash, &example.text);
            match &example.pair {
                None => hash.update([0]),
                Some(pair) => {
                    hash.update([1]);
                    text(&mut hash, pair);
                }
            }
            match &example.target {
                Target::Class(id) => hash.update(id.to_le_bytes()),
                Target::Value(value) => hash.update(value.to_le_bytes()),
                Target::Classes(ids) => {
                    hash.update((ids.len() as u64).to_le_bytes());
                    ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
                }
            }
        }
        hash.finalize().into()
    }
}

fn read_all(sources: &[Source]) -> Result<Vec<Rows>, DataError> {
    sources.iter().map(rows::read).collect()
}

/// What to do with rows whose label is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnknownLabels {
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
