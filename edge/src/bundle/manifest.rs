//! The manifest: what a bundle says about itself.
use super::limits;
use crate::decision::{self, Task};
use crate::tokenizer;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a bundle says about itself. It is the first part to be parsed, once the digest has been verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model, such as `sentiment`.
    pub name: String,
    /// Semantic version of the model, such as `1.2.0`.
    pub version: String,
    /// What the logits mean.
    pub task: Task,
    /// Whether the model compares two texts.
    pub pair: bool,
    /// Names of the classes or, for regression, of the predicted quantities, in the order of the logits.
    pub labels: Vec<String>,
    /// How text is split into word pieces.
    pub tokenizer: tokenizer::Settings,
    /// Maximum sequence length of the model in tokens, special tokens included.
    pub max_tokens: u32,
    /// What happens to longer texts.
    pub windows: Windows,
    /// How logits become an answer; fitted after quantization.
    pub decision: decision::Settings,
    /// How well the model performed, before and after quantization.
    pub measured: Vec<Measured>,
    /// Licences of the weights and of their training data.
    pub licence: Licence,
    /// The program that packed the bundle, with its version.
    pub created_by: String,
}

/// What happens to a text of more than [`Manifest::max_tokens`] tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Windows {
    /// The excess is cut off.
    Truncate,
    /// The logits of overlapping windows are averaged.
    Mean {
        /// Number of pieces that a window shares with the previous one.
        overlap: u32,
        /// Maximum number of windows per text; the rest is cut off.
        most: u32,
    },
}

/// One figure measured on held-out data, through the code that runs on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the metric, such as `accuracy`, `macro_f1` or `pearson`.
    pub metric: String,
    /// Its value for the model before quantization.
    pub fp32: f64,
    /// Its value for the model in this bundle.
    pub int8: f64,
    /// Number of examples.
    pub rows: u64,
    /// SHA-256 of the examples, as in the host's report.
    pub data_sha256: [u8; 32],
}

/// Licences as SPDX expressions, or as sentences where none fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// Licence of the pretrained weights.
    pub base_model: String,
    /// Licence of the training data.
    pub data: String,
}

/// A message and the logits that the bundle's model must give for it, bit for bit, on every processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Golden {
    /// The text.
    pub text: String,
    /// The second text, for models that compare two.
    pub pair: Option<String>,
    /// The bits of each logit ([`f32::to_bits`]).
    pub logits: Vec<u32>,
}

/// Why a manifest that parses is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A text is missing or too long.
    #[error("{field} must have 1 to {limit} bytes, it has {bytes}")]
    Text {
        /// Name of the field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The maximum length.
        limit: usize,
    },
    /// A text contains a line end, a tab or another control character.
    #[error("{field} holds a control character")]
    ControlCharacter {
        /// Name of the field.
        field: &'static str,
    },
    /// The version is not `MAJOR.MINOR.PATCH`.
    #[error("version {0:?} is not a semantic version such as 1.0.0")]
    Version(String),
    /// Too few or too many labels for the task.
    #[error("{found} labels; {task} needs {least} to {most}")]
    Labels {
        /// Number of labels.
        found: usize,
        /// The task.
        task: Task,
        /// Minimum number of labels.
        least: usize,
        /// Maximum number of labels.
        most: usize,
    },
    /// Two classes have the same name.
    #[error("label {0:?} occurs twice")]
    DuplicateLabel(String),
    /// A number is out of range.
    #[error("{field} is {found}; it must be {least} to {most}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// The number.
        found: u64,
        /// The minimum.
        least: u64,
        /// The maximum.
        most: u64,
    },
    /// The model compares two texts, but windows are for single texts.
    #[error("a model that compares two texts cannot read them in windows")]
    PairInWindows,
    /// The decision settings are invalid.
    #[error("decision: {0}")]
    Decision(decision::Error),
}

impl Manifest {
    /// Returns the number of special tokens of a text or pair.
    pub fn special_tokens(&self) -> usize {
        if self.pair { 3 } else { 2 }
    }

    /// Returns the least number of tokens of an input: one piece of each text beside the special ones.
    pub fn least_tokens(&self) -> usize {
        self.special_tokens() + if self.pair { 2 } else { 1 }
    }

    /// Checks what the types cannot express. Both the reader and the writer call it.
    ///
    /// # Errors
    /// [`ManifestError`], for the first field that is invalid.
    pub fn check(&self) -> Result<(), ManifestError> {
        line("name", &self.name, limits::LABEL)?;
        line("version", &self.version, limits::LABEL)?;
        if !is_semantic_version(&self.version) {
            return Err(ManifestError::Version(self.version.clone()));
        }
        self.check_labels()?;
        range("max_tokens", self.max_tokens.into(), self.least_tokens() as u64, limits::TOKENS.into())?;
        if let Windows::Mean { overlap, most } = self.windows {
            if self.pair {
                return Err(ManifestError::PairInWindows);
            }
            // leaves room for two special tokens and at least one new piece
            range("windows.overlap", overlap.into(), 0, self.max_tokens.saturating_sub(3).into())?;
            range("windows.most", most.into(), 1, limits::WINDOWS.into())?;
        }
        self.decision.check(self.task, self.labels.len()).map_err(ManifestError::Decision)?;
        range("number of measured figures", self.measured.len() as u64, 0, limits::MEASURED as u64)?;
        for measured in &self.measured {
            line("measured.metric", &measured.metric, limits::LABEL)?;
        }
        line("licence.base_model", &self.licence.base_model, limits::TEXT)?;
        line("licence.data", &self.licence.data, limits::TEXT)?;
        line("created_by", &self.created_by, limits::TEXT)
    }

    fn check_labels(&self) -> Result<(), ManifestError> {
        let (least, most) = match self.task {
            Task::SingleLabel => (2, limits::LABELS),
            Task::MultiLabel | Task::Regression => (1, limits::LABELS),
        };
        if !(least..=most).contains(&self.labels.len()) {
            return Err(ManifestError::Labels { found: self.labels.len(), task: self.task, least, most });
        }
        for (i, label) in self.labels.iter().enumerate() {
            line("label", label, limits::LABEL)?;
            if self.labels[..i].contains(label) {
                return Err(ManifestError::DuplicateLabel(label.clone()));
            }
        }
        Ok(())
    }
}

fn line(field: &'static str, text: &str, limit: usize) -> Result<(), ManifestError> {
    if text.is_empty() || text.len() > limit {
        return Err(ManifestError::Text { field, bytes: text.len(), limit });
    }
    if text.chars().any(char::is_control) {
        return Err(ManifestError::ControlCharacter { field });
    }
    Ok(())
}

fn range(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), ManifestError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(ManifestError::Range { field, found, least, most })
    }
}

/// Returns whether `text` is `MAJOR.MINOR.PATCH`, optionally followed by `-` or `+` and more
/// (<https://semver.org>, without its finer rules).
fn is_semantic_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = 0;
    core.split('.').all(|part| {
        parts += 1;
        !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit())
    }) && parts == 3
}
