//! The steps of a recipe, each reused while what it is made from stays the same.

use super::aware::quantization_aware;
use super::pack::{manifest, pack};
use super::pairs::{Compares, learn_to_compare, without_comparison};
use super::step::{fingerprint, fit, json, once};
use super::wider::pack_wider;
use super::{Aware, Recipe, base, prepare::Prepared, students::distil};
use crate::bert::{Checkpoint, Classifier};
use crate::data::Task;
use crate::distill::{Distill, Plan, chosen_layers};
use crate::evaluate::{Comparison, Refusal};
use crate::export;
use crate::metrics::Metric;
use crate::quantize::{self, Bits};
use crate::train::{self, Event, Summary, Supervised, TrainOptions};
use std::path::{Path, PathBuf};

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// The fine-tuned teacher.
    Train,
    /// The student.
    Distill,
    /// ONNX files, checked bundle, report.
    Pack,
}

/// What happens during a run.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step begins; `reused` when its output is already there.
    Step {
        /// Its name.
        name: &'a str,
        /// Nothing has to be done.
        reused: bool,
    },
    /// Something a person should know.
    Note(&'a str),
    /// Inside of training.
    Training(Event<'a>),
    /// `done` of `all` texts were classified.
    Classified {
        /// So many.
        done: usize,
        /// Of so many.
        all: usize,
    },
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// The teachers' dev figures.
    pub teachers: Vec<Summary>,
    /// The students', stage by stage; the last one is packed.
    pub students: Vec<Summary>,
    /// fp32 against int8, where the run went that far.
    pub comparison: Option<Comparison>,
    /// The checked bundle.
    pub bundle: Option<PathBuf>,
}

/// Why a run stops.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each holds the error of its room")]
pub enum RunError {
    #[error(transparent)]
    Recipe(#[from] super::RecipeError),
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    #[error(transparent)]
    Bert(#[from] crate::bert::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Quantize(#[from] quantize::Error),
    #[error("asking a teacher: {0}")]
    Device(#[from] goldcrest_edge::model::Error),
    #[error(transparent)]
    Pack(#[from] export::PackError),
    #[error(transparent)]
    Bundle(#[from] crate::evaluate::BundleError),
    #[error(transparent)]
    Compare(#[from] crate::evaluate::CompareError),
    #[error("{bundle} is not made: {refusal}")]
    Refused { bundle: PathBuf, refusal: Box<Refusal> },
    #[error(
        "{bundle} is not made: pack.vocabulary leaves out word pieces that cost {cost:.2} points of {metric} on dev, more than quantize.max_drop allows ({max_drop:.2}): keep more"
    )]
    Pruned { bundle: PathBuf, cost: f64, metric: Metric, max_drop: f64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, which the recipe starts from or asks, is no bundle and no folder with config.json: run scripts/fetch-base.sh or the recipe that makes it, or name another checkpoint"
    )]
    NoBase { path: PathBuf },
    #[error("train.epochs is 0, and base.checkpoint {path} has no classifier for these labels: let it train")]
    NoHead { path: PathBuf },
    #[error(
        "distill.other_teachers {path}: has to be trained for the same task, {task}, with the labels {labels} in this order"
    )]
    OtherLabels { path: PathBuf, task: Task, labels: String },
    #[error(transparent)]
    Base(#[from] export::ReadError),
    #[error(
        "there is nothing to distil: the recipe has no [distill] (of labelled texts, --student names a size)"
    )]
    NoStudent,
    #[error("task.metric is {metric}, which a {task} task does not have")]
    Metric { metric: Metric, task: Task },
    #[error("{key} {problem}")]
    Unsuitable { key: &'static str, problem: String },
    #[error(
        "nothing is left to {what}: all texts are also in {}; give other data, or `remove_overlap = false` under [data]", held_out.display()
    )]
    NothingLeft { what: &'static str, held_out: PathBuf },
    #[error("a bundle of this recipe would be refused: {0}")]
    Manifest(#[from] goldcrest_edge::bundle::ManifestError),
    #[error("distill.student {0}")]
    Size(String),
    #[error("golden_messages {path}: {problem}")]
    Golden { path: PathBuf, problem: String },
}

impl RunError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| RunError::Io { path, source }
    }
}

pub(super) type Watch<'a> = &'a mut dyn FnMut(Progress);

