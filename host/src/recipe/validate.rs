//! Checks of ranges and combinations that TOML types cannot express.

use super::name::{BUNDLE_NAME, is_bundle_name};
use super::schema::USUAL_TOKENS;
use super::{DataFiles, Files, Pack, Quantize, Recipe, TaskOptions};
use crate::data::Task;
use crate::distill::Distill;
use crate::ranges::{Checked, ensure, not_negative, number, optional_counts, part, passes, positive};
use crate::train::{ClassWeights, WeightRule};
use goldcrest_edge::bundle::limits;
use std::collections::HashSet;

impl Recipe {
    pub(super) fn check(&self) -> Checked {
        ensure(!self.output.as_os_str().is_empty(), "output", "is empty; name a folder")?;
        self.data.check()?;
        self.task.check()?;
        self.train.check()?;
        self.distill.iter().try_for_each(Distill::check)?;
        self.quantize.check()?;
        self.pack.check()?;
        let (reject, error) = (self.decision.false_reject, self.decision.max_error);
        reject.iter().try_for_each(|&x| part(x, "decision.false_reject"))?;
        error.iter().try_for_each(|&x| part(x, "decision.max_error"))?;
        ensure(
            reject.is_none() || error.is_none(),
            "decision.max_error",
            "and `decision.false_reject` exclude each other; remove one",
        )?;
        if let ClassWeights::Named(weights) = &self.train.class_weights {
            let regression = self.task.kind == Some(Task::Regression);
            ensure(!regression, "train.class_weights", "are for classes; the task is regression")?;
            let unknown =
                |name: &&String| self.task.labels.as_ref().is_some_and(|labels| !labels.contains(name));
            if let Some(name) = weights.keys().find(unknown) {
                return Err((
                    "train.class_weights",
                    format!("names `{name}`, which is not in `task.labels`"),
                ));
            }
        }
        Ok(())
    }
}

impl Recipe {
    /// Rejects keys that do not apply to the task, which may only be known from the data.
    pub(super) fn suits(&self, task: Task) -> Checked {
        let (single, regression) = (task == Task::SingleLabel, task == Task::Regression);
        let is = |holds: bool, key, for_what: &str| {
            ensure(holds, key, format_args!("is for {for_what}; this task is {task}: remove it"))
        };
        let (train, decision) = (&self.train, &self.decision);
        let no_weights = train.class_weights == ClassWeights::Rule(WeightRule::None);
        is(no_weights || !regression, "train.class_weights", "classes")?;
        is(train.focal == 0.0 || !regression, "train.focal", "classes")?;
        is(train.label_smoothing == 0.0 || single, "train.label_smoothing", "single labels")?;
        is(decision.false_reject.is_none() || single, "decision.false_reject", "single labels")?;
        is(decision.max_error.is_none() || single, "decision.max_error", "single labels")?;
        let per_class = self.quantize.max_drop_per_class;
        is(per_class.is_none() || !regression, "quantize.max_drop_per_class", "classes")?;
        let silent = decision.false_reject.is_some() || decision.max_error.is_some();
        ensure(
            self.data.out_of_scope.is_none() || silent,
            "data.out_of_scope",
            "needs `false_reject` or `max_error` under [decision]: without one every text gets an answer",
        )
    }
}

impl DataFiles {
    pub(super) fn check(&self) -> Checked {
        let lists = [
            ("data.train", Some(&self.train)),
            ("data.dev", self.dev.as_ref()),
            ("data.test", self.test.as_ref()),
            ("data.out_of_scope", self.out_of_scope.as_ref()),
        ];
        for (key, files) in lists {
            ensure(files.is_none_or(|files: &Files| !files.paths().is_empty()), key, "names no file")?;
        }
        if let Some(fraction) = self.dev_fraction {
            number(fraction, |value| value > 0.0 && value < 1.0, "data.dev_fraction", "above 0 and below 1")?;
            ensure(
                self.dev.is_none(),
                "data.dev_fraction",
                "is for runs without `data.dev`; remove one of the two",
            )?;
        }
        let separator = self.label_separator.as_deref();
        ensure(separator != Some(""), "data.label_separator", "is empty")
    }
}

impl TaskOptions {
    pub(super) fn check(&self) -> Checked {
        // at least [CLS], [SEP] and one token; BERT's position table ends at 512
        let max_tokens = self.max_tokens.unwrap_or(USUAL_TOKENS[0]);
        ensure((3..=512).contains(&max_tokens), "task.max_tokens", "has to be 3 to 512")?;
        if let Some(windows) = self.windows {
            let overlap = windows.overlap as usize;
            ensure(overlap + 2 < max_tokens, "task.windows", "overlap by more than a window has room for")?;
            ensure((1..=1000).contains(&windows.most), "task.windows", "has to have `most` from 1 to 1000")?;
        }
        if let (Some(kind), Some(metric)) = (self.kind, self.metric) {
            ensure(
                metric.suits(kind),
                "task.metric",
                format_args!("is {metric}, which a {kind} task does not have"),
            )?;
        }
        let Some(labels) = &self.labels else { return Ok(()) };
        ensure(
            self.kind != Some(Task::Regression),
            "task.labels",
            "are for classes; the task is regression",
        )?;
        ensure(!labels.is_empty(), "task.labels", "is empty; leave it out to take those that occur")?;
        let mut seen = HashSet::new();
        for label in labels {
            ensure(!label.trim().is_empty(), "task.labels", "has an empty name")?;
            ensure(label.trim() == label, "task.labels", format_args!("has spaces around `{label}`"))?;
            ensure(seen.insert(label), "task.labels", format_args!("names `{label}` twice"))?;
        }
        Ok(())
    }
}

impl Quantize {
    pub(super) fn check(&self) -> Checked {
        self.max_drop.iter().try_for_each(|&drop| not_negative(drop, "quantize.max_drop"))?;
        self.epochs.iter().try_for_each(|&epochs| passes(epochs, "quantize.epochs"))?;
        self.learning_rate.iter().try_for_each(|&rate| positive(rate, "quantize.learning_rate"))?;
        self.max_drop_per_class
            .iter()
            .try_for_each(|&drop| not_negative(drop, "quantize.max_drop_per_class"))?;
        ensure(
            matches!(self.embedding_bits, None | Some(4 | 8)),
            "quantize.embedding_bits",
            "has to be 8 or 4",
        )
    }
}

impl Pack {
    pub(super) fn check(&self) -> Checked {
        ensure(is_bundle_name(&self.name), "pack.name", BUNDLE_NAME)?;
        // MAJOR.MINOR.PATCH before any pre-release or build suffix
        let core = self.version.split(['-', '+']).next().unwrap_or_default();
        let digits =
            |part: &str| (1..10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let semantic = core.split('.').count() == 3 && core.split('.').all(digits);
        ensure(
            semantic,
            "pack.version",
            format_args!("is `{}`; it has to be a semantic version such as 1.0.2", self.version),
        )?;
        ensure(!self.base_licence.is_empty(), "pack.base_licence", "is empty")?;
        ensure(!self.data_licence.is_empty(), "pack.data_licence", "is empty")?;
        let golden = format_args!("is {}; it has to be at most {}", self.golden, limits::GOLDEN);
        ensure(self.golden <= limits::GOLDEN, "pack.golden", golden)?;
        optional_counts(&[(Some(self.golden), "pack.golden"), (self.vocabulary, "pack.vocabulary")])
    }
}
