use super::adversarial::move_words;
use super::average::Average;
use super::state::{self, Position};
use super::{AdamW, Encoded, Error, Objective, Schedule, TrainOptions, predict};
use crate::bert::ops::mix;
use crate::bert::{Classifier, Gradients, Mode, Tape};
use crate::data::{Task, batches};
use crate::metrics::{self, Metric, Metrics, MetricsError};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How a dev set is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Criterion {
    /// The figure that decides.
    pub metric: Metric,
    /// Multi-label: with the best threshold for each label, as a decision that is fitted has them; few labels of many reach a half
    /// before they are learned well. Otherwise with [`THRESHOLD`](crate::metrics::THRESHOLD).
    pub thresholds: bool,
}

/// One training run.
pub struct Job<'a> {
    /// Trained in place.
    pub model: &'a mut Classifier,
    /// To learn from.
    pub train: &'a Encoded,
    /// To choose the best checkpoint on, and by which figure. Without it the last one is kept.
    pub dev: Option<(&'a Encoded, Criterion)>,
    /// How.
    pub options: &'a TrainOptions,
    /// What is minimised.
    pub objective: &'a dyn Objective,
    /// Gets the best checkpoint, `metrics.jsonl`, and until [`forget`] `state.safetensors` and `best/`.
    pub folder: &'a Path,
    /// Names model, data and options; a saved state is continued only under the same one.
    pub fingerprint: &'a str,
}

/// What happens during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// It begins, or continues after `done` updates of `steps`.
    Started {
        /// Updates already done.
        done: u64,
        /// Updates of the whole run.
        steps: u64,
    },
    /// An update was made.
    Step {
        /// Its number, from 1.
        step: u64,
        /// Its loss.
        loss: f32,
        /// Set, training saves its state and ends with [`Error::Interrupted`].
        stop: &'a Cell<bool>,
    },
    /// The dev set was measured.
    Evaluated {
        /// After this update.
        step: u64,
        /// All figures.
        metrics: &'a Metrics,
        /// The one that decides.
        value: f64,
        /// Its checkpoint is kept, until another one is.
        kept: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The deciding figure of the checkpoint that was kept.
    pub best: f64,
    /// The update it was reached at.
    pub best_step: u64,
    /// Updates made; of several runs in the longest of them.
    pub steps: u64,
    /// Runs whose weights were averaged; 1 for none.
    #[serde(default = "one")]
    pub runs: usize,
    /// Seconds, of all processes together.
    pub seconds: f64,
}

fn one() -> usize {
    1
}

/// What a killed run continues from, and the best checkpoint so far.
pub(crate) const STATE: &str = "state.safetensors";
const BEST: &str = "best";
/// Training lasts at least this many times as long as saving its states: disks can be slow.
const SAVE_SHARE: u32 = 20;
/// Updates between lines of the log.
const LOG_EVERY: u64 = 20;

