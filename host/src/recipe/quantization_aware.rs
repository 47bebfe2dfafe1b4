//! Quantization-aware training: with all values rounded as on the device, a model learns to reproduce the
//! answers it gave before.

use super::error::RunError;
use super::progress::Watch;
use super::step::{fingerprint, fit, json, once, restore_dropout};
use super::{Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier, Rounding};
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
    // its teacher is the model itself, not n-grams
    let teaching = Distill { ngrams: None, ..recipe.distill.clone().unwrap_or_default() };
    let weights =
        (teaching.alpha_hard, teaching.temperature, teaching.cls_weight(), teaching.relation_weight);
    let mut checkpoint = Checkpoint::load(folder)?;
    let before = checkpoint.config.clone();
    let usual_rate = || (TrainOptions::default().learning_rate(&before) / 4.0).min(5e-5);
    let batch_size = teaching.batch_size.unwrap_or(recipe.train.batch_size);
    let usual_epochs = || {
        let step = batch_size * recipe.train.accumulate;
        let enough = (LEAST_STEPS * step) as f64 / prepared.train.len().max(1) as f64;
        enough.clamp(1.0, 30.0)
    };
    let options = TrainOptions {
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
    };
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
