//! From a checkpoint to a checked bundle.

use super::error::RunError;
use super::progress::{Progress, Watch};
use super::step::{json, save};
use super::{Aware, Quantize, Recipe, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier};
use crate::data::Dataset;
use crate::distill::{piece_counts, prune_vocabulary};
use crate::evaluate::{
    BundleRun, Comparison, Gate, Inputs, Outputs, describe_decision, fit_decision, run_bundle, run_texts,
};
use crate::export;
use crate::metrics::Metric;
use crate::quantize::{self, Bits};
use crate::train::{self, Encoded};
use goldcrest_edge::bundle::{Licence, Manifest, Measured};
use std::path::{Path, PathBuf};

/// Quantizes `folder`, exports, packs both precisions, compares them through the device's code, and lets the gate decide.
/// `trained` is what int8 is held against: the same folder, or what it was before it learned to be rounded. It is measured with all
/// its word pieces, too. The matrices
/// `wide` stay in half precision.
pub(super) fn pack(
    recipe: &Recipe,
    trained: &Path,
    folder: &Path,
    embeddings: Bits,
    wide: &[String],
    prepared: &Prepared,
    watch: Watch,
) -> Result<(PathBuf, Comparison), RunError> {
    watch(Progress::Step { name: "quantize", reused: false });
    let rounded = trained != folder || !wide.is_empty();
    let whole = Checkpoint::load(trained)?;
    let trained = as_packed(recipe, whole.clone(), prepared, watch)?;
    let checkpoint = as_packed(recipe, Checkpoint::load(folder)?, prepared, &mut |_| ())?;
    let mut quantized = quantize::quantize(&checkpoint, embeddings)?;
    quantized.widen(&checkpoint, wide.iter().map(String::as_str));
    watch(Progress::Step { name: "export", reused: false });
    let path = |suffix: &str| recipe.output.join(format!("{}{suffix}", recipe.pack.name));
    let (fp32, int8) = (export::fp32(&trained)?, export::int8(&quantized));
    save(&recipe.output.join("model.fp32.onnx"), &fp32.to_bytes())?;
    save(&recipe.output.join("model.int8.onnx"), &export::int8_unsigned(&quantized).to_bytes())?;

    watch(Progress::Step { name: "compare", reused: false });
    let vocabulary = &checkpoint.tokenizer.vocab;
    let mut manifest = manifest(recipe, &checkpoint, prepared);
    let (fp32_bundle, candidate) = (path(".fp32.bundle"), path(".refused.bundle"));
    let exact = export::pack(&manifest, fp32, vocabulary, &[])?;
    save(&fp32_bundle, &exact)?;
    save(&candidate, &export::pack(&manifest, int8, vocabulary, &[])?)?;
    let held_out = prepared.dev.len() + prepared.test.as_ref().map_or(0, Dataset::len);
    let all = (held_out + prepared.out_of_scope.len()) * 2;
    let mut done = 0;
    let mut classified = || {
        done += 1;
        watch(Progress::Classified { done, all });
    };
    let model = Classifier::new(whole, 0)?;
    let run_both = |data: &Dataset, progress: &mut dyn FnMut()| -> Result<[BundleRun; 2], RunError> {
        Ok([run_bundle(&fp32_bundle, data, progress)?, run_bundle(&candidate, data, progress)?])
    };
    let on_dev = run_both(&prepared.dev, &mut classified)?;
    // each by its own logits: numbers fitted to those of the other would flatter that one
    let mut fit = |bundle: &Path, on_dev: &BundleRun| -> Result<_, RunError> {
        let out_of_scope = run_texts(bundle, &prepared.out_of_scope, &mut classified)?;
        Ok((fit_decision(&prepared.dev, &on_dev.logits, &out_of_scope, &recipe.decision), out_of_scope))
    };
    let (of_fp32, _) = fit(&fp32_bundle, &on_dev[0])?;
    let (of_int8, out_of_scope) = fit(&candidate, &on_dev[1])?;
    let of_fp32 = Manifest { decision: of_fp32, ..manifest.clone() };
    save(&fp32_bundle, &export::with_manifest(&exact, &of_fp32)?)?;
    drop(exact);
    manifest.decision = of_int8;
    let compare = |data: &Dataset, [fp32, int8]: &[BundleRun; 2]| -> Result<Comparison, RunError> {
        let texts = prepared.to_measure(data, model.tokenizer())?;
        let trained = texts.of_examples(train::predict(&model, &texts, &mut |_| ())?.logits);
        let fp32 = fp32.outputs_with(&of_fp32.decision.thresholds);
        let mut comparison = Comparison::new(&Inputs {
            data,
            metric: Some(prepared.criterion.metric),
            host: Some(Outputs { logits: &trained, bytes: None, latency: None, ..fp32 }),
            fp32,
            int8: int8.outputs_with(&manifest.decision.thresholds),
        })?;
        comparison.wide = quantized.wide().map(String::from).collect();
        comparison.fitted =
            Some(describe_decision(&manifest.decision, data, &int8.logits, Some(&out_of_scope)));
        Ok(comparison)
    };
    let judged = compare(&prepared.dev, &on_dev)?;
    let max_drop = recipe.quantize.max_drop(&judged, rounded);
    // as the gate has it: a drop of exactly the limit passes, whatever the rounding
    let cost =
        judged.export_cost().filter(|cost| recipe.pack.vocabulary.is_some() && *cost > max_drop + 1e-9);
    let metric = judged.metric;
    let gate = Gate { max_drop: Some(max_drop), max_drop_per_class: recipe.quantize.max_drop_per_class };
    let verdict = gate.check(&judged);
    // the gate decides on dev: several models may be tried, and a test set that chose among them would be one no more
    let (data, comparison) = match &prepared.test {
        Some(test) if verdict.is_ok() && cost.is_none() => {
            (test, compare(test, &run_both(test, &mut classified)?)?)
        }
        _ => (&prepared.dev, judged),
    };
    save(&recipe.output.join("report.json"), json(&comparison).as_bytes())?;
    save(&recipe.output.join("report.md"), comparison.markdown().as_bytes())?;
    let bundle = path(".bundle");
    if let Some(cost) = cost {
        return Err(RunError::Pruned { bundle, cost, metric, max_drop });
    }
    if let Err(refusal) = verdict {
        return Err(RunError::Refused { bundle, refusal: Box::new(refusal) });
    }

    watch(Progress::Step { name: "pack", reused: false });
    manifest.measured = measured(&comparison, data);
    let golden = prepared.golden(recipe)?;
    let wanted = recipe.pack.golden.min(prepared.dev.len());
    if recipe.pack.golden_messages.is_none() && golden.len() < wanted {
        let count = golden.len();
        watch(Progress::Note(&format!(
            "{count} of {wanted} messages of the self-test (pack.golden): there is no room for more dev texts as long"
        )));
    }
    save(&bundle, &export::pack(&manifest, export::int8(&quantized), vocabulary, &golden)?)?;
    let _ = std::fs::remove_file(&candidate);
    Ok((bundle, comparison))
}