/// Trains, keeps the checkpoint that is best on dev, and leaves it in the job's folder and in the model. Of equally good ones it is
/// the last, and where dev has few rows all are equally good that differ by no more than chance.
///
/// # Errors
/// [`Error`]; what was saved stays and is continued by the next call.
pub fn train(job: &mut Job, watch: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
    let options = job.options;
    let lengths: Vec<usize> = job.train.tokens.iter().map(|t| t.ids.len()).collect();
    if lengths.is_empty() || job.dev.is_some_and(|(dev, _)| dev.tokens.is_empty()) {
        return Err(Error::Empty);
    }
    check(job)?;
    std::fs::create_dir_all(job.folder).map_err(Error::io(job.folder))?;
    job.objective.target_scale().enter(job.model);
    let per_epoch = options.steps_per_epoch(lengths.len());
    let highest = options.learning_rate(job.model.config());
    let steps = match options.epochs(lengths.len(), job.train.data.labels.len(), false) {
        0.0 => 0,
        epochs => ((epochs * per_epoch as f64).round() as u64).max(1),
    };
    let eval_every = options.eval_every(lengths.len(), job.dev.map_or(0, |(dev, _)| dev.tokens.len()), steps);

    let state_file = job.folder.join(STATE);
    let mut memory = Memory::new(job.model, options);
    let mut at = state::load(&state_file, job.model, &mut memory, job.fingerprint)?.unwrap_or(Position {
        fingerprint: job.fingerprint.into(),
        step: 0,
        loss_sum: 0.0,
        loss_count: 0,
        best: None,
        highest: None,
        since_best: 0,
        seconds: 0.0,
    });
    watch(Event::Started { done: at.step, steps });
    let mut log = Log::open(job.folder.join("metrics.jsonl"), at.step)?;
    let (began, before) = (Instant::now(), at.seconds);
    let least = Duration::try_from_secs_f64(options.save_every).unwrap_or(Duration::MAX);
    let (mut saved, mut save_every) = (Instant::now(), least);
    let mut epoch: Option<(u64, Vec<Vec<u32>>)> = None;
    let interrupted = Cell::new(false);
    let stop = |at: &Position| at.step >= steps || options.patience.is_some_and(|p| at.since_best >= p);

    // what training starts from counts too: a student that learns once more never gets worse
    if at.step == 0 {
        evaluate(job, &mut memory, &mut at, &mut log, watch)?;
    }
    while !stop(&at) {
        let number = at.step / per_epoch;
        if epoch.as_ref().is_none_or(|(n, _)| *n != number) {
            epoch = Some((number, batches(&lengths, options.batch_size, options.seed, number)));
        }
        let order = &epoch.as_ref().expect("set above").1;
        let first = (at.step % per_epoch) as usize * options.accumulate;
        let rows = &order[first..(first + options.accumulate).min(order.len())];
        let loss = update(job, &mut memory, at.step, rows, highest * schedule(options, at.step, steps))?;
        at.step += 1;
        at.loss_sum += f64::from(loss);
        at.loss_count += 1;
        at.seconds = before + began.elapsed().as_secs_f64();
        watch(Event::Step { step: at.step, loss, stop: &interrupted });
        if at.step % LOG_EVERY == 0 {
            let rate = highest * schedule(options, at.step - 1, steps);
            log.write(serde_json::json!({
                "step": at.step, "epoch": at.step as f64 / per_epoch as f64,
                "loss": at.loss_sum / at.loss_count as f64, "learning_rate": rate, "seconds": at.seconds,
            }))?;
            (at.loss_sum, at.loss_count) = (0.0, 0);
        }
        if at.step % eval_every == 0 || at.step == steps {
            evaluate(job, &mut memory, &mut at, &mut log, watch)?;
        }
        if (saved.elapsed() > save_every || interrupted.get()) && !stop(&at) {
            let start = Instant::now();
            state::save(&state_file, job.model, &memory, &at)?;
            if interrupted.get() {
                return Err(Error::Interrupted { step: at.step, steps });
            }
            (saved, save_every) = (Instant::now(), least.max(start.elapsed() * SAVE_SHARE));
        }
    }
    let (best, best_step) = at.best.expect("evaluated before the first update");
    let best_model = crate::bert::Checkpoint::load(&job.folder.join(BEST))?;
    job.model.set(&best_model)?;
    best_model.save(job.folder)?;
    Ok(Summary { best, best_step, steps: at.step, runs: 1, seconds: at.seconds })
}

/// Errors where model, data and options cannot be used together.
fn check(job: &Job) -> Result<(), Error> {
    let (data, model) = (job.train.data.labels.len(), job.model.config().num_labels());
    // a base that learns vectors learns from texts without labels
    if job.train.data.task != Task::Regression && data > 0 && data != model {
        return Err(Error::Labels { data, model });
    }
    if let Some((dev, Criterion { metric, .. })) = job.dev
        && !metric.suits(dev.data.task)
    {
        return Err(MetricsError::Unsuited { task: dev.data.task, metric }.into());
    }
    let options = job.options;
    if options.batch_size == 0 || options.accumulate == 0 {
        return Err(Error::Option("batch_size and train.accumulate have to be 1 or more"));
    }
    if options.epochs.is_some_and(|epochs| !(0.0..f64::INFINITY).contains(&epochs)) {
        return Err(Error::Option("epochs has to be 0 or more"));
    }
    Ok(())
}

/// What the highest learning rate is multiplied with at update `step` (from 0): linear warm-up, then the schedule.
fn schedule(options: &TrainOptions, step: u64, steps: u64) -> f64 {
    let warmup = (options.warmup * steps as f64).round();
    let step = step as f64;
    if step < warmup {
        return (step + 1.0) / warmup;
    }
    let left = (steps as f64 - step) / (steps as f64 - warmup).max(1.0);
    match options.schedule {
        Schedule::Linear => left,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * (1.0 - left)).cos()),
        Schedule::Constant => 1.0,
    }
}