/// Runs a recipe up to a step. Finished steps whose inputs did not change are reused; an interrupted training
/// continues from its last saved state.
///
/// # Errors
/// [`RunError`]; everything already made stays.
pub fn run(recipe: &Recipe, until: Until, watch: Watch) -> Result<Finished, RunError> {
    if until == Until::Distill && recipe.distill.is_none() {
        return Err(RunError::NoStudent);
    }
    let prepared = Prepared::read(recipe, watch)?;
    let teachers = train_teachers(recipe, &prepared, watch)?;
    let summaries = teachers.summaries.clone();
    let mut finished = Finished { teachers: summaries, students: Vec::new(), comparison: None, bundle: None };
    if until == Until::Train {
        return Ok(finished);
    }
    let (mut folder, mut bits) = (teachers.folders[0].clone(), recipe.quantize.embedding_bits(8));
    for (student, summary, of_student) in students(recipe, &teachers, &prepared, watch)? {
        (folder, bits) = (student, of_student);
        finished.students.push(summary);
    }
    if until == Until::Distill {
        return Ok(finished);
    }
    let (bundle, comparison) = pack_within_limits(recipe, &folder, bits, &prepared, watch)?;
    let most = recipe.distill.as_ref().and_then(|distill| distill.student.as_ref()?.megabytes());
    let size = std::fs::metadata(&bundle).map_or(0.0, |file| file.len() as f64 / 1e6);
    if let Some(most) = most.filter(|most| size > *most) {
        watch(Progress::Note(&format!(
            "the bundle takes {size:.2} MB, more than {most} MB (distill.student)"
        )));
    }
    (finished.bundle, finished.comparison) = (Some(bundle), Some(comparison));
    Ok(finished)
}

/// What [`run`] checks before it trains: that all files can be read, and that a bundle can come of it.
///
/// # Errors
/// [`RunError`].
pub fn check(recipe: &Recipe) -> Result<(), RunError> {
    let prepared = Prepared::read(recipe, &mut |_| ())?;
    load_base(recipe, &prepared).map(drop)
}

/// Packs the model of `folder` as it is; where int8 loses more than the gate allows, after learning to be rounded; where that does
/// not help, with some matrices in half precision.
fn pack_within_limits(
    recipe: &Recipe,
    folder: &Path,
    bits: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<(PathBuf, Comparison), RunError> {
    let aware = |watch: Watch| quantization_aware(recipe, folder, bits, prepared, watch);
    let mut packed = match recipe.quantize.aware {
        Aware::Always => pack(recipe, folder, &aware(watch)?, bits, &[], prepared, watch),
        _ => pack(recipe, folder, folder, bits, &[], prepared, watch),
    };
    if let (Err(RunError::Refused { refusal, .. }), Aware::IfNeeded) = (&packed, recipe.quantize.aware) {
        watch(Progress::Note(&format!("{refusal}: the model learns to be rounded")));
        packed = pack(recipe, folder, &aware(watch)?, bits, &[], prepared, watch);
    }
    if let (Err(RunError::Refused { refusal, .. }), true) = (&packed, recipe.quantize.widens()) {
        watch(Progress::Note(&format!("{refusal}: what loses most stays in half precision")));
        packed = pack_wider(recipe, folder, bits, prepared, watch);
    }
    // not before the last try is over: an earlier run's bundle may be what comes out again
    if let Err(RunError::Refused { bundle, .. } | RunError::Pruned { bundle, .. }) = &packed {
        let _ = std::fs::remove_file(bundle);
    }
    packed
}

/// A student's name and what its bundle came to.
pub type Stages = Vec<(String, Result<Comparison, RunError>)>;

/// As [`run`], and packs the student of every stage, not only the last one, each into a folder of its own.
///
/// # Errors
/// [`RunError`] of training; that of packing is the stage's.
pub fn run_every_stage(recipe: &Recipe, watch: Watch) -> Result<Stages, RunError> {
    let prepared = Prepared::read(recipe, watch)?;
    let teachers = train_teachers(recipe, &prepared, watch)?;
    let students = students(recipe, &teachers, &prepared, watch)?;
    let mut models: Vec<_> = students.into_iter().map(|(folder, _, bits)| (folder, bits)).collect();
    if models.is_empty() {
        models.push((teachers.folders[0].clone(), recipe.quantize.embedding_bits(8)));
    }
    let pack_one = |(folder, bits): (PathBuf, Bits)| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = Recipe { output: recipe.output.join("packed").join(&name), ..recipe.clone() };
        let packed = match std::fs::create_dir_all(&own.output) {
            Ok(()) => {
                pack_within_limits(&own, &folder, bits, &prepared, watch).map(|(_, comparison)| comparison)
            }
            Err(source) => Err(RunError::Io { path: own.output.clone(), source }),
        };
        (name, packed)
    };
    Ok(models.into_iter().map(pack_one).collect())
}

