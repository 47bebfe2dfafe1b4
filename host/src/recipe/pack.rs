//! Turning a checkpoint into a checked bundle.

use super::contents::{as_packed, manifest, output};
use super::error::RunError;
use super::original::{Answered, Original};
use super::progress::{Counted, Progress, Watch};
use super::step::{json, save};
use super::{Recipe, prepare::Prepared};
use crate::bert::Checkpoint;
use crate::data::{Dataset, Text};
use crate::evaluate::{
    BundleRun, Comparison, Gate, Inputs, Rows, describe_decision, fit_decision, run_bundle, run_texts,
};
use crate::export::{self, PackError};
use crate::quantize::{self, Bits, Quantized};
use goldcrest_edge::bundle::{Manifest, Measured};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes bundles of one trained model; each must pass the gate.
pub(super) struct Packer<'a> {
    recipe: &'a Recipe,
    prepared: &'a Prepared,
    /// Checkpoint folder of the trained model.
    folder: &'a Path,
    original: Original,
}

/// An int8 model, packed without self-test and measured on dev.
struct Candidate {
    quantized: Quantized,
    vocabulary: String,
    /// Manifest, with the fitted decision.
    manifest: Manifest,
    bundle: PathBuf,
    on_dev: BundleRun,
    /// Logits of the out-of-scope texts.
    out_of_scope: Vec<f32>,
}

impl<'a> Packer<'a> {
    /// Exports and measures the model of `folder` in full precision.
    pub fn new(
        recipe: &'a Recipe,
        folder: &'a Path,
        prepared: &'a Prepared,
        watch: Watch,
    ) -> Result<Self, RunError> {
        let original = Original::export(recipe, folder, prepared, watch)?;
        Ok(Self { recipe, prepared, folder, original })
    }

    /// Returns the checkpoint folder of the trained model.
    pub fn folder(&self) -> &Path {
        self.folder
    }

    /// Quantizes the model of `folder` (the trained one, or the result of quantization-aware training from
    /// it) with the matrices `wide` in half precision. Compares it with the trained model using the device's
    /// code, writes the report, and packs the bundle if the gate accepts it.
    pub fn pack(
        &self,
        folder: &Path,
        embeddings: Bits,
        wide: &[String],
        watch: Watch,
    ) -> Result<(PathBuf, Comparison), RunError> {
        let Self { recipe, prepared, .. } = *self;
        let candidate = self.candidate(folder, embeddings, wide, watch)?;
        let judged = self.compare(&candidate, &prepared.dev, self.original.on_dev(), &candidate.on_dev)?;
        let refusal = self.refusal(&judged, folder != self.folder || !wide.is_empty());
        // The gate decides on dev: several models may be tried, and a test set that chose among them would no
        // longer be one.
        let (rows, data, mut comparison) = match &prepared.test {
            Some(test) if refusal.is_none() => (Rows::Test, test, self.on_test(&candidate, test, watch)?),
            _ => (Rows::Dev, &prepared.dev, judged),
        };
        comparison.of = Some(rows);
        comparison.refused = refusal.as_ref().map(ToString::to_string);
        save(&recipe.output.join("report.json"), json(&comparison).as_bytes())?;
        save(&recipe.output.join("report.md"), comparison.markdown().as_bytes())?;
        match refusal {
            Some(refusal) => {
                let _ = std::fs::remove_file(&candidate.bundle);
                Err(refusal)
            }
            None => Ok((self.finish(candidate, measured(&comparison, data), watch)?, comparison)),
        }
    }

    fn candidate(
        &self,
        folder: &Path,
        embeddings: Bits,
        wide: &[String],
        watch: Watch,
    ) -> Result<Candidate, RunError> {
        let Self { recipe, prepared, .. } = *self;
        watch(Progress::Step { name: "quantize", reused: false });
        let checkpoint = as_packed(recipe, Checkpoint::load(folder)?, prepared, &mut |_| ())?;
        let mut quantized = quantize::quantize(&checkpoint, embeddings)?;
        quantized.widen(&checkpoint, wide.iter().map(String::as_str));
        save(&recipe.output.join("model.int8.onnx"), &export::int8_unsigned(&quantized).to_bytes())?;

        watch(Progress::Step { name: "compare", reused: false });
        let vocabulary = checkpoint.tokenizer.vocab.clone();
        let mut manifest = manifest(recipe, &checkpoint, prepared);
        let bundle = output(recipe, ".candidate.bundle");
        save(&bundle, &export::pack(&manifest, export::int8(&quantized), &vocabulary, &[])?)?;
        let mut counted = Counted::new(prepared.dev.len() + prepared.out_of_scope.len(), watch);
        let on_dev = run_bundle(&bundle, &prepared.dev, &mut || counted.one())?;
        let out_of_scope = run_texts(&bundle, &prepared.out_of_scope, &mut || counted.one())?;
        manifest.decision = fit_decision(&prepared.dev, &on_dev.logits, &out_of_scope, &recipe.decision);
        Ok(Candidate { quantized, vocabulary, manifest, bundle, on_dev, out_of_scope })
    }

