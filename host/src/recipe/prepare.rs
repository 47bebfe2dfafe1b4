//! The data of a recipe: read, split, overlap removed.

use super::run::{Progress, RunError, Watch};
use super::schema::MAX_TOKENS;
use super::step::{hex, json};
use super::windows::windowed;
use super::{Files, Recipe, TextWindows, base};
use crate::bert::{Checkpoint, Classifier, ProblemType, TokenizerFiles};
use crate::data::{self, DataError, Dataset, Example, Labels, Task, Warning};
use crate::metrics::Metric;
use crate::train::{self, Criterion, Encoded};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// What the steps of a run work on.
pub(super) struct Prepared {
    pub train: Dataset,
    pub dev: Dataset,
    pub test: Option<Dataset>,
    pub out_of_scope: Vec<(String, Option<String>)>,
    pub criterion: Criterion,
    /// Longest input in word pieces.
    pub max_tokens: usize,
    /// How what is longer is read, where it is not cut off.
    windows: Option<TextWindows>,
}

/// Many texts are too long: one in so many.
const MANY: usize = 20;

impl Prepared {
    pub fn read(recipe: &Recipe, watch: &mut dyn FnMut(Progress)) -> Result<Self, RunError> {
        let labels = recipe.task.labels.clone().map(Labels::ordered).transpose()?;
        let sources = |files: &Files| recipe.data.sources(files);
        let mut train = Dataset::read(&sources(&recipe.data.train), recipe.task.kind, labels)?;
        let unsuitable = |(key, problem)| RunError::Unsuitable { key, problem };
        recipe.suits(train.task).map_err(unsuitable)?;
        if recipe.data.symmetric && !train.is_paired() {
            let (path, problem) =
                (train.files[0].path.clone(), "is true, but no row has two texts".to_owned());
            return Err(DataError::Option { path, option: "symmetric", problem }.into());
        }
        let read = |files: &Option<Files>, train: &Dataset| {
            files.as_ref().map(|files| train.read_like(&sources(files))).transpose()
        };
        let test = read(&recipe.data.test, &train)?;
        let mut note = |text: String| watch(Progress::Note(&text));
        let given = read(&recipe.data.dev, &train)?;
        for file in [Some(&train), given.as_ref(), test.as_ref()].into_iter().flatten().flat_map(|d| &d.files)
        {
            note(format!("{}: {}", file.path.display(), file.reading));
        }
        train.warnings().iter().for_each(|w| note(w.to_string()));
        let mut apart = |data: &mut Dataset, held_out: &Dataset, what: &'static str| {
            let found = data::remove_overlap(data, held_out, recipe.data.remove_overlap);
            found.iter().for_each(|warning| note(warning.to_string()));
            match data.is_empty() {
                true => Err(RunError::NothingLeft { what, held_out: held_out.files[0].path.clone() }),
                false => Ok(()),
            }
        };
        let (learn, choose) = ("learn from", "choose on");
        // before some are held out: what chooses must not be what measures
        if let Some(test) = &test {
            apart(&mut train, test, learn)?;
        }
        let dev = match given {
            Some(mut dev) => {
                apart(&mut train, &dev, learn)?;
                if let Some(test) = &test {
                    apart(&mut dev, test, choose)?;
                }
                dev
            }
            None => {
                let split = data::split(&train, recipe.data.dev_fraction(), recipe.data.seed)?;
                note(format!("{} of {} rows are held out as dev", split.held_out.len(), train.len()));
                train = split.train;
                split.held_out
            }
        };
        train.check_variety(&sources(&recipe.data.train))?;
        if let Some(Warning::Absent { labels, .. }) = train.absent() {
            note(format!("labels without a row to learn from: {}", labels.join(", ")));
        }
        let unmeasured = dev.class_counts().iter().filter(|count| **count == 0).count();
        if unmeasured > 0 {
            let all = dev.labels.len();
            note(format!(
                "{unmeasured} of {all} labels have no row to choose on: how well they do decides nothing"
            ));
        }
        if recipe.data.symmetric {
            train.add_swapped();
        }
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
        let windows = recipe.task.windows.filter(|_| !train.is_paired());
        let max_tokens = match (recipe.task.max_tokens, windows) {
            (Some(given), None) => given,
            (given, windows) => {
                let base = base::load(&recipe.base.checkpoint)?;
                let max_tokens = match given {
                    Some(given) => given,
                    None => max_tokens(&base, &train, windows)?,
                };
                if let Some(windows) = windows {
                    let texts = train.len();
                    train = windowed(&train, &base.tokenizer, max_tokens, windows)?;
                    note(format!("{texts} texts are learned from as {} windows", train.len()));
                }
                max_tokens
            }
        };
        Ok(Self { train, dev, test, out_of_scope, criterion, max_tokens, windows })
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
            if self.dev.is_paired() && golden.iter().any(|(_, pair)| pair.is_none()) {
                let problem = "every line needs two texts with a tab between them".to_string();
                return Err(RunError::Golden { path: path.clone(), problem });
            }
            return Ok(golden);
        }
        let stride = (self.dev.len() / n.max(1)).max(1);
        let texts = self.dev.examples.iter().step_by(stride).take(n);
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
            let note = format!(
                "{} of {} training texts are longer than {max_tokens} tokens and are cut off (task.max_tokens)",
                train.truncated,
                train.tokens.len()
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

/// What is said where many words hold characters that the base does not have.
fn unknown(texts: &Encoded, files: &TokenizerFiles) -> Result<Option<String>, RunError> {
    const MANY: f64 = 0.01;
    const SHOWN: usize = 5;
    let tokenizer = Tokenizer::new(files.vocab.as_bytes(), files.settings()).map_err(train::Error::from)?;
    let unknown = tokenizer.special_tokens().unk;
    let ids = texts.tokens.iter().flat_map(|tokens| &tokens.ids);
    let (mut pieces, mut lost) = (0usize, 0usize);
    ids.for_each(|id| (pieces, lost) = (pieces + 1, lost + usize::from(*id == unknown)));
    let share = lost as f64 / pieces.saturating_sub(2 * texts.tokens.len()).max(1) as f64;
    if share < MANY {
        return Ok(None);
    }
    let mut counts = HashMap::<char, usize>::new();
    let examples = texts.data.examples.iter();
    for text in examples.flat_map(|example| [Some(&example.text), example.pair.as_ref()]).flatten() {
        text.chars().filter(|c| !c.is_whitespace()).for_each(|c| *counts.entry(c).or_default() += 1);
    }
    let mut encoding = Box::<Encoding>::default();
    let mut is_unknown = |c: char| {
        let encoded = tokenizer.encode(c.encode_utf8(&mut [0; 4]), None, 8, &mut encoding);
        encoded.is_ok() && encoding.ids().contains(&unknown)
    };
    let mut counts: Vec<(char, usize)> = counts.into_iter().filter(|&(c, _)| is_unknown(c)).collect();
    counts.sort_by_key(|&(c, count)| (Reverse(count), c));
    let shown: Vec<String> = counts.into_iter().take(SHOWN).map(|(c, _)| c.to_string()).collect();
    let why = match shown.is_empty() {
        true => "very long words".to_owned(),
        false => shown.join(" "),
    };
    let share = share * 100.0;
    Ok(Some(format!(
        "the base does not know {share:.0} % of the word pieces, most often because of {why}: to it they are all the same"
    )))
}

/// How long inputs may be by the texts, where the recipe leaves it open.
fn max_tokens(base: &Checkpoint, train: &Dataset, windows: Option<TextWindows>) -> Result<usize, RunError> {
    let [usual, more] = MAX_TOKENS;
    let most = base.config.max_position_embeddings;
    if windows.is_some() || most <= usual {
        return Ok(usual.min(most));
    }
    let longer = Encoded::new(train.clone(), &base.tokenizer, usual)?.truncated;
    Ok(if longer * MANY > train.len() { more.min(most) } else { usual })
}