/// The students of all stages, none where the teacher itself is packed, and the bits of their word embeddings.
fn students(
    recipe: &Recipe,
    teachers: &Teachers,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Vec<(PathBuf, Summary, Bits)>, RunError> {
    let Some(distill) = &recipe.distill else { return Ok(Vec::new()) };
    let all = [&teachers.folders[..], &distill.other_teachers].concat();
    let plan = plan(recipe, distill, &all[0], prepared)?;
    let students = distil(recipe, distill, &plan.stages, &all, teachers.compares.as_ref(), prepared, watch)?;
    let bits = plan.embedding_bits.into_iter().map(|planned| recipe.quantize.embedding_bits(planned));
    Ok(students.into_iter().zip(bits).map(|((folder, summary), bits)| (folder, summary, bits)).collect())
}

/// The stages of a student as written, or those that its size asks for.
fn plan(recipe: &Recipe, distill: &Distill, teacher: &Path, prepared: &Prepared) -> Result<Plan, RunError> {
    let Some(size) = &distill.student else {
        let stages = distill.stages();
        return Ok(Plan { embedding_bits: vec![8; stages.len()], stages });
    };
    let from = base::load(distill.start.as_deref().unwrap_or(teacher))?.config;
    size.plan(&from, prepared.reads.max_tokens, recipe.quantize.embedding_bits).map_err(RunError::Size)
}

/// The base with the head's labels, after all that can be checked before hours of training.
fn load_base(recipe: &Recipe, prepared: &Prepared) -> Result<Checkpoint, RunError> {
    let mut base = base::load(&recipe.base.checkpoint)?;
    prepared.set_head(&mut base);
    check_other_teachers(recipe, prepared, &base)?;
    check_what_follows(recipe, prepared, &base)?;
    Ok(base)
}

/// Errors unless the other teachers answer the same question, and of texts as long.
fn check_other_teachers(recipe: &Recipe, prepared: &Prepared, own: &Checkpoint) -> Result<(), RunError> {
    let others = recipe.distill.iter().flat_map(|distill| &distill.other_teachers);
    for path in others {
        let other = base::load(path)?;
        check_positions(prepared, path, &other)?;
        let (own, other) = (&own.config, other.config);
        let same_labels = match prepared.train.task {
            Task::Regression => other.num_labels() == 1,
            _ => other.labels() == own.labels(),
        };
        if !same_labels || other.problem_type.is_some_and(|problem| Some(problem) != own.problem_type) {
            let (path, labels) = (path.clone(), own.labels().join(", "));
            return Err(RunError::OtherLabels { path, task: prepared.train.task, labels });
        }
    }
    Ok(())
}

/// Errors where nothing would make a head, a file that is read after training is missing or cannot be read, a student has
/// layers that the base lacks, none is as small as it should be, or the bundle would be refused.
fn check_what_follows(recipe: &Recipe, prepared: &Prepared, base: &Checkpoint) -> Result<(), RunError> {
    let headless = !base.tensors.contains_key("classifier.weight") || recipe.base.pooler.passes_through(base);
    if recipe.train.epochs == Some(0.0) && headless {
        return Err(RunError::NoHead { path: recipe.base.checkpoint.clone() });
    }
    manifest(recipe, base, prepared).check()?;
    prepared.golden(recipe)?;
    for path in recipe.distill.iter().flat_map(|distill| &distill.unlabelled) {
        recipe.data.unlabelled(path, prepared.train.is_paired())?;
    }
    check_positions(prepared, &recipe.base.checkpoint, base)?;
    if let Some(distill) = &recipe.distill {
        let start = distill.start.as_deref().map(base::load).transpose()?;
        if let (Some(path), Some(start)) = (&distill.start, &start) {
            check_positions(prepared, path, start)?;
        }
        let first = &start.as_ref().unwrap_or(base).config;
        if let Some(size) = &distill.student {
            size.plan(first, prepared.reads.max_tokens, recipe.quantize.embedding_bits)
                .map_err(RunError::Size)?;
        } else {
            let mut left = first.num_hidden_layers;
            for layers in distill.stages().iter().filter_map(|stage| stage.layers.as_ref()) {
                left = chosen_layers(layers, left)?.len();
            }
        }
    }
    Supervised::new(&prepared.train, &recipe.train)?;
    Ok(())
}

/// Errors where texts may be longer than a model has positions for.
fn check_positions(prepared: &Prepared, path: &Path, model: &Checkpoint) -> Result<(), RunError> {
    let (asked, positions) = (prepared.reads.max_tokens, model.config.max_position_embeddings);
    if asked <= positions {
        return Ok(());
    }
    let path = path.display();
    let problem = format!("is {asked}, and {path} has positions for {positions} tokens: ask for no more");
    Err(RunError::Unsuitable { key: "task.max_tokens", problem })
}

/// The fine-tuned base.
struct Teachers {
    folders: Vec<PathBuf>,
    summaries: Vec<Summary>,
    /// What they started from, where that compares pairs.
    compares: Option<Compares>,
}

/// Fine-tunes the base, as often as there are teachers, each time with another seed. Of pairs it learns to compare first.
fn train_teachers(recipe: &Recipe, prepared: &Prepared, watch: Watch) -> Result<Teachers, RunError> {
    let mut whole = load_base(recipe, prepared)?;
    let compares = learn_to_compare(recipe, &whole, prepared, watch)?;
    let mut base = base::digest(&recipe.base.checkpoint)?;
    let learned = compares.as_ref().and_then(|c| c.learned.as_deref());
    if let Some(folder) = learned {
        (whole, base) = (without_comparison(folder)?, base::digest(folder)?);
        prepared.set_head(&mut whole);
    }
    let count = recipe.distill.as_ref().map_or(1, |d| d.teachers);
    let (mut folders, mut summaries) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let (name, folder) = match number {
            0 => ("train".to_string(), "teacher".to_string()),
            _ => (format!("train teacher {} of {count}", number + 1), format!("teacher-{}", number + 1)),
        };
        let mut checkpoint = whole.clone();
        if let Some(rate) = recipe.train.dropout {
            checkpoint.config.set_dropout(rate);
        }
        let options = TrainOptions {
            seed: recipe.train.seed + number as u64,
            epochs: Some(recipe.train.epochs(prepared.train.len(), prepared.long)),
            learning_rate: Some(recipe.train.learning_rate(&checkpoint.config)),
            adversarial: Some(recipe.train.adversarial(prepared.train.len(), prepared.long)),
            ..recipe.train.clone()
        };
        let folder = recipe.output.join(folder);
        let max_tokens = prepared.reads.max_tokens.to_string();
        let starts = json(&(recipe.base.pooler, recipe.base.head));
        let print = fingerprint(&[
            "train",
            &base,
            &starts,
            &prepared.digest(),
            &json(&options),
            &max_tokens,
            &json(&prepared.criterion),
        ]);
        let summary = once(&name, &folder, &print, watch, |watch| {
            if learned.is_none() && recipe.base.pooler.passes_through(&checkpoint) {
                watch(Progress::Note("the pooler passes [CLS] on (base.pooler)"));
                checkpoint.pass_through_pooler();
                // a head that was trained on another pooler is none
                checkpoint.tensors.retain(|name, _| !name.starts_with("classifier."));
            }
            if recipe.train.epochs.is_none() || recipe.train.learning_rate.is_none() {
                let (epochs, rate) =
                    (options.epochs.unwrap_or_default(), options.learning_rate.unwrap_or_default());
                watch(Progress::Note(&format!("{epochs:.3} epochs, learning rate {rate:.2e}")));
            }
            let new_head = !checkpoint.tensors.contains_key("classifier.weight");
            let mut model = Classifier::new(checkpoint, options.seed)?;
            let (train, dev) = prepared.encode(&model, watch)?;
            let task = train.data.task;
            let set = new_head && recipe.base.sets_head(task) && train::set_head(&mut model, &train)?;
            if set && task != Task::Regression {
                watch(Progress::Note(
                    "the head starts from what the encoder knows of the training texts (base.head)",
                ));
            }
            let objective = Supervised::new(&train.data, &options)?;
            fit(&mut model, [&train, &dev], prepared.criterion, &options, &objective, &folder, &print, watch)
        })?;
        folders.push(folder);
        summaries.push(summary);
    }
    Ok(Teachers { folders, summaries, compares })
}
