use super::{Latency, Outputs};
use crate::data::{Dataset, SplitMix, Task, Text};
use crate::spread::{one_for_each_thread, spread};
use goldcrest_edge::bundle;
use goldcrest_edge::classifier::{self, Classifier, Options};
use goldcrest_edge::decision::Settings;
use std::path::Path;
use std::time::{Duration, Instant};

/// A bundle's outputs, computed by the device's own code.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleRun {
    /// `[examples, labels]`, row-major, in the order of the data.
    pub logits: Vec<f32>,
    /// Latency of one text, including tokenizer and decision, on one thread of this machine. Measured on up to
    /// 200 of the texts, in up to two seconds.
    pub latency: Latency,
    /// Size of the file.
    pub bytes: u64,
    /// The bundle's decision settings.
    pub decision: Settings,
}

impl BundleRun {
    /// Returns the outputs for a comparison, with the bundle's own thresholds.
    pub fn outputs(&self) -> Outputs<'_> {
        self.outputs_with(&self.decision.thresholds)
    }

    /// Returns the outputs with other multi-label thresholds; if empty, 0.5 for all.
    pub fn outputs_with<'a>(&'a self, thresholds: &'a [f32]) -> Outputs<'a> {
        let thresholds = Some(thresholds).filter(|thresholds| !thresholds.is_empty());
        Outputs { logits: &self.logits, thresholds, bytes: Some(self.bytes), latency: Some(self.latency) }
    }
}

