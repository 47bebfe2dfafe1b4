//! What can be known before anything is trained: that a bundle can come of the recipe.

use super::contents::manifest;
use super::error::RunError;
use super::{Recipe, base, prepare::Prepared};
use crate::bert::Checkpoint;
use crate::data::Task;
use crate::distill::chosen_layers;
use crate::train::Supervised;
use std::path::Path;

/// The base with the head's labels, after all that can be checked before hours of training.
pub(super) fn load_base(recipe: &Recipe, prepared: &Prepared) -> Result<Checkpoint, RunError> {
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
    let headless = !base.has_head() || recipe.base.pooler.passes_through(base);
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
