//! What the steps of a run work on.

use super::run::{Progress, RunError, Watch};
use super::schema::{MAX_TOKENS, WINDOWS};
use super::sides::Sides;
use super::step::{hex, json};
use super::unknown::unknown;
use super::windows::windowed;
use super::{Files, Recipe, TextWindows, base};
use crate::bert::{Checkpoint, Classifier, ProblemType, TokenizerFiles};
use crate::data::{self, Dataset, Example, Task};
use crate::metrics::Metric;
use crate::train::{self, Criterion, Encoded};
use goldcrest_edge::bundle::limits;
use std::collections::HashSet;

/// What the steps of a run work on.
pub(super) struct Prepared {
    pub train: Dataset,
    pub dev: Dataset,
    pub test: Option<Dataset>,
    pub out_of_scope: Vec<(String, Option<String>)>,
    pub criterion: Criterion,
    /// Longest input in word pieces.
    pub max_tokens: usize,
    /// Whether the texts that are learned from are long, on average: a step takes as long as ten of short ones.
    pub long: bool,
    /// How what is longer is read, where it is not cut off.
    pub windows: Option<TextWindows>,
}

/// Bytes of the self-test's messages: what a bundle has room for, but for their logits.
const GOLDEN_TEXTS: usize = limits::GOLDEN_BYTES as usize / 2;

/// Many texts are too long: one in so many; and so many that cutting them off loses more than reading all of them takes.
const MANY: usize = 20;
const MOST: usize = 5;
/// Words of a text that is long.
const LONG: usize = 80;
/// Windows of fewer tokens say little.
const NARROW: usize = 64;

impl Prepared {
    pub fn read(recipe: &Recipe, watch: &mut dyn FnMut(Progress)) -> Result<Self, RunError> {
        let Sides { mut train, dev, test } = Sides::read(recipe, watch)?;
        if recipe.data.symmetric {
            train.add_swapped();
        }
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
        let mut out_of_scope = Vec::new();
        for path in recipe.data.out_of_scope.iter().flat_map(Files::paths) {
            out_of_scope.extend(recipe.data.unlabelled(path, train.is_paired())?);
        }
        let metric = recipe.task.metric.unwrap_or(Metric::of(train.task));
        if !metric.suits(train.task) {
            return Err(RunError::Metric { metric, task: train.task });
        }
        let criterion = Criterion { metric, thresholds: recipe.decision.thresholds };
        let (max_tokens, windows) = lengths(recipe, &train)?;
        if let Some(windows) = windows {
            let base = base::load(&recipe.base.checkpoint)?;
            let texts = train.len();
            let cut_off;
            (train, cut_off) = windowed(&train, &base.tokenizer, max_tokens, windows)?;
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
        let long = mean_length(&train) > LONG;
        Ok(Self { train, dev, test, out_of_scope, criterion, max_tokens, long, windows })
    }

    /// Texts for the bundle's self-test: the recipe's own file, else evenly spread dev texts.
    pub fn golden(&self, recipe: &Recipe) -> Result<Vec<(String, Option<String>)>, RunError> {
        let n = recipe.pack.golden;
        if let Some(path) = &recipe.pack.golden_messages {
            let text = std::fs::read_to_string(path).map_err(RunError::io(path))?;
            let line = |line: &str| match line.split_once('\t') {
                Some((a, b)) if self.dev.is_paired() => (a.to_string(), Some(b.to_string())),
                _ => (line.to_string(), None),
            };
            let golden: Vec<_> = text.lines().take(n).map(line).collect();
            if text.lines().take(n).map(str::len).sum::<usize>() > GOLDEN_TEXTS {
                let problem = format!(
                    "{n} messages (pack.golden) have more than {GOLDEN_TEXTS} bytes: give shorter ones"
                );
                return Err(RunError::Golden { path: path.clone(), problem });
            }
            if self.dev.is_paired() && golden.iter().any(|(_, pair)| pair.is_none()) {
                let problem = "every line needs two texts with a tab between them".to_string();
                return Err(RunError::Golden { path: path.clone(), problem });
            }
            return Ok(golden);
        }
        // of very long texts only those that there is room for
        let most = GOLDEN_TEXTS / n.max(1);
        let bytes = |e: &Example| e.text.len() + e.pair.as_ref().map_or(0, String::len);
        let short: Vec<&Example> = self.dev.examples.iter().filter(|e| bytes(e) <= most).collect();
        let texts = short.iter().step_by((short.len() / n.max(1)).max(1)).take(n);
        Ok(texts.map(|e| (e.text.clone(), e.pair.clone())).collect())
    }
}

impl Prepared {
    /// Labels and problem type of the data, for a checkpoint that starts to learn it. A head for other labels goes, and of texts
    /// that stand alone no pairs are compared.
    pub(super) fn set_head(&self, checkpoint: &mut Checkpoint) {
        let (labels, problem) = match self.train.task {
            Task::SingleLabel => (self.train.labels.names().to_vec(), ProblemType::SingleLabelClassification),
            Task::MultiLabel => (self.train.labels.names().to_vec(), ProblemType::MultiLabelClassification),
            Task::Regression => (vec!["score".to_string()], ProblemType::Regression),
        };
        if checkpoint.config.labels() != labels {
            checkpoint.tensors.retain(|name, _| !name.starts_with("classifier."));
        }
        checkpoint.config.set_labels(&labels, problem);
        checkpoint.config.compares_pairs &= self.train.is_paired();
    }

