//! The steps of a recipe, each reused while what it is made from stays the same.

use super::aware::quantization_aware;
use super::{Aware, Recipe, TextWindows, base, prepare::Prepared, students::distil};
use crate::bert::{Checkpoint, Classifier, ProblemType};
use crate::data::{Dataset, Task};
use crate::distill::{Distill, Plan, piece_counts, prune_vocabulary};
use crate::evaluate::{
    Comparison, Gate, Inputs, Outputs, Refusal, describe_decision, fit_decision, run_bundle, run_texts,
};
use crate::export;
use crate::metrics::Metric;
use crate::quantize::{self, Bits};
use crate::train::{self, Encoded, Event, Job, Objective, Summary, Supervised, TrainOptions};
use goldcrest_edge::bundle::{Licence, Manifest, Measured, Windows};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "base.checkpoint {path} is no bundle and no folder with config.json: run scripts/fetch-base.sh, or name another checkpoint"
    )]
    NoBase { path: PathBuf },
    #[error("train.epochs is 0, and base.checkpoint {path} has no classifier for these labels: let it train")]
    NoHead { path: PathBuf },
    #[error(transparent)]
    Base(#[from] export::ReadError),
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
    let prepared = Prepared::read(recipe, watch)?;
    let teachers = train_teachers(recipe, &prepared, watch)?;
    let (folders, teachers): (Vec<PathBuf>, Vec<Summary>) = teachers.into_iter().unzip();
    let mut finished = Finished { teachers, students: Vec::new(), comparison: None, bundle: None };
    if until == Until::Train {
        return Ok(finished);
    }
    let mut folder = folders[0].clone();
    let mut embedding_bits = recipe.quantize.embedding_bits;
    if let Some(distill) = &recipe.distill {
        let plan = plan(recipe, distill, &folders[0])?;
        for (student, summary) in distil(recipe, distill, &plan.stages, &folders, &prepared, watch)? {
            (folder, _) = (student, finished.students.push(summary));
        }
        embedding_bits = embedding_bits.or(Some(plan.embedding_bits));
    }
    let bits = if embedding_bits == Some(4) { Bits::Four } else { Bits::Eight };
    if until == Until::Distill {
        return Ok(finished);
    }
    let aware = |watch: Watch| quantization_aware(recipe, &folder, bits, &prepared, watch);
    let packed = match recipe.quantize.aware {
        Aware::Always => pack(recipe, &folder, &aware(watch)?, bits, &prepared, watch),
        _ => pack(recipe, &folder, &folder, bits, &prepared, watch),
    };
    let (bundle, comparison) = match packed {
        Err(RunError::Refused { refusal, .. }) if recipe.quantize.aware == Aware::IfNeeded => {
            watch(Progress::Note(&format!("{refusal}: the model learns to be rounded")));
            pack(recipe, &folder, &aware(watch)?, bits, &prepared, watch)?
        }
        other => other?,
    };
    (finished.bundle, finished.comparison) = (Some(bundle), Some(comparison));
    Ok(finished)
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
    let folders: Vec<PathBuf> = teachers.into_iter().map(|(folder, _)| folder).collect();
    let mut models = vec![folders[0].clone()];
    let mut bits = recipe.quantize.embedding_bits;
    if let Some(distill) = &recipe.distill {
        let plan = plan(recipe, distill, &folders[0])?;
        bits = bits.or(Some(plan.embedding_bits));
        models = distil(recipe, distill, &plan.stages, &folders, &prepared, watch)?
            .into_iter()
            .map(|(folder, _)| folder)
            .collect();
    }
    let bits = if bits == Some(4) { Bits::Four } else { Bits::Eight };
    let pack_one = |folder: PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = Recipe { output: recipe.output.join("packed").join(&name), ..recipe.clone() };
        let packed = match std::fs::create_dir_all(&own.output) {
            Ok(()) => pack(&own, &folder, &folder, bits, &prepared, watch).map(|(_, comparison)| comparison),
            Err(source) => Err(RunError::Io { path: own.output.clone(), source }),
        };
        (name, packed)
    };
    Ok(models.into_iter().map(pack_one).collect())
}

