use super::Size;
use crate::train::{ClassWeights, TrainOptions, WeightRule};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// `[distill]`: a smaller model that learns from the trained one.
///
/// The student is cut out of the teacher, in one stage or in several: each stage cuts the model that the one before left
/// and lets it learn again. What is learned from is the transfer set: the training texts, texts without labels, and
/// texts made of the training texts, all labelled once by the teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distill {
    /// Layers of the teacher that the student is made of: how many, or which, from 0.
    pub layers: Option<Layers>,
    /// Attention heads a layer; the most important ones stay.
    pub heads: Option<usize>,
    /// Width of the feed-forward part; the most important columns stay.
    pub intermediate: Option<usize>,
    /// Width of the pooler; the most important columns stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler: Option<usize>,
    /// Rank of the word embeddings.
    pub embedding_rank: Option<usize>,
    /// Word pieces: the single characters and those that the texts need most.
    pub vocabulary: Option<usize>,
    /// Instead of one cut, several, one after another.
    pub stages: Vec<Stage>,
    /// Instead of sizes and stages, a ready choice of both: `large`, `medium`, `small`, `tiny`, `nano`, or a size of the bundle
    /// such as `"3.5 MB"`.
    pub student: Option<Size>,
    /// A checkpoint folder or bundle to start from instead of the teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Teachers, fine-tuned alike with other seeds; their answers are averaged: 1.
    pub teachers: usize,
    /// Checkpoint folders or bundles for the same labels whose answers are averaged with the teachers': another kind of model
    /// adds more than the same again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_teachers: Vec<PathBuf>,
    /// Files of texts without labels, or whose labels are not used: plain text with one a line, or as `[data]`.
    pub unlabelled: Vec<PathBuf>,
    /// Texts with some words replaced by words of similar meaning, for each training text: 1.
    pub replaced: f64,
    /// Texts made of two training texts, for each training text: 0.5. Not for pairs, nor where texts are read in windows.
    pub spliced: f64,
    /// Epochs over all of these texts. Default: 1.5, but at least 64,000 texts are read (in 30 epochs at most), and no more than 640,000
    /// (in half an epoch at least). Of long texts 20,000 and 200,000; half in stages before the last.
    pub epochs: Option<f64>,
    /// The highest learning rate. Default: that of `[train]` for a model of that size.
    pub learning_rate: Option<f64>,
    /// Softens both distributions: 2.
    pub temperature: f64,
    /// Share of the loss on the gold labels, the rest on the teacher's: 0.1.
    pub alpha_hard: f64,
    /// Weight of the squared difference of the \[CLS\] vectors after the last layer. When not given 1, but 0 with other teachers: a
    /// student that is held to the vectors of one learns little of the others.
    pub cls_weight: Option<f64>,
    /// Weight of the squared difference of the tokens' vectors after each layer but the last: 0. Doubles the time.
    pub hidden_weight: f64,
    /// Weight of the difference of relations between the texts of a batch: 0.
    pub relation_weight: f64,
    /// The student's: 0.
    pub dropout: f64,
    /// As in `[train]`, and taken from there when not given.
    pub batch_size: Option<usize>,
    /// Likewise.
    pub eval_every: Option<usize>,
    /// Likewise.
    pub patience: Option<usize>,
    /// Likewise.
    pub seed: Option<u64>,
}

impl Default for Distill {
    fn default() -> Self {
        Distill {
            layers: None,
            heads: None,
            intermediate: None,
            pooler: None,
            embedding_rank: None,
            vocabulary: None,
            stages: Vec::new(),
            student: None,
            start: None,
            teachers: 1,
            other_teachers: Vec::new(),
            unlabelled: Vec::new(),
            replaced: 1.0,
            spliced: 0.5,
            epochs: None,
            learning_rate: None,
            temperature: 2.0,
            alpha_hard: 0.1,
            cls_weight: None,
            hidden_weight: 0.0,
            relation_weight: 0.0,
            dropout: 0.0,
            batch_size: None,
            eval_every: None,
            patience: None,
            seed: None,
        }
    }
}

