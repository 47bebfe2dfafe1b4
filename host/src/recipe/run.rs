//! Running the steps of a recipe. Each is reused as long as its inputs stay the same.

use super::check::{check_can_be_cut, checked_base};
use super::error::RunError;
use super::lock::Lock;
use super::prepare::Prepared;
use super::progress::{Progress, Watch};
use super::students::distil;
use super::teachers::{Teachers, train_teachers};
use super::within_limits::pack_within_limits;
use super::without_ngrams::is_better;
use super::{ForData, Recipe, base};
use crate::bert::Checkpoint;
use crate::distill::{Distill, Plan};
use crate::evaluate::Comparison;
use crate::quantize::Bits;
use crate::train::{Summary, TrainOptions};
use std::path::{Path, PathBuf};

/// The last step to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Stop after fine-tuning the teacher.
    Train,
    /// Stop after distilling the student.
    Distill,
    /// Run everything: ONNX files, checked bundle, report.
    Pack,
}

/// The results of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// Training summaries of the teachers.
    pub teachers: Vec<Summary>,
    /// Training summaries of the students, stage by stage. The last one is packed, unless the recipe names no
    /// student and the first teacher is better than the one that learned from n-grams.
    pub students: Vec<Summary>,
    /// Folder of the model that was packed, before quantization-aware training; of the last student or the first
    /// teacher if the run ended before.
    pub model: PathBuf,
    /// Comparison of fp32 and int8, if the run went that far.
    pub comparison: Option<Comparison>,
    /// The checked bundle, if the run went that far.
    pub bundle: Option<PathBuf>,
}

/// Runs a recipe up to a step. Finished steps are reused if their inputs did not change; interrupted training
/// resumes from its last saved state. `watch` can stop it during training, evaluations included, by the
/// [`Event`](crate::train::Event)s that say so; other steps, such as asking teachers, run to their end.
///
/// Parallel work runs on rayon's current pool: only the program obeys `train.threads` (see
/// `rayon::ThreadPool::install`).
///
/// # Errors
/// [`RunError`]; everything already made is kept. A run that was stopped ends with
/// [`Error::Interrupted`](crate::train::Error::Interrupted) in [`RunError::Train`].
pub fn run(recipe: &Recipe, until: Until, watch: Watch) -> Result<Finished, RunError> {
    Ready::new(recipe, until, watch)?.run(until, watch)
}

/// Like [`run`], for a minimal recipe of labelled texts. It is written to `recipe.toml` in the output folder
/// after all checks, so that a faulty recipe does not block a corrected one. An existing identical recipe is left
/// alone.
///
/// # Errors
/// [`RunError`], in particular if there is already a different recipe.
pub fn run_for_data(order: &ForData, until: Until, watch: Watch) -> Result<Finished, RunError> {
    let draft = order.draft()?;
    let ready = Ready::new(&draft.recipe, until, watch)?;
    draft.save()?;
    watch(Progress::Note(&format!("the recipe is {}", draft.path.display())));
    ready.run(until, watch)
}

/// Everything that training starts from, checked.
struct Ready {
    /// With what the data call for.
    recipe: Recipe,
    /// Whether the recipe as written names a student.
    has_student: bool,
    prepared: Prepared,
    base: Checkpoint,
}

impl Ready {
    fn new(recipe: &Recipe, until: Until, watch: Watch) -> Result<Self, RunError> {
        let prepared = Prepared::read(recipe, watch)?;
        let has_student = recipe.distill.as_ref().is_some_and(Distill::has_student);
        let recipe = for_language(recipe, &prepared)?;
        if until == Until::Distill && recipe.distill.is_none() {
            return Err(RunError::NoStudent);
        }
        if until != Until::Train {
            check_can_be_cut(&recipe)?;
        }
        let base = checked_base(&recipe, &prepared)?;
        if until != Until::Train && has_student && starts_anew_on_few_texts(&recipe, &prepared)? {
            watch(Progress::Note(
                "the student does not start as its teacher, and there are few texts: fine-tuned alone it may be better. It needs texts without labels (distill.unlabelled, --unlabelled)",
            ));
        }
        Ok(Self { recipe, has_student, prepared, base })
    }

