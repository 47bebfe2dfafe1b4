use super::tokenizer_files::read_json;
use super::{Error, config_check, mpnet};
use goldcrest_edge::bundle::Windows;
use goldcrest_edge::decision::Task;
use goldcrest_edge::tokenizer::capacity::MAX_TOKENS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// `config.json` of a Hugging Face BERT checkpoint.
///
/// Fields that only other programs read are kept in `extra`, so that a folder written by this crate retains
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Number of word pieces in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer in the plain form; a student may use fewer, see [`StudentShape`].
    pub num_attention_heads: usize,
    /// Feed-forward width in the plain form.
    pub intermediate_size: usize,
    /// Feed-forward activation; only `gelu` (erf) is supported.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Dropout rate after the embeddings and each sublayer.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout rate on the attention probabilities.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Longest sequence in tokens.
    #[serde(default = "five_twelve")]
    pub max_position_embeddings: usize,
    /// Number of rows in the token type embedding.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Epsilon of every LayerNorm.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    /// Id of `[PAD]`.
    #[serde(default, deserialize_with = "or_default")]
    pub pad_token_id: usize,
    /// Dropout rate before the classifier; defaults to `hidden_dropout_prob`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f64>,
    /// Label names by id.
    #[serde(default, deserialize_with = "id2label", skip_serializing_if = "BTreeMap::is_empty")]
    pub id2label: BTreeMap<usize, String>,
    /// Ids by label name.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub label2id: BTreeMap<String, usize>,
    /// Task of the head, which determines its loss.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "problem_type")]
    pub problem_type: Option<Task>,
    /// Whether the model was pretrained to compare two texts that it reads together. Says nothing of what a classifier
    /// on it reads: Transformers keeps the key, whatever it trains. Not a Transformers key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compares_pairs: bool,
    /// A student's native shape, where it differs from the plain form on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goldcrest: Option<StudentShape>,
    /// Input format that the model was trained on. Not a Transformers key.
    #[serde(rename = "reads", default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputFormat>,
    /// Number of distances between tokens that attention tells apart: 32 for an MPNet, `None` for a BERT. See
    /// [`Config::only_teaches`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_attention_num_buckets: Option<usize>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// The input format of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFormat {
    /// Longest input in word pieces, special tokens included.
    pub max_tokens: usize,
    /// Whether the input is a pair of texts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pairs: bool,
    /// How longer texts are read; they are truncated if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TextWindows>,
}

impl InputFormat {
    /// Returns whether an input has room for a text beside the special tokens, and a window for new tokens.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.max_tokens.saturating_sub(2);
        let fits = |windows: TextWindows| windows.most > 0 && (windows.overlap as usize) < room;
        room > 0 && self.windows.is_none_or(fits)
    }
}

/// What is asked of an input format; the model's own where nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputOptions {
    /// Longest input in word pieces, special tokens included.
    pub max_tokens: Option<usize>,
    /// Whether the input is a pair of texts even if the model does not say so.
    pub pairs: bool,
    /// How longer texts are read.
    pub windows: Option<TextWindows>,
}

/// Overlapping windows in which an overlong text is read; their logits are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextWindows {
    /// Number of tokens that a window shares with the previous one.
    pub overlap: u32,
    /// Maximum number of windows per text; the rest of the text is cut off.
    pub most: u32,
}

impl From<TextWindows> for Windows {
    fn from(TextWindows { overlap, most }: TextWindows) -> Self {
        Windows::Mean { overlap, most }
    }
}

/// (De)serialises tasks under the names that Transformers uses.
mod problem_type {
    use super::Task;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    const NAMES: [&str; 3] = ["single_label_classification", "multi_label_classification", "regression"];
    const TASKS: [Task; 3] = [Task::SingleLabel, Task::MultiLabel, Task::Regression];

