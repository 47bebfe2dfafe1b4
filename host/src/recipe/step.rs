//! A training step, reused as long as its inputs stay the same.

use super::base;
use super::error::RunError;
use super::progress::{Progress, Watch};
use crate::bert::{Checkpoint, Classifier, Config};
use crate::hex;
use crate::train::{self, Criterion, Encoded, Job, Objective, Summary, TrainOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The marker of a finished training step.
#[derive(Serialize, Deserialize)]
struct Done {
    /// What the step depends on.
    fingerprint: String,
    /// The digest of the model that it wrote.
    model: String,
    summary: Summary,
}

/// File name of the marker.
pub(super) const DONE: &str = "done.json";

/// Version of the training code. Increased when the same inputs lead to another model, so that earlier
/// results are not reused.
const PROGRAM: &str = "5";

/// Returns the fingerprint of a step: the SHA-256 of everything it depends on.
pub(super) fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(PROGRAM);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Runs a training step unless its output is already there, unchanged.
pub(super) fn once(
    name: &str,
    folder: &Path,
    fingerprint: &str,
    watch: Watch,
    step: impl FnOnce(Watch) -> Result<Summary, RunError>,
) -> Result<Summary, RunError> {
    let mark = folder.join(DONE);
    let done = std::fs::read(&mark).ok().and_then(|bytes| serde_json::from_slice::<Done>(&bytes).ok());
    let intact = |done: &Done| {
        done.fingerprint == fingerprint && base::digest(folder).is_ok_and(|digest| digest == done.model)
    };
    if let Some(done) = done.filter(intact) {
        watch(Progress::Step { name, reused: true });
        train::remove_state(folder)?;
        return Ok(done.summary);
    }
    watch(Progress::Step { name, reused: false });
    let _ = std::fs::remove_file(&mark);
    let summary = step(watch)?;
    let done = Done { fingerprint: fingerprint.into(), model: base::digest(folder)?, summary };
    save(&mark, json(&done).as_bytes())?;
    train::remove_state(folder)?;
    Ok(done.summary)
}

/// Trains a model with its checkpoints chosen on dev.
#[expect(clippy::too_many_arguments, reason = "one place that fills in a Job")]
pub(super) fn fit(
    model: &mut Classifier,
    [train, dev]: [&Encoded; 2],
    criterion: Criterion,
    options: &TrainOptions,
    objective: &dyn Objective,
    folder: &Path,
    fingerprint: &str,
    watch: Watch,
) -> Result<Summary, RunError> {
    let dev = Some((dev, criterion));
    let mut job = Job { model, train, dev, options, objective, folder, fingerprint };
    Ok(train::train(&mut job, &mut |event| watch(Progress::Training(event)))?)
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain values")
}

/// Removes some of the files in a folder, which may be missing.
pub(super) fn remove_files(folder: &Path, which: impl Fn(&Path) -> bool) -> Result<(), RunError> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| which(path)) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RunError::io(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    goldcrest_edge::bundle::save(path, bytes).map_err(RunError::io(path))
}

/// Restores the dropout rates of a model that was trained without dropout, for whoever fine-tunes it further.
pub(super) fn restore_dropout(folder: &Path, before: &Config) -> Result<(), RunError> {
    let mut checkpoint = Checkpoint::load(folder)?;
    checkpoint.config.copy_dropout(before);
    Ok(checkpoint.save(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_model_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let summary = Summary { best: 0.5, best_step: 3, steps: 4, runs: 1, seconds: 0.0 };
        let run = |key: &str, ends: bool| {
            let mut made = false;
            let result = once("step", folder.path(), key, &mut |_| (), |_| {
                made = true;
                std::fs::write(path("model.safetensors"), key).unwrap();
                if ends { Ok(summary.clone()) } else { Err(train::Error::Empty.into()) }
            });
            assert_eq!(result.ok(), ends.then(|| summary.clone()));
            made
        };
        assert!(run("a", true) && !run("a", true));
        std::fs::write(path("model.safetensors"), "changed").unwrap();
        assert!(run("a", true) && !run("a", true));
        assert!(run("b", true) && !run("b", true));
        // a half-made model has no mark
        assert!(run("c", false) && !path(DONE).exists());
        assert!(run("b", true));
        std::fs::write(path("state.safetensors"), "of a run that was killed at its end").unwrap();
        assert!(!run("b", true) && !path("state.safetensors").exists());
    }
}
