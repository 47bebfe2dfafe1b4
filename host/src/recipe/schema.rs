use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bert::{Checkpoint, TextWindows};
use crate::data::{Column, Format, LabelColumns, Task};
use crate::distill::Distill;
use crate::evaluate::DecisionOptions;
use crate::metrics::Metric;
use crate::quantize::Bits;
use crate::train::TrainOptions;

/// A whole run. Keys that are not given have the default that their field states; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The output folder.
    pub output: PathBuf,
    /// The labelled texts.
    pub data: DataFiles,
    /// The task.
    #[serde(default)]
    pub task: TaskOptions,
    /// The base model.
    pub base: Base,
    /// Fine-tuning of the base, which makes the teacher.
    #[serde(default)]
    pub train: TrainOptions,
    /// Distillation of a student. Without it, the teacher itself is quantized.
    pub distill: Option<Distill>,
    /// Quantization from fp32 to int8.
    #[serde(default)]
    pub quantize: Quantize,
    /// The decision, from logits to answers.
    #[serde(default)]
    pub decision: DecisionOptions,
    /// The bundle.
    #[serde(default)]
    pub pack: Pack,
}

/// `[data]`: files and how to read them. Anything not given is detected; see [`Source`](crate::data::Source).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFiles {
    /// Training data.
    pub train: Files,
    /// Data for choosing checkpoints and comparing models. Default: split off from `train`.
    pub dev: Option<Files>,
    /// Data on which the finished bundle is measured; it decides nothing.
    pub test: Option<Files>,
    /// Texts that no label fits, labelled or not: with `decision.false_reject` they choose how the bundle tells
    /// them from others, and how many of them it leaves unanswered is measured.
    pub out_of_scope: Option<Files>,
    /// `auto`, `csv`, `tsv`, `jsonl`, `lines` or `fasttext`.
    #[serde(default)]
    pub format: Format,
    /// Column of the text.
    pub text: Option<Column>,
    /// Column of the second text.
    pub pair: Option<Column>,
    /// The label column, or a list of columns: of 0 and 1, one per label, or one per number.
    pub label: Option<LabelColumns>,
    /// Whether the first row names the columns.
    pub header: Option<bool>,
    /// Whether `"` quotes fields.
    pub quoting: Option<bool>,
    /// Separator between columns.
    pub delimiter: Option<char>,
    /// Separator between several labels in one column.
    pub label_separator: Option<String>,
    /// Share of `train` that becomes dev if no `dev` is given, and at least one row of each class of five texts
    /// or more. Default: 0.1, about 10,000 rows at most.
    pub dev_fraction: Option<f64>,
    /// Whether to remove rows whose text also occurs in `test` from training and dev, and those in `dev` from
    /// training. The order of the texts of a pair does not matter. Default: true.
    #[serde(default = "yes")]
    pub remove_overlap: bool,
    /// Seed of the split. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Whether the order of the two texts of a pair does not matter, as in similarity; each pair is then also
    /// trained on in the other order. Default: false.
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

/// Default longest inputs in word pieces: the usual one, and the one if many texts are longer.
pub(super) const USUAL_TOKENS: [usize; 2] = [128, 256];

/// Default windows if many texts are longer even than that.
pub(super) const WINDOWS: TextWindows = TextWindows { overlap: 16, most: 8 };

/// `[task]`: what to predict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskOptions {
    /// `single-label`, `multi-label` or `regression`. Default: detected.
    pub kind: Option<Task>,
    /// All labels in the order of their ids. Default: those that occur, sorted.
    pub labels: Option<Vec<String>>,
    /// Longest input in word pieces, special tokens included. Default: 128, or 256 if more than a twentieth
    /// of the training texts are longer.
    pub max_tokens: Option<usize>,
    /// Reads longer texts in overlapping windows whose logits are averaged. `{ overlap = 16, most = 8 }`: the
    /// tokens that two neighbouring windows share, and the maximum number of windows per text. In training,
    /// each window is a text of its own. Default: these windows if `max_tokens` is not given and more than a
    /// fifth of the training texts are longer than 256 tokens or than the base's position embeddings allow;
    /// otherwise longer texts are truncated. Not for pairs.
    pub windows: Option<TextWindows>,
    /// The metric that chooses checkpoints and that `max_drop` refers to. Default: `accuracy`, `macro-f1` or
    /// `pearson`, by task.
    pub metric: Option<Metric>,
}

