//! The stages of distillation, each reused as long as its inputs stay the same.

use super::compare::Compares;
use super::error::RunError;
use super::ngram_teacher::NgramAnswers;
use super::progress::{Progress, Watch};
use super::step::{fingerprint, fit, json, once, remove_files, restore_dropout};
use super::teacher_answers::ask;
use super::windows::windowed_texts;
use super::{Recipe, base, prepare::Prepared};
use crate::bert::ops::Precision;
use crate::bert::{Checkpoint, Classifier};
use crate::data::{self, Text};
use crate::distill::{
    Augment, Distill, FromTeacher, HiddenTeacher, Layers, Stage, TransferSet, best_layers, chosen_layers,
    cut_layers, cut_widths, factorise_embeddings, importance, piece_counts, prune_vocabulary,
};
use crate::hex;
use crate::train::{self, Answers, Encoded, Summary, Supervised};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Weight of word pieces in unlabelled texts when the vocabulary is pruned.
const UNLABELLED_PIECE: f64 = 0.15;
/// Number of texts on which importance is measured.
const IMPORTANCE_TEXTS: usize = 1024;

/// Makes the students of all stages; the last one is the result.
pub(super) fn distil(
    recipe: &Recipe,
    distill: &Distill,
    stages: &[Stage],
    teachers: &[PathBuf],
    compares: Option<&Compares>,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Vec<(PathBuf, Summary)>, RunError> {
    let mut distillation = Distillation::new(recipe, distill, teachers, compares, prepared)?;
    let mut students: Vec<(PathBuf, Summary)> = Vec::new();
    for (number, stage) in (1..).zip(stages) {
        let (name, folder) = match stages.len() {
            1 => ("distill".to_string(), "student".to_string()),
            all => (format!("distill {number} of {all}"), format!("student-{number}")),
        };
        let folder = recipe.output.join(folder);
        let before = students.last().map_or(distillation.start(), |(folder, _)| folder).to_path_buf();
        let last = number == stages.len();
        let mut options = distill.training(stage, last, distillation.count, prepared.long, &recipe.train);
        if options.learning_rate.is_none() {
            options.learning_rate = gentle_rate(stage, &before, &options, prepared)?;
        }
        // files matter by their contents, which the other parts cover, not by their paths
        let shared = json(&Distill {
            stages: vec![],
            unlabelled: vec![],
            other_teachers: vec![],
            start: None,
            ..distill.clone()
        });
        let key = fingerprint(&[
            "distill",
            &distillation.key,
            &base::digest(&before)?,
            &shared,
            &json(stage),
            &json(&options.that_decide()),
            // they matter for a `start` without a head
            &json(&(distillation.recipe.base.pooler, distillation.recipe.base.head)),
            &json(&distillation.prepared.criterion),
        ]);
        let summary = once(&name, &folder, &key, watch, |watch| {
            distillation.stage(stage, &before, !students.is_empty(), &options, &folder, &key, watch)
        })?;
        students.push((folder, summary));
    }
    distillation.remove_other_answers(stages, &students)?;
    Ok(students)
}

/// Returns half of the usual learning rate for a model that has learned the task and of which nothing is cut: the
/// usual one would first undo what it has learned (docs/defaults.md).
fn gentle_rate(
    stage: &Stage,
    before: &Path,
    options: &train::TrainOptions,
    prepared: &Prepared,
) -> Result<Option<f64>, RunError> {
    let mut model = base::load(before)?;
    prepared.adapt(&mut model);
    let whole = model.has_head() && stage.keeps_all(&model.config);
    Ok(whole.then(|| options.learning_rate(&model.config) / 2.0))
}

/// What all stages share; the transfer set is made when the first stage needs it.
struct Distillation<'a> {
    recipe: &'a Recipe,
    distill: &'a Distill,
    teachers: &'a [PathBuf],
    prepared: &'a Prepared,
    /// Whether students are as wide as the first teacher.
    as_wide: bool,
    /// Fingerprint of everything that all stages depend on.
    key: String,
    /// Approximate size of the transfer set, duplicates included.
    count: usize,
    /// Fingerprint of the transfer set. It leaves out the other teachers, so that adding one does not
    /// invalidate the cached answers of the rest.
    transfer_key: String,
    augment: Augment,
    /// Unlabelled texts, until they are moved into the transfer set.
    unlabelled: Vec<Text>,
    transfer: Option<TransferSet>,
    /// Made when the first stage needs them.
    ngrams: Option<NgramAnswers>,
}

