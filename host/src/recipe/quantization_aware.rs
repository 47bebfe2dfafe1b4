//! Quantization-aware training: with all values rounded as on the device, a model learns to reproduce the
//! answers it gave before.

use super::error::RunError;
use super::progress::Watch;
use super::step::{fingerprint, fit, json, once, restore_dropout};
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier, Config, Rounding};
use crate::distill::{Distill, FromTeacher};
use crate::quantize::Bits;
use crate::train::{self, ClassWeights, Encoded, Supervised, TrainOptions, WeightRule};
use std::path::{Path, PathBuf};

/// Minimum number of steps for a model to adapt to rounding.
const LEAST_STEPS: usize = 100;

/// Trains the model of `folder` with every value rounded as on the device (fake quantization), on its own
/// previous answers and the gold labels. Keeps the checkpoint whose rounded model scores best on dev.
pub(super) fn quantization_aware(
    recipe: &Recipe,
    folder: &Path,
    embeddings: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<PathBuf, RunError> {
    let output = recipe.output.join("aware");
    let teaching = teaching(recipe);
    let weights =
        (teaching.alpha_hard, teaching.temperature, teaching.cls_weight(), teaching.relation_weight);
    let mut checkpoint = Checkpoint::load(folder)?;
    let before = checkpoint.config.clone();
    let options = options(recipe, &teaching, &before, prepared.train.len());
    let key = fingerprint(&[
        "aware",
        &base::digest(folder)?,
        &prepared.digest(),
        &json(&(options.that_decide(), weights)),
        &json(&prepared.criterion),
        &format!("{embeddings:?} {}", prepared.input.max_tokens),
    ]);
    once("quantization-aware training", &output, &key, watch, |watch| {
        checkpoint.config.set_dropout(0.0);
        let mut model = Classifier::trained(checkpoint)?;
        let train = Encoded::new(prepared.train.clone(), model.tokenizer(), prepared.input.max_tokens)?;
        let dev = prepared.to_measure(&prepared.dev, model.tokenizer())?;
        let answers = train::predict_with_vectors(&model, &train, &mut |_| ())?;
        model.round(Some(Rounding { embeddings, only: None }));
        let objective = FromTeacher {
            answers: &answers,
            hard: Supervised::new(&train.data, &options)?,
            gold: train.tokens.len(),
            options: &teaching,
            teacher: None,
        };
        let summary =
            fit(&mut model, [&train, &dev], prepared.criterion, &options, &objective, &output, &key, watch)?;
        restore_dropout(&output, &before)?;
        Ok(summary)
    })?;
    Ok(output)
}

/// Returns how the model is taught: as a student, but by itself, not by n-grams.
fn teaching(recipe: &Recipe) -> Distill {
    Distill { ngrams: None, ..recipe.distill.clone().unwrap_or_default() }
}

/// Returns the options to train a model of this shape on `rows` texts.
fn options(recipe: &Recipe, teaching: &Distill, model: &Config, rows: usize) -> TrainOptions {
    let usual_rate = || (TrainOptions::default().learning_rate(model) / 4.0).min(5e-5);
    let batch_size = teaching.batch_size.unwrap_or(recipe.train.batch_size);
    let usual_epochs = || {
        let step = batch_size * recipe.train.accumulate;
        let enough = (LEAST_STEPS * step) as f64 / rows.max(1) as f64;
        enough.clamp(1.0, 30.0)
    };
    TrainOptions {
        epochs: Some(recipe.quantize.epochs.unwrap_or_else(usual_epochs)),
        learning_rate: Some(recipe.quantize.learning_rate.unwrap_or_else(usual_rate)),
        layer_decay: 1.0,
        label_smoothing: 0.0,
        focal: 0.0,
        class_weights: match recipe.distill {
            // students are trained without class weights
            Some(_) => ClassWeights::Rule(WeightRule::None),
            None => recipe.train.class_weights.clone(),
        },
        agreement: 0.0,
        adversarial: Some(0.0),
        soup: None,
        batch_size,
        eval_every: teaching.eval_every.or(recipe.train.eval_every),
        patience: teaching.patience.or(recipe.train.patience),
        ..recipe.train.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_trained_on_like_the_teacher_or_student_that_it_is() {
        let of = |more: &str, rows: usize| {
            let text = format!(
                "output = 'o'\n[data]\ntrain = 'a.csv'\n[base]\ncheckpoint = 'b'\n[pack]\nname = 'n'\n\
                 [train]\nbatch_size = 16\npatience = 3\nadversarial = 0.5\nclass_weights = 'balanced'\n{more}"
            );
            let recipe = Recipe::parse(&text, Path::new("/r.toml")).unwrap();
            let config = serde_json::json!({
                "vocab_size": 100, "hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 12,
                "intermediate_size": 1536,
            });
            options(&recipe, &teaching(&recipe), &serde_json::from_value(config).unwrap(), rows)
        };
        let balanced = ClassWeights::Rule(WeightRule::Balanced);
        let teacher = of("", 800);
        assert_eq!((teacher.class_weights, teacher.patience), (balanced, Some(3)));
        assert_eq!((teacher.adversarial, teacher.epochs), (Some(0.0), Some(2.0)), "a hundred steps of 16");
        let student = of("[distill]\nlayers = 2\nbatch_size = 32\npatience = 5\n", 32_000);
        assert_eq!(
            (student.class_weights, student.patience),
            (ClassWeights::Rule(WeightRule::None), Some(5))
        );
        assert_eq!((student.batch_size, student.epochs), (32, Some(1.0)));
        assert_eq!(of("[quantize]\nepochs = 7.0\n", 800).epochs, Some(7.0));
    }
}