/// Learning rate of a weight relative to the head's.
fn layer_scale(name: &str, layers: usize, decay: f64) -> f64 {
    let below_head = if let Some(rest) = name.strip_prefix("bert.encoder.layer.") {
        let index = rest.split('.').next().and_then(|i| i.parse::<usize>().ok()).unwrap_or(0);
        layers - index
    } else if name.starts_with("bert.embeddings") {
        layers + 1
    } else {
        0
    };
    decay.powi(below_head as i32)
}

/// What stays in memory from one update to the next.
pub(super) struct Memory {
    pub(super) adam: AdamW,
    pub(super) average: Option<Average>,
    tape: Tape,
    gradients: Gradients,
}

impl Memory {
    fn new(model: &Classifier, options: &TrainOptions) -> Self {
        let gradients = Gradients::new(model.weights());
        let average = (options.average > 0.0).then(|| Average::new(model, options.average));
        Self { adam: AdamW::default(), average, tape: Tape::default(), gradients }
    }
}

/// One update from some batches; their mean loss.
fn update(
    job: &mut Job,
    memory: &mut Memory,
    step: u64,
    batches: &[Vec<u32>],
    rate: f64,
) -> Result<f32, Error> {
    let options = job.options;
    memory.gradients.clear();
    let far = options.adversarial.unwrap_or(0.0);
    let share = if far > 0.0 { 0.5 } else { 1.0 };
    let mut total = gradients_of(job, memory, step, batches, 0, share)?;
    if far > 0.0 {
        let unmoved = move_words(job.model.weights_mut(), &memory.gradients, far);
        let moved = gradients_of(job, memory, step, batches, batches.len(), share);
        unmoved.restore(job.model.weights_mut());
        total += moved?;
    }
    let Memory { adam, average, gradients, .. } = memory;
    let norm = gradients.norm();
    let clip = if options.clip > 0.0 && norm > options.clip { options.clip / (norm + 1e-6) } else { 1.0 };
    let layers = job.model.config().num_hidden_layers;
    let rates = |name: &str| rate * layer_scale(name, layers, options.layer_decay);
    adam.update(job.model.weights_mut(), gradients, rates, options.weight_decay, clip);
    if let Some(average) = average {
        average.add(job.model, step + 1);
    }
    Ok(total)
}

/// Adds the gradients of some batches, `share` of their mean, and gives as much of their mean loss. `passed` is how many batches
/// passed in this update before.
fn gradients_of(
    job: &Job,
    memory: &mut Memory,
    step: u64,
    batches: &[Vec<u32>],
    passed: usize,
    share: f32,
) -> Result<f32, Error> {
    let pad_id = job.model.config().pad_token_id as u32;
    let share = share / batches.len() as f32;
    let mut total = 0.0;
    for (i, rows) in batches.iter().enumerate() {
        let rows = &rows.repeat(job.objective.copies());
        let batch = job.train.batch(rows, pad_id);
        let seed = mix(job.options.seed as u32 ^ mix(step as u32 ^ mix((passed + i) as u32 + 1)));
        let output = job.model.forward(&batch, Mode::Train { seed }, &mut memory.tape)?;
        let (loss, mut gradient) = job.objective.loss(job.train, rows, &batch, output)?;
        let value = loss as f32 * share;
        if !value.is_finite() {
            return Err(Error::Diverged { step: step + 1, loss: value });
        }
        total += value;
        if share < 1.0 {
            gradient.scale(share);
        }
        job.model.backward(&mut memory.tape, &gradient, &mut memory.gradients);
    }
    Ok(total)
}

/// Measures the weights, or their average where there is one, and keeps them if none was better.
fn evaluate(
    job: &mut Job,
    memory: &mut Memory,
    at: &mut Position,
    log: &mut Log,
    watch: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    let mut swap = |job: &mut Job| memory.average.iter_mut().for_each(|average| average.swap(job.model));
    swap(job);
    let measured = measure(job, at, log, watch);
    swap(job);
    measured
}

