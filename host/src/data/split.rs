use std::collections::{BTreeMap, HashMap};

use super::random::hash;
use super::{DataError, Dataset, Example, Target, Task, Warning, unordered_key};

/// Two sides without a text in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The training side.
    pub train: Dataset,
    /// The held-out side, to measure on.
    pub held_out: Dataset,
}

/// Holds out about `fraction` of the examples (between 0 and 1, both exclusive).
///
/// - Stratified: each class gives its share (largest remainder method). A multi-label example counts towards
///   its rarest label, a regression example towards its decile.
/// - Examples with the same [`texts`](super::Example::texts) stay on one side. Where most pairs share a text
///   with another pair, as a premise with several hypotheses, all pairs linked by shared texts stay together,
///   unless the groups are too large for the other rules.
/// - A class of at least five texts gives at least one. No class gives all of its texts, unless there are no
///   others to give.
/// - A text's rank within its class is a hash of the text and the seed: the same rows give the same split in
///   any order, and a few new rows change it little. Both sides keep the order of `data`.
///
/// # Errors
/// [`DataError::Split`] if a side would be empty.
pub fn split(data: &Dataset, fraction: f64, seed: u64) -> Result<Split, DataError> {
    let by_text = pairs_by_text(data).and_then(|together| {
        let (held_out, groups) = choose(data, &together, fraction, seed);
        is_fair(data, &held_out, fraction).then_some((held_out, groups))
    });
    let (held_out, groups) = by_text.unwrap_or_else(|| choose(data, &same_texts(data), fraction, seed));
    let side = |wanted: bool| data.subset((0..data.len()).filter(|&row| held_out[row] == wanted));
    let split = Split { train: side(false), held_out: side(true) };
    let part = fraction > 0.0 && fraction < 1.0;
    if !part || split.train.is_empty() || split.held_out.is_empty() {
        return Err(DataError::Split { rows: data.len(), groups, fraction });
    }
    Ok(split)
}

/// Chooses the held-out rows, and counts the groups. `together` has the group id of each example.
fn choose(data: &Dataset, together: &[usize], fraction: f64, seed: u64) -> (Vec<bool>, usize) {
    let strata = strata(data);
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for ((index, example), name) in data.examples.iter().enumerate().zip(together) {
        let rank = hash(seed, &example.key());
        let group = groups.entry(*name).or_insert(Group { rank, rows: Vec::new() });
        group.rank = group.rank.min(rank);
        group.rows.push(index);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    // group by stratum, in order of rank
    let mut by_stratum: BTreeMap<u32, Vec<Group>> = BTreeMap::new();
    groups.sort_by_key(|group| (group.rank, group.rows[0]));
    let count = groups.len();
    for group in groups {
        // if the rows of a text differ in label, the lowest stratum counts, whatever the order of the rows
        let stratum = group.rows.iter().map(|&row| strata[row]).min().unwrap_or(0);
        by_stratum.entry(stratum).or_default().push(group);
    }
    let classes = data.task != Task::Regression;
    let mut held_out = hold_out(&by_stratum, fraction, seed, data.len(), classes);
    if !held_out.contains(&true) {
        held_out = hold_out(&by_stratum, fraction, seed, data.len(), false);
    }
    (held_out, count)
}

/// Returns whether about `fraction` of the rows is held out, including some but not all rows of each class of
/// at least five. Large groups can make this impossible.
fn is_fair(data: &Dataset, held_out: &[bool], fraction: f64) -> bool {
    let rows = (0..data.len()).filter(|row| held_out[*row]);
    let wanted = fraction * data.len() as f64;
    let chosen = data.subset(rows);
    let classes = data.class_counts().into_iter().zip(chosen.class_counts());
    (chosen.len() as f64 - wanted).abs() <= 0.1 * wanted + 1.0
        && classes.into_iter().all(|(all, held_out)| all < ALWAYS_GIVES_FROM || (1..all).contains(&held_out))
}

/// A class of at least this many texts always gives one, however small the fraction.
const ALWAYS_GIVES_FROM: usize = 5;

/// Examples that stay on one side.
struct Group {
    rank: u64,
    rows: Vec<usize>,
}

/// Returns, for each example, the first one with the same texts.
fn same_texts(data: &Dataset) -> Vec<usize> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let texts = data.examples.iter().map(Example::texts).enumerate();
    texts.map(|(index, texts)| *first.entry(texts).or_insert(index)).collect()
}