    fn compare(
        &self,
        candidate: &Candidate,
        data: &Dataset,
        original: &Answered,
        int8: &BundleRun,
    ) -> Result<Comparison, RunError> {
        let [trained, fp32] = self.original.outputs(original, self.original.latency(data)?);
        let decision = &candidate.manifest.decision;
        let mut comparison = Comparison::new(&Inputs {
            data,
            metric: Some(self.prepared.criterion.metric),
            host: Some(trained),
            fp32,
            int8: int8.outputs_with(&decision.thresholds),
        })?;
        comparison.wide = candidate.quantized.wide().map(String::from).collect();
        comparison.fitted =
            Some(describe_decision(decision, data, &int8.logits, Some(&candidate.out_of_scope)));
        Ok(comparison)
    }

    fn on_test(
        &self,
        candidate: &Candidate,
        test: &Arc<Dataset>,
        watch: Watch,
    ) -> Result<Comparison, RunError> {
        let mut counted = Counted::new(2 * test.len(), watch);
        let original = self.original.answers(test, self.prepared, &mut || counted.one())?;
        let int8 = run_bundle(&candidate.bundle, test, &mut || counted.one())?;
        self.compare(candidate, test, &original, &int8)
    }

    /// Returns why no bundle may be packed, if so. `last_resort` as in
    /// [`Quantize::allowed_drop`](super::Quantize::allowed_drop).
    fn refusal(&self, judged: &Comparison, last_resort: bool) -> Option<RunError> {
        let Recipe { quantize, pack, .. } = self.recipe;
        let bundle = output(self.recipe, ".bundle");
        let max_drop = quantize.allowed_drop(judged, last_resort);
        // as in the gate, a drop of exactly the limit passes despite rounding
        let cost = judged.export_cost().filter(|cost| pack.vocabulary.is_some() && *cost > max_drop + 1e-9);
        if let Some(cost) = cost {
            return Some(RunError::Pruned { bundle, cost, metric: judged.metric, max_drop });
        }
        let gate = Gate { max_drop: Some(max_drop), max_drop_per_class: quantize.max_drop_per_class };
        let refusal = gate.check(judged).err()?;
        Some(RunError::Refused { bundle, refusal: Box::new(refusal) })
    }

    /// Writes the final bundle.
    fn finish(
        &self,
        candidate: Candidate,
        measured: Vec<Measured>,
        watch: Watch,
    ) -> Result<PathBuf, RunError> {
        let Self { recipe, prepared, .. } = *self;
        watch(Progress::Step { name: "pack", reused: false });
        let manifest = Manifest { measured, ..candidate.manifest };
        let golden = prepared.golden(recipe)?;
        let wanted = recipe.pack.golden.min(prepared.dev.len());
        if recipe.pack.golden_messages.is_none() && golden.len() < wanted {
            let count = golden.len();
            watch(Progress::Note(&format!(
                "{count} of {wanted} messages of the self-test (pack.golden): there is no room for more dev texts as long"
            )));
        }
        let pack = |golden: &[Text]| {
            export::pack(&manifest, export::int8(&candidate.quantized), &candidate.vocabulary, golden)
        };
        let packed = match pack(&golden) {
            Err(PackError::Stock(why)) => {
                watch(Progress::Note(&format!(
                    "no self-test is packed: the device runs this model on stock operators, slower and with other bits on other processors ({why})"
                )));
                pack(&[])
            }
            packed => packed,
        };
        let bundle = output(recipe, ".bundle");
        save(&bundle, &packed?)?;
        let _ = std::fs::remove_file(&candidate.bundle);
        Ok(bundle)
    }
}

fn measured(comparison: &Comparison, data: &Dataset) -> Vec<Measured> {
    let metric = comparison.metric;
    let value = |m: &crate::evaluate::Measured| m.metrics.get(metric).unwrap_or(f64::NAN);
    vec![Measured {
        metric: metric.to_string(),
        fp32: value(&comparison.fp32),
        int8: value(&comparison.int8),
        rows: data.len() as u64,
        data_sha256: data.digest(),
    }]
}