    pub fn serialize<S: Serializer>(task: &Option<Task>, to: S) -> Result<S::Ok, S::Error> {
        let known = NAMES.into_iter().zip(TASKS).find(|(_, known)| Some(*known) == *task);
        known.map(|(name, _)| name).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Task>, D::Error> {
        let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let known = NAMES.into_iter().zip(TASKS).find(|(known, _)| *known == name);
        known.map(|(_, task)| Some(task)).ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
    }
}

/// The native shape of a student (the `goldcrest` key of `config.json`).
///
/// The folder holds a plain BERT that computes the same function: missing heads, feed-forward columns and
/// pooler columns are filled with zeros, and factorised embeddings are multiplied out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentShape {
    /// Width of one head.
    pub head_size: usize,
    /// Number of heads in each layer.
    pub heads: Vec<usize>,
    /// Feed-forward width of each layer.
    pub intermediate: Vec<usize>,
    /// Rank of the word embeddings, if they are factorised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_rank: Option<usize>,
    /// Width of the pooler, if narrower than the hidden size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooler: Option<usize>,
}

/// The native shape of one encoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// Number of attention heads.
    pub heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// Feed-forward width.
    pub intermediate: usize,
}

impl LayerShape {
    /// Returns the width of queries, keys and values: `heads * head_size`.
    pub fn attention_size(&self) -> usize {
        self.heads * self.head_size
    }
}

/// The number of labels of a configuration that does not name them.
pub(super) const NUM_LABELS: &str = "num_labels";

/// Reads the names of labels, which may be numbers or truth values.
fn id2label<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<usize, String>, D::Error> {
    let names: serde_json::Map<String, serde_json::Value> = or_default(from)?;
    let read = |(id, name): (String, serde_json::Value)| {
        let wrong = |problem: &str| serde::de::Error::custom(format!("id2label: {problem}"));
        let name = match name {
            serde_json::Value::String(name) => name,
            name @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => name.to_string(),
            _ => return Err(wrong(&format!("the label with the id {id} has no name"))),
        };
        Ok((id.parse().map_err(|_| wrong(&format!("`{id}` is no id of a label")))?, name))
    };
    names.into_iter().map(read).collect()
}

/// Reads `null` like an absent key.
fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn gelu() -> String {
    "gelu".into()
}
fn tenth() -> f64 {
    0.1
}
fn five_twelve() -> usize {
    512
}
fn two() -> usize {
    2
}
fn epsilon() -> f64 {
    1e-12
}

