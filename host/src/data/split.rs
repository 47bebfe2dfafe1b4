use std::collections::{BTreeMap, HashMap};

use super::random::hash;
use super::{DataError, Dataset, Target, Task, Warning};

/// Two sides that share no text.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What to learn from.
    pub train: Dataset,
    /// What to measure on.
    pub held_out: Dataset,
}

/// Holds out about `fraction` of the examples (0 to 1, exclusive).
///
/// - Stratified: each class gives its share (largest remainder); a multi-label example counts for the rarest of its
///   labels, a regression for its decile.
/// - All examples with the same [`texts`](super::Example::texts) stay on one side.
/// - A class of five texts or more gives one at least; none gives all of them, unless nothing else is there to give.
/// - A text's rank within its class is a hash of its text and the seed: the same rows give the same split in any
///   order, and a few new rows change it little. Both sides keep the order of `data`.
///
/// # Errors
/// [`DataError::Split`] when a side would be empty.
pub fn split(data: &Dataset, fraction: f64, seed: u64) -> Result<Split, DataError> {
    let mut by_texts: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let strata = strata(data);
    for (index, example) in data.examples.iter().enumerate() {
        let rank = hash(seed, &example.key());
        let group = *by_texts.entry(example.texts()).or_insert_with(|| {
            groups.push(Group { rank, rows: Vec::new() });
            groups.len() - 1
        });
        groups[group].rank = groups[group].rank.min(rank);
        groups[group].rows.push(index);
    }
    // by stratum, each in the order of its ranks
    let mut by_stratum: BTreeMap<u32, Vec<Group>> = BTreeMap::new();
    groups.sort_by_key(|group| (group.rank, group.rows[0]));
    let count = groups.len();
    for group in groups {
        // a text with several labels counts for the lowest: whichever row comes first must not matter
        let stratum = group.rows.iter().map(|&row| strata[row]).min().unwrap_or(0);
        by_stratum.entry(stratum).or_default().push(group);
    }
    let classes = data.task != Task::Regression;
    let mut held_out = hold_out(&by_stratum, fraction, data.len(), classes);
    if !held_out.contains(&true) {
        held_out = hold_out(&by_stratum, fraction, data.len(), false);
    }
    let side = |wanted: bool| data.subset((0..data.len()).filter(|&row| held_out[row] == wanted));
    let split = Split { train: side(false), held_out: side(true) };
    let part = fraction > 0.0 && fraction < 1.0;
    if !part || split.train.is_empty() || split.held_out.is_empty() {
        return Err(DataError::Split { rows: data.len(), groups: count, fraction });
    }
    Ok(split)
}

/// Texts of a class from which on one is held out however small the fraction.
const SPARES_ONE: usize = 5;

/// The examples of one text.
struct Group {
    rank: u64,
    rows: Vec<usize>,
}

/// The class that each example is counted for.
fn strata(data: &Dataset) -> Vec<u32> {
    const BINS: usize = 10;
    let counts = data.class_counts();
    let mut values: Vec<f32> = data.examples.iter().filter_map(|example| value(&example.target)).collect();
    values.sort_by(f32::total_cmp);
    let edges: Vec<f32> =
        (1..BINS).filter_map(|bin| values.get(bin * values.len() / BINS).copied()).collect();
    data.examples
        .iter()
        .map(|example| match &example.target {
            Target::Class(id) => *id,
            Target::Classes(ids) => {
                ids.iter().copied().min_by_key(|&id| (counts[id as usize], id)).unwrap_or(counts.len() as u32)
            }
            Target::Value(value) => edges.iter().filter(|edge| *edge <= value).count() as u32,
        })
        .collect()
}

fn value(target: &Target) -> Option<f32> {
    match target {
        Target::Value(value) => Some(*value),
        Target::Class(_) | Target::Classes(_) => None,
    }
}

/// Which rows are held out. `classes`: of each stratum some stay, and some are held out where there are enough.
fn hold_out(strata: &BTreeMap<u32, Vec<Group>>, fraction: f64, rows: usize, classes: bool) -> Vec<bool> {
    let mut held_out = vec![false; rows];
    for (groups, mut quota) in strata.values().zip(quotas(strata, fraction, rows, classes)) {
        let mut left = groups.len();
        for group in groups {
            if group.rows.len() <= quota && (left > 1 || !classes) {
                quota -= group.rows.len();
                left -= 1;
                group.rows.iter().for_each(|&row| held_out[row] = true);
            }
        }
    }
    held_out
}

/// How many rows each stratum gives: its share rounded down, and what is left to the largest remainders. `classes`: see
/// [`hold_out`].
fn quotas(strata: &BTreeMap<u32, Vec<Group>>, fraction: f64, rows: usize, classes: bool) -> Vec<usize> {
    let shares: Vec<f64> = strata
        .values()
        .map(|groups| if classes && groups.len() == 1 { &[] } else { &groups[..] })
        .map(|groups| groups.iter().map(|group| group.rows.len()).sum::<usize>() as f64 * fraction)
        .collect();
    let mut quotas: Vec<usize> = shares.iter().map(|share| *share as usize).collect();
    let total = (rows as f64 * fraction).round() as usize;
    let left = total.saturating_sub(quotas.iter().sum());
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()).then(a.cmp(&b)));
    order.iter().take(left).for_each(|&stratum| quotas[stratum] += 1);
    if classes {
        for (groups, quota) in strata.values().zip(&mut quotas) {
            // the smallest fits whatever is given
            let least = groups.iter().map(|group| group.rows.len()).min().unwrap_or(0);
            if *quota < least && groups.len() >= SPARES_ONE {
                *quota = least;
            }
        }
    }
    quotas
}

/// Finds the examples of `train` whose [`texts`](super::Example::texts) are in `held_out` too, and with `remove` takes them out
/// of `train`.
pub fn remove_overlap(train: &mut Dataset, held_out: &Dataset, remove: bool) -> Option<Warning> {
    let keys: HashMap<String, usize> =
        held_out.examples.iter().enumerate().rev().map(|(row, example)| (example.texts(), row)).collect();
    let overlap: Vec<Option<usize>> =
        train.examples.iter().map(|example| keys.get(&example.texts()).copied()).collect();
    let count = overlap.iter().flatten().count();
    let (row, other) = overlap.iter().enumerate().find_map(|(row, other)| Some((row, (*other)?)))?;
    let warning = Warning::Overlap {
        count,
        row: train.place(&train.examples[row]),
        held_out: held_out.place(&held_out.examples[other]),
        removed: remove,
    };
    if remove {
        let mut overlap = overlap.into_iter();
        train.examples.retain(|_| overlap.next().flatten().is_none());
    }
    Some(warning)
}
