//! The data and settings that the steps of a run share.

use super::coverage::{foreign, unknown};
use super::error::RunError;
use super::lengths::{MANY, are_long, lengths};
use super::progress::{Progress, Watch};
use super::splits::Splits;
use super::step::json;
use super::windows::windowed;
use super::{Files, Recipe, base};
use crate::bert::{Checkpoint, Classifier, InputFormat, TextWindows, TokenizerFiles};
use crate::data::{self, Dataset, Example, Task, Text};
use crate::hex;
use crate::metrics::Metric;
use crate::train::{self, Criterion, Encoded};
use std::collections::HashSet;
use std::sync::Arc;

/// Data and settings shared by the steps of a run.
pub(super) struct Prepared {
    pub train: Arc<Dataset>,
    pub dev: Arc<Dataset>,
    pub test: Option<Arc<Dataset>>,
    pub out_of_scope: Vec<Text>,
    pub criterion: Criterion,
    /// Input format on the device.
    pub input: InputFormat,
    /// Whether the training texts are long on average, which makes a step several times as expensive.
    pub long: bool,
    /// The number of pieces per word, if it is so large that the base may not know the language.
    pub foreign: Option<f64>,
}

impl Prepared {
    pub fn read(recipe: &Recipe, watch: &mut dyn FnMut(Progress)) -> Result<Self, RunError> {
        // the recipe may not have been loaded from a file, which checks it
        recipe.check().map_err(|(key, problem)| RunError::Unsuitable { key, problem })?;
        let Splits { mut train, dev, test } = Splits::read(recipe, watch)?;
        if recipe.data.symmetric {
            train.add_swapped();
        }
        let mut train = Arc::new(train);
        let mut note = |text: String| watch(Progress::Note(&text));
        let rows = |d: &Dataset| d.len();
        let labels = match train.task {
            Task::Regression => String::new(),
            _ => format!("{} labels, ", train.labels.len()),
        };
        note(format!(
            "{labels}{} rows to learn from, {} to choose on{}",
            rows(&train),
            rows(&dev),
            test.as_ref().map_or(String::new(), |t| format!(", {} to measure on", rows(t)))
        ));
        let out_of_scope = recipe.data.out_of_scope.as_ref().map_or(&[][..], Files::paths);
        let out_of_scope = recipe.data.unlabelled_of(out_of_scope, &train)?;
        // a faulty file is told before training, but until distillation its texts would only take memory
        for path in recipe.distill.iter().flat_map(|distill| &distill.unlabelled) {
            if path.exists() && !path.is_file() {
                let problem = "texts without labels are read twice, so they must be in a file";
                return Err(RunError::io(path)(std::io::Error::other(problem)));
            }
            recipe.data.unlabelled(path, &train)?;
        }
        let metric = recipe.task.metric.unwrap_or(Metric::of(train.task));
        if !metric.suits(train.task) {
            return Err(RunError::Metric { metric, task: train.task });
        }
        let criterion = Criterion { metric, thresholds: recipe.decision.thresholds };
        // what the device will read, where that is not the teacher
        let start = recipe.distill.as_ref().and_then(|distill| distill.start.as_ref());
        let base = base::load(start.unwrap_or(&recipe.base.checkpoint))?;
        let (max_tokens, windows) = lengths(recipe, &base, &train)?;
        if let Some(windows) = windows {
            let texts = train.len();
            let (windowed, cut_off) = windowed(&train, &base.tokenizer, max_tokens, windows)?;
            train = Arc::new(windowed);
            let TextWindows { overlap, most } = windows;
            let cut_off = match cut_off {
                0 => String::new(),
                some => format!("; {some} are longer than {most} of them and are cut off"),
            };
            note(format!(
                "{texts} texts are learned from as {} windows of {max_tokens} tokens (task.windows = {{ overlap = {overlap}, most = {most} }}){cut_off}",
                train.len()
            ));
        }
        let read = Encoded::new(train.clone(), &base.tokenizer, max_tokens)?;
        let (long, foreign) = (are_long(&read), foreign(&read, &base.tokenizer));
        let input = InputFormat { max_tokens, pairs: train.is_paired(), windows };
        let (dev, test) = (Arc::new(dev), test.map(Arc::new));
        Ok(Self { train, dev, test, out_of_scope, criterion, input, long, foreign })
    }

    /// Makes a checkpoint ready to learn this data.
    pub(super) fn adapt(&self, checkpoint: &mut Checkpoint) {
        checkpoint.prepare_for(&self.train, self.input);
    }

    /// Returns the [`Example::texts`] of all evaluation data.
    pub(super) fn held_out_keys(&self) -> HashSet<String> {
        let held_out = std::iter::once(&self.dev).chain(&self.test).flat_map(|data| &data.examples);
        let out_of_scope =
            self.out_of_scope.iter().map(|(text, pair)| data::unordered_key(text, pair.as_deref()));
        held_out.map(Example::texts).chain(out_of_scope).collect()
    }

    pub(super) fn digest(&self) -> String {
        let windows = self.input.windows.map_or(String::new(), |windows| json(&windows));
        hex(&self.train.digest()) + &hex(&self.dev.digest()) + &windows
    }

    pub(super) fn encode(&self, model: &Classifier, watch: Watch) -> Result<(Encoded, Encoded), RunError> {
        let max_tokens = self.input.max_tokens;
        let train = Encoded::new(self.train.clone(), model.tokenizer(), max_tokens)?;
        let dev = self.to_measure(&self.dev, model.tokenizer())?;
        if let Some(problem) = unknown(&train, model.tokenizer())? {
            watch(Progress::Note(&problem));
        } else if let Some(pieces) = self.foreign {
            watch(Progress::Note(&format!(
                "words split into {pieces:.1} pieces on average, English ones in an English base into 1.2: does the base know the language? (base.checkpoint, --base)"
            )));
        }
        if train.truncated > 0 {
            let (cut, all) = (train.truncated, train.tokens.len());
            let whole = if cut * MANY > all && !self.train.is_paired() {
                "; task.windows reads more of them"
            } else {
                ""
            };
            let note = format!(
                "{cut} of {all} training texts are longer than {max_tokens} tokens and are cut off (task.max_tokens{whole})"
            );
            watch(Progress::Note(&note));
        }
        Ok((train, dev))
    }

    /// Encodes texts as the device will read them: long ones in windows if the recipe says so.
    pub(super) fn to_measure(
        &self,
        data: &Arc<Dataset>,
        files: &TokenizerFiles,
    ) -> Result<Encoded, train::Error> {
        Encoded::with_format(data.clone(), files, self.input)
    }
}