    fn run(self, until: Until, watch: Watch) -> Result<Finished, RunError> {
        let Self { recipe, has_student, prepared, base } = self;
        let (recipe, prepared) = (&recipe, &prepared);
        let _lock = Lock::on(&recipe.output)?;
        let teachers = train_teachers(recipe, base, prepared, watch)?;
        let mut finished = Finished {
            teachers: teachers.summaries.clone(),
            students: Vec::new(),
            model: teachers.folders[0].clone(),
            comparison: None,
            bundle: None,
        };
        if until == Until::Train {
            return Ok(finished);
        }
        let students = students(recipe, &teachers, prepared, watch)?;
        finished.students = students.iter().map(|student| student.summary.clone()).collect();
        if until == Until::Distill {
            finished.model = students.last().map_or(finished.model, |last| last.folder.clone());
            return Ok(finished);
        }
        let (recipe, mut models) = to_pack(recipe, has_student, prepared, &teachers, students, watch)?;
        let (folder, bits) = models.pop().expect("a teacher or students");
        let (bundle, comparison) = pack_within_limits(&recipe, &folder, bits, prepared, watch)?;
        let most = recipe.distill.as_ref().and_then(|distill| distill.student.as_ref()?.megabytes());
        let size = std::fs::metadata(&bundle).map_err(RunError::io(&bundle))?.len() as f64 / 1e6;
        if let Some(most) = most.filter(|most| size > *most) {
            watch(Progress::Note(&format!(
                "the bundle takes {size:.2} MB, more than {most} MB (distill.student)"
            )));
        }
        (finished.model, finished.bundle, finished.comparison) = (folder, Some(bundle), Some(comparison));
        Ok(finished)
    }
}

/// Returns whether a student that does not start as its teacher has few texts to learn from. On 900 labelled texts of
/// SST-2 it was three points worse than the fine-tuned base (docs/defaults.md).
fn starts_anew_on_few_texts(recipe: &Recipe, prepared: &Prepared) -> Result<bool, RunError> {
    const FEW: usize = 4000;
    let few = prepared.train.len() < FEW;
    let distill = recipe.distill.as_ref().filter(|distill| few && distill.unlabelled.is_empty());
    let Some(start) = distill.and_then(|distill| distill.start.as_deref()) else { return Ok(false) };
    let mut start = base::load(start)?;
    prepared.adapt(&mut start);
    Ok(!start.has_head())
}

/// The name of each model, and the comparison of its bundle or why it failed.
pub type Packed = Vec<(String, Result<Comparison, RunError>)>;

/// Like [`run`], but packs the students of all stages, each into its own folder; without students, the
/// model that `run` packs.
///
/// # Errors
/// [`RunError`] from training; errors of packing are returned per stage.
pub fn run_every_stage(recipe: &Recipe, watch: Watch) -> Result<Packed, RunError> {
    let Ready { recipe, has_student, prepared, base } = Ready::new(recipe, Until::Pack, watch)?;
    let (recipe, prepared) = (&recipe, &prepared);
    let _lock = Lock::on(&recipe.output)?;
    let teachers = train_teachers(recipe, base, prepared, watch)?;
    let students = students(recipe, &teachers, prepared, watch)?;
    let (recipe, models) = to_pack(recipe, has_student, prepared, &teachers, students, watch)?;
    let pack_one = |(folder, bits): (PathBuf, Bits)| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = Recipe { output: recipe.output.join("packed").join(&name), ..recipe.clone() };
        let packed = match std::fs::create_dir_all(&own.output) {
            Ok(()) => {
                pack_within_limits(&own, &folder, bits, prepared, watch).map(|(_, comparison)| comparison)
            }
            Err(cause) => Err(RunError::Io { path: own.output.clone(), cause }),
        };
        (name, packed)
    };
    Ok(models.into_iter().map(pack_one).collect())
}

/// A model made by a stage of distillation.
struct Student {
    folder: PathBuf,
    summary: Summary,
    /// Of its word embeddings.
    bits: Bits,
}

