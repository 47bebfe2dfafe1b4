//! Warnings about suspicious datasets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Dataset, Example, Target, Task, Warning};

/// More distinct whole numbers than this may be quantities.
const QUANTITIES: usize = 20;

/// Returns whether a label may mean "missing".
fn is_missing(label: &str) -> bool {
    ["nan", "none", "null", "n/a", "na", "<na>", "-"].contains(&label.trim().to_lowercase().as_str())
}

impl Dataset {
    /// Returns what looks suspicious: repeated rows, a text with different labels, nearly as many labels as
    /// rows, and so on.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut first_of: HashMap<String, &Example> = HashMap::with_capacity(self.len());
        let mut same: Option<(usize, &Example, &Example)> = None;
        let mut other: Option<(usize, &Example, &Example)> = None;
        for example in &self.examples {
            match first_of.entry(example.key()) {
                Entry::Vacant(entry) => drop(entry.insert(example)),
                Entry::Occupied(entry) => {
                    let first = *entry.get();
                    let found = if first.target == example.target { &mut same } else { &mut other };
                    found.get_or_insert((0, first, example)).0 += 1;
                }
            }
        }
        let mut warnings = Vec::new();
        if let Some((count, first, again)) = same {
            warnings.push(Warning::Duplicates { count, first: self.place(first), again: self.place(again) });
        }
        if let Some((count, first, again)) = other {
            warnings.push(Warning::Conflicts { count, first: self.place(first), again: self.place(again) });
        }
        for file in &self.files {
            let separator = file.resolved.label_separator.clone();
            let several = |example: &Example| match &example.target {
                Target::Classes(labels) => labels.len() > 1,
                Target::Numbers(numbers) => numbers.len() > 1,
                Target::Class(_) => false,
            };
            if let Some(separator) = separator.filter(|_| !self.examples.iter().any(several)) {
                warnings.push(Warning::NoSeparator { separator, path: file.path.clone() });
                break;
            }
        }
        if self.task != Task::Regression {
            warnings.extend(self.suspicious_labels());
        }
        warnings
    }

    /// Warns of labels that may be mistakes.
    fn suspicious_labels(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut small = HashMap::<String, &String>::new();
        let same_but_for_case = self.labels.names().iter().filter_map(|name| {
            let other = *small.entry(name.to_lowercase()).or_insert(name);
            (other != name).then(|| [other.clone(), name.clone()])
        });
        let mut same_but_for_case = same_but_for_case.collect::<Vec<_>>().into_iter();
        if let Some(labels) = same_but_for_case.next() {
            warnings.push(Warning::SameButForCase { labels, more: same_but_for_case.len() });
        }
        // beside `+`, `-` is a sign
        let signs = self.labels.id("+").is_some();
        let missing: Vec<String> =
            self.labels.names().iter().filter(|name| is_missing(name) && !signs).cloned().collect();
        if !missing.is_empty() {
            warnings.push(Warning::Missing { labels: missing });
        }
        warnings.extend(self.made_of_others());
        if self.labels.len() * 2 > self.len() {
            warnings.push(Warning::ManyLabels { labels: self.labels.len(), rows: self.len() });
        }
        warnings
    }

    /// Warns of labels that consist of other labels joined by a separator.
    fn made_of_others(&self) -> Option<Warning> {
        let names = self.labels.names();
        let parts = |name: &String| -> Option<Vec<String>> {
            let parts: Vec<String> =
                name.split([',', ';', '|', '/']).map(|part| part.trim().to_owned()).collect();
            (parts.len() > 1 && parts.iter().all(|part| names.contains(part))).then_some(parts)
        };
        let mut made = names.iter().filter_map(|name| Some((name.clone(), parts(name)?)));
        let (label, parts) = made.next()?;
        Some(Warning::Parts { count: 1 + made.count(), label, parts })
    }

    /// Warns of labels that may be quantities. For tasks that were detected, not given.
    pub fn quantities(&self) -> Option<Warning> {
        let (labels, names) = (self.labels.len(), self.labels.names());
        let numbers = self.task == Task::SingleLabel && names.iter().all(|name| name.parse::<i64>().is_ok());
        (numbers && labels > QUANTITIES).then_some(Warning::Quantities { labels })
    }

    /// Returns the labels without a row.
    pub fn absent(&self) -> Vec<String> {
        let counted = self.labels.names().iter().zip(self.class_counts());
        counted.filter(|(_, count)| *count == 0).map(|(name, _)| name.clone()).collect()
    }
}
