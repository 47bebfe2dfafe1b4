//! The fine-tuned base.

use super::check::load_base;
use super::error::RunError;
use super::lock::Lock;
use super::pairs::{Compares, learn_to_compare, without_comparison};
use super::progress::{Progress, Watch};
use super::step::{fingerprint, fit, json, once};
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier};
use crate::data::Task;
use crate::train::{self, Summary, Supervised, TrainOptions};
use std::path::{Path, PathBuf};

/// The fine-tuned base.
pub(super) struct Teachers {
    pub folders: Vec<PathBuf>,
    pub summaries: Vec<Summary>,
    /// What they started from, where that compares pairs.
    pub compares: Option<Compares>,
    /// Nobody else works in the folder.
    _lock: Lock,
}

/// Fine-tunes the base, as often as there are teachers, each time with another seed. Of pairs it learns to compare first.
pub(super) fn train_teachers(
    recipe: &Recipe,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Teachers, RunError> {
    let mut checkpoint = load_base(recipe, prepared)?;
    let _lock = Lock::on(&recipe.output)?;
    let compares = learn_to_compare(recipe, &checkpoint, prepared, watch)?;
    let mut digest = base::digest(&recipe.base.checkpoint)?;
    let learned = compares.as_ref().and_then(|compares| compares.learned.as_deref());
    if let Some(folder) = learned {
        (checkpoint, digest) = (without_comparison(folder)?, base::digest(folder)?);
        prepared.set_head(&mut checkpoint);
    }
    if let Some(rate) = recipe.train.dropout {
        checkpoint.config.set_dropout(rate);
    }
    // what learned to compare has its pooler already
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
        let seed = recipe.train.seed + number as u64 - 1;
        summaries.push(train_teacher(recipe, prepared, &start, seed, &name, &folder, watch)?);
        folders.push(folder);
    }
    Ok(Teachers { folders, summaries, compares, _lock })
}

/// What all teachers start from.
struct Start {
    checkpoint: Checkpoint,
    digest: String,
    /// Its pooler is replaced.
    new_pooler: bool,
}

/// Fine-tunes one teacher into `folder`.
fn train_teacher(
    recipe: &Recipe,
    prepared: &Prepared,
    start: &Start,
    seed: u64,
    name: &str,
    folder: &Path,
    watch: Watch,
) -> Result<Summary, RunError> {
    let config = &start.checkpoint.config;
    let options = TrainOptions {
        seed,
        epochs: Some(recipe.train.epochs(prepared.train.len(), prepared.long)),
        learning_rate: Some(recipe.train.learning_rate(config)),
        adversarial: Some(recipe.train.adversarial(prepared.train.len(), prepared.long)),
        ..recipe.train.clone()
    };
    let print = fingerprint(&[
        "train",
        &start.digest,
        &json(&(recipe.base.pooler, recipe.base.head)),
        &prepared.digest(),
        &json(&options),
        &prepared.reads.max_tokens.to_string(),
        &json(&prepared.criterion),
    ]);
    once(name, folder, &print, watch, |watch| {
        let mut checkpoint = start.checkpoint.clone();
        if start.new_pooler {
            watch(Progress::Note("the pooler passes [CLS] on (base.pooler)"));
            checkpoint.pass_through_pooler();
            // a head that was trained on another pooler is none
            checkpoint.drop_head();
        }
        if recipe.train.epochs.is_none() || recipe.train.learning_rate.is_none() {
            let (epochs, rate) =
                (options.epochs.unwrap_or_default(), options.learning_rate.unwrap_or_default());
            watch(Progress::Note(&format!("{epochs:.3} epochs, learning rate {rate:.2e}")));
        }
        let new_head = !checkpoint.has_head();
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
        fit(&mut model, [&train, &dev], prepared.criterion, &options, &objective, folder, &print, watch)
    })
}
