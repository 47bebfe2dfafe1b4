//! Checks before training: can this recipe produce a bundle?

use super::contents::manifest;
use super::error::RunError;
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Config, LayerShape};
use crate::data::Dataset;
use crate::distill::{Distill, chosen_layers};
use crate::train::{self, Supervised, TargetScale};
use goldcrest_edge::bundle::limits;
use std::path::{Path, PathBuf};

/// Returns the base with the head's labels, after every check that can be made before hours of training.
pub(super) fn checked_base(recipe: &Recipe, prepared: &Prepared) -> Result<Checkpoint, RunError> {
    let mut base = base::load(&recipe.base.checkpoint)?;
    prepared.adapt(&mut base);
    check_inputs_stay(recipe)?;
    check_other_teachers(recipe, prepared, &base)?;
    check_what_follows(recipe, prepared, &base)?;
    Ok(base)
}

/// Refuses a student that would start as a model which can only teach.
pub(super) fn check_can_be_cut(recipe: &Recipe) -> Result<(), RunError> {
    let start = recipe.distill.as_ref().and_then(|distill| distill.start.as_ref());
    let (key, path) = match start {
        Some(start) => ("distill.start", start),
        None => ("base.checkpoint", &recipe.base.checkpoint),
    };
    if !base::config(path)?.only_teaches() {
        return Ok(());
    }
    let path = path.display();
    let problem = format!(
        "can only teach, as an MPNet: {path}: let a student start as a BERT (--teacher, or `start` under [distill])"
    );
    Err(RunError::Unsuitable { key, problem })
}

/// Refuses a run that would overwrite what it reads, or models that no run has made.
fn check_inputs_stay(recipe: &Recipe) -> Result<(), RunError> {
    let there = std::fs::read_dir(&recipe.output).into_iter().flatten().flatten();
    let written: Vec<PathBuf> = there
        .filter(|file| is_output(recipe, &file.file_name().to_string_lossy()))
        .map(|file| file.path())
        .collect();
    let real_paths: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let output = recipe.output.canonicalize().ok();
    let models = [&recipe.base.checkpoint].into_iter().chain(recipe.other_models());
    for path in models.chain(recipe.data_files()) {
        let Ok(real) = path.canonicalize() else { continue };
        if output.as_ref() == Some(&real) || real_paths.iter().any(|written| real.starts_with(written)) {
            return Err(RunError::Overwritten { path: path.clone(), output: recipe.output.clone() });
        }
    }
    // every run keeps a log of its training
    let foreign =
        |folder: &&PathBuf| folder.join("config.json").exists() && !folder.join(train::LOG).exists();
    if let Some(folder) = written.iter().find(foreign) {
        return Err(RunError::Foreign { path: folder.clone() });
    }
    Ok(())
}

/// Returns whether a run writes a file or folder of this name.
fn is_output(recipe: &Recipe, name: &str) -> bool {
    let numbered = |kind: &str| {
        let number = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        name == kind || number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let others = [
        "aware",
        "answers",
        "compares",
        "packed",
        "report.json",
        "report.md",
        "model.fp32.onnx",
        "model.int8.onnx",
    ];
    let bundle = name.strip_prefix(recipe.pack.name.as_str());
    numbered("teacher")
        || numbered("student")
        || others.contains(&name)
        || bundle.is_some_and(|end| [".bundle", ".fp32.bundle", ".candidate.bundle"].contains(&end))
}

/// Refuses other teachers that were trained for another task or other labels, or that cannot read texts as
/// long.
fn check_other_teachers(recipe: &Recipe, prepared: &Prepared, own: &Checkpoint) -> Result<(), RunError> {
    for path in recipe.distill.iter().flat_map(|distill| &distill.other_teachers) {
        let other = base::load(path)?;
        check_readable(prepared, path, &other)?;
        if !other.has_head() {
            return Err(RunError::Headless { path: path.clone() });
        }
        let (own, other) = (&own.config, other.config);
        if !prepared.train.is_labelled(&other.labels())
            || other.problem_type.is_some_and(|problem| Some(problem) != own.problem_type)
        {
            let (path, labels) = (path.clone(), own.labels().join(", "));
            return Err(RunError::OtherLabels { path, task: prepared.train.task, labels });
        }
    }
    Ok(())
}

/// Refuses recipes that would fail after training: no head would be made, golden messages are missing or
/// unreadable, a student has more than its base, no student is small enough, or the bundle would be invalid.
fn check_what_follows(recipe: &Recipe, prepared: &Prepared, base: &Checkpoint) -> Result<(), RunError> {
    let headless = !base.has_head() || recipe.base.pooler.passes_through(base);
    if recipe.train.epochs == Some(0.0) && headless {
        return Err(RunError::NoHead { path: recipe.base.checkpoint.clone() });
    }
    manifest(recipe, base, prepared).check().map_err(RunError::Manifest)?;
    prepared.golden(recipe)?;
    check_readable(prepared, &recipe.base.checkpoint, base)?;
    if !recipe.distill.as_ref().is_some_and(Distill::has_student) {
        check_size(&base.config)?;
    }
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

/// Refuses a model whose bundle in full precision, with which int8 is compared, would be too large.
fn check_size(model: &Config) -> Result<(), RunError> {
    let weights: usize =
        Checkpoint::shapes(model).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let bytes = 4 * weights as u64;
    if bytes + limits::MODEL + limits::VOCABULARY <= limits::FILE {
        return Ok(());
    }
    let (bytes, most) = (bytes / 1_000_000, limits::FILE / 1_000_000);
    let problem = format!(
        "has {bytes} MB in full precision, more than a bundle holds ({most} MB): distil it (`student` under [distill], or --student)"
    );
    Err(RunError::Unsuitable { key: "base.checkpoint", problem })
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
    let spread = TargetScale::of(data).deviations().fold(0.0, f32::max);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_as_large_as_its_bundle() {
        let config = |pieces: usize| -> Config {
            let config = serde_json::json!({
                "vocab_size": pieces, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                "intermediate_size": 4096,
            });
            serde_json::from_value(config).unwrap()
        };
        let size = |pieces: usize| check_size(&config(pieces));
        // BERT-large, and the same with the vocabulary of LaBSE
        size(30_522).unwrap();
        let error = size(501_153).unwrap_err().to_string();
        assert!(
            error.contains("has 3268 MB in full precision, more than a bundle holds (2147 MB)"),
            "{error}"
        );
        // the most pieces that there is room for
        let without: usize =
            Checkpoint::shapes(&config(0)).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let room = limits::FILE - limits::MODEL - limits::VOCABULARY;
        let most = (room as usize / 4 - without) / 1024;
        assert!(size(most).is_ok() && size(most + 1).is_err(), "{most}");
    }
}
