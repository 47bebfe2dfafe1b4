//! The training loop.

use super::answers::predict_while;
use super::log::Log;
use super::state::{self, Position};
use super::update::{Memory, update};
use super::{Criterion, Error, Event, Job, Schedule, Summary, TrainOptions};
use crate::bert::ops::Precision;
use crate::bert::{Checkpoint, Mode};
use crate::data::{Task, batches};
use crate::metrics::{self, MetricsError};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

/// File with the state that a killed run resumes from, and folder of the best checkpoint so far.
pub(crate) const STATE: &str = "state.safetensors";
const BEST: &str = "best";
/// File of the log.
pub(crate) const LOG: &str = "metrics.jsonl";
/// Training takes at least this many times as long as saving states, in case the disk is slow.
const SAVE_SHARE: u32 = 20;
/// Number of updates between lines of the log.
const LOG_EVERY: u64 = 20;

/// Trains, and leaves the checkpoint that is best on dev in the job's folder and in the model. Among equally
/// good ones the last is kept; if dev has few rows, differences within chance count as equal.
///
/// # Errors
/// [`Error`]; a saved state is kept, and the next call for the same job resumes from it. (Another job in the same
/// folder deletes it, with the checkpoint that it would need.) The model then has the last weights.
pub fn train(job: &mut Job, watch: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
    let options = job.options;
    let lengths: Vec<usize> = job.train.tokens.iter().map(|t| t.ids.len()).collect();
    if lengths.is_empty() || job.dev.is_some_and(|(dev, _)| dev.tokens.is_empty()) {
        return Err(Error::Empty);
    }
    check(job)?;
    let precision = options.precision.here().ok_or_else(|| Error::Option {
        key: "train.precision",
        problem: "is \"bf16\", but this processor has no AMX; \"auto\" uses it where it is".into(),
    })?;
    std::fs::create_dir_all(job.folder).map_err(Error::io(job.folder))?;
    let scale = job.objective.target_scale();
    scale.enter(job.model);
    let trained = run(job, &lengths, precision, watch);
    if trained.is_err() {
        let model = scale.leave(job.model);
        job.model.set(&model)?;
    }
    trained
}

/// Trains a model whose head is on the scale of the objective, and leaves the best one on that of the targets.
fn run(
    job: &mut Job,
    lengths: &[usize],
    precision: Precision,
    watch: &mut dyn FnMut(Event),
) -> Result<Summary, Error> {
    let options = job.options;
    let per_epoch = options.steps_per_epoch(lengths.len());
    let highest = options.learning_rate(job.model.config());
    let steps = match options.epochs(lengths.len(), job.train.data.classes(), false) {
        0.0 => 0,
        epochs => ((epochs * per_epoch as f64).round() as u64).max(1),
    };
    let eval_every = options.eval_every(lengths.len(), job.dev.map_or(0, |(dev, _)| dev.tokens.len()), steps);

    let state_file = job.folder.join(STATE);
    let mut memory = Memory::new(job.model, options, precision);
    // the first evaluation keeps a checkpoint; without it, the state is of no use
    let resumable = Checkpoint::load(&job.folder.join(BEST)).is_ok();
    let saved =
        resumable.then(|| state::load(&state_file, job.model, &mut memory, job.fingerprint)).flatten();
    let mut at = saved.unwrap_or(Position { fingerprint: job.fingerprint.into(), ..Position::default() });
    watch(Event::Started { done: at.step, steps });
    let mut log = Log::open(job.folder.join(LOG), at.step)?;
    let (began, before) = (Instant::now(), at.seconds);
    let least = Duration::try_from_secs_f64(options.save_every).unwrap_or(Duration::MAX);
    let (mut saved, mut save_every) = (Instant::now(), least);
    let mut epoch: Option<(u64, Vec<Vec<u32>>)> = None;
    let interrupted = Cell::new(false);
    let stop = |at: &Position| at.step >= steps || options.patience.is_some_and(|p| at.since_best >= p);

    loop {
        // the initial weights count too, so that retraining a student never makes it worse
        let due = at.step == 0 || at.step % eval_every == 0 || at.step == steps;
        if due {
            match evaluate(job, &mut memory, &mut at, steps, &mut log, watch) {
                Err(error @ Error::Interrupted { .. }) => {
                    if at.step > 0 {
                        state::save(&state_file, job.model, &memory, &at)?;
                    }
                    return Err(error);
                }
                evaluated => evaluated?,
            }
        }
        if stop(&at) {
            break;
        }
        let number = at.step / per_epoch;
        if epoch.as_ref().is_none_or(|(n, _)| *n != number) {
            epoch = Some((number, batches(lengths, options.batch_size, options.seed, number)));
        }
        let order = &epoch.as_ref().expect("set above").1;
        let first = (at.step % per_epoch) as usize * options.accumulate;
        let rows = &order[first..(first + options.accumulate).min(order.len())];
        let rate = highest * schedule(options, at.step, steps);
        // as a task of the thread pool: from outside of it, each parallel loop would wait for a thread to wake
        let loss = rayon::scope(|_| update(job, &mut memory, at.step, rows, rate))?;
        at.step += 1;
        at.loss_sum += f64::from(loss);
        at.loss_count += 1;
        at.seconds = before + began.elapsed().as_secs_f64();
        watch(Event::Step { step: at.step, loss, stop: &interrupted });
        if at.step % LOG_EVERY == 0 {
            let rate = highest * schedule(options, at.step - 1, steps);
            log.write(serde_json::json!({
                "step": at.step, "epoch": at.step as f64 / per_epoch as f64,
                "loss": at.loss_sum / at.loss_count as f64, "learning_rate": rate, "precision": precision.name(),
                "seconds": at.seconds,
            }))?;
            (at.loss_sum, at.loss_count) = (0.0, 0);
        }
        if saved.elapsed() > save_every || interrupted.get() {
            let start = Instant::now();
            state::save(&state_file, job.model, &memory, &at)?;
            if interrupted.get() {
                return Err(Error::Interrupted { step: at.step, steps });
            }
            (saved, save_every) = (Instant::now(), least.max(start.elapsed() * SAVE_SHARE));
        }
    }
    let (best, best_step) = at.best.expect("evaluated before the first update");
    let best_model = Checkpoint::load(&job.folder.join(BEST))?;
    // what can fail comes first: the caller takes a failed model to be on the objective's scale
    best_model.save(job.folder)?;
    job.model.set(&best_model)?;
    Ok(Summary { best, best_step, steps: at.step, runs: 1, seconds: at.seconds })
}