/// Why a bundle could not be run on data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] bundle::OpenError),
    /// The bundle does not load.
    #[error("{path}: {cause}")]
    Load {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        cause: classifier::Error,
    },
    /// A text could not be classified.
    #[error("{at}: {cause}")]
    Row {
        /// File and line of the text, or its number, counted from 1.
        at: String,
        /// The cause.
        cause: classifier::Error,
    },
    /// The bundle and the data have different tasks.
    #[error("the bundle's task is {bundle}, the data's {data}")]
    Task {
        /// Task of the bundle.
        bundle: Task,
        /// Task of the data.
        data: Task,
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

/// A borrowed [`Text`].
type TextRef<'a> = (&'a str, Option<&'a str>);

/// Classifies every example as the device does, on all threads; after that, measures latency with a few of
/// them on one thread. Calls `progress` for each example, block by block.
///
/// # Errors
/// [`BundleError`].
pub fn run_bundle(path: &Path, data: &Dataset, progress: &mut dyn FnMut()) -> Result<BundleRun, BundleError> {
    let classifier = open(path)?;
    let (labels, task) = (&classifier.manifest().labels, classifier.manifest().task);
    if task != data.task {
        return Err(BundleError::Task { bundle: task, data: data.task });
    }
    if !data.is_labelled(labels) {
        return Err(BundleError::Labels { bundle: labels.clone(), data: data.labels.names().to_vec() });
    }
    let texts: Vec<TextRef> = data.examples.iter().map(|e| (&*e.text, e.pair.as_deref())).collect();
    let at = |row: usize| data.place(&data.examples[row]).to_string();
    let decision = classifier.manifest().decision.clone();
    let mut alone = classifier.share().map_err(|source| load_error(path, source))?;
    let logits = classify_all(classifier, path, &texts, &at, progress)?;
    let latency = latency(&mut alone, &texts, &at)?;
    let bytes =
        std::fs::metadata(path).map_err(|cause| bundle::OpenError::Io { path: path.into(), cause })?.len();
    Ok(BundleRun { logits, latency, bytes, decision })
}

/// Measures the latency of a bundle as [`run_bundle`] does.
///
/// # Errors
/// [`BundleError`].
pub fn bundle_latency(path: &Path, data: &Dataset) -> Result<Latency, BundleError> {
    let texts: Vec<TextRef> = data.examples.iter().map(|e| (&*e.text, e.pair.as_deref())).collect();
    latency(&mut open(path)?, &texts, &|row| data.place(&data.examples[row]).to_string())
}

/// Returns the device's logits for unlabelled texts, classified on all threads: `[texts, labels]`.
///
/// # Errors
/// [`BundleError`].
pub fn run_texts(path: &Path, texts: &[Text], progress: &mut dyn FnMut()) -> Result<Vec<f32>, BundleError> {
    let texts: Vec<TextRef> = texts.iter().map(|(text, pair)| (&**text, pair.as_deref())).collect();
    classify_all(open(path)?, path, &texts, &|row| format!("text {}", row + 1), progress)
}

fn open(path: &Path) -> Result<Classifier, BundleError> {
    Classifier::open(path, &Options::default()).map_err(|error| load_error(path, error))
}

fn load_error(path: &Path, error: classifier::Error) -> BundleError {
    match error {
        classifier::Error::Open(error) => BundleError::Open(error),
        classifier::Error::File { path, cause } => BundleError::Load { path, cause: *cause },
        cause => BundleError::Load { path: path.into(), cause },
    }
}

/// Classifies texts drawn at random, one at a time, and stops early if they take long.
fn latency(
    classifier: &mut Classifier,
    texts: &[TextRef],
    at: &dyn Fn(usize) -> String,
) -> Result<Latency, BundleError> {
    const TEXTS: usize = 200;
    const AT_MOST: Duration = Duration::from_secs(2);
    let mut rows: Vec<usize> = (0..texts.len()).collect();
    SplitMix::new(0, 0).shuffle(&mut rows);
    let begin = Instant::now();
    let mut times = Vec::new();
    for row in rows.into_iter().take(TEXTS) {
        let start = Instant::now();
        let (text, pair) = texts[row];
        classifier.classify(text, pair).map_err(|cause| BundleError::Row { at: at(row), cause })?;
        times.push(start.elapsed());
        if begin.elapsed() > AT_MOST {
            break;
        }
    }
    Ok(percentiles(times))
}

/// By the nearest-rank method, as in `goldcrest-edge bench`.
fn percentiles(mut times: Vec<Duration>) -> Latency {
    times.sort_unstable();
    let percentile = |p: usize| {
        let time = times.get((times.len() * p).div_ceil(100).saturating_sub(1));
        time.map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Latency { p50: percentile(50), p90: percentile(90), p99: percentile(99) }
}

/// Returns the logits of all texts, in their order. Calls `progress` for each text when its block is done.
fn classify_all(
    classifier: Classifier,
    path: &Path,
    texts: &[TextRef],
    at: &(dyn Fn(usize) -> String + Sync),
    progress: &mut dyn FnMut(),
) -> Result<Vec<f32>, BundleError> {
    /// Texts of each thread from one report of progress to the next.
    const BLOCK: usize = 32;
    let share = |classifier: &Classifier| classifier.share().map_err(|source| load_error(path, source));
    let mut classifiers = one_for_each_thread(classifier, texts.len(), BLOCK, share)?;
    let classify = |classifier: &mut Classifier, texts: &[TextRef], first: usize| {
        let mut logits = Vec::new();
        for (&(text, pair), row) in texts.iter().zip(first..) {
            let outcome = classifier.classify(text, pair);
            let outcome = outcome.map_err(|cause| BundleError::Row { at: at(row), cause })?;
            logits.extend_from_slice(outcome.logits);
        }
        Ok::<_, BundleError>((logits, texts.len()))
    };
    let mut logits = Vec::new();
    spread(&mut classifiers, texts, BLOCK, classify, |blocks| {
        for (of_block, texts) in blocks {
            logits.extend(of_block);
            (0..texts).for_each(|_| progress());
        }
    })?;
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Labels;

    #[test]
    fn percentiles_of_times() {
        let of = |micros: &[u64]| {
            let Latency { p50, p90, p99 } =
                percentiles(micros.iter().copied().map(Duration::from_micros).collect());
            [p50, p90, p99].map(|time| time.round() as u64)
        };
        assert_eq!(of(&(1..=200).rev().collect::<Vec<_>>()), [100, 180, 198]);
        assert_eq!(of(&[7]), [7, 7, 7]);
        assert_eq!(of(&[]), [0, 0, 0]);
    }

    fn nano() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/sentiment-nano/sentiment-nano.bundle")
    }

    #[test]
    fn three_threads_answer_like_one_in_the_order_of_the_texts() {
        let texts: Vec<Text> =
            (0..333).map(|i| (format!("film {i} was {}", ["good", "bad", ""][i % 3]), None)).collect();
        let mut one = open(&nano()).unwrap();
        let expected: Vec<f32> =
            texts.iter().flat_map(|(text, _)| one.classify(text, None).unwrap().logits.to_vec()).collect();
        let (mut all, mut counted) = (Vec::new(), 0);
        rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(|| {
            all = run_texts(&nano(), &texts, &mut || counted += 1).unwrap();
        });
        assert_eq!((all, counted), (expected, 333));
        assert!(run_texts(&nano(), &[], &mut || ()).unwrap().is_empty());
    }

    #[test]
    fn an_error_names_the_first_text_that_fails() {
        let mut texts = vec![("good".to_owned(), None); 300];
        for row in [123, 290] {
            texts[row].1 = Some("a second text".to_owned());
        }
        let error = run_texts(&nano(), &texts, &mut || ()).unwrap_err().to_string();
        assert_eq!(error, "text 124: the model takes one text");
        let mut data = Dataset::unlabelled(texts);
        (0..).zip(&mut data.examples).for_each(|(line, example)| example.line = line);
        let error = |data: &Dataset| run_bundle(&nano(), data, &mut || ()).unwrap_err().to_string();
        assert_eq!(error(&data), "the bundle's task is single-label, the data's regression");
        data.task = Task::SingleLabel;
        assert!(error(&data).starts_with("the bundle's labels are [\"negative\", \"positive\"]"));
        data.labels = Labels::ordered(vec!["negative".into(), "positive".into()]).unwrap();
        assert_eq!(error(&data), ":123: the model takes one text");
    }
}