/// Returns, for each pair, the first one linked to it by shared texts, directly or through other pairs.
/// `None` for single texts, and if at most half of the pairs share a text.
fn pairs_by_text(data: &Dataset) -> Option<Vec<usize>> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut before: Vec<usize> = (0..data.len()).collect();
    for (index, example) in data.examples.iter().enumerate() {
        for text in [&example.text, example.pair.as_ref()?] {
            let other = *first.entry(unordered_key(text, None)).or_insert(index);
            let ends = [index, other].map(|row| root(&mut before, row));
            before[ends[0].max(ends[1])] = ends[0].min(ends[1]);
        }
    }
    let first: Vec<usize> = (0..data.len()).map(|row| root(&mut before, row)).collect();
    let mut sizes = vec![0; data.len()];
    first.iter().for_each(|&row| sizes[row] += 1);
    let shared: usize = sizes.iter().filter(|size| **size > 1).sum();
    (2 * shared > data.len()).then_some(first)
}

/// Finds the root in a union-find forest, shortening the path.
fn root(before: &mut [usize], mut row: usize) -> usize {
    while before[row] != row {
        before[row] = before[before[row]];
        row = before[row];
    }
    row
}

/// Returns the stratum that each example counts towards: its class, its rarest label, or the tenth in which its
/// first number lies.
fn strata(data: &Dataset) -> Vec<u32> {
    const BINS: usize = 10;
    let counts = data.class_counts();
    let first = |example: &Example| example.target.numbers().first().copied();
    let mut values: Vec<f32> = data.examples.iter().filter_map(first).collect();
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
            Target::Numbers(numbers) => {
                edges.iter().filter(|edge| numbers.first().is_some_and(|x| **edge <= *x)).count() as u32
            }
        })
        .collect()
}

/// Marks the held-out rows. With `classes`, no stratum is held out as a whole.
fn hold_out(
    strata: &BTreeMap<u32, Vec<Group>>,
    fraction: f64,
    seed: u64,
    rows: usize,
    classes: bool,
) -> Vec<bool> {
    let mut held_out = vec![false; rows];
    for (groups, mut quota) in strata.values().zip(quotas(strata, fraction, seed, rows, classes)) {
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

/// Returns how many rows each stratum gives: its share rounded down, plus what remains by largest remainder.
/// Ties between strata whose share is less than one row are broken by the seed. With `classes`, every large
/// enough stratum gives something, and none gives its only group.
fn quotas(
    strata: &BTreeMap<u32, Vec<Group>>,
    fraction: f64,
    seed: u64,
    rows: usize,
    classes: bool,
) -> Vec<usize> {
    let shares: Vec<f64> = strata
        .values()
        .map(|groups| if classes && groups.len() == 1 { &[] } else { &groups[..] })
        .map(|groups| groups.iter().map(|group| group.rows.len()).sum::<usize>() as f64 * fraction)
        .collect();
    let mut quotas: Vec<usize> = shares.iter().map(|share| *share as usize).collect();
    let total = (rows as f64 * fraction).round() as usize;
    let left = total.saturating_sub(quotas.iter().sum());
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let turn = |stratum: usize| match shares[stratum] < 1.0 {
        true => hash(seed, &stratum.to_string()),
        false => stratum as u64,
    };
    order.sort_by(|&a, &b| {
        shares[b].fract().total_cmp(&shares[a].fract()).then_with(|| turn(a).cmp(&turn(b)))
    });
    order.iter().take(left).for_each(|&stratum| quotas[stratum] += 1);
    if classes {
        for (groups, quota) in strata.values().zip(&mut quotas) {
            // room for at least the smallest group
            let least = groups.iter().map(|group| group.rows.len()).min().unwrap_or(0);
            if *quota < least && groups.len() >= ALWAYS_GIVES_FROM {
                *quota = least;
            }
        }
    }
    quotas
}

/// Finds the examples of `train` whose [`texts`](super::Example::texts) also occur in `held_out` and, with
/// `remove`, removes them from `train`.
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
