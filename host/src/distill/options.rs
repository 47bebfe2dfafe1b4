use super::{Size, chosen_layers};
use crate::bert::Config;
use crate::ranges::{
    Checked, count, ensure, not_negative, number, optional_counts, part, passes, positive, share,
};
use crate::train::{ClassWeights, TrainOptions, WeightRule};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Numbers of augmented texts per training text, and up to how many training texts augmentation is the default:
/// more are varied enough, and the teachers' answers on them take gigabytes.
const REPLACED: f64 = 1.0;
const SPLICED: f64 = 0.5;
const AUGMENTED_UP_TO: usize = 200_000;
/// Default number of mixed texts, and its maximum for each training text.
const MIXED: f64 = 16_000.0;
const MIXED_EACH: f64 = 16.0;

/// `[distill]`: a smaller model that learns from the fine-tuned one.
///
/// The student is cut out of the teacher in one or more stages: each cuts the model that the previous one
/// left, then trains it. It learns from the transfer set: the training texts, unlabelled texts, and augmented
/// texts, all labelled once by the teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distill {
    /// Layers of the teacher to keep: a count, or indices from 0.
    pub layers: Option<Layers>,
    /// Attention heads per layer; the most important ones are kept.
    pub heads: Option<usize>,
    /// Feed-forward width; the most important columns are kept.
    pub intermediate: Option<usize>,
    /// Width of the pooler; the most important columns are kept.
    pub pooler: Option<usize>,
    /// Rank of the word embeddings.
    pub embedding_rank: Option<usize>,
    /// Number of word pieces to keep: all single characters, and those that the texts need most.
    pub vocabulary: Option<usize>,
    /// Several cuts, one after another, instead of one.
    pub stages: Vec<Stage>,
    /// A preset instead of sizes and stages: `large`, `medium`, `small`, `tiny`, `nano`, or a bundle size
    /// such as `"3.5 MB"`.
    pub student: Option<Size>,
    /// A checkpoint folder or bundle to start from instead of the teacher.
    pub start: Option<PathBuf>,
    /// Number of teachers, fine-tuned alike with different seeds; their answers are averaged. Default: 1.
    pub teachers: usize,
    /// Checkpoint folders or bundles with the same labels whose answers are averaged with the teachers'. A
    /// different kind of model adds more than another of the same.
    pub other_teachers: Vec<PathBuf>,
    /// Files of texts whose labels, if any, are ignored: CSV, TSV or JSON by extension, else one text per line.
    pub unlabelled: Vec<PathBuf>,
    /// Augmented texts per training text with some words replaced by similar ones. Default: 1, or 0 for more
    /// than 200,000 training texts.
    pub replaced: Option<f64>,
    /// Augmented texts per training text joined from two training texts. Default: 0.5, or 0 for more than
    /// 200,000 training texts. Not for pairs or texts read in windows.
    pub spliced: Option<f64>,
    /// Whether a logistic regression on n-grams of the training texts is a teacher too. Default: if the base
    /// does not seem to know the language of at most 20,000 single texts (or windows) and they are not weighted
    /// by `class_weights` or `focal`; then also without `[distill]`. Not for pairs.
    pub ngrams: Option<bool>,
    /// Augmented texts per training text mixed from passages of up to three training texts, which make sense
    /// to the n-grams only. Default: 0, or with `ngrams` as many as make 16,000, but at most 16. Not for pairs.
    pub mixed: Option<f64>,
    /// Epochs over the transfer set. Default: 1.5, but at least 64,000 texts are read (in at most 30 epochs)
    /// and at most 640,000 (in at least half an epoch). For long texts 20,000 and 200,000; stages before the
    /// last read half as many.
    pub epochs: Option<f64>,
    /// Peak learning rate. Default: that of `[train]` for a model of this size.
    pub learning_rate: Option<f64>,
    /// Temperature that softens both distributions. Default: 2.
    pub temperature: f64,
    /// Weight of the loss on gold labels; the rest goes to the soft labels. Default: 0.1.
    pub alpha_hard: f64,
    /// Weight of the squared difference of the \[CLS\] vectors after the last layer. Default: 1, or 0 with
    /// other teachers or n-grams: a student tied to the vectors of one teacher learns little from the others.
    pub cls_weight: Option<f64>,
    /// Weight of the squared difference of the token vectors after each layer but the last. Default: 0.
    /// Doubles the training time.
    pub hidden_weight: f64,
    /// Weight of the difference in relations between the texts of a batch. Default: 0.
    pub relation_weight: f64,
    /// Dropout rate of the student. Default: 0.
    pub dropout: f64,
    /// Overrides the key of the same name in `[train]`.
    pub batch_size: Option<usize>,
    /// See `batch_size`.
    pub eval_every: Option<usize>,
    /// See `batch_size`.
    pub patience: Option<usize>,
    /// See `batch_size`.
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
            replaced: None,
            spliced: None,
            ngrams: None,
            mixed: None,
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