    /// [`Example::texts`] of all that is measured on.
    pub(super) fn apart(&self) -> HashSet<String> {
        let held_out = std::iter::once(&self.dev).chain(&self.test).flat_map(|data| &data.examples);
        let out_of_scope =
            self.out_of_scope.iter().map(|(text, pair)| data::either_way(text, pair.as_deref()));
        held_out.map(Example::texts).chain(out_of_scope).collect()
    }

    pub(super) fn edge_task(&self) -> goldcrest_edge::decision::Task {
        match self.train.task {
            Task::SingleLabel => goldcrest_edge::decision::Task::SingleLabel,
            Task::MultiLabel => goldcrest_edge::decision::Task::MultiLabel,
            Task::Regression => goldcrest_edge::decision::Task::Regression,
        }
    }

    pub(super) fn digest(&self) -> String {
        let windows = self.windows.map_or(String::new(), |windows| json(&windows));
        hex(&self.train.digest()) + &hex(&self.dev.digest()) + &windows
    }

    pub(super) fn encode(&self, model: &Classifier, watch: Watch) -> Result<(Encoded, Encoded), RunError> {
        let max_tokens = self.max_tokens;
        let train = Encoded::new(self.train.clone(), model.tokenizer(), max_tokens)?;
        let dev = self.to_measure(&self.dev, model.tokenizer())?;
        if let Some(problem) = unknown(&train, model.tokenizer())? {
            watch(Progress::Note(&problem));
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

    /// Texts as the device will read them: long ones in windows where the recipe says so.
    pub(super) fn to_measure(&self, data: &Dataset, files: &TokenizerFiles) -> Result<Encoded, train::Error> {
        match self.windows {
            None => Encoded::new(data.clone(), files, self.max_tokens),
            Some(TextWindows { overlap, most }) => {
                Encoded::in_windows(data.clone(), files, self.max_tokens, overlap as usize, most as usize)
            }
        }
    }
}

/// Words a text.
fn mean_length(data: &Dataset) -> usize {
    let words = |text: &str| text.split_whitespace().count();
    let of = |e: &Example| words(&e.text) + e.pair.as_deref().map_or(0, words);
    data.examples.iter().map(of).sum::<usize>() / data.len().max(1)
}

/// How long inputs may be, and how what is longer is read: as the recipe says, else by the texts.
fn lengths(recipe: &Recipe, train: &Dataset) -> Result<(usize, Option<TextWindows>), RunError> {
    let windows = recipe.task.windows;
    if windows.is_some() && train.is_paired() {
        let problem = "go over one text, and the rows have two".to_owned();
        return Err(RunError::Unsuitable { key: "task.windows", problem });
    }
    if let Some(given) = recipe.task.max_tokens {
        return Ok((given, windows));
    }
    let base = base::load(&recipe.base.checkpoint)?;
    let [usual, more] = MAX_TOKENS.map(|tokens| tokens.min(base.config.max_position_embeddings));
    let longer = |tokens| -> Result<usize, RunError> {
        Ok(Encoded::new(train.clone(), &base.tokenizer, tokens)?.truncated)
    };
    Ok(match windows {
        Some(windows) => (usual, Some(windows)),
        None if longer(usual)? * MANY <= train.len() => (usual, None),
        None if train.is_paired() || more < NARROW => (more, None),
        None if longer(more)? * MOST <= train.len() => (more, None),
        None => (more, Some(WINDOWS)),
    })
}
