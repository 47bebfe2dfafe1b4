//! The saved state, from which a killed run resumes as if nothing had happened.

use super::update::Memory;
use super::{Error, saved};
use crate::bert::Classifier;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The progress of a run after some update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    let tensors: Vec<_> = parts.iter().map(|(name, shape, values)| (&name[..], *shape, *values)).collect();
    saved::save(path, &tensors, position)
}

/// Restores the state of the job with this fingerprint. Returns `None` if there is none or it is damaged: the
/// run starts again.
pub(super) fn load(
    path: &Path,
    model: &mut Classifier,
    memory: &mut Memory,
    fingerprint: &str,
) -> Option<Position> {
    let (mut tensors, position) = saved::load::<Position>(path)?;
    let of_this_model = model.weights().iter().all(|(name, weight)| {
        ["weight", "first", "second", "average"].into_iter().all(|kind| {
            let saved = tensors.get(&format!("{kind}.{name}"));
            saved.map_or(kind != "weight", |saved| saved.len() == weight.data.len())
        })
    });
    if position.fingerprint != fingerprint || !of_this_model {
        return None;
    }
    let mut take = |kind: &str, name: &str| tensors.remove(&format!("{kind}.{name}"));
    for (name, weight) in model.weights_mut() {
        weight.data = take("weight", name)?;
        if let (Some(m), Some(v)) = (take("first", name), take("second", name)) {
            memory.adam.moments.insert(name.clone(), (m, v));
        }
        let average = memory.average.as_mut().and_then(|average| average.weights.get_mut(name));
        if let (Some(average), Some(saved)) = (average, take("average", name)) {
            average.data = saved;
        }
    }
    memory.adam.updates = position.step;
    Some(position)
}