/// Returns the folders of the models to pack and the bits of their word embeddings: the students of all
/// stages, or the first teacher if there are none. The recipe they are packed by has no `[distill]` if that teacher is. The student that learned from n-grams although the recipe
/// names none is packed unless it is worse than the teacher by more than chance: it was better in every language that
/// was tried (docs/defaults.md), but a base that does know the language may learn more without them.
fn to_pack(
    recipe: &Recipe,
    has_student: bool,
    prepared: &Prepared,
    teachers: &Teachers,
    students: Vec<Student>,
    watch: Watch,
) -> Result<(Recipe, Vec<(PathBuf, Bits)>), RunError> {
    let teacher = &teachers.folders[0];
    let mut only_teacher = students.is_empty();
    if let (false, Some(student)) = (has_student, students.last()) {
        only_teacher = is_better(teacher, &student.folder, prepared)?;
        let (with, without) = (student.summary.best * 100.0, teachers.summaries[0].best * 100.0);
        let which = match only_teacher {
            true => "the model that learned without n-grams is better, and is packed",
            false => "the model that learned from n-grams too is packed",
        };
        watch(Progress::Note(&format!(
            "{which} (distill.ngrams): {with:.2} on dev with them, {without:.2} without"
        )));
    }
    if only_teacher {
        let alone = Recipe { distill: None, ..recipe.clone() };
        return Ok((alone, vec![(teacher.clone(), recipe.quantize.embedding_bits(8))]));
    }
    let models = students.into_iter().map(|student| (student.folder, student.bits)).collect();
    Ok((recipe.clone(), models))
}

/// Makes the students of all stages; none without distillation.
fn students(
    recipe: &Recipe,
    teachers: &Teachers,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Vec<Student>, RunError> {
    let Some(distill) = &recipe.distill else { return Ok(Vec::new()) };
    let all = [&teachers.folders[..], &distill.other_teachers].concat();
    let plan = plan(recipe, distill, &all[0], prepared)?;
    let students = distil(recipe, distill, &plan.stages, &all, teachers.compares.as_ref(), prepared, watch)?;
    let bits = plan.embedding_bits.into_iter().map(|planned| recipe.quantize.embedding_bits(planned));
    Ok(students
        .into_iter()
        .zip(bits)
        .map(|((folder, summary), bits)| Student { folder, summary, bits })
        .collect())
}

/// Adds to a recipe what the data call for: n-grams teach if the base does not know the language. Without a
/// student, the base itself then learns from them.
///
/// # Errors
/// If the recipe asks for n-grams of pairs.
fn for_language(recipe: &Recipe, prepared: &Prepared) -> Result<Recipe, RunError> {
    /// From more texts, or windows of them, the base learns the language itself.
    const FEW: usize = 20_000;
    let (train, options) = (&prepared.train, &recipe.train);
    // neither n-grams nor students learn with these
    let weighted = options.class_weights != TrainOptions::default().class_weights || options.focal > 0.0;
    let usual = prepared.foreign.is_some() && train.len() <= FEW && !train.is_paired() && !weighted;
    let mut distill = recipe.distill.clone().unwrap_or_default();
    let ngrams = distill.ngrams.unwrap_or(usual);
    if ngrams && train.is_paired() {
        let problem = "are of one text, and the rows have two".to_owned();
        return Err(RunError::Unsuitable { key: "distill.ngrams", problem });
    }
    distill.ngrams = Some(true).filter(|_| ngrams);
    // not the teacher, which has learned wrong answers by heart
    if !distill.has_student() {
        distill.start = Some(recipe.base.checkpoint.clone());
    }
    let has_student = recipe.distill.as_ref().is_some_and(Distill::has_student);
    Ok(Recipe { distill: Some(distill).filter(|_| has_student || ngrams), ..recipe.clone() })
}

/// Returns the stages as written, or those of the requested size.
fn plan(recipe: &Recipe, distill: &Distill, teacher: &Path, prepared: &Prepared) -> Result<Plan, RunError> {
    let Some(size) = &distill.student else {
        let stages = distill.stages();
        return Ok(Plan { embedding_bits: vec![8; stages.len()], stages });
    };
    let from = base::load(distill.start.as_deref().unwrap_or(teacher))?.config;
    size.plan(&from, prepared.input.max_tokens, recipe.quantize.embedding_bits).map_err(RunError::Size)
}
