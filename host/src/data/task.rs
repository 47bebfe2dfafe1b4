use std::fmt;

use serde::{Deserialize, Serialize};

/// What is predicted for a text (or a pair of texts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one of the labels.
    SingleLabel,
    /// Any number of the labels, none included.
    MultiLabel,
    /// One number.
    Regression,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::SingleLabel => "single-label",
            Task::MultiLabel => "multi-label",
            Task::Regression => "regression",
        })
    }
}
