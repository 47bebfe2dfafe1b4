//! Training the teachers by fine-tuning the base.

use super::compare::{Compares, learn_to_compare, without_comparison};
use super::error::RunError;
use super::progress::{Progress, Watch};
use super::step::{DONE, fingerprint, fit, json, once};
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier};
use crate::data::Task;
use crate::train::{self, Encoded, Summary, Supervised, TrainOptions};
use std::path::{Path, PathBuf};

/// The trained teachers.
pub(super) struct Teachers {
    pub folders: Vec<PathBuf>,
    pub summaries: Vec<Summary>,
    /// Pairs made of the training texts, if they are pairs.
    pub compares: Option<Compares>,
}

/// Fine-tunes the base, `checkpoint`, once for each teacher, with different seeds. For pairs, it first learns
/// to compare.
pub(super) fn train_teachers(
    recipe: &Recipe,
    mut checkpoint: Checkpoint,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Teachers, RunError> {
    let compares = learn_to_compare(recipe, &checkpoint, prepared, watch)?;
    let mut digest = base::digest(&recipe.base.checkpoint)?;
    let learned = compares.as_ref().and_then(|compares| compares.learned.as_deref());
    if let Some(folder) = learned {
        (checkpoint, digest) = (without_comparison(folder)?, base::digest(folder)?);
        prepared.adapt(&mut checkpoint);
    }
    if let Some(rate) = recipe.train.dropout {
        checkpoint.config.set_dropout(rate);
    }
    // a base that learned to compare already has its pooler
    let new_pooler = learned.is_none() && recipe.base.pooler.passes_through(&checkpoint);
    let start = Start { checkpoint, digest, new_pooler };
    let count = recipe.distill.as_ref().map_or(1, |distill| distill.teachers);
    let (mut folders, mut summaries) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 1..=count {
        let (name, folder) = match number {
            1 => ("train".to_string(), "teacher".to_string()),
            _ => (format!("train teacher {number} of {count}"), format!("teacher-{number}")),
        };
        let folder = recipe.output.join(folder);
        let seed = recipe.train.seed.wrapping_add(number as u64 - 1);
        summaries.push(train_teacher(recipe, prepared, &start, seed, &name, &folder, watch)?);
        folders.push(folder);
    }
    Ok(Teachers { folders, summaries, compares })
}

/// The common start of all teachers.
struct Start {
    checkpoint: Checkpoint,
    digest: String,
    /// Whether its pooler is replaced.
    new_pooler: bool,
}

/// Fine-tunes one teacher into `folder`, either once or several times with different dropout and order,
/// averaging the weights.
fn train_teacher(
    recipe: &Recipe,
    prepared: &Prepared,
    start: &Start,
    seed: u64,
    name: &str,
    folder: &Path,
    watch: Watch,
) -> Result<Summary, RunError> {
    let (config, train) = (&start.checkpoint.config, &recipe.train);
    let (examples, classes, long) = (prepared.train.len(), prepared.train.classes(), prepared.long);
    let runs = train.soup(examples, classes, long);
    let options = TrainOptions {
        seed,
        epochs: Some(train.epochs(examples, classes, long)),
        learning_rate: Some(train.learning_rate(config)),
        adversarial: Some(train.adversarial(examples, long)),
        soup: Some(runs).filter(|runs| *runs > 1),
        ..train.clone()
    };
    let key = fingerprint(&[
        // an MPNet was once measured on dev in f32, which may have kept another checkpoint
        if config.only_teaches() { "train, measured as trained" } else { "train" },
        &start.digest,
        &json(&(recipe.base.pooler, recipe.base.head)),
        &prepared.digest(),
        &json(&options.that_decide()),
        &prepared.input.max_tokens.to_string(),
        &json(&prepared.criterion),
    ]);
    let run_folder = |run: usize| folder.join(format!("run-{run}"));
    let summary = once(name, folder, &key, watch, |watch| {
        if train.epochs.is_none() || train.learning_rate.is_none() {
            let (epochs, rate) =
                (options.epochs.unwrap_or_default(), options.learning_rate.unwrap_or_default());
            watch(Progress::Note(&format!("{epochs:.3} epochs, learning rate {rate:.2e}")));
        }
        let (model, texts) = begin(recipe, prepared, start, seed, watch)?;
        if runs == 1 {
            return texts.fine_tune(model, prepared, &options, folder, &key, watch);
        }
        let mut summaries = Vec::with_capacity(runs);
        for run in 1..=runs {
            let (name, folder) = (format!("{name}, run {run} of {runs}"), run_folder(run));
            let options =
                TrainOptions { seed: seed.wrapping_add(RUN_SEED * (run - 1) as u64), ..options.clone() };
            let key = fingerprint(&[&key, &run.to_string()]);
            summaries.push(once(&name, &folder, &key, watch, |watch| {
                texts.fine_tune(model.clone(), prepared, &options, &folder, &key, watch)
            })?);
        }
        texts.average(prepared, &options, &summaries, folder, &key, run_folder, watch)
    })?;
    // only now, so that a kill before the marker is written loses nothing
    remove_runs(folder, runs).map_err(RunError::io(folder))?;
    Ok(summary)
}

/// Removes the folders of all runs, including those of an earlier plan. The logs of the `runs` that were
/// averaged are kept.
fn remove_runs(folder: &Path, runs: usize) -> std::io::Result<()> {
    let averaged = if runs > 1 { runs } else { 0 };
    let run_of = |name: &str| name.strip_prefix("run-")?.parse::<usize>().ok();
    let log_of =
        |name: &str| name.strip_prefix("metrics-run-")?.strip_suffix(".jsonl")?.parse::<usize>().ok();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(run) = run_of(&name).filter(|_| path.is_dir()) {
            if run <= averaged {
                let log = folder.join(format!("metrics-run-{run}.jsonl"));
                let _ = std::fs::rename(path.join(train::LOG), log);
            }
            // the marker first, so that a partly removed run never looks finished
            let _ = std::fs::remove_file(path.join(DONE));
            std::fs::remove_dir_all(path)?;
        } else if log_of(&name).is_some_and(|run| run > averaged) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Distance between the seeds of averaged runs; teachers use consecutive seeds.
const RUN_SEED: u64 = 1000;

/// The encoded data of a teacher's runs.
struct Texts {
    train: Encoded,
    dev: Encoded,
}

/// Prepares the model that a teacher's runs start from: pooler and head as the recipe says.
fn begin(
    recipe: &Recipe,
    prepared: &Prepared,
    start: &Start,
    seed: u64,
    watch: Watch,
) -> Result<(Checkpoint, Texts), RunError> {
    let mut checkpoint = start.checkpoint.clone();
    if start.new_pooler {
        watch(Progress::Note("the pooler passes [CLS] through (base.pooler)"));
        checkpoint.pass_through_pooler();
        // a head trained on another pooler is useless
        checkpoint.drop_head();
    }
    let new_head = !checkpoint.has_head();
    let mut model = Classifier::new(checkpoint, seed)?;
    let (train, dev) = prepared.encode(&model, watch)?;
    let task = train.data.task;
    let set = new_head && recipe.base.sets_head(task) && train::set_head(&mut model, &train)?;
    if set && task != Task::Regression {
        watch(Progress::Note("the head is initialised from the training texts (base.head)"));
    }
    Ok((model.checkpoint(), Texts { train, dev }))
}

impl Texts {
    fn fine_tune(
        &self,
        model: Checkpoint,
        prepared: &Prepared,
        options: &TrainOptions,
        folder: &Path,
        key: &str,
        watch: Watch,
    ) -> Result<Summary, RunError> {
        let mut model = Classifier::new(model, options.seed)?;
        let objective = Supervised::new(&self.train.data, options)?;
        let data = [&self.train, &self.dev];
        fit(&mut model, data, prepared.criterion, options, &objective, folder, key, watch)
    }

    /// Averages the weights of the runs. If the average is worse on dev than every single run by more than
    /// chance, keeps the best run instead.
    #[expect(clippy::too_many_arguments, reason = "called from one place")]
    fn average(
        &self,
        prepared: &Prepared,
        options: &TrainOptions,
        runs: &[Summary],
        folder: &Path,
        key: &str,
        run_folder: impl Fn(usize) -> PathBuf,
        watch: Watch,
    ) -> Result<Summary, RunError> {
        watch(Progress::Note("the weights of all runs are averaged (train.soup)"));
        let folders: Vec<PathBuf> = (1..=runs.len()).map(&run_folder).collect();
        let measure = TrainOptions { epochs: Some(0.0), ..options.clone() };
        let mut summary = self.fine_tune(train::soup(&folders)?, prepared, &measure, folder, key, watch)?;
        let seconds = runs.iter().map(|run| run.seconds).sum();
        let figures: Vec<f64> = runs.iter().map(|run| run.best).collect();
        if let Some(best) = best_if_average_is_worse(&figures, summary.best, self.dev.data.len()) {
            watch(Progress::Note("the average is worse than every run: the best run is kept"));
            Checkpoint::load(&folders[best])?.save(folder)?;
            return Ok(Summary { seconds, ..runs[best].clone() });
        }
        let steps = runs.iter().map(|run| run.steps).max().unwrap_or(0);
        (summary.runs, summary.best_step, summary.steps, summary.seconds) =
            (runs.len(), steps, steps, seconds);
        Ok(summary)
    }
}

/// Returns the best of several runs if their average is worse than each of them by more than chance, given
/// scores on `rows` dev rows.
fn best_if_average_is_worse(runs: &[f64], average: f64, rows: usize) -> Option<usize> {
    let by_figure = |a: &&f64, b: &&f64| a.total_cmp(b);
    let worst = runs.iter().min_by(by_figure)?;
    let best = runs.iter().max_by(by_figure)?;
    let worse = average < worst - train::standard_error(*worst, rows);
    worse.then(|| runs.iter().position(|run| run == best)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_run_replaces_a_significantly_worse_average() {
        // the standard error of 0.9 is 0.03 with 100 rows, 0.003 with 10,000
        let runs = [0.92, 0.95, 0.90];
        assert_eq!(best_if_average_is_worse(&runs, 0.96, 100), None);
        assert_eq!(best_if_average_is_worse(&runs, 0.91, 10_000), None, "not worse than all");
        assert_eq!(best_if_average_is_worse(&runs, 0.88, 100), None, "chance");
        assert_eq!(best_if_average_is_worse(&runs, 0.88, 10_000), Some(1));
        assert_eq!(best_if_average_is_worse(&runs, 0.50, 100), Some(1));
        assert_eq!(best_if_average_is_worse(&[], 0.5, 100), None);
    }

    #[test]
    fn logs_of_averaged_runs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for run in ["run-1", "run-2", "run-3", "run-late"] {
            std::fs::create_dir(path(run)).unwrap();
            std::fs::write(path(run).join("metrics.jsonl"), run).unwrap();
        }
        std::fs::write(path("run-4"), "no folder").unwrap();
        std::fs::write(path("metrics-run-9.jsonl"), "of an earlier plan").unwrap();
        let names = || {
            let names = std::fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> =
                names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        remove_runs(folder.path(), 2).unwrap();
        assert_eq!(names(), ["metrics-run-1.jsonl", "metrics-run-2.jsonl", "run-4", "run-late"]);
        assert_eq!(std::fs::read_to_string(path("metrics-run-2.jsonl")).unwrap(), "run-2");
        remove_runs(folder.path(), 1).unwrap();
        assert_eq!(names(), ["run-4", "run-late"]);
    }
}