/// The stages of a student as written, or those that its size asks for.
fn plan(recipe: &Recipe, distill: &Distill, teacher: &Path) -> Result<Plan, RunError> {
    let Some(size) = &distill.student else {
        return Ok(Plan { stages: distill.stages(), embedding_bits: 8 });
    };
    let from = base::load(distill.start.as_deref().unwrap_or(teacher))?.config;
    size.plan(&from, recipe.task.max_tokens).map_err(RunError::Size)
}

/// The mark of a finished training step.
#[derive(Serialize, Deserialize)]
struct Done {
    fingerprint: String,
    summary: Summary,
}

const DONE: &str = "done.json";

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of everything a step is made from.
pub(super) fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Fine-tunes the base, as often as there are teachers, each time with another seed.
fn train_teachers(
    recipe: &Recipe,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Vec<(PathBuf, Summary)>, RunError> {
    let count = recipe.distill.as_ref().map_or(1, |d| d.teachers);
    let whole = base::load(&recipe.base.checkpoint)?;
    let base = base::digest(&recipe.base.checkpoint)?;
    let mut teachers = Vec::with_capacity(count);
    for number in 0..count {
        let (name, folder) = match number {
            0 => ("train".to_string(), "teacher".to_string()),
            _ => (format!("train teacher {} of {count}", number + 1), format!("teacher-{}", number + 1)),
        };
        let mut checkpoint = whole.clone();
        prepared.set_head(&mut checkpoint);
        if let Some(rate) = recipe.train.dropout {
            checkpoint.config.hidden_dropout_prob = rate;
            checkpoint.config.attention_probs_dropout_prob = rate;
        }
        let options = TrainOptions { seed: recipe.train.seed + number as u64, ..recipe.train.clone() };
        let folder = recipe.output.join(folder);
        let max_tokens = recipe.task.max_tokens.to_string();
        let print = fingerprint(&["train", &base, &prepared.digest(), &json(&options), &max_tokens]);
        let summary = once(&name, &folder, &print, watch, |watch| {
            if options.epochs == 0.0 && !checkpoint.tensors.contains_key("classifier.weight") {
                return Err(RunError::NoHead { path: recipe.base.checkpoint.clone() });
            }
            let mut model = Classifier::new(checkpoint, options.seed)?;
            let (train, dev) = prepared.encode(&model, recipe.task.max_tokens, watch)?;
            let objective = Supervised::new(&train.data, &options)?;
            fit(&mut model, [&train, &dev], prepared.metric, &options, &objective, &folder, &print, watch)
        })?;
        teachers.push((folder, summary));
    }
    Ok(teachers)
}

/// A training step, unless its output is there.
pub(super) fn once(
    name: &str,
    folder: &Path,
    fingerprint: &str,
    watch: Watch,
    step: impl FnOnce(Watch) -> Result<Summary, RunError>,
) -> Result<Summary, RunError> {
    let mark = folder.join(DONE);
    let done = std::fs::read(&mark).ok().and_then(|bytes| serde_json::from_slice::<Done>(&bytes).ok());
    if let Some(done) = done.filter(|done| done.fingerprint == fingerprint) {
        watch(Progress::Step { name, reused: true });
        return Ok(done.summary);
    }
    watch(Progress::Step { name, reused: false });
    let _ = std::fs::remove_file(&mark);
    let summary = step(watch)?;
    let done = Done { fingerprint: fingerprint.into(), summary };
    save(&mark, json(&done).as_bytes())?;
    Ok(done.summary)
}

#[expect(clippy::too_many_arguments, reason = "one place that fills in a Job")]
pub(super) fn fit(
    model: &mut Classifier,
    [train, dev]: [&Encoded; 2],
    metric: Metric,
    options: &TrainOptions,
    objective: &dyn Objective,
    folder: &Path,
    fingerprint: &str,
    watch: Watch,
) -> Result<Summary, RunError> {
    let dev = Some((dev, metric));
    let mut job = Job { model, train, dev, options, objective, folder, fingerprint };
    Ok(train::train(&mut job, &mut |event| watch(Progress::Training(event)))?)
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain values")
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    goldcrest_edge::bundle::save(path, bytes).map_err(RunError::io(path))
}

/// Quantizes `folder`, exports, packs both precisions, compares them through the device's code, and lets the gate decide.
/// `trained` is what int8 is held against: the same folder, or what it was before it learned to be rounded.
fn pack(
    recipe: &Recipe,
    trained: &Path,
    folder: &Path,
    embeddings: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<(PathBuf, Comparison), RunError> {
    watch(Progress::Step { name: "quantize", reused: false });
    let trained = as_packed(recipe, trained, prepared, watch)?;
    let checkpoint = as_packed(recipe, folder, prepared, &mut |_| ())?;
    let quantized = quantize::quantize(&checkpoint, embeddings)?;
    watch(Progress::Step { name: "export", reused: false });
    let path = |suffix: &str| recipe.output.join(format!("{}{suffix}", recipe.pack.name));
    let (fp32, int8) = (export::fp32(&trained)?, export::int8(&quantized));
    save(&recipe.output.join("model.fp32.onnx"), &fp32.to_bytes())?;
    save(&recipe.output.join("model.int8.onnx"), &export::int8_unsigned(&quantized).to_bytes())?;

    watch(Progress::Step { name: "compare", reused: false });
    let vocabulary = &checkpoint.tokenizer.vocab;
    let mut manifest = manifest(recipe, &checkpoint, prepared);
    let (fp32_bundle, candidate) = (path(".fp32.bundle"), path(".refused.bundle"));
    save(&fp32_bundle, &export::pack(&manifest, fp32, vocabulary, &[])?)?;
    save(&candidate, &export::pack(&manifest, int8, vocabulary, &[])?)?;
    let data = prepared.test.as_ref().unwrap_or(&prepared.dev);
    let all = data.len() * 2
        + prepared.test.as_ref().map_or(0, |_| prepared.dev.len())
        + prepared.out_of_scope.len();
    let mut done = 0;
    let mut classified = || {
        done += 1;
        watch(Progress::Classified { done, all });
    };
    let fp32_run = run_bundle(&fp32_bundle, data, &mut classified)?;
    let int8_run = run_bundle(&candidate, data, &mut classified)?;
    // what is decided by is fitted on dev, whatever is measured on
    let on_dev = match prepared.test {
        Some(_) => run_bundle(&candidate, &prepared.dev, &mut classified)?.logits,
        None => int8_run.logits.clone(),
    };
    manifest.decision = fit_decision(&prepared.dev, &on_dev, &recipe.decision);
    let out_of_scope = run_texts(&candidate, &prepared.out_of_scope, &mut classified)?;
    let thresholds = Some(manifest.decision.thresholds.as_slice()).filter(|t| !t.is_empty());
    let model = Classifier::new(trained, 0)?;
    let trained = Encoded::new(data.clone(), model.tokenizer(), recipe.task.max_tokens)?;
    let trained = train::predict(&model, &trained, &mut |_| ())?.logits;
    let trained = Outputs { logits: &trained, thresholds, bytes: None, latency: None };
    let mut comparison = Comparison::new(&Inputs {
        data,
        metric: Some(prepared.metric),
        fp32: fp32_run.outputs_with(thresholds),
        int8: int8_run.outputs_with(thresholds),
        host: Some(trained),
    })?;
    comparison.fitted =
        Some(describe_decision(&manifest.decision, data, &int8_run.logits, Some(&out_of_scope)));
    save(&recipe.output.join("report.json"), json(&comparison).as_bytes())?;
    save(&recipe.output.join("report.md"), comparison.markdown().as_bytes())?;
    let bundle = path(".bundle");
    let gate = Gate {
        max_drop: Some(recipe.quantize.max_drop),
        max_drop_per_class: recipe.quantize.max_drop_per_class,
    };
    if let Err(refusal) = gate.check(&comparison) {
        let _ = std::fs::remove_file(&bundle);
        return Err(RunError::Refused { bundle, refusal: Box::new(refusal) });
    }

    watch(Progress::Step { name: "pack", reused: false });
    manifest.measured = measured(&comparison, data);
    let golden = prepared.golden(recipe)?;
    save(&bundle, &export::pack(&manifest, export::int8(&quantized), vocabulary, &golden)?)?;
    let _ = std::fs::remove_file(&candidate);
    Ok((bundle, comparison))
}

/// A checkpoint without what a bundle does not need: rare word pieces where the recipe says so, positions never read.
fn as_packed(
    recipe: &Recipe,
    folder: &Path,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Checkpoint, RunError> {
    let mut checkpoint = Checkpoint::load(folder)?;
    if let Some(budget) = recipe.pack.vocabulary {
        let texts = Encoded::new(prepared.train.clone(), &checkpoint.tokenizer, recipe.task.max_tokens)?;
        let before = checkpoint.config.vocab_size;
        let counts = piece_counts(&texts, before, texts.tokens.len(), 0.0);
        let pruned = prune_vocabulary(&checkpoint, &counts, budget);
        watch(Progress::Note(&pruned.describe(before)));
        checkpoint = pruned.checkpoint;
        checkpoint.save(&recipe.output.join("pruned"))?;
    }
    checkpoint.cut_positions(recipe.task.max_tokens);
    Ok(checkpoint)
}

fn measured(comparison: &Comparison, data: &Dataset) -> Vec<Measured> {
    let metric = comparison.metric;
    let name =
        serde_json::to_value(metric).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default();
    let value = |m: &crate::evaluate::Measured| m.metrics.get(metric).unwrap_or(f64::NAN);
    vec![Measured {
        metric: name,
        fp32: value(&comparison.fp32),
        int8: value(&comparison.int8),
        rows: data.len() as u64,
        data_sha256: data.digest(),
    }]
}

fn manifest(recipe: &Recipe, checkpoint: &Checkpoint, prepared: &Prepared) -> Manifest {
    let pack = &recipe.pack;
    Manifest {
        name: pack.name.clone(),
        version: pack.version.clone(),
        task: prepared.edge_task(),
        pair: prepared.dev.is_paired(),
        labels: checkpoint.config.labels(),
        tokenizer: checkpoint.tokenizer.settings(),
        max_tokens: recipe.task.max_tokens as u32,
        windows: match recipe.task.windows {
            Some(TextWindows { overlap, most }) => Windows::Mean { overlap, most },
            None => Windows::Truncate,
        },
        decision: Default::default(),
        measured: Vec::new(),
        licence: Licence { base_model: pack.base_licence.clone(), data: pack.data_licence.clone() },
        created_by: concat!("goldcrest ", env!("CARGO_PKG_VERSION")).into(),
    }
}

impl Prepared {
    /// Labels and problem type of the data, for a checkpoint that starts to learn it. A head for other labels goes.
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
    }

    fn edge_task(&self) -> goldcrest_edge::decision::Task {
        match self.train.task {
            Task::SingleLabel => goldcrest_edge::decision::Task::SingleLabel,
            Task::MultiLabel => goldcrest_edge::decision::Task::MultiLabel,
            Task::Regression => goldcrest_edge::decision::Task::Regression,
        }
    }

    pub(super) fn digest(&self) -> String {
        hex(&self.train.digest()) + &hex(&self.dev.digest())
    }

    fn encode(
        &self,
        model: &Classifier,
        max_tokens: usize,
        watch: Watch,
    ) -> Result<(Encoded, Encoded), RunError> {
        let encode = |data: &Dataset| Encoded::new(data.clone(), model.tokenizer(), max_tokens);
        let (train, dev) = (encode(&self.train)?, encode(&self.dev)?);
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
}