impl Config {
    /// Reads `config.json` of a checkpoint folder; that of an MPNet becomes one of the form it has in memory.
    ///
    /// # Errors
    /// If the file cannot be read, or says what this crate cannot run.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::read(dir).map(|(config, _)| config).map_err(|error| error.of(dir))
    }

    /// Returns also whether the folder is an MPNet in Transformers' layout.
    pub(super) fn read(dir: &Path) -> Result<(Self, bool), Error> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let path = dir.join("config.json");
        // other models have other keys, so this comes first
        let Kind { model_type } = read_json(&path)?;
        let kind = model_type.as_deref().unwrap_or(config_check::BERT);
        if kind != mpnet::MPNET {
            config_check::check_model_type(kind).map_err(Error::Config)?;
        }
        let mut config: Config = read_json(&path)?;
        let is_mpnet = mpnet::is_mpnet(&config);
        if is_mpnet {
            mpnet::convert_config(&mut config);
        }
        config.check()?;
        Ok((config, is_mpnet))
    }

    /// Returns the native shape of every layer.
    pub fn layers(&self) -> Vec<LayerShape> {
        (0..self.num_hidden_layers)
            .map(|i| match &self.goldcrest {
                Some(s) => {
                    LayerShape { heads: s.heads[i], head_size: s.head_size, intermediate: s.intermediate[i] }
                }
                None => LayerShape {
                    heads: self.num_attention_heads,
                    head_size: self.hidden_size / self.num_attention_heads,
                    intermediate: self.intermediate_size,
                },
            })
            .collect()
    }

    /// Returns whether the model computes what no bundle does (attention by distances, as in MPNet), so that it can
    /// be fine-tuned, predict, and teach a student that starts as another model, but not be packed itself.
    pub fn only_teaches(&self) -> bool {
        self.relative_attention_num_buckets.is_some()
    }

    /// Returns the rank of the word embeddings, if they are factorised.
    pub fn embedding_rank(&self) -> Option<usize> {
        self.goldcrest.as_ref().and_then(|s| s.embedding_rank)
    }

    /// Returns the width of the pooler's output, which the classifier reads.
    pub fn pooler_size(&self) -> usize {
        self.goldcrest.as_ref().and_then(|s| s.pooler).unwrap_or(self.hidden_size)
    }

    /// Returns the number of outputs of the head: without `id2label` it is `num_labels`, else 2, as in
    /// Transformers.
    pub fn num_labels(&self) -> usize {
        let counted = self.extra.get(NUM_LABELS).filter(|count| !count.is_null());
        let number = |count: &serde_json::Value| count.as_u64().or_else(|| count.as_str()?.parse().ok());
        let counted = counted.map_or(2, |count| number(count).unwrap_or_default());
        if self.id2label.is_empty() { counted as usize } else { self.id2label.len() }
    }

    /// Returns the label names in order of their ids; `LABEL_0` … for unnamed ones.
    pub fn labels(&self) -> Vec<String> {
        (0..self.num_labels())
            .map(|i| self.id2label.get(&i).cloned().unwrap_or_else(|| format!("LABEL_{i}")))
            .collect()
    }

    /// Sets the label names and the task.
    pub fn set_labels(&mut self, labels: &[String], task: Task) {
        self.id2label = labels.iter().cloned().enumerate().collect();
        self.label2id = labels.iter().cloned().enumerate().map(|(i, l)| (l, i)).collect();
        self.problem_type = Some(task);
        self.extra.remove(NUM_LABELS);
        if !self.only_teaches() {
            self.extra.insert("architectures".into(), serde_json::json!(["BertForSequenceClassification"]));
        }
        self.extra.entry("model_type").or_insert_with(|| "bert".into());
    }

    /// Returns the input format: as asked, else as in training, else inputs of `usual` word pieces.
    ///
    /// # Errors
    /// [`Error::Positions`], [`Error::Pairs`] and [`Error::NoRoom`].
    pub fn input_format(&self, asked: InputOptions, usual: usize) -> Result<InputFormat, Error> {
        let positions = self.max_position_embeddings;
        if let Some(asked) = asked.max_tokens.filter(|asked| *asked > positions) {
            return Err(Error::Positions { asked, positions });
        }
        let max_tokens = asked.max_tokens.or(self.input.map(|input| input.max_tokens)).unwrap_or(usual);
        let pairs = asked.pairs || self.input.is_some_and(|input| input.pairs);
        if pairs && self.type_vocab_size < 2 {
            return Err(Error::Pairs);
        }
        let windows = asked.windows.or(self.input.and_then(|input| input.windows)).filter(|_| !pairs);
        let input = InputFormat { max_tokens: max_tokens.min(positions).min(MAX_TOKENS), pairs, windows };
        if input.has_room() {
            Ok(input)
        } else {
            Err(Error::NoRoom { max_tokens: input.max_tokens, windows })
        }
    }

    /// Returns the task. Without `problem_type` it follows Transformers: one output means regression, several
    /// mean classes.
    pub fn task(&self) -> Task {
        self.problem_type.unwrap_or(match self.num_labels() {
            1 => Task::Regression,
            _ => Task::SingleLabel,
        })
    }

    /// Sets all dropout rates.
    pub fn set_dropout(&mut self, rate: f64) {
        (self.hidden_dropout_prob, self.attention_probs_dropout_prob) = (rate, rate);
        self.classifier_dropout = None;
    }

    /// Takes all dropout rates from another configuration.
    pub fn copy_dropout(&mut self, from: &Config) {
        self.hidden_dropout_prob = from.hidden_dropout_prob;
        self.attention_probs_dropout_prob = from.attention_probs_dropout_prob;
        self.classifier_dropout = from.classifier_dropout;
    }

    /// Returns the dropout rate before the classifier.
    pub fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }
}