/// `[[distill.stages]]`: one cut and the training after it. Sizes that are not given stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stage {
    /// As in `[distill]`, applied to the model that the previous stage left; likewise the next five keys.
    pub layers: Option<Layers>,
    /// Attention heads per layer.
    pub heads: Option<usize>,
    /// Feed-forward width.
    pub intermediate: Option<usize>,
    /// Width of the pooler.
    pub pooler: Option<usize>,
    /// Rank of the word embeddings.
    pub embedding_rank: Option<usize>,
    /// Number of word pieces.
    pub vocabulary: Option<usize>,
    /// Overrides the key of the same name in `[distill]`.
    pub epochs: Option<f64>,
    /// Overrides the key of the same name in `[distill]`.
    pub learning_rate: Option<f64>,
    /// Overrides the key of the same name in `[distill]`.
    pub eval_every: Option<usize>,
    /// Whether to average the teachers' answers with those of the previous stage's student. Default: false.
    pub together: bool,
}

/// A number of layers, or their indices.
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
    /// Returns the stages as written, or the one that `[distill]` itself describes.
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

    /// Returns the weight of the \[CLS\] vectors, given or by default.
    pub fn cls_weight(&self) -> f64 {
        let alone = self.other_teachers.is_empty() && self.ngrams != Some(true);
        self.cls_weight.unwrap_or(if alone { 1.0 } else { 0.0 })
    }

    /// Returns whether this describes a student: how it is cut, or what it starts from.
    pub fn has_student(&self) -> bool {
        let sizes = !self.stages.is_empty() || self.stages() != [Stage::default()];
        sizes || self.student.is_some() || self.start.is_some()
    }

    fn only_forbids_ngrams(&self) -> bool {
        *self == Distill { ngrams: Some(false), ..Distill::default() }
    }

    /// Returns the number of texts with replaced words per training text, of which there are `texts`.
    pub fn replaced(&self, texts: usize) -> f64 {
        self.replaced.unwrap_or(if texts > AUGMENTED_UP_TO { 0.0 } else { REPLACED })
    }

    /// Returns the number of spliced texts per training text, of which there are `texts`.
    pub fn spliced(&self, texts: usize) -> f64 {
        self.spliced.unwrap_or(if texts > AUGMENTED_UP_TO { 0.0 } else { SPLICED })
    }

    /// Returns the number of mixed texts per training text, of which there are `texts`.
    pub fn mixed(&self, texts: usize) -> f64 {
        let usual =
            if self.ngrams == Some(true) { (MIXED / texts.max(1) as f64).min(MIXED_EACH) } else { 0.0 };
        self.mixed.unwrap_or(usual)
    }

    /// Returns the seed of augmentation, order and dropout: its own, or that of `[train]`.
    pub fn seed(&self, train: &TrainOptions) -> u64 {
        self.seed.unwrap_or(train.seed)
    }

    /// Returns the training options of a stage: those of `[train]` where `[distill]` has none of its own.
    /// Class weights, focal loss, agreement, adversarial perturbation, averaged runs, label smoothing and
    /// layer decay apply to the teacher only. `texts` is the size of the transfer set; `long` tells whether
    /// its texts are long.
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

    /// Checks ranges and combinations.
    pub(crate) fn check(&self) -> Checked {
        let own = Distill { stages: Vec::new(), ..self.clone() }.stages().remove(0);
        if self.student.is_some() {
            let problem = "chooses the sizes; remove those in `[distill]` and its stages";
            ensure(own == Stage::default() && self.stages.is_empty(), "distill.student", problem)?;
        } else if !self.stages.is_empty() {
            let problem = "go together with no size in `[distill]` itself; put it into the first stage";
            ensure(own == Stage::default(), "distill.stages", problem)?;
        } else if !self.has_student() && self.ngrams != Some(true) && !self.only_forbids_ngrams() {
            let problem = "or another size, or `distill.student`, has to say what the student is";
            return ensure(false, "distill.layers", problem);
        }
        self.stages().iter().try_for_each(Stage::check)?;
        count(self.teachers, "distill.teachers")?;
        ensure(self.teachers <= 100, "distill.teachers", "are more than 100")?;
        let augmented = [
            (self.replaced, "distill.replaced"),
            (self.spliced, "distill.spliced"),
            (self.mixed, "distill.mixed"),
        ];
        for (texts, key) in augmented {
            number(texts.unwrap_or_default(), |x| (0.0..=1000.0).contains(&x), key, "0 to 1000")?;
        }
        self.epochs.iter().try_for_each(|&epochs| passes(epochs, "distill.epochs"))?;
        self.learning_rate.iter().try_for_each(|&rate| positive(rate, "distill.learning_rate"))?;
        positive(self.temperature, "distill.temperature")?;
        share(self.alpha_hard, "distill.alpha_hard")?;
        not_negative(self.cls_weight(), "distill.cls_weight")?;
        not_negative(self.hidden_weight, "distill.hidden_weight")?;
        not_negative(self.relation_weight, "distill.relation_weight")?;
        part(self.dropout, "distill.dropout")?;
        ensure(
            self.batch_size.unwrap_or(1) <= TrainOptions::MOST_TEXTS,
            "distill.batch_size",
            "is more than 1048576",
        )?;
        optional_counts(&[
            (self.batch_size, "distill.batch_size"),
            (self.eval_every, "distill.eval_every"),
            (self.patience, "distill.patience"),
        ])
    }
}

