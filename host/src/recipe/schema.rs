use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name::bundle_name;
use crate::bert::{Checkpoint, TextWindows};
use crate::data::{self, Column, DataError, Format, LabelColumns, Source, Task};
use crate::distill::Distill;
use crate::evaluate::DecisionOptions;
use crate::metrics::Metric;
use crate::quantize::Bits;
use crate::train::TrainOptions;

/// A whole run. Every key not given has the default that its field states; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The folder that everything is written to.
    pub output: PathBuf,
    /// The labelled texts.
    pub data: DataFiles,
    /// What is predicted.
    #[serde(default)]
    pub task: TaskOptions,
    /// What training starts from.
    pub base: Base,
    /// Fine-tuning of the base: the teacher.
    #[serde(default)]
    pub train: TrainOptions,
    /// The student. Without it the teacher itself is quantized.
    pub distill: Option<Distill>,
    /// From fp32 to int8.
    #[serde(default)]
    pub quantize: Quantize,
    /// From logits to answers.
    #[serde(default)]
    pub decision: DecisionOptions,
    /// The bundle.
    #[serde(default)]
    pub pack: Pack,
}

/// `[data]`: files and how to read them. What is not given is detected; see [`Source`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFiles {
    /// To learn from.
    pub train: Files,
    /// To choose checkpoints and to compare on. Split off from `train` when not given.
    pub dev: Option<Files>,
    /// What the bundle that `dev` let pass is measured on; it decides nothing.
    pub test: Option<Files>,
    /// Texts that no label fits, with or without labels: how many of them the bundle leaves without an answer is measured.
    pub out_of_scope: Option<Files>,
    /// `auto`, `csv`, `tsv`, `jsonl`, `lines` or `fasttext`.
    #[serde(default)]
    pub format: Format,
    /// Column of the text.
    pub text: Option<Column>,
    /// Column of the second text.
    pub pair: Option<Column>,
    /// Column of the label, the labels or the number; or a list of columns of 0 and 1, one for each label.
    pub label: Option<LabelColumns>,
    /// Whether the first row names the columns.
    pub header: Option<bool>,
    /// Whether `"` quotes.
    pub quoting: Option<bool>,
    /// Between columns.
    pub delimiter: Option<char>,
    /// Between several labels in one column.
    pub label_separator: Option<String>,
    /// Share of `train` that becomes dev where no `dev` is given: 0.1, and a row at least of each class of five texts or more.
    pub dev_fraction: Option<f64>,
    /// Takes rows whose text is also in `test` out of training and `dev`, and those in `dev` out of training: true. A pair is
    /// the same whichever text comes first.
    #[serde(default = "yes")]
    pub remove_overlap: bool,
    /// Seed of the split: 0.
    #[serde(default)]
    pub seed: u64,
    /// Whether the two texts of a pair may change places, as for how alike they are: each pair is learned both ways then: false.
    #[serde(default)]
    pub symmetric: bool,
}

/// One path or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Files {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// Longest input in word pieces where a recipe does not say, and where many texts are longer than that.
pub(super) const MAX_TOKENS: [usize; 2] = [128, 256];

/// Windows of texts of which many are longer than even that.
pub(super) const WINDOWS: TextWindows = TextWindows { overlap: 16, most: 8 };

/// `[task]`: what is predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskOptions {
    /// `single-label`, `multi-label` or `regression`. Detected when not given.
    pub kind: Option<Task>,
    /// All labels in the order of their ids. Those that occur, sorted, when not given.
    pub labels: Option<Vec<String>>,
    /// Longest input in word pieces, special tokens included. When not given 128, or 256 where more than a twentieth of the training
    /// texts are longer.
    pub max_tokens: Option<usize>,
    /// Longer texts are read in overlapping windows whose logits are averaged. `{ overlap = 16, most = 8 }`: tokens that two
    /// neighbouring windows share, and the most windows of a text. In training each window is a text of its own. Default: such
    /// windows where `max_tokens` is not given either and more than a fifth of the training texts are longer than 256, or than the
    /// base has positions; otherwise longer texts are cut off. Not for pairs.
    pub windows: Option<TextWindows>,
    /// What chooses checkpoints and what `max_drop` is about. `accuracy`, `macro-f1` or `pearson`, by the task.
    pub metric: Option<Metric>,
}