/// `[base]`: the pretrained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// A folder in Hugging Face's layout, or a bundle.
    pub checkpoint: PathBuf,
    /// The initial pooler: the checkpoint's own (`keep`), or one that passes \[CLS\] through apart from its
    /// tanh (`pass`), which always gets a new head. `auto` is `pass` if the checkpoint has no classifier for
    /// these labels and its pooler [has decayed](crate::bert::Checkpoint::pooler_has_decayed), as in sentence
    /// encoders. Default: `auto`.
    #[serde(default)]
    pub pooler: Pooler,
    /// Initialisation of a new head: `prototypes`, from the mean vector of each class's texts or, for
    /// multi-label tasks, of the texts with and without each label ([`set_head`](crate::train::set_head)); or
    /// `random`, as in Transformers. For regression, it is always fitted to the mean and the spread of the
    /// targets. Default: `prototypes`.
    #[serde(default)]
    pub head: Head,
    /// Whether a sentence encoder for a task on pairs first learns to compare pairs made from the training
    /// texts ([`pretrain`](crate::pretrain)). `auto`: if it has no classifier for these labels and cannot
    /// compare yet ([`compares_pairs`](crate::bert::Config::compares_pairs)), unlike `models/base`; or
    /// `never`. Default: `auto`.
    #[serde(default)]
    pub compare: Compare,
}

impl Base {
    /// Returns whether a new head is [initialised](crate::train::set_head) rather than random: always for
    /// regression, whose targets may be of any magnitude.
    pub(super) fn sets_head(&self, task: Task) -> bool {
        self.head == Head::Prototypes || task == Task::Regression
    }
}

/// Whether a base learns to compare before fine-tuning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `base.compare` says")]
pub enum Compare {
    #[default]
    Auto,
    Never,
}

/// Initialisation of a new head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `base.head` says")]
pub enum Head {
    #[default]
    Prototypes,
    Random,
}

/// Initialisation of the pooler.
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
    /// Returns whether a checkpoint's pooler is replaced.
    pub(super) fn passes_through(self, checkpoint: &Checkpoint) -> bool {
        match self {
            Pooler::Auto => !checkpoint.has_head() && checkpoint.pooler_has_decayed(),
            Pooler::Keep => false,
            Pooler::Pass => true,
        }
    }
}

/// `[quantize]`: quantization from fp32 to int8, and how much it may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quantize {
    /// Points (hundredths of the metric) that int8 may lose. Default: 0.5; or, if more, one dev row of
    /// accuracy, or whatever a single differing answer costs. After quantization-aware training, or with
    /// `aware = "never"`, two differing answers are allowed, and what chance explains on so few rows, at most
    /// 1 point. In regression, int8's values may also differ from fp32's by as many hundredths of the
    /// variance, or by 5 if that is more.
    pub max_drop: Option<f64>,
    /// Points of F1 that each class may lose; not for regression. Default: no limit.
    pub max_drop_per_class: Option<f64>,
    /// Quantization-aware training: `if-needed` (if int8 loses more than the limits allow), `always` or
    /// `never`. Default: `if-needed`.
    pub aware: Aware,
    /// Whether the most sensitive matrices stay in half precision if that did not help; has no effect with
    /// `aware = "never"`. Default: true.
    pub wider: bool,
    /// Epochs of quantization-aware training over the training texts. Default: 1, or as many as make 100
    /// steps (at most 30).
    pub epochs: Option<f64>,
    /// Peak learning rate for that. Default: a quarter of that of `[train]` for a model of this size, at most
    /// 5e-5.
    pub learning_rate: Option<f64>,
    /// Bits of the word embeddings, 8 or 4. Default: 8, or what `distill.student` selects.
    pub embedding_bits: Option<u8>,
}

/// When quantization-aware training happens.
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
#[serde(deny_unknown_fields, default)]
pub struct Pack {
    /// Name, of letters, digits, `-`, `_` and `.`; the file is `NAME.bundle`. Default: the name of the
    /// recipe's file.
    pub name: String,
    /// Semantic version. Default: 0.1.0.
    pub version: String,
    /// Licence of the base model, an SPDX expression or a sentence. Default: `unstated`.
    pub base_licence: String,
    /// Licence of the data, in the same form.
    pub data_licence: String,
    /// Number of golden messages, whose logits `goldcrest-edge verify` recomputes on the board and compares
    /// bit for bit, if there is no file with them. Default: 16.
    pub golden: usize,
    /// Number of word pieces in the bundle: all single characters, and those that the training texts need
    /// most. If dropping the others costs more than `quantize.max_drop`, no bundle is made. Default: all.
    pub vocabulary: Option<usize>,
    /// A file with the golden messages, one per line (pairs separated by a tab). Default: dev texts, which
    /// can then be read from the bundle.
    pub golden_messages: Option<PathBuf>,
}

impl Default for Pack {
    fn default() -> Self {
        Pack {
            name: String::new(),
            version: "0.1.0".to_owned(),
            base_licence: "unstated".to_owned(),
            data_licence: "unstated".to_owned(),
            golden: 16,
            vocabulary: None,
            golden_messages: None,
        }
    }
}

fn yes() -> bool {
    true
}

impl Quantize {
    /// Returns whether matrices may stay in half precision: the last resort, after quantization-aware
    /// training.
    pub fn widens(&self) -> bool {
        self.wider && self.aware != Aware::Never
    }

    /// Returns the bits of the word embeddings: those of the recipe, else those planned.
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