/// `[[distill.stages]]`: one cut and what is learned after it. A size that is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stage {
    /// As in `[distill]`, of the model that the stage before left; so are the next five.
    pub layers: Option<Layers>,
    /// Attention heads a layer.
    pub heads: Option<usize>,
    /// Width of the feed-forward part.
    pub intermediate: Option<usize>,
    /// Width of the pooler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler: Option<usize>,
    /// Rank of the word embeddings.
    pub embedding_rank: Option<usize>,
    /// Word pieces.
    pub vocabulary: Option<usize>,
    /// As in `[distill]`, and taken from there when not given.
    pub epochs: Option<f64>,
    /// Likewise.
    pub learning_rate: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<usize>,
    /// Whether the student learns from the teachers' answers averaged with those of the stage before: false.
    pub together: bool,
}

/// A number of layers, or the layers by index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of layers or a list of them, counted from 0")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Layers {
    Count(usize),
    These(Vec<usize>),
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layers::Count(count) => write!(f, "{count}"),
            Layers::These(list) => {
                f.write_str(&list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Distill {
    /// The stages as written, or the one that `[distill]` itself describes.
    pub fn stages(&self) -> Vec<Stage> {
        if !self.stages.is_empty() {
            return self.stages.clone();
        }
        vec![Stage {
            layers: self.layers.clone(),
            heads: self.heads,
            intermediate: self.intermediate,
            pooler: self.pooler,
            embedding_rank: self.embedding_rank,
            vocabulary: self.vocabulary,
            ..Stage::default()
        }]
    }

    /// Weight of the \[CLS\] vectors: as given, or by whether there are other teachers.
    pub fn cls_weight(&self) -> f64 {
        self.cls_weight.unwrap_or(if self.other_teachers.is_empty() { 1.0 } else { 0.0 })
    }

    /// Whether students are held to the first teacher's \[CLS\] vectors, or to how alike they are.
    pub fn needs_vectors(&self) -> bool {
        self.cls_weight() > 0.0 || self.relation_weight > 0.0
    }

    /// Seed of made-up texts, order and dropout: its own, or that of `[train]`.
    pub fn seed(&self, train: &TrainOptions) -> u64 {
        self.seed.unwrap_or(train.seed)
    }

    /// The options that a stage's student is trained with: those of `[train]` where `[distill]` has none of its own.
    /// Class weights, focal loss, agreement, moved words, averaged runs, label smoothing and layer decay are the teacher's alone.
    /// `texts` is the number of texts to learn from, whether given or made, `long` ones or short.
    pub fn training(
        &self,
        stage: &Stage,
        last: bool,
        texts: usize,
        long: bool,
        train: &TrainOptions,
    ) -> TrainOptions {
        let (texts, [least, most]) =
            (texts.max(1) as f64, if long { [20_000.0, 200_000.0] } else { [64_000.0, 640_000.0] });
        let usual: f64 = (least / texts).clamp(1.5, 30.0).min((most / texts).max(0.5));
        let enough = usual * if last { 1.0 } else { 0.5 };
        TrainOptions {
            epochs: stage.epochs.or(self.epochs).or(Some(enough)),
            learning_rate: stage.learning_rate.or(self.learning_rate),
            batch_size: self.batch_size.unwrap_or(train.batch_size),
            eval_every: stage.eval_every.or(self.eval_every).or(train.eval_every),
            patience: self.patience.or(train.patience),
            seed: self.seed(train),
            label_smoothing: 0.0,
            layer_decay: 1.0,
            class_weights: ClassWeights::Rule(WeightRule::None),
            focal: 0.0,
            agreement: 0.0,
            adversarial: Some(0.0),
            soup: None,
            ..train.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_teachers_vectors_count_only_where_there_is_no_other() {
        let mut options = Distill::default();
        assert_eq!(options.cls_weight(), 1.0);
        options.other_teachers.push("other".into());
        assert_eq!(options.cls_weight(), 0.0);
        options.cls_weight = Some(0.5);
        assert_eq!(options.cls_weight(), 0.5);
    }

    #[test]
    fn few_texts_are_learned_from_more_often_than_many() {
        let epochs = |texts, last| {
            Distill::default()
                .training(&Stage::default(), last, texts, false, &TrainOptions::default())
                .epochs
        };
        assert_eq!([250, 16_000, 160_000].map(|texts| epochs(texts, true)), [30.0, 4.0, 1.5].map(Some));
        assert_eq!([1_000_000, 2_500_000].map(|texts| epochs(texts, true)), [0.64, 0.5].map(Some));
        assert_eq!(epochs(160_000, false), Some(0.75));
        let long = [5_000, 400_000].map(|texts| {
            Distill::default().training(&Stage::default(), true, texts, true, &TrainOptions::default()).epochs
        });
        assert_eq!(long, [4.0, 0.5].map(Some));
    }
}