/// `[base]`: the pretrained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// A folder in the Hugging Face layout, or a bundle made of one.
    pub checkpoint: PathBuf,
    /// Whether the checkpoint's own pooler is where training starts, `keep`, or one that passes \[CLS\] on unchanged but for its
    /// tanh, `pass`, for which a new head is trained in any case. `auto` is the latter where the checkpoint has no classifier for
    /// these labels and a pooler that weight decay has [worn down](crate::bert::Checkpoint::pooler_is_worn), as sentence encoders
    /// can leave it: auto.
    #[serde(default)]
    pub pooler: Pooler,
    /// Where a new head starts: `prototypes`, from the means of the texts of each class, of the texts with and without
    /// each label ([`set_head`](crate::train::set_head)), or `random`, as Transformers does it; of numbers always at their mean and as
    /// far apart as they are: prototypes.
    #[serde(default)]
    pub head: Head,
    /// Whether a sentence encoder that is to read pairs first learns to compare pairs made of the training texts
    /// ([`pretrain`](crate::pretrain)): `auto` is where it has no classifier for these labels and cannot compare already
    /// ([`compares_pairs`](crate::bert::Config::compares_pairs)), as `models/base` can; `never` never: auto.
    #[serde(default)]
    pub compare: Compare,
}

impl Base {
    /// Whether a new head is [set](crate::train::set_head): one for numbers always, for they may be of any size.
    pub(super) fn sets_head(&self, task: Task) -> bool {
        self.head == Head::Prototypes || task == Task::Regression
    }
}

/// Whether a base learns to compare before it is fine-tuned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `base.compare` says")]
pub enum Compare {
    #[default]
    Auto,
    Never,
}

/// Where a new head starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `base.head` says")]
pub enum Head {
    #[default]
    Prototypes,
    Random,
}

/// Where a pooler starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `base.pooler` says")]
pub enum Pooler {
    #[default]
    Auto,
    Keep,
    Pass,
}

impl Pooler {
    /// Whether a checkpoint's pooler is replaced.
    pub(super) fn passes_through(self, checkpoint: &Checkpoint) -> bool {
        match self {
            Pooler::Auto => !checkpoint.has_head() && checkpoint.pooler_is_worn(),
            Pooler::Keep => false,
            Pooler::Pass => true,
        }
    }
}

/// `[quantize]`: from fp32 to int8, and what it may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quantize {
    /// Points (hundredths of the metric) that int8 may lose. Default: 0.5, or for accuracy one dev row where that is more, or
    /// whatever one row with another answer comes to (two after quantization-aware training, or with `aware = "never"`); then also
    /// what chance explains on so few rows, at most 1. Of a regression
    /// int8's numbers may differ from fp32's by as many hundredths of the variance, and always by 5.
    pub max_drop: Option<f64>,
    /// Points of F1 that each class may lose; no limit when not given.
    pub max_drop_per_class: Option<f64>,
    /// Whether the model is trained on with its values rounded: `if-needed`, when int8 loses more than the limits allow;
    /// `always`, `never`: `if-needed`.
    pub aware: Aware,
    /// Whether the matrices that lose most stay in half precision where that did not help either; not where it is `never` done:
    /// true.
    pub wider: bool,
    /// Epochs of quantization-aware training over the training texts. Default: 1, or as many as make 100 steps (30 at most).
    pub epochs: Option<f64>,
    /// The highest learning rate for that. Default: a quarter of that of `[train]` for a model of that size, 5e-5 at most.
    pub learning_rate: Option<f64>,
    /// Bits of the word embeddings' integers, 8 or 4: 8, or what `distill.student` chooses.
    pub embedding_bits: Option<u8>,
}

/// When a model is trained on with its values rounded to integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Aware {
    IfNeeded,
    Always,
    Never,
}

/// `[pack]`: the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Letters, digits, `-`, `_` and `.`; the file is `NAME.bundle`. When not given that of the recipe's file.
    #[serde(default)]
    pub name: String,
    /// Semantic: 0.1.0.
    #[serde(default = "default_version")]
    pub version: String,
    /// Licence of the base model, an SPDX expression or a sentence: `unstated`.
    #[serde(default = "unstated")]
    pub base_licence: String,
    /// Licence of the data, likewise.
    #[serde(default = "unstated")]
    pub data_licence: String,
    /// Golden messages: `goldcrest-edge verify` computes their logits on the board and compares them bit for bit. Default: 16.
    #[serde(default = "default_golden")]
    pub golden: usize,
    /// Word pieces of the bundle: the single characters and those that the training texts need most; all when not given. No bundle is
    /// made where leaving out the others costs more than `quantize.max_drop`.
    pub vocabulary: Option<usize>,
    /// A file with those messages, one a line (a pair with a tab between). Dev texts when not given: they can be read in
    /// the bundle.
    pub golden_messages: Option<PathBuf>,
}

impl Default for Pack {
    fn default() -> Self {
        Pack {
            name: String::new(),
            version: default_version(),
            base_licence: unstated(),
            data_licence: unstated(),
            golden: default_golden(),
            vocabulary: None,
            golden_messages: None,
        }
    }
}

fn yes() -> bool {
    true
}
fn default_version() -> String {
    "0.1.0".to_owned()
}
fn unstated() -> String {
    "unstated".to_owned()
}
fn default_golden() -> usize {
    16
}

