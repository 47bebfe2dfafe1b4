//! The model as trained, exported in full precision: the reference for every attempt at int8.

use super::contents::{as_packed, manifest, output};
use super::error::RunError;
use super::progress::{Counted, Progress, Watch};
use super::step::save;
use super::{Recipe, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier};
use crate::data::Dataset;
use crate::evaluate::{BundleRun, Latency, Outputs, bundle_latency, fit_decision, run_bundle, run_texts};
use crate::export;
use crate::train;
use goldcrest_edge::bundle::Manifest;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The model as trained, exported in full precision and measured on dev.
pub(super) struct Original {
    /// Its checkpoint folder.
    folder: PathBuf,
    bundle: PathBuf,
    thresholds: Vec<f32>,
    /// Those of the model before the export.
    trained_thresholds: Vec<f32>,
    on_dev: Answered,
}

/// Its outputs on some data, before and after the export.
pub(super) struct Answered {
    trained: Vec<f32>,
    exported: BundleRun,
}

impl Original {
    /// Exports the model of `folder`, packs it, and fits its decision to its own logits; settings fitted to
    /// the int8 logits would favour int8.
    pub fn export(
        recipe: &Recipe,
        folder: &Path,
        prepared: &Prepared,
        watch: Watch,
    ) -> Result<Self, RunError> {
        watch(Progress::Step { name: "export", reused: false });
        let whole = Checkpoint::load(folder)?;
        let checkpoint = as_packed(recipe, whole.clone(), prepared, watch)?;
        let onnx = export::fp32(&checkpoint)?;
        save(&recipe.output.join("model.fp32.onnx"), &onnx.to_bytes())?;
        let manifest = manifest(recipe, &checkpoint, prepared);
        let packed = export::pack(&manifest, onnx, &checkpoint.tokenizer.vocab, &[])?;
        let bundle = output(recipe, ".fp32.bundle");
        save(&bundle, &packed)?;

        let mut counted = Counted::new(prepared.dev.len() + prepared.out_of_scope.len(), watch);
        let on_dev = answered(whole, &bundle, &prepared.dev, prepared, &mut || counted.one())?;
        let out_of_scope = run_texts(&bundle, &prepared.out_of_scope, &mut || counted.one())?;
        let decision = fit_decision(&prepared.dev, &on_dev.exported.logits, &out_of_scope, &recipe.decision);
        let thresholds = decision.thresholds.clone();
        let trained_thresholds =
            fit_decision(&prepared.dev, &on_dev.trained, &[], &recipe.decision).thresholds;
        save(&bundle, &export::with_manifest(&packed, &Manifest { decision, ..manifest })?)?;
        Ok(Self { folder: folder.to_owned(), bundle, thresholds, trained_thresholds, on_dev })
    }

    /// Returns its outputs on dev.
    pub fn on_dev(&self) -> &Answered {
        &self.on_dev
    }

    /// Computes its outputs on other data.
    pub fn answers(
        &self,
        data: &Arc<Dataset>,
        prepared: &Prepared,
        progress: &mut dyn FnMut(),
    ) -> Result<Answered, RunError> {
        answered(Checkpoint::load(&self.folder)?, &self.bundle, data, prepared, progress)
    }

    /// Measures its latency again: the load of the machine changes from one attempt to the next.
    pub fn latency(&self, data: &Dataset) -> Result<Latency, RunError> {
        Ok(bundle_latency(&self.bundle, data)?)
    }

    /// Returns its outputs, before and after the export, for a comparison.
    pub fn outputs<'a>(&'a self, answered: &'a Answered, latency: Latency) -> [Outputs<'a>; 2] {
        let exported = Outputs { latency: Some(latency), ..answered.exported.outputs_with(&self.thresholds) };
        let thresholds = Some(&self.trained_thresholds[..]).filter(|thresholds| !thresholds.is_empty());
        let trained = Outputs { logits: &answered.trained, thresholds, bytes: None, latency: None };
        [trained, exported]
    }
}

fn answered(
    whole: Checkpoint,
    bundle: &Path,
    data: &Arc<Dataset>,
    prepared: &Prepared,
    progress: &mut dyn FnMut(),
) -> Result<Answered, RunError> {
    let exported = run_bundle(bundle, data, progress)?;
    let model = Classifier::trained(whole)?;
    let texts = prepared.to_measure(data, model.tokenizer())?;
    let trained = texts.of_examples(train::predict(&model, &texts, &mut |_| ())?);
    Ok(Answered { trained, exported })
}