impl Stage {
    /// Returns whether it leaves a model of this configuration as it is.
    pub fn keeps_all(&self, from: &Config) -> bool {
        let keeps = |asked: Option<usize>, now: usize| asked.is_none_or(|asked| asked >= now);
        let all = from.num_hidden_layers;
        let layers = self.layers.as_ref().map(|asked| chosen_layers(asked, all));
        layers.is_none_or(|kept| kept.is_ok_and(|kept| kept.len() == all))
            && from.layers().iter().all(|layer| keeps(self.heads, layer.heads))
            && from.layers().iter().all(|layer| keeps(self.intermediate, layer.intermediate))
            && keeps(self.pooler, from.pooler_size())
            && keeps(self.vocabulary, from.vocab_size)
            && (self.embedding_rank.is_none() || self.embedding_rank == from.embedding_rank())
    }

    fn check(&self) -> Checked {
        match &self.layers {
            Some(Layers::Count(layers)) => count(*layers, "distill.layers")?,
            Some(Layers::These(layers)) => {
                let ascending = !layers.is_empty() && layers.is_sorted_by(|a, b| a < b);
                ensure(ascending, "distill.layers", "has to list layers in ascending order")?;
            }
            None => {}
        }
        optional_counts(&[
            (self.heads, "distill.heads"),
            (self.intermediate, "distill.intermediate"),
            (self.pooler, "distill.pooler"),
            (self.embedding_rank, "distill.embedding_rank"),
            (self.vocabulary, "distill.vocabulary"),
            (self.eval_every, "distill.stages.eval_every"),
        ])?;
        self.epochs.iter().try_for_each(|&epochs| passes(epochs, "distill.stages.epochs"))?;
        self.learning_rate.iter().try_for_each(|&rate| positive(rate, "distill.stages.learning_rate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_learned_only_without_other_teachers() {
        let mut options = Distill::default();
        assert_eq!(options.cls_weight(), 1.0);
        options.other_teachers.push("other".into());
        assert_eq!(options.cls_weight(), 0.0);
        let ngrams = Distill { ngrams: Some(true), ..Distill::default() };
        assert_eq!(ngrams.cls_weight(), 0.0);
        options.cls_weight = Some(0.5);
        assert_eq!(options.cls_weight(), 0.5);
    }

    #[test]
    fn stages_that_cut_nothing_are_told_from_those_that_do() {
        let config = serde_json::json!({
            "vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 32,
        });
        let from: Config = serde_json::from_value(config).unwrap();
        let kept = [
            Stage::default(),
            Stage { layers: Some(Layers::Count(3)), vocabulary: Some(200), ..Stage::default() },
            Stage { layers: Some(Layers::These(vec![0, 1, 2])), heads: Some(2), ..Stage::default() },
            Stage { intermediate: Some(16), pooler: Some(8), epochs: Some(1.0), ..Stage::default() },
        ];
        assert!(kept.iter().all(|stage| stage.keeps_all(&from)));
        let cut = [
            Stage { layers: Some(Layers::Count(2)), ..Stage::default() },
            Stage { layers: Some(Layers::These(vec![0, 2])), ..Stage::default() },
            Stage { heads: Some(1), ..Stage::default() },
            Stage { intermediate: Some(15), ..Stage::default() },
            Stage { pooler: Some(7), ..Stage::default() },
            Stage { vocabulary: Some(99), ..Stage::default() },
            Stage { embedding_rank: Some(8), ..Stage::default() },
        ];
        assert!(!cut.iter().any(|stage| stage.keeps_all(&from)));
    }

    #[test]
    fn very_many_texts_are_not_augmented() {
        let made = |distill: Distill, texts| [distill.replaced(texts), distill.spliced(texts)];
        assert_eq!(made(Distill::default(), 200_000), [1.0, 0.5]);
        assert_eq!(made(Distill::default(), 200_001), [0.0, 0.0]);
        let given = Distill { replaced: Some(2.0), spliced: Some(1.0), ..Distill::default() };
        assert_eq!(made(given, 200_001), [2.0, 1.0]);
    }

    #[test]
    fn few_texts_are_mixed_for_ngrams() {
        let ngrams = Distill { ngrams: Some(true), ..Distill::default() };
        assert_eq!([100, 4_000, 32_000].map(|texts| ngrams.mixed(texts)), [16.0, 4.0, 0.5]);
        assert_eq!(Distill::default().mixed(100), 0.0);
        assert_eq!(Distill { mixed: Some(2.0), ..ngrams }.mixed(100), 2.0);
    }

    #[test]
    fn small_transfer_sets_get_more_epochs() {
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
