use std::collections::HashSet;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::from_rows::UnknownLabels;
use super::rows::{self, Rows};
use super::{Column, DataError, Example, LabelColumns, Labels, Place, Source, Target, Task, Text};

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
    /// The labels. For a regression of several numbers their names, for one of a single number empty.
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

    /// Wraps examples of a regression of one number.
    pub(crate) fn of_numbers(examples: Vec<Example>) -> Self {
        Dataset { task: Task::Regression, labels: Labels::default(), examples, files: Vec::new() }
    }

    /// Collects labelled texts that come from no file. A regression of one number needs no `labels`.
    ///
    /// # Errors
    /// [`DataError::Example`] if a target is not one of this task and these labels, or only some examples are pairs.
    pub fn new(task: Task, labels: Labels, examples: Vec<Example>) -> Result<Self, DataError> {
        // the name of a single number does not matter
        let labels = if task == Task::Regression && labels.len() == 1 { Labels::default() } else { labels };
        let known = |id: &u32| (*id as usize) < labels.len();
        let fits = |target: &Target| match (task, target) {
            (Task::SingleLabel, Target::Class(id)) => known(id),
            (Task::MultiLabel, Target::Classes(ids)) => {
                ids.is_sorted_by(|a, b| a < b) && ids.iter().all(known)
            }
            (Task::Regression, Target::Numbers(numbers)) => {
                numbers.len() == labels.len().max(1) && numbers.iter().all(|number| number.is_finite())
            }
            _ => false,
        };
        let paired = examples.first().is_some_and(|example| example.pair.is_some());
        for (example, row) in examples.iter().zip(1..) {
            let problem = match () {
                () if !fits(&example.target) => "its target is none of this task and these labels",
                () if example.pair.is_some() != paired => "pairs and single texts are mixed",
                () => continue,
            };
            return Err(DataError::Example { row, problem });
        }
        Ok(Dataset { task, labels, examples, files: Vec::new() })
    }

    /// Reads training data.
    ///
    /// Without a `task` it is inferred. Lists of labels, a `label_separator` or several columns of 0 and 1 mean
    /// multi-label. Several columns of mostly other numbers, a label column named `score`, or many different
    /// fractional numbers, mean regression, unless `labels` are given. Anything else is single-label.
    ///
    /// Without `labels` they are the distinct names that occur, sorted.
    ///
    /// # Errors
    /// [`DataError`], which names the file, the line and the remedy.
    pub fn read(sources: &[Source], task: Option<Task>, labels: Option<Labels>) -> Result<Self, DataError> {
        let data = Self::of_rows(sources, read_all(sources)?, task, labels, UnknownLabels::Refuse)?;
        data.check_variety()?;
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
    /// several labels or numbers, columns that are called like all of them need not be named.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub fn read_to_measure(
        sources: &[Source],
        task: Option<Task>,
        labels: Option<Labels>,
    ) -> Result<Self, DataError> {
        let by_columns = |labels: &Labels| {
            let each = LabelColumns::Each(labels.names().iter().cloned().map(Column::Name).collect());
            let of_labels = |source: &Source| Source {
                label: Some(source.label.clone().unwrap_or_else(|| each.clone())),
                ..source.clone()
            };
            read_all(&sources.iter().map(of_labels).collect::<Vec<_>>())
        };
        let files = match (task, &labels) {
            // where the columns are not all there, the other error says more
            (Some(Task::MultiLabel | Task::Regression), Some(labels)) if labels.len() > 1 => {
                by_columns(labels).or_else(|_| read_all(sources))
            }
            _ => read_all(sources),
        }?;
        Self::of_rows(sources, files, task, labels, UnknownLabels::Skip)
    }

    /// Checks that there is something to learn from the examples: two classes, or two different numbers.
    ///
    /// # Errors
    /// [`DataError::SingleClass`] if there is not.
    pub fn check_variety(&self) -> Result<(), DataError> {
        let Some(Example { target: first, .. }) = self.examples.first() else { return Ok(()) };
        let value = match first {
            Target::Class(id) => self.labels.name(*id).unwrap_or_default().to_owned(),
            Target::Numbers(numbers) => numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(", "),
            Target::Classes(_) if !self.labels.is_empty() => return Ok(()),
            Target::Classes(_) => "none".to_owned(),
        };
        if self.examples.iter().any(|example| &example.target != first) {
            return Ok(());
        }
        let path = self.files.first().map(|file| file.path.clone()).unwrap_or_default();
        Err(DataError::SingleClass { path, task: self.task, value })
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

    /// Returns whether these are its labels, or the names of its numbers. The name of a single number does not matter.
    pub fn is_labelled(&self, names: &[String]) -> bool {
        match self.task {
            Task::Regression if self.labels.is_empty() => names.len() == 1,
            _ => names == self.labels.names(),
        }
    }

    /// Returns the number of logits per row: one per label, or number of a regression.
    pub fn width(&self) -> usize {
        if self.task == Task::Regression { self.labels.len().max(1) } else { self.labels.len() }
    }

    /// Returns the number of classes; 0 for regression.
    pub fn classes(&self) -> usize {
        if self.task == Task::Regression { 0 } else { self.labels.len() }
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
    ///
    /// # Panics
    /// If an example has a label that is not there.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes()];
        for example in &self.examples {
            match &example.target {
                Target::Class(id) => counts[*id as usize] += 1,
                Target::Classes(ids) => ids.iter().for_each(|&id| counts[id as usize] += 1),
                Target::Numbers(_) => {}
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
    ///
    /// # Panics
    /// If there are fewer.
    pub fn subset(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let examples = indices.into_iter().map(|index| self.examples[index].clone()).collect();
        Dataset { task: self.task, labels: self.labels.clone(), files: self.files.clone(), examples }
    }

    /// Returns the [digest](Self::digest) in hexadecimal.
    pub(crate) fn digest_hex(&self) -> String {
        crate::hex(&self.digest())
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
                Target::Numbers(numbers) => {
                    numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
                }
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
