//! What is fitted on held-out data after quantization.
use super::MAX_CLASSES;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What is predicted for a text or a pair of texts, and so what the logits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one class is right: softmax.
    SingleLabel,
    /// Any number of classes is right: a sigmoid each.
    MultiLabel,
    /// One logit, the number itself.
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

/// Numbers that turn logits into an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Logits are divided by it before they become probabilities (Guo et al. 2017). Regression ignores it.
    pub temperature: f32,
    /// Multi-label: the least probability at which each label is given. Empty: 0.5 for all.
    pub thresholds: Vec<f32>,
    /// Single label: when the best guess is not given as the answer.
    pub abstention: Abstention,
}

/// When the best guess is not given as the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Abstention {
    /// It always is.
    #[default]
    Never,
    /// Its probability is below this, 0 to 1.
    Probability(f32),
    /// `ln Σ exp(logit / temperature)` is below this: the negative free energy (Liu et al., arXiv 2010.03759), which is low for
    /// texts unlike all that was learned.
    Energy(f32),
}

impl Default for Settings {
    fn default() -> Self {
        Settings { temperature: 1.0, thresholds: Vec::new(), abstention: Abstention::Never }
    }
}

/// Numbers that do not fit each other, or logits without an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// No class, or more than the buffers hold.
    #[error("{found} classes; 1 to {} are possible", MAX_CLASSES)]
    Classes {
        /// The number asked for.
        found: usize,
    },
    /// A regression model gives one number.
    #[error("{found} numbers of a regression model, which gives one")]
    Numbers {
        /// The number asked for.
        found: usize,
    },
    /// The temperature is not within 1e-6 to 1e6.
    #[error("the temperature is {0}; it must be 0.000001 to 1000000")]
    Temperature(f32),
    /// Thresholds for another task or another number of labels.
    #[error("{found} thresholds for {classes} labels of a {task} model")]
    Thresholds {
        /// Thresholds given.
        found: usize,
        /// Labels.
        classes: usize,
        /// Of which task.
        task: Task,
    },
    /// No answer is a thing of single labels.
    #[error("a score below which there is no answer, for a {0} model")]
    Abstention(Task),
    /// A threshold outside 0 to 1.
    #[error("{field} is {found}; it must be 0 to 1")]
    Probability {
        /// Which.
        field: &'static str,
        /// The number.
        found: f32,
    },
    /// An energy that no logits have.
    #[error("the energy below which there is no answer is {0}; it must be within ±10000")]
    Energy(f32),
    /// Another number of logits than classes.
    #[error("{found} logits for {expected} classes")]
    Logits {
        /// Logits given.
        found: usize,
        /// Classes.
        expected: usize,
    },
    /// A logit is infinite or not a number.
    #[error("logit {class} is not a finite number")]
    NotFinite {
        /// Which.
        class: usize,
    },
}

impl Settings {
    /// Whether a model of that task and number of classes can be decided with these numbers.
    pub fn check(&self, task: Task, classes: usize) -> Result<(), Error> {
        if classes == 0 || classes > MAX_CLASSES {
            return Err(Error::Classes { found: classes });
        }
        if task == Task::Regression && classes != 1 {
            return Err(Error::Numbers { found: classes });
        }
        // a temperature so small or large that dividing by it overflows is as useless as none
        if !(1e-6..=1e6).contains(&self.temperature) {
            return Err(Error::Temperature(self.temperature));
        }
        let fits = match task {
            Task::MultiLabel => self.thresholds.is_empty() || self.thresholds.len() == classes,
            _ => self.thresholds.is_empty(),
        };
        if !fits {
            return Err(Error::Thresholds { found: self.thresholds.len(), classes, task });
        }
        if task != Task::SingleLabel && self.abstention != Abstention::Never {
            return Err(Error::Abstention(task));
        }
        let abstention = match self.abstention {
            Abstention::Energy(least) if !(-1e4..=1e4).contains(&least) => return Err(Error::Energy(least)),
            Abstention::Probability(least) => Some(("the probability below which there is no answer", least)),
            Abstention::Energy(_) | Abstention::Never => None,
        };
        let thresholds = self.thresholds.iter().map(|&p| ("a threshold", p));
        match abstention.into_iter().chain(thresholds).find(|(_, p)| !(0.0..=1.0).contains(p)) {
            Some((field, found)) => Err(Error::Probability { field, found }),
            None => Ok(()),
        }
    }
}