impl<'a> Distillation<'a> {
    fn new(
        recipe: &'a Recipe,
        distill: &'a Distill,
        teachers: &'a [PathBuf],
        compares: Option<&'a Compares>,
        prepared: &'a Prepared,
    ) -> Result<Self, RunError> {
        let paired = prepared.train.is_paired();
        let texts = prepared.train.len();
        // two windows joined would be too long for one
        let splices = !paired && prepared.input.windows.is_none();
        let augment = Augment {
            replaced: distill.replaced(texts),
            spliced: if splices { distill.spliced(texts) } else { 0.0 },
            mixed: if paired { 0.0 } else { distill.mixed(texts) },
            seed: distill.seed(&recipe.train),
        };
        let mut parts =
            vec!["transfer".to_string(), prepared.digest(), prepared.input.max_tokens.to_string()];
        // the first teacher chooses the replacement words
        parts.push(base::digest(&teachers[0])?);
        // augmentation depends on the seed
        parts.push(format!("{} {} {}", augment.replaced, augment.spliced, augment.seed));
        parts.extend(Some(augment.mixed.to_string()).filter(|_| augment.mixed > 0.0));
        // test texts are kept out of the transfer set
        parts.extend(prepared.test.as_ref().map(|test| hex(&test.digest())));
        if !prepared.out_of_scope.is_empty() {
            parts.push(json(&prepared.out_of_scope));
        }
        let mut unlabelled = recipe.data.unlabelled_of(&distill.unlabelled, &prepared.train)?;
        if let Some(compares) = compares {
            unlabelled.extend(compares.unlabelled()?);
        }
        if let Some(windows) = prepared.input.windows {
            // windows of evaluation texts could not be recognised as such
            let held_out_keys = prepared.held_out_keys();
            unlabelled
                .retain(|(text, pair)| !held_out_keys.contains(&data::unordered_key(text, pair.as_deref())));
            let files = base::load(distill.start.as_deref().unwrap_or(&teachers[0]))?.tokenizer;
            unlabelled = windowed_texts(unlabelled, &files, prepared.input.max_tokens, windows)?;
        }
        // the texts rather than the files: which columns are read is not part of them
        parts.push(digest_of_texts(&unlabelled));
        let of = |parts: &[String]| fingerprint(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let transfer_key = of(&parts);
        for teacher in &teachers[1..] {
            parts.push(base::digest(teacher)?);
        }
        let made = texts as f64 * (augment.replaced + augment.spliced + augment.mixed);
        let count = texts + unlabelled.len() + made as usize;
        let key = of(&parts);
        let width = |model: &Path| Ok::<_, RunError>(base::config(model)?.hidden_size);
        let as_wide = match &distill.start {
            Some(start) => width(start)? == width(&teachers[0])?,
            None => true,
        };
        Ok(Self {
            recipe,
            distill,
            teachers,
            prepared,
            as_wide,
            key,
            count,
            transfer_key,
            augment,
            unlabelled,
            transfer: None,
            ngrams: None,
        })
    }

    /// Returns the model that the first stage cuts.
    fn start(&self) -> &Path {
        self.distill.start.as_deref().unwrap_or(&self.teachers[0])
    }

    /// Returns the transfer set, making it first if needed.
    fn transfer(&mut self, watch: Watch) -> Result<&TransferSet, RunError> {
        if self.transfer.is_none() {
            let teacher = base::load(&self.teachers[0])?;
            let (texts, held_out_keys) =
                (std::mem::take(&mut self.unlabelled), self.prepared.held_out_keys());
            let set = TransferSet::new(&self.prepared.train, texts, &held_out_keys, &teacher, self.augment)?;
            watch(Progress::Note(&format!(
                "{} texts to learn from: {} with labels, {} without",
                set.data.len(),
                set.gold,
                set.data.len() - set.gold
            )));
            self.transfer = Some(set);
        }
        Ok(self.transfer.as_ref().expect("set above"))
    }

    /// Returns whether students learn from this model's \[CLS\] vectors, or from their similarities if the vectors
    /// are of another width.
    fn needs_vectors(&self, model: &Path) -> bool {
        let needs = self.distill.relation_weight > 0.0 || self.as_wide && self.distill.cls_weight() > 0.0;
        model == self.teachers[0] && needs
    }

    fn answers_folder(&self) -> PathBuf {
        self.recipe.output.join("answers")
    }

    /// Returns the file that caches a model's answers on the transfer set.
    fn answers_file(&self, model: &Path) -> Result<PathBuf, RunError> {
        let kind = if self.needs_vectors(model) { "answers with vectors" } else { "answers" };
        let key = fingerprint(&[kind, &self.transfer_key, &base::digest(model)?]);
        Ok(self.answers_folder().join(format!("{}.safetensors", &key[..16])))
    }

    /// Removes cached answers that finished stages would not use again: of other models, or on other texts.
    fn remove_other_answers(
        &self,
        stages: &[Stage],
        students: &[(PathBuf, Summary)],
    ) -> Result<(), RunError> {
        let before = students.iter().map(|(folder, _)| folder);
        let together = stages.iter().skip(1).zip(before).filter(|(stage, _)| stage.together);
        let models = self.teachers.iter().chain(together.map(|(_, before)| before));
        let used = models.map(|model| self.answers_file(model)).collect::<Result<HashSet<_>, _>>()?;
        // only files with names that we give
        let is_cache = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let key = name.strip_suffix(".safetensors").unwrap_or_default();
            key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        remove_files(&self.answers_folder(), |path| is_cache(path) && !used.contains(path))
    }

    /// Returns a model's answers on the transfer set, cached in the output folder.
    fn answers(&mut self, folder: &Path, watch: Watch) -> Result<Answers, RunError> {
        let file = self.answers_file(folder)?;
        let labels = self.prepared.train.width();
        if let Some(answers) = Answers::load(&file, self.transfer(watch)?.data.len(), labels) {
            return Ok(answers);
        }
        let max_tokens = self.prepared.input.max_tokens;
        let data = self.transfer(watch)?.data.clone();
        let checkpoint = base::load(folder)?;
        let texts = Encoded::new(data, &checkpoint.tokenizer, max_tokens)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        watch(Progress::Note(&format!("asking {name} about {} texts", texts.tokens.len())));
        // they are cached whatever the precision: soft labels need not be exact
        let precision = self.recipe.train.precision.here().unwrap_or(Precision::F32);
        let answers = ask(&checkpoint, &texts, self.needs_vectors(folder), precision, watch)?;
        std::fs::create_dir_all(self.answers_folder()).map_err(RunError::io(&file))?;
        answers.save(&file)?;
        Ok(answers)
    }

    /// Returns the mean of what the teachers answer, `previous` among them, and of what n-grams say.
    fn answers_of_all(&mut self, previous: Option<&Path>, watch: Watch) -> Result<Answers, RunError> {
        let others = self.teachers[1..].iter().map(PathBuf::as_path).chain(previous);
        // one after the other: with many texts and labels the answers of all take gigabytes
        let (mut sum, mut count) = (Vec::new(), 1.0);
        for teacher in others {
            add(&mut sum, self.answers(teacher, watch)?.logits);
            count += 1.0;
        }
        let mut answers = self.answers(&self.teachers[0], watch)?;
        if !sum.is_empty() {
            add(&mut answers.logits, sum);
        }
        answers.logits.iter_mut().for_each(|logit| *logit /= count);
        if self.distill.ngrams == Some(true) {
            if self.ngrams.is_none() {
                let texts = self.transfer(watch)?.data.clone();
                watch(Progress::Note("learning from n-grams"));
                self.ngrams = Some(NgramAnswers::new(&self.teachers[0], &texts, self.prepared, watch)?);
            }
            let ngrams = self.ngrams.as_ref().expect("set above");
            let networks: Vec<&Path> = self.teachers.iter().map(PathBuf::as_path).chain(previous).collect();
            ngrams.add_to(&mut answers.logits, &networks, self.prepared, watch)?;
        }
        Ok(answers)
    }

    #[expect(clippy::too_many_arguments, reason = "called from one place")]
    fn stage(
        &mut self,
        stage: &Stage,
        before: &Path,
        after_another: bool,
        options: &train::TrainOptions,
        folder: &Path,
        key: &str,
        watch: Watch,
    ) -> Result<Summary, RunError> {
        let answers = self.answers_of_all((stage.together && after_another).then_some(before), watch)?;
        let (recipe, prepared) = (self.recipe, self.prepared);
        let max_tokens = prepared.input.max_tokens;
        let set = self.transfer(watch)?;

        let mut model = base::load(before)?;
        prepared.adapt(&mut model);
        if !model.has_head() {
            model = with_head(model, recipe, prepared, options.seed)?;
        }
        let (mut student, layers) = cut(&model, stage, set, &answers, max_tokens, watch)?;
        let uncut = student.config.clone();
        student.config.set_dropout(self.distill.dropout);
        let mut student = Classifier::new(student, options.seed)?;
        watch(Progress::Note(&format!("the student has {}", describe(&student))));

        let set = self.transfer.as_ref().expect("made above");
        let texts = Encoded::new(set.data.clone(), student.tokenizer(), max_tokens)?;
        let dev = prepared.to_measure(&prepared.dev, student.tokenizer())?;
        let teacher = match self.distill.hidden_weight > 0.0 && before == self.teachers[0] {
            true => Some(Classifier::trained(base::load(before)?)?),
            false => None,
        };
        let teacher = teacher.as_ref().filter(|t| t.tokenizer().vocab == student.tokenizer().vocab);
        if self.distill.hidden_weight > 0.0 && (teacher.is_none() || layers.len() < 2) {
            watch(Progress::Note(
                "hidden_weight has no effect here: it needs a stage that is cut from the teacher itself, keeps all its word pieces and has at least two layers",
            ));
        }
        if self.distill.cls_weight.is_some_and(|weight| weight > 0.0) && !self.as_wide {
            watch(Progress::Note(
                "cls_weight has no effect here: the student's vectors are not as wide as the teacher's",
            ));
        }
        let objective = FromTeacher {
            answers: &answers,
            hard: Supervised::new(&prepared.train, options)?,
            gold: set.gold,
            options: self.distill,
            teacher: teacher.map(|teacher| HiddenTeacher::new(teacher, layers)),
        };
        let summary =
            fit(&mut student, [&texts, &dev], prepared.criterion, options, &objective, folder, key, watch)?;
        restore_dropout(folder, &uncut)?;
        Ok(summary)
    }
}

/// Adds logits to `sum`, which is empty before the first.
fn add(sum: &mut Vec<f32>, logits: Vec<f32>) {
    if sum.is_empty() {
        *sum = logits;
    } else {
        assert_eq!(sum.len(), logits.len(), "answers on the same texts");
        sum.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit);
    }
}

