//! Checks before training: can this recipe produce a bundle?

use super::contents::manifest;
use super::error::RunError;
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Config, LayerShape};
use crate::data::{Dataset, Task};
use crate::distill::chosen_layers;
use crate::train::{Supervised, TargetScale};
use std::path::{Path, PathBuf};

/// Returns the base with the head's labels, after every check that can be made before hours of training.
pub(super) fn load_base(recipe: &Recipe, prepared: &Prepared) -> Result<Checkpoint, RunError> {
    let mut base = base::load(&recipe.base.checkpoint)?;
    prepared.adapt(&mut base);
    check_inputs_stay(recipe)?;
    check_other_teachers(recipe, prepared, &base)?;
    check_what_follows(recipe, prepared, &base)?;
    Ok(base)
}

/// Refuses a run that would overwrite a model that it starts from or uses as a teacher.
fn check_inputs_stay(recipe: &Recipe) -> Result<(), RunError> {
    let name = &recipe.pack.name;
    let own = |file: &str| {
        let numbered = |kind: &str| {
            let number = file.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
            file == kind || number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let bundle = file.strip_prefix(name.as_str());
        numbered("teacher")
            || numbered("student")
            || ["aware", "compares", "packed"].contains(&file)
            || bundle.is_some_and(|end| [".bundle", ".fp32.bundle", ".refused.bundle"].contains(&end))
    };
    let there = std::fs::read_dir(&recipe.output).into_iter().flatten().flatten();
    let written = there.filter(|file| own(&file.file_name().to_string_lossy()));
    let written: Vec<PathBuf> = written.filter_map(|file| file.path().canonicalize().ok()).collect();
    let others =
        recipe.distill.iter().flat_map(|distill| distill.start.iter().chain(&distill.other_teachers));
    for path in std::iter::once(&recipe.base.checkpoint).chain(others) {
        let Ok(real) = path.canonicalize() else { continue };
        let output = recipe.output.canonicalize().ok();
        if output.as_ref() == Some(&real) || written.iter().any(|written| real.starts_with(written)) {
            return Err(RunError::Overwritten { path: path.clone(), output: recipe.output.clone() });
        }
    }
    Ok(())
}

/// Refuses other teachers that were trained for another task or other labels, or that cannot read texts as
/// long.
fn check_other_teachers(recipe: &Recipe, prepared: &Prepared, own: &Checkpoint) -> Result<(), RunError> {
    let others = recipe.distill.iter().flat_map(|distill| &distill.other_teachers);
    for path in others {
        let other = base::load(path)?;
        check_readable(prepared, path, &other)?;
        if !other.has_head() {
            return Err(RunError::Headless { path: path.clone() });
        }
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

/// Refuses recipes that would fail after training: no head would be made, a file read later is missing or
/// unreadable, a student has more than its base, no student is small enough, or the bundle would be invalid.
fn check_what_follows(recipe: &Recipe, prepared: &Prepared, base: &Checkpoint) -> Result<(), RunError> {
    let headless = !base.has_head() || recipe.base.pooler.passes_through(base);
    if recipe.train.epochs == Some(0.0) && headless {
        return Err(RunError::NoHead { path: recipe.base.checkpoint.clone() });
    }
    manifest(recipe, base, prepared).check()?;
    prepared.golden(recipe)?;
    for path in recipe.distill.iter().flat_map(|distill| &distill.unlabelled) {
        recipe.data.unlabelled(path, &prepared.train)?;
    }
    check_readable(prepared, &recipe.base.checkpoint, base)?;
    if let Some(distill) = &recipe.distill {
        let start = distill.start.as_deref().map(base::load).transpose()?;
        if let (Some(path), Some(start)) = (&distill.start, &start) {
            check_readable(prepared, path, start)?;
        }
        let first = &start.as_ref().unwrap_or(base).config;
        if let Some(size) = &distill.student {
            size.plan(first, prepared.input.max_tokens, recipe.quantize.embedding_bits)
                .map_err(RunError::Size)?;
        } else {
            let mut left = first.num_hidden_layers;
            let mut sizes = sizes_of(first);
            for stage in distill.stages() {
                if let Some(layers) = &stage.layers {
                    left = chosen_layers(layers, left)?.len();
                }
                let asked = [stage.heads, stage.intermediate, stage.pooler, stage.embedding_rank];
                for ((key, all), asked) in sizes.iter_mut().zip(asked) {
                    let Some(asked) = asked else { continue };
                    if asked > *all {
                        let problem =
                            format!("is {asked}, and the model that is cut has {all}: ask for no more");
                        return Err(RunError::Unsuitable { key, problem });
                    }
                    *all = asked;
                }
            }
        }
    }
    check_spread(&prepared.train)?;
    Supervised::new(&prepared.train, &recipe.train)?;
    Ok(())
}

/// Returns the largest sizes that a student cut from this model can have.
fn sizes_of(from: &Config) -> [(&'static str, usize); 4] {
    let layers = from.layers();
    let most = |size: fn(&LayerShape) -> usize| layers.iter().map(size).max().unwrap_or_default();
    [
        ("heads", most(|layer| layer.heads)),
        ("intermediate", most(|layer| layer.intermediate)),
        ("pooler", from.pooler_size()),
        ("embedding_rank", from.embedding_rank().unwrap_or(from.hidden_size)),
    ]
}

/// Refuses regression targets so large that the device's int8 head could not express them.
fn check_spread(data: &Dataset) -> Result<(), RunError> {
    const MOST: f32 = 1e6;
    let spread = TargetScale::of(data).difference(1.0);
    if spread <= MOST {
        return Ok(());
    }
    let spread = f64::from(spread);
    let factor = 10f64.powf((spread / f64::from(MOST)).log10().ceil());
    let problem = format!(
        "deviate by {spread:.1e} from their mean, and a bundle holds up to {MOST:.0e}: divide all of them, by {factor:.0e} say"
    );
    Err(RunError::Unsuitable { key: "the numbers", problem })
}

/// Refuses inputs that the model cannot read: pairs if it has one token type, and more tokens than it has
/// positions.
fn check_readable(prepared: &Prepared, path: &Path, model: &Checkpoint) -> Result<(), RunError> {
    if prepared.train.is_paired() && model.config.type_vocab_size < 2 {
        let problem = format!("has one token type, so it cannot read pairs of texts: {}", path.display());
        return Err(RunError::Unsuitable { key: "the model", problem });
    }
    let (asked, positions) = (prepared.input.max_tokens, model.config.max_position_embeddings);
    if asked <= positions {
        return Ok(());
    }
    let path = path.display();
    let problem = format!("is {asked}, and {path} has positions for {positions} tokens: ask for no more");
    Err(RunError::Unsuitable { key: "task.max_tokens", problem })
}