impl Quantize {
    /// Points that int8 may lose: as the recipe says, or half a point, or what one row more that is wrong comes to. `rounded`
    /// models have learned to be so, and of them a drop has to be more than chance: on 300 rows two say nothing, and would cost a
    /// bundle twice as slow.
    pub(super) fn max_drop(&self, found: &Comparison, rounded: bool) -> f64 {
        let last = rounded || self.aware == Aware::Never;
        // a drop beyond it is seen by chance once in twenty times: of a normal distribution's 95 % interval both ends are 1.96
        // deviations away, one end of its 90 % interval 1.645
        let by_chance = (found.interval.high - found.interval.low) / 2.0 * (1.645 / 1.96);
        let by_chance = if last { by_chance.min(1.0) } else { 0.0 };
        let one_row = if found.metric == Metric::Accuracy { 100.0 / found.rows.max(1) as f64 } else { 0.0 };
        // of a class of three rows one is many points of macro-F1: where no more than that answers otherwise, it is allowed
        let rows = if last { 2 } else { 1 };
        let few = found.agreeing.is_some_and(|agreeing| found.rows as u64 - agreeing <= rows);
        let of_rows = if few { -found.delta } else { one_row };
        self.max_drop.unwrap_or(of_rows.max(by_chance).max(0.5))
    }
}

/// A checkpoint without what a bundle does not need: rare word pieces where the recipe says so, positions never read.
fn as_packed(
    recipe: &Recipe,
    mut checkpoint: Checkpoint,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Checkpoint, RunError> {
    if let Some(budget) = recipe.pack.vocabulary {
        let texts = Encoded::new(prepared.train.clone(), &checkpoint.tokenizer, prepared.reads.max_tokens)?;
        let before = checkpoint.config.vocab_size;
        let counts = piece_counts(&texts, before, texts.tokens.len(), 0.0);
        let pruned = prune_vocabulary(&checkpoint, &counts, budget);
        watch(Progress::Note(&pruned.describe(before)));
        checkpoint = pruned.checkpoint;
    }
    checkpoint.cut_positions(prepared.reads.max_tokens);
    Ok(checkpoint)
}

fn measured(comparison: &Comparison, data: &Dataset) -> Vec<Measured> {
    let metric = comparison.metric;
    let name =
        serde_json::to_value(metric).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default();
    let value = |m: &crate::evaluate::Measured| m.metrics.get(metric).unwrap_or(f64::NAN);
    vec![Measured {
        metric: name,
        fp32: value(&comparison.fp32),
        int8: value(&comparison.int8),
        rows: data.len() as u64,
        data_sha256: data.digest(),
    }]
}

pub(super) fn manifest(recipe: &Recipe, checkpoint: &Checkpoint, prepared: &Prepared) -> Manifest {
    let pack = &recipe.pack;
    Manifest {
        name: pack.name.clone(),
        version: pack.version.clone(),
        licence: Licence { base_model: pack.base_licence.clone(), data: pack.data_licence.clone() },
        ..export::manifest(checkpoint, prepared.reads)
    }
}
