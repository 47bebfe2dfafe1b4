use super::{Latency, Outputs};
use crate::data::Dataset;
use goldcrest_edge::classifier::{self, Classifier, Options};
use std::path::Path;
use std::time::Instant;

/// A bundle's outputs, computed by the device's own code.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleRun {
    /// `[examples, labels]`, row-major, in the order of the data.
    pub logits: Vec<f32>,
    /// Latency of one text, including tokenizer and decision, on one thread of this machine.
    pub latency: Latency,
    /// Size of the file.
    pub bytes: u64,
    /// The bundle's own thresholds, if multi-label.
    pub thresholds: Vec<f32>,
}

impl BundleRun {
    /// Returns the outputs for a comparison, with the bundle's own thresholds.
    pub fn outputs(&self) -> Outputs<'_> {
        self.outputs_with(&self.thresholds)
    }

    /// Returns the outputs with other multi-label thresholds; if empty, 0.5 for all.
    pub fn outputs_with<'a>(&'a self, thresholds: &'a [f32]) -> Outputs<'a> {
        let thresholds = Some(thresholds).filter(|thresholds| !thresholds.is_empty());
        Outputs { logits: &self.logits, thresholds, bytes: Some(self.bytes), latency: Some(self.latency) }
    }
}

/// Why a bundle could not be run on data.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle does not load.
    #[error("{path}: {source}")]
    Load {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: classifier::Error,
    },
    /// A text could not be classified.
    #[error("{at}: {source}")]
    Row {
        /// File and line of the text, or its number, counted from 1.
        at: String,
        /// The cause.
        source: classifier::Error,
    },
    /// The bundle and the data have different labels.
    #[error("the bundle's labels are {bundle:?}, the data's {data:?}")]
    Labels {
        /// Labels of the bundle.
        bundle: Vec<String>,
        /// Labels of the data.
        data: Vec<String>,
    },
}

/// Classifies every example, one at a time, as the device does. Calls `progress` after each.
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

/// Returns the device's logits for unlabelled texts: `[texts, labels]`.
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
