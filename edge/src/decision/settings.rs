//! Decision settings, which are fitted on held-out data after quantization.
use super::MAX_CLASSES;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// What is predicted for a text or a pair of texts, and so what the logits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one class is correct: softmax.
    SingleLabel,
    /// Any number of classes can be correct: one sigmoid per class.
    MultiLabel,
    /// The logits are the predicted numbers: one, or several.
    Regression,
}

impl Task {
    const ALL: [Task; 3] = [Task::SingleLabel, Task::MultiLabel, Task::Regression];

    /// Returns its name in recipes and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Task::SingleLabel => "single-label",
            Task::MultiLabel => "multi-label",
            Task::Regression => "regression",
        }
    }
}

/// A text is no name of a [`Task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is single-label, multi-label or regression")]
pub struct UnknownTask;

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(text: &str) -> Result<Self, UnknownTask> {
        Self::ALL.into_iter().find(|task| task.name() == text).ok_or(UnknownTask)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Settings that turn logits into an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Divides the logits before they become probabilities (Guo et al. 2017). Ignored for regression.
    pub temperature: f32,
    /// Multi-label: the minimum probability at which each label is given. Empty means 0.5 for all.
    pub thresholds: Vec<f32>,
    /// Single label: when to abstain.
    pub abstention: Abstention,
}

/// When to abstain, that is, not to give the best guess as the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Abstention {
    /// Always give the best guess.
    #[default]
    Never,
    /// Abstain if the probability of the best guess is below this value, 0 to 1.
    Probability(f32),
    /// Abstain if `ln Σ exp(logit / temperature)` is below this value. This negative free energy (Liu et al.,
    /// arXiv 2010.03759) is low for texts unlike the training data.
    Energy(f32),
}

impl Default for Settings {
    fn default() -> Self {
        Settings { temperature: 1.0, thresholds: Vec::new(), abstention: Abstention::Never }
    }
}

/// Why settings are invalid or logits have no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no classes, or more than [`MAX_CLASSES`].
    #[error("{found} classes; 1 to {} are possible", MAX_CLASSES)]
    Classes {
        /// The number asked for.
        found: usize,
    },
    /// The temperature is not between 1e-6 and 1e6.
    #[error("the temperature is {0}; it must be 0.000001 to 1000000")]
    Temperature(f32),
    /// The task has no thresholds, or their number is not that of the labels.
    #[error("{found} thresholds for {classes} labels of a {task} model")]
    Thresholds {
        /// Number of thresholds.
        found: usize,
        /// Number of labels.
        classes: usize,
        /// The task.
        task: Task,
    },
    /// Only single-label models can abstain.
    #[error("there is a score below which to abstain, but a {0} model cannot abstain")]
    Abstention(Task),
    /// A threshold is not between 0 and 1.
    #[error("{field} is {found}; it must be 0 to 1")]
    Probability {
        /// Name of the threshold.
        field: &'static str,
        /// Its value.
        found: f32,
    },
    /// The energy is out of the range of logits.
    #[error("the energy below which there is no answer is {0}; it must be within ±10000")]
    Energy(f32),
    /// The number of logits is not that of the classes.
    #[error("{found} logits for {expected} classes")]
    Logits {
        /// Number of logits.
        found: usize,
        /// Number of classes.
        expected: usize,
    },
    /// A logit is infinite or not a number.
    #[error("logit {class} is not a finite number")]
    NotFinite {
        /// Index of the logit.
        class: usize,
    },
}

impl Settings {
    /// Checks that the settings are valid for a model with this task and number of classes.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self, task: Task, classes: usize) -> Result<(), Error> {
        if classes == 0 || classes > MAX_CLASSES {
            return Err(Error::Classes { found: classes });
        }
        // a temperature so extreme that dividing by it overflows is useless
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_settings_name_what_is_wrong() {
        let check = |task, classes, change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check(task, classes)
        };
        let as_is = |_: &mut Settings| ();
        assert!(check(Task::SingleLabel, MAX_CLASSES, &as_is).is_ok());
        assert!(matches!(check(Task::SingleLabel, MAX_CLASSES + 1, &as_is), Err(Error::Classes { .. })));
        assert!(matches!(check(Task::MultiLabel, 0, &as_is), Err(Error::Classes { found: 0 })));
        assert!(check(Task::Regression, 1, &as_is).is_ok());
        assert!(check(Task::Regression, 2, &as_is).is_ok());
        for temperature in [0.0, -1.0, 9e-7, 1.1e6, f32::NAN, f32::INFINITY] {
            let found = check(Task::SingleLabel, 2, &|s| s.temperature = temperature);
            assert!(matches!(found, Err(Error::Temperature(_))), "{temperature}");
        }
        for temperature in [1e-6, 1e6] {
            assert!(check(Task::SingleLabel, 2, &|s| s.temperature = temperature).is_ok(), "{temperature}");
        }
        let thresholds = |values: &'static [f32]| move |s: &mut Settings| s.thresholds = values.into();
        assert!(check(Task::MultiLabel, 2, &thresholds(&[0.0, 1.0])).is_ok());
        for (task, values) in [(Task::MultiLabel, &[0.5][..]), (Task::SingleLabel, &[0.5, 0.5])] {
            assert!(matches!(check(task, 2, &thresholds(values)), Err(Error::Thresholds { .. })));
        }
        let found = check(Task::Regression, 1, &thresholds(&[0.5]));
        assert!(matches!(found, Err(Error::Thresholds { .. })));
        for values in [&[0.5, 1.5][..], &[f32::NAN, 0.5]] {
            let found = check(Task::MultiLabel, 2, &thresholds(values));
            assert!(matches!(found, Err(Error::Probability { field: "a threshold", .. })));
        }
        let abstain = |abstention| move |s: &mut Settings| s.abstention = abstention;
        assert!(check(Task::SingleLabel, 2, &abstain(Abstention::Probability(1.0))).is_ok());
        let found = check(Task::SingleLabel, 2, &abstain(Abstention::Probability(-0.1)));
        assert!(matches!(found, Err(Error::Probability { .. })));
        for least in [f32::NAN, -10_001.0, 10_001.0] {
            let found = check(Task::SingleLabel, 2, &abstain(Abstention::Energy(least)));
            assert!(matches!(found, Err(Error::Energy(_))), "{least}");
        }
        for least in [-10_000.0, 10_000.0] {
            assert!(check(Task::SingleLabel, 2, &abstain(Abstention::Energy(least))).is_ok(), "{least}");
        }
        let found = check(Task::MultiLabel, 2, &abstain(Abstention::Energy(0.0)));
        assert!(matches!(found, Err(Error::Abstention(Task::MultiLabel))));
        let found = check(Task::Regression, 1, &abstain(Abstention::Probability(0.5)));
        assert!(matches!(found, Err(Error::Abstention(Task::Regression))));
    }
}
