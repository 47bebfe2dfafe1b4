//! The contents of a bundle before it is measured, common to full precision and int8.

use super::progress::{Progress, Watch};
use super::{Recipe, RunError, prepare::Prepared};
use crate::bert::Checkpoint;
use crate::distill::{piece_counts, prune_vocabulary};
use crate::export;
use crate::train::Encoded;
use goldcrest_edge::bundle::{Licence, Manifest};
use std::path::PathBuf;

/// Returns the path of an output file named after the bundle.
pub(super) fn output(recipe: &Recipe, suffix: &str) -> PathBuf {
    recipe.output.join(format!("{}{suffix}", recipe.pack.name))
}

/// Removes from a checkpoint what a bundle does not need: rare word pieces if the recipe says so, and
/// position embeddings never used.
pub(super) fn as_packed(
    recipe: &Recipe,
    mut checkpoint: Checkpoint,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Checkpoint, RunError> {
    if let Some(budget) = recipe.pack.vocabulary {
        let texts = Encoded::new(prepared.train.clone(), &checkpoint.tokenizer, prepared.input.max_tokens)?;
        let before = checkpoint.config.vocab_size;
        let counts = piece_counts(&texts, before, |_| 1.0);
        let pruned = prune_vocabulary(&checkpoint, &counts, budget);
        watch(Progress::Note(&pruned.describe(before)));
        checkpoint = pruned.checkpoint;
    }
    checkpoint.cut_positions(prepared.input.max_tokens);
    Ok(checkpoint)
}

pub(super) fn manifest(recipe: &Recipe, checkpoint: &Checkpoint, prepared: &Prepared) -> Manifest {
    let pack = &recipe.pack;
    Manifest {
        name: pack.name.clone(),
        version: pack.version.clone(),
        licence: Licence { base_model: pack.base_licence.clone(), data: pack.data_licence.clone() },
        ..export::manifest(checkpoint, prepared.input)
    }
}
