use super::{Latency, Outputs};
use crate::data::Dataset;
use goldcrest_edge::classifier::{self, Classifier, Options};
use std::path::Path;
use std::time::Instant;

/// What a bundle gave, run by the device's own code.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleRun {
    /// `[examples, labels]`, row-major, in the order of the data.
    pub logits: Vec<f32>,
    /// Of one text, tokenizer and decision included, on one thread of this machine.
    pub latency: Latency,
    /// Size of the file.
    pub bytes: u64,
    /// The bundle's own, of several labels.
    pub thresholds: Vec<f32>,
}

impl BundleRun {
    /// As the comparison takes it: with the bundle's own thresholds.
    pub fn outputs(&self) -> Outputs<'_> {
        self.outputs_with(&self.thresholds)
    }

    /// With other thresholds for the labels of a multi-label task; empty: 0.5 for all.
    pub fn outputs_with<'a>(&'a self, thresholds: &'a [f32]) -> Outputs<'a> {
        let thresholds = Some(thresholds).filter(|thresholds| !thresholds.is_empty());
        Outputs { logits: &self.logits, thresholds, bytes: Some(self.bytes), latency: Some(self.latency) }
    }
}

/// Why a bundle could not be run on the data.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It does not load.
    #[error("{path}: {source}")]
    Load {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: classifier::Error,
    },
    /// A text could not be classified.
    #[error("{at}: {source}")]
    Row {
        /// Its file and line, or its number from 1.
        at: String,
        /// Why.
        source: classifier::Error,
    },
    /// Labels of bundle and data are not the same.
    #[error("the bundle's labels are {bundle:?}, the data's {data:?}")]
    Labels {
        /// In the bundle.
        bundle: Vec<String>,
        /// In the data.
        data: Vec<String>,
    },
}

/// Classifies every example, one at a time, as the device does. `progress` is called after each.
///
/// # Errors
/// [`BundleError`].
pub fn run_bundle(path: &Path, data: &Dataset, progress: &mut dyn FnMut()) -> Result<BundleRun, BundleError> {
    let load = |source| BundleError::Load { path: path.into(), source };
    let mut classifier = Classifier::open(path, &Options::default()).map_err(load)?;
    let labels = &classifier.manifest().labels;
    if !data.labels.is_empty() && labels != data.labels.names() {
        return Err(BundleError::Labels { bundle: labels.clone(), data: data.labels.names().to_vec() });
    }
    let mut logits = Vec::new();
    let mut micros = Vec::with_capacity(data.len());
    for example in &data.examples {
        let start = Instant::now();
        let outcome = classifier
            .classify(&example.text, example.pair.as_deref())
            .map_err(|source| BundleError::Row { at: data.place(example).to_string(), source })?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        logits.extend_from_slice(outcome.logits);
        progress();
    }
    micros.sort_by(f64::total_cmp);
    let percentile =
        |p: f64| micros.get(((micros.len() as f64 - 1.0) * p).round() as usize).copied().unwrap_or(0.0);
    let latency = Latency { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99) };
    let thresholds = classifier.manifest().decision.thresholds.clone();
    Ok(BundleRun { logits, latency, bytes: std::fs::metadata(path).map_or(0, |m| m.len()), thresholds })
}

/// The logits of texts without labels, as the device gives them: `[texts, labels]`.
///
/// # Errors
/// [`BundleError`].
pub fn run_texts(
    path: &Path,
    texts: &[(String, Option<String>)],
    progress: &mut dyn FnMut(),
) -> Result<Vec<f32>, BundleError> {
    let load = |source| BundleError::Load { path: path.into(), source };
    let mut classifier = Classifier::open(path, &Options::default()).map_err(load)?;
    let mut logits = Vec::new();
    for ((text, pair), row) in texts.iter().zip(1..) {
        let outcome = classifier.classify(text, pair.as_deref());
        let outcome = outcome.map_err(|source| BundleError::Row { at: format!("text {row}"), source })?;
        logits.extend_from_slice(outcome.logits);
        progress();
    }
    Ok(logits)
}
