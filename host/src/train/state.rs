//! The saved state, from which a killed run resumes as if nothing had happened.

use super::Error;
use super::job::Memory;
use crate::bert::{Classifier, tensor_file};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The progress of a run after some update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Fingerprint of the job; the state of another job is ignored.
    pub fingerprint: String,
    /// Number of updates done.
    pub step: u64,
    /// Sum of the losses since the last line of the log.
    pub loss_sum: f64,
    /// Number of those losses.
    pub loss_count: u64,
    /// Score of the checkpoint kept, and its step.
    pub best: Option<(f64, u64)>,
    /// Highest score so far, and its step.
    pub highest: Option<(f64, u64)>,
    /// Evaluations since the highest score.
    pub since_best: usize,
    /// Seconds of training before this process.
    pub seconds: f64,
}

const KEY: &str = "position";

/// Writes weights, their average, moments and progress to one file, atomically.
pub(super) fn save(
    path: &Path,
    model: &Classifier,
    memory: &Memory,
    position: &Position,
) -> Result<(), Error> {
    let mut parts: Vec<(String, &[usize], &[f32])> = Vec::new();
    for (name, weight) in model.weights() {
        let shape = &weight.shape[..];
        parts.push((format!("weight.{name}"), shape, &weight.data));
        if let Some((m, v)) = memory.adam.moments.get(name) {
            parts.push((format!("first.{name}"), shape, m));
            parts.push((format!("second.{name}"), shape, v));
        }
        if let Some(average) = &memory.average {
            parts.push((format!("average.{name}"), shape, &average.weights[name].data));
        }
    }
    let json = serde_json::to_string(position).expect("plain values");
    let tensors = parts.iter().map(|(name, shape, values)| (&name[..], *shape, *values));
    Ok(tensor_file::save(path, tensors, Dtype::F32, Some((KEY, json)))?)
}

/// Restores the state of the job with this fingerprint. Returns `None` if there is none, or if it is
/// unreadable.
pub(super) fn load(
    path: &Path,
    model: &mut Classifier,
    memory: &mut Memory,
    fingerprint: &str,
) -> Result<Option<Position>, Error> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    // an unreadable state is ignored, and the run starts again
    let (Ok((_, header)), Ok(file)) = (SafeTensors::read_metadata(&bytes), SafeTensors::deserialize(&bytes))
    else {
        return Ok(None);
    };
    let json = header.metadata().as_ref().and_then(|m| m.get(KEY)).cloned().unwrap_or_default();
    let Ok(position) = serde_json::from_str::<Position>(&json) else { return Ok(None) };
    if position.fingerprint != fingerprint {
        return Ok(None);
    }
    let values = |name: &str| Some(tensor_file::floats(file.tensor(name).ok()?.data()));
    for (name, weight) in model.weights_mut() {
        let saved = values(&format!("weight.{name}")).ok_or_else(|| crate::bert::Error::Missing {
            name: name.clone(),
            hint: "the saved state is of another model: delete it",
        })?;
        if saved.len() != weight.data.len() {
            let (found, wanted) = (vec![saved.len()], weight.shape.clone());
            return Err(crate::bert::Error::Shape { name: name.clone(), found, wanted }.into());
        }
        weight.data = saved;
        if let (Some(m), Some(v)) = (values(&format!("first.{name}")), values(&format!("second.{name}"))) {
            memory.adam.moments.insert(name.clone(), (m, v));
        }
        let average = memory.average.as_mut().and_then(|average| average.weights.get_mut(name));
        if let (Some(average), Some(saved)) = (average, values(&format!("average.{name}"))) {
            average.data = saved;
        }
    }
    memory.adam.updates = position.step;
    Ok(Some(position))
}