/// Adds an initialised head to a model without one for these labels, because the head determines which parts
/// are important.
fn with_head(
    mut model: Checkpoint,
    recipe: &Recipe,
    prepared: &Prepared,
    seed: u64,
) -> Result<Checkpoint, RunError> {
    if recipe.base.pooler.passes_through(&model) {
        model.pass_through_pooler();
    }
    let mut started = Classifier::new(model, seed)?;
    let train = Encoded::new(prepared.train.clone(), started.tokenizer(), prepared.input.max_tokens)?;
    if recipe.base.sets_head(train.data.task) {
        train::set_head(&mut started, &train)?;
    }
    Ok(started.checkpoint())
}

fn digest_of_texts(texts: &[Text]) -> String {
    let mut hash = Sha256::new();
    for text in texts.iter().flat_map(|(text, pair)| [Some(text), pair.as_ref()]) {
        let text = text.map_or("", String::as_str);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}

/// Cuts a model as the stage says: layers, vocabulary, widths, embeddings. Also returns the layers that were
/// kept.
fn cut(
    model: &Checkpoint,
    stage: &Stage,
    set: &TransferSet,
    answers: &Answers,
    max_tokens: usize,
    watch: Watch,
) -> Result<(Checkpoint, Vec<usize>), RunError> {
    let all = model.config.num_hidden_layers;
    let layers = match &stage.layers {
        None => (0..all).collect(),
        Some(Layers::Count(n)) if *n < all => {
            let texts = Encoded::new(set.data.subset(0..set.gold), &model.tokenizer, max_tokens)?;
            let found = best_layers(model, *n, &texts, &answers.logits)?;
            let (layers, why) = match found {
                Some(layers) => (layers, "agree best with the teacher"),
                None => (
                    chosen_layers(&Layers::Count(*n), all)?,
                    "are kept, evenly spread: there are too many choices to try",
                ),
            };
            watch(Progress::Note(&format!("layers {layers:?} of {all} {why}")));
            layers
        }
        Some(layers) => chosen_layers(layers, all)?,
    };
    let mut student = if layers.len() < all { cut_layers(model, &layers)? } else { model.clone() };
    if stage.heads.is_some() || stage.intermediate.is_some() || stage.pooler.is_some() {
        let texts = Encoded::new(set.data.subset(0..set.gold), &student.tokenizer, max_tokens)?;
        let measured = importance(&Classifier::trained(student.clone())?, &texts, IMPORTANCE_TEXTS, 0)?;
        student = cut_widths(&student, &measured, stage.heads, stage.intermediate, stage.pooler);
    }
    let counts = |student: &Checkpoint| -> Result<Vec<f64>, RunError> {
        let texts = Encoded::new(set.data.subset(0..set.given), &student.tokenizer, max_tokens)?;
        let weight = |row| if row < set.gold { 1.0 } else { UNLABELLED_PIECE };
        Ok(piece_counts(&texts, student.config.vocab_size, weight))
    };
    if let Some(budget) = stage.vocabulary.filter(|budget| *budget < student.config.vocab_size) {
        let pruned = prune_vocabulary(&student, &counts(&student)?, budget);
        watch(Progress::Note(&pruned.describe(student.config.vocab_size)));
        student = pruned.checkpoint;
    }
    if let Some(rank) = stage.embedding_rank {
        student = factorise_embeddings(&student, rank, &counts(&student)?);
    }
    Ok((student, layers))
}

fn describe(student: &Classifier) -> String {
    let config = student.config();
    let layers: Vec<String> = config
        .layers()
        .iter()
        .map(|l| format!("{} x {} + {}", l.heads, l.head_size, l.intermediate))
        .collect();
    let rank = config.embedding_rank().map(|r| format!(" of rank {r}")).unwrap_or_default();
    let pooler = match config.pooler_size() {
        whole if whole == config.hidden_size => String::new(),
        width => format!(", a pooler of {width}"),
    };
    format!(
        "{} layers ({}), {} word pieces{rank}{pooler}",
        layers.len(),
        layers.join(", "),
        config.vocab_size
    )
}