/// Checks that model, data and options fit together.
fn check(job: &Job) -> Result<(), Error> {
    let config = job.model.config();
    let model = config.num_labels();
    if job.train.is_in_windows() {
        return Err(Error::Windows);
    }
    let train = Some(&job.train.data).filter(|_| job.objective.needs_labels());
    for data in [train, job.dev.map(|(dev, _)| &dev.data)].into_iter().flatten() {
        if data.width() != model {
            return Err(Error::Labels { data: data.width(), model });
        }
        if config.task() != data.task || !data.is_labelled(&config.labels()) {
            let (task, labels) = (data.task, data.labels.names().to_vec());
            return Err(Error::OtherLabels { task, labels });
        }
    }
    if let Some((dev, Criterion { metric, .. })) = job.dev
        && !metric.suits(dev.data.task)
    {
        return Err(MetricsError::Unsuited { task: dev.data.task, metric }.into());
    }
    job.options.check().map_err(|(key, problem)| Error::Option { key, problem })
}

/// Returns the factor of the peak learning rate at update `step` (from 0): linear warm-up, then the schedule.
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

/// Evaluates the weights, or their average if there is one, and keeps them if they are the best so far.
fn evaluate(
    job: &mut Job,
    memory: &mut Memory,
    at: &mut Position,
    steps: u64,
    log: &mut Log,
    watch: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    let mut swap = |job: &mut Job| memory.average.iter_mut().for_each(|average| average.swap(job.model));
    swap(job);
    let measured = measure(job, memory.precision, at, steps, log, watch);
    swap(job);
    measured
}

fn measure(
    job: &Job,
    precision: Precision,
    at: &mut Position,
    steps: u64,
    log: &mut Log,
    watch: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    let Some((dev, criterion)) = job.dev else {
        at.best = Some((0.0, at.step));
        return save_best(job, at.step);
    };
    let (all, stop) = (dev.tokens.len(), Cell::new(false));
    let mut go_on = |done| {
        watch(Event::Evaluating { done, all, stop: &stop });
        !stop.get()
    };
    // what only teaches is never packed, so its soft labels are what counts
    let mode = match job.model.config().only_teaches() {
        true => Mode::Answer { precision },
        false => Mode::Evaluate,
    };
    let answers = predict_while(job.model, dev, mode, &mut go_on)?;
    let answers = answers.ok_or(Error::Interrupted { step: at.step, steps })?;
    let mut logits = dev.of_examples(answers);
    if let (0, Some(value)) = (at.step, logits.iter().find(|logit| !logit.is_finite())) {
        return Err(Error::NotFinite { value: *value });
    }
    job.objective.target_scale().restore(&mut logits);
    let fitted = criterion.thresholds && dev.data.task == Task::MultiLabel;
    let thresholds = fitted.then(|| metrics::thresholds(&dev.data, &logits));
    let metrics =
        metrics::measure(&dev.data, &logits, thresholds.as_deref()).map_err(|error| match error {
            MetricsError::NotFinite { .. } => Error::Diverged { step: at.step, loss: f32::NAN },
            error => error.into(),
        })?;
    let value = metrics.get(criterion.metric).unwrap_or(f64::NAN);
    let kept = is_kept(at, value, dev.data.len());
    if kept {
        save_best(job, at.step)?;
    }
    let mut line = serde_json::json!({"step": at.step, "dev": value, "kept": kept, "metrics": metrics});
    // with 150 classes, the confusion matrix would fill the screen of anyone following the log; the report
    // has the final one
    line["metrics"].as_object_mut().map(|metrics| metrics.remove("confusion"));
    log.write(line)?;
    watch(Event::Evaluated { step: at.step, metrics: &metrics, value, kept });
    Ok(())
}

