//! Choosing the input length if a recipe leaves it open.

use super::Recipe;
use super::error::RunError;
use super::schema::{USUAL_TOKENS, WINDOWS};
use crate::bert::{Checkpoint, TextWindows};
use crate::data::Dataset;
use crate::train::Encoded;
use std::sync::Arc;

/// A longer input is chosen if more than one text in `MANY` is too long, and windows if more than one in
/// `MOST` still is: then truncation would lose more than reading everything costs.
pub(super) const MANY: usize = 20;
const MOST: usize = 5;
/// Windows shorter than this carry too little information.
const NARROW: usize = 64;
/// Texts are long if they have more tokens than this on average.
const LONG: usize = 100;

/// Returns the maximum input length and how longer texts are read, from the recipe or else from the texts.
pub(super) fn lengths(
    recipe: &Recipe,
    base: &Checkpoint,
    train: &Arc<Dataset>,
) -> Result<(usize, Option<TextWindows>), RunError> {
    let windows = recipe.task.windows;
    if windows.is_some() && train.is_paired() {
        let problem = "go over one text, and the rows have two".to_owned();
        return Err(RunError::Unsuitable { key: "task.windows", problem });
    }
    if let Some(given) = recipe.task.max_tokens {
        return Ok((given, windows));
    }
    let [usual, more] = USUAL_TOKENS.map(|tokens| tokens.min(base.config.max_position_embeddings));
    let read = Encoded::new(train.clone(), &base.tokenizer, more)?;
    let longer = match usual < more {
        true => read.tokens.iter().filter(|text| text.ids.len() > usual).count(),
        false => read.truncated,
    };
    Ok(match windows {
        Some(windows) => (usual, Some(windows)),
        None if longer * MANY <= train.len() => (usual, None),
        None if train.is_paired() || more < NARROW || read.truncated * MOST <= train.len() => (more, None),
        None => (more, Some(WINDOWS)),
    })
}

/// Returns whether the texts, as read, are long on average: a step then takes several times as long.
pub(super) fn are_long(read: &Encoded) -> bool {
    read.tokens.iter().map(|text| text.ids.len()).sum::<usize>() > LONG * read.tokens.len()
}
