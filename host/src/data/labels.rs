use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::DataError;
use goldcrest_edge::bundle::limits;

/// Label names and their ids, `0..len`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: Arc<[String]>,
    ids: HashMap<String, u32>,
}

impl Labels {
    /// Maximum number of labels in a bundle.
    pub const MAX: usize = limits::LABELS;
    /// Maximum length of a label name in a bundle, in bytes.
    pub const MAX_NAME_BYTES: usize = limits::LABEL;

    /// Creates labels in the given order.
    ///
    /// # Errors
    /// [`DataError::LabelTwice`] if a name repeats.
    pub fn ordered(names: Vec<String>) -> Result<Self, DataError> {
        let mut ids = HashMap::with_capacity(names.len());
        for (id, name) in (0..).zip(&names) {
            if ids.insert(name.clone(), id).is_some() {
                return Err(DataError::LabelTwice { label: name.clone() });
            }
        }
        Ok(Labels { names: names.into(), ids })
    }

    /// Creates labels from the distinct names, sorted by value if all are integers (so that `10` comes after
    /// `9`), else by code point. The order of rows does not matter.
    pub fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let distinct: BTreeSet<&str> = names.into_iter().collect();
        let mut names: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
        if names.iter().all(|name| name.parse::<i64>().is_ok()) {
            names.sort_by_key(|name| name.parse::<i64>().ok());
        }
        let ids = names.iter().cloned().zip(0..).collect();
        Labels { names: names.into(), ids }
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there are no labels, as in regression.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns all names, by id, for keeping.
    pub(super) fn shared_names(&self) -> Arc<[String]> {
        self.names.clone()
    }

    /// Returns all names, by id.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the name of an id; `None` unless it is below [`len`](Self::len).
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }

    /// Returns the id of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }
}