/// Notes the score of a checkpoint on a number of rows, and returns whether the checkpoint is kept.
fn is_kept(at: &mut Position, value: f64, rows: usize) -> bool {
    // on a tie, trained weights replace the initial ones
    let better = at.highest.is_none_or(|(highest, step)| value > highest || (step == 0 && value == highest));
    if better {
        at.highest = Some((value, at.step));
    }
    at.since_best = if better { 0 } else { at.since_best + 1 };
    let kept = at.highest.is_none_or(|(highest, _)| value >= highest - chance(highest, rows));
    if kept {
        at.best = Some((value, at.step));
    }
    kept
}

fn save_best(job: &Job, step: u64) -> Result<(), Error> {
    let state = job.folder.join(STATE);
    // at the beginning it is the state of another job, which could go on only from the checkpoint that this replaces
    if step == 0 && state.exists() {
        std::fs::remove_file(&state).map_err(Error::io(&state))?;
    }
    Ok(job.objective.target_scale().leave(job.model).save(&job.folder.join(BEST))?)
}

/// Returns by how much the scores of equally good checkpoints may differ by chance on few rows. On more rows,
/// the highest score decides, however small the lead.
fn chance(figure: f64, rows: usize) -> f64 {
    const FEW: usize = 200;
    if rows >= FEW { 0.0 } else { standard_error(figure, rows) }
}

/// Returns the standard error of a share on this many rows, at least one row.
pub(crate) fn standard_error(figure: f64, rows: usize) -> f64 {
    let rows = rows.max(1) as f64;
    // as if one more row had been right and one wrong
    let share = (figure.clamp(0.0, 1.0) * rows + 1.0) / (rows + 2.0);
    (share * (1.0 - share) / rows).sqrt().max(1.0 / rows) + 1e-9
}

/// Removes the training state of a finished run. To be called after its end has been recorded, so that a kill
/// in between loses nothing.
///
/// # Errors
/// If a file cannot be removed.
pub fn remove_state(folder: &Path) -> Result<(), Error> {
    let (state, best) = (folder.join(STATE), folder.join(BEST));
    let gone = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    };
    gone(&state, std::fs::remove_file(&state))?;
    gone(&best, std::fs::remove_dir_all(&best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls() {
        let rates = |kind, warmup| -> Vec<f64> {
            let options = TrainOptions { warmup, schedule: kind, ..TrainOptions::default() };
            (0..10).map(|step| (schedule(&options, step, 10) * 1000.0).round()).collect()
        };
        assert_eq!(
            rates(Schedule::Linear, 0.2),
            [500.0, 1000.0, 1000.0, 875.0, 750.0, 625.0, 500.0, 375.0, 250.0, 125.0]
        );
        assert_eq!(
            rates(Schedule::Cosine, 0.2),
            [500.0, 1000.0, 1000.0, 962.0, 854.0, 691.0, 500.0, 309.0, 146.0, 38.0]
        );
        assert_eq!(rates(Schedule::Constant, 0.2), [[500.0].as_slice(), &[1000.0; 9]].concat());
        assert_eq!(rates(Schedule::Linear, 0.0)[..2], [1000.0, 900.0]);
    }

    #[test]
    fn few_rows_cannot_tell_checkpoints_apart() {
        // one standard error
        assert!((chance(0.8, 100) - 0.04).abs() < 1e-3);
        // all right: one row may be wrong by chance
        assert!(chance(1.0, 20) >= 0.05 && chance(1.0, 20) < 0.1);
        assert_eq!(chance(0.8, 200), 0.0);
    }

    /// The scores of steps 0, 1, 2 and so on; the step that is kept, and evaluations since the highest score.
    #[test]
    fn the_last_of_equally_good_checkpoints_is_kept() {
        let kept = |scores: &[f64], rows| {
            let mut at = Position::default();
            for (step, score) in (0..).zip(scores) {
                at.step = step;
                is_kept(&mut at, *score, rows);
            }
            (at.best.unwrap(), at.since_best)
        };
        assert_eq!(kept(&[0.5, 0.81, 0.8, 0.79], 1000), ((0.81, 1), 2));
        assert_eq!(kept(&[0.5, 0.81, 0.8, 0.79], 100), ((0.79, 3), 2));
        // further below than chance explains, counted from the highest
        assert_eq!(kept(&[0.5, 0.81, 0.79, 0.76], 100), ((0.79, 2), 2));
        assert_eq!(kept(&[0.8, 0.8, 0.8], 1000), ((0.8, 2), 1));
    }
}