impl Quantize {
    /// Whether matrices may stay in half precision: the last resort, after training on.
    pub fn widens(&self) -> bool {
        self.wider && self.aware != Aware::Never
    }

    /// Bits of the word embeddings: as the recipe says, or as planned.
    pub(super) fn embedding_bits(&self, planned: u8) -> Bits {
        if self.embedding_bits.unwrap_or(planned) == 4 { Bits::Four } else { Bits::Eight }
    }
}

impl Default for Quantize {
    fn default() -> Self {
        Quantize {
            max_drop: None,
            max_drop_per_class: None,
            aware: Aware::IfNeeded,
            wider: true,
            epochs: None,
            learning_rate: None,
            embedding_bits: None,
        }
    }
}

/// Why a recipe cannot be run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what its name says, and the message shows it")]
pub enum RecipeError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is there and says something else{}: change it and run it, which reuses what is trained, or name another folder with --output",
        if lacks.is_empty() { String::new() } else { format!(", without {}", lacks.join(" and ")) }
    )]
    Other { path: PathBuf, lacks: Vec<String> },
    #[error("{path}: {problem}")]
    Toml { path: PathBuf, problem: String },
    #[error("{path}: `{key}` {problem}")]
    Invalid { path: PathBuf, key: &'static str, problem: String },
}

impl Recipe {
    /// Reads and checks a recipe. Its paths are relative to its folder, and are joined to it here.
    ///
    /// # Errors
    /// [`RecipeError`], with the line for what is not TOML or not a key, with the key for what is out of range.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// As [`load`](Self::load), for the text of the recipe at `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let mut recipe: Recipe = toml::from_str(text).map_err(|error| {
            let problem = error.to_string().trim_end().to_owned();
            RecipeError::Toml { path: path.to_owned(), problem }
        })?;
        if recipe.pack.name.is_empty() {
            recipe.pack.name = bundle_name(path);
        }
        recipe.check().map_err(|(key, problem)| RecipeError::Invalid {
            path: path.to_owned(),
            key,
            problem,
        })?;
        recipe.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(recipe)
    }

    /// The same run drawn otherwise: seeds of training and distillation go on where those of the run before end, which has one
    /// for each teacher, and from 1 on the output goes into a folder of its own.
    pub fn with_seed(&self, number: u64) -> Self {
        let mut recipe = self.clone();
        if number > 0 {
            recipe.output.push(format!("seed-{number}"));
            let step = number * recipe.distill.as_ref().map_or(1, |d| d.teachers as u64);
            recipe.train.seed += step;
            if let Some(seed) = recipe.distill.as_mut().and_then(|d| d.seed.as_mut()) {
                *seed += step;
            }
        }
        recipe
    }

    fn resolve(&mut self, folder: &Path) {
        // by components, which leaves `.` out
        let join = |path: &mut PathBuf| *path = folder.join(&*path).components().collect();
        join(&mut self.output);
        join(&mut self.base.checkpoint);
        self.pack.golden_messages.iter_mut().for_each(join);
        if let Some(distill) = &mut self.distill {
            let own = distill.start.iter_mut().chain(&mut distill.other_teachers);
            own.chain(&mut distill.unlabelled).for_each(join);
        }
        let DataFiles { train, dev, test, out_of_scope, .. } = &mut self.data;
        for files in [Some(train), dev.as_mut(), test.as_mut(), out_of_scope.as_mut()].into_iter().flatten() {
            files.paths_mut().iter_mut().for_each(join);
        }
    }
}

impl Files {
    /// All of them.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Files::One(path) => std::slice::from_ref(path),
            Files::Several(paths) => paths,
        }
    }

    fn paths_mut(&mut self) -> &mut [PathBuf] {
        match self {
            Files::One(path) => std::slice::from_mut(path),
            Files::Several(paths) => paths,
        }
    }
}

impl DataFiles {
    /// How to read some of the files.
    pub fn sources(&self, files: &Files) -> Vec<Source> {
        files.paths().iter().map(|path| self.source(path)).collect()
    }

    fn source(&self, path: &Path) -> Source {
        Source {
            path: path.into(),
            format: self.format,
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.clone(),
            header: self.header,
            quoting: self.quoting,
            delimiter: self.delimiter,
            label_separator: self.label_separator.clone(),
            ..Source::default()
        }
    }

    /// The texts of a file without labels, from the columns that are named here where it has them.
    pub(super) fn unlabelled(
        &self,
        path: &Path,
        paired: bool,
    ) -> Result<Vec<(String, Option<String>)>, DataError> {
        data::unlabelled(path, paired, &self.source(path))
    }

    /// Share of `train` that is held out where no `dev` is given.
    pub fn dev_fraction(&self) -> f64 {
        self.dev_fraction.unwrap_or(0.1)
    }
}