fn measure(job: &Job, at: &mut Position, log: &mut Log, watch: &mut dyn FnMut(Event)) -> Result<(), Error> {
    let Some((dev, criterion)) = job.dev else {
        at.best = Some((0.0, at.step));
        return save_best(job);
    };
    let mut logits = dev.of_examples(predict(job.model, dev, &mut |_| ())?.logits);
    let scale = job.objective.target_scale();
    logits.iter_mut().for_each(|logit| *logit = scale.number(*logit));
    let fitted = criterion.thresholds && dev.data.task == Task::MultiLabel;
    let thresholds = fitted.then(|| metrics::thresholds(&dev.data, &logits));
    let metrics =
        metrics::measure(&dev.data, &logits, thresholds.as_deref()).map_err(|error| match error {
            MetricsError::NotFinite { .. } if at.step > 0 => {
                Error::Diverged { step: at.step, loss: f32::NAN }
            }
            error => error.into(),
        })?;
    let value = metrics.get(criterion.metric).unwrap_or(f64::NAN);
    // what was learned longer takes the place of what is only as good
    let better = at.highest.is_none_or(|(highest, step)| value > highest || (step == 0 && value == highest));
    if better {
        at.highest = Some((value, at.step));
    }
    at.since_best = if better { 0 } else { at.since_best + 1 };
    let kept = at.highest.is_none_or(|(highest, _)| value >= highest - chance(highest, dev.data.len()));
    if kept {
        at.best = Some((value, at.step));
        save_best(job)?;
    }
    let mut line = serde_json::json!({"step": at.step, "dev": value, "kept": kept, "metrics": metrics});
    // of 150 classes it would fill the screen of whoever follows the file; the report has the last one
    line["metrics"].as_object_mut().map(|metrics| metrics.remove("confusion"));
    log.write(line)?;
    watch(Event::Evaluated { step: at.step, metrics: &metrics, value, kept });
    Ok(())
}

fn save_best(job: &Job) -> Result<(), Error> {
    Ok(job.objective.target_scale().leave(job.model).save(&job.folder.join(BEST))?)
}

/// By how much the figures of equally good checkpoints differ on so few rows. Of more rows the best figure decides, by however
/// little.
fn chance(figure: f64, rows: usize) -> f64 {
    const FEW: usize = 200;
    if rows >= FEW { 0.0 } else { standard_error(figure, rows) }
}

/// Of a share on so many rows; one row at least.
pub(crate) fn standard_error(figure: f64, rows: usize) -> f64 {
    let rows = rows.max(1) as f64;
    // as if one more had been right and one wrong
    let share = (figure.clamp(0.0, 1.0) * rows + 1.0) / (rows + 2.0);
    (share * (1.0 - share) / rows).sqrt().max(1.0 / rows) + 1e-9
}

/// Removes what a finished run would have continued from: once its end is written down, so that a kill in between loses nothing.
///
/// # Errors
/// When a file cannot be removed.
pub fn forget(folder: &Path) -> Result<(), Error> {
    let (state, best) = (folder.join(STATE), folder.join(BEST));
    let gone = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    };
    gone(&state, std::fs::remove_file(&state))?;
    // what a kill in the midst of saving it left
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!(".{STATE}.")) && name.ends_with(".tmp") {
            gone(&entry.path(), std::fs::remove_file(entry.path()))?;
        }
    }
    gone(&best, std::fs::remove_dir_all(&best))
}

/// `metrics.jsonl`.
struct Log {
    path: PathBuf,
    file: std::fs::File,
}

impl Log {
    /// Opens it for appending, without what a killed run wrote after the state that is continued, at `step` or none at 0.
    fn open(path: PathBuf, step: u64) -> Result<Self, Error> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let step_of = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .and_then(|v| v["step"].as_u64())
                .unwrap_or(u64::MAX)
        };
        let kept: String =
            text.lines().filter(|l| step > 0 && step_of(l) <= step).flat_map(|l| [l, "\n"]).collect();
        std::fs::write(&path, kept).map_err(Error::io(&path))?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, line: serde_json::Value) -> Result<(), Error> {
        writeln!(self.file, "{line}").map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_cannot_tell_checkpoints_apart() {
        // one standard error
        assert!((chance(0.8, 100) - 0.04).abs() < 1e-3);
        // all right: one row may be wrong by chance
        assert!(chance(1.0, 20) >= 0.05 && chance(1.0, 20) < 0.1);
        assert_eq!(chance(0.8, 200), 0.0);
    }
}
