use std::borrow::Cow;

use serde::Serialize;

use crate::data::{Dataset, Target, Task};

/// Metrics of a regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// Number of examples.
    pub rows: u64,
    /// The scores of the number; of several, the mean of each score, without numbers whose gold values are all equal.
    #[serde(flatten)]
    pub mean: NumberScores,
    /// The scores of each of several numbers, in the order of the labels; empty for one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_number: Vec<NumberScores>,
}

/// How well one number is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NumberScores {
    /// Linear correlation, -1 to 1; 0 if either side is constant.
    pub pearson: f64,
    /// Rank correlation (ties share their mean rank), -1 to 1; 0 if either side is constant.
    pub spearman: f64,
    /// Mean squared error, in squared units of the target.
    pub mse: f64,
    /// Mean absolute error, in units of the target.
    pub mae: f64,
}

impl Regression {
    pub(super) fn of<'a>(pairs: impl Iterator<Item = (&'a Target, &'a Target)>) -> Option<Self> {
        let columns = columns(pairs);
        let rows = columns.first().map_or(0, |(gold, _)| gold.len());
        let per_number: Vec<_> = columns.iter().map(|(gold, predicted)| scores(gold, predicted)).collect();
        let varies: Vec<bool> = columns.iter().map(|(gold, _)| varies(gold.iter())).collect();
        let mean = |of: fn(&NumberScores) -> f64| mean_of_varying(per_number.iter().map(of), &varies);
        let mean = NumberScores {
            pearson: mean(|scores| scores.pearson),
            spearman: mean(|scores| scores.spearman),
            mse: mean(|scores| scores.mse),
            mae: mean(|scores| scores.mae),
        };
        let per_number = if per_number.len() > 1 { per_number } else { Vec::new() };
        (rows > 0).then_some(Regression { rows: rows as u64, mean, per_number })
    }
}

/// Returns the linear correlation of (gold, predicted) pairs, the mean of several numbers': the same as in
/// [`Regression`], without the rest, whose ranks take longest.
pub fn pearson_of<'a>(pairs: impl Iterator<Item = (&'a Target, &'a Target)>) -> f64 {
    let columns = columns(pairs);
    let varies: Vec<bool> = columns.iter().map(|(gold, _)| varies(gold.iter())).collect();
    mean_of_varying(columns.iter().map(|(gold, predicted)| pearson(gold, predicted)), &varies)
}

/// (gold, predicted) pairs sorted once, so that the rank correlation of many draws from them takes no sorting.
pub struct Ranked {
    /// Of each number.
    columns: Vec<(Places, Places)>,
}

impl Ranked {
    /// Sorts the pairs.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a Target, &'a Target)>) -> Self {
        let columns = columns(pairs).into_iter();
        Self {
            columns: columns.map(|(gold, predicted)| (Places::of(&gold), Places::of(&predicted))).collect(),
        }
    }

    /// Returns the rank correlation of some of the pairs, by index: the same as in [`Regression`].
    pub fn spearman(&self, rows: &[usize]) -> f64 {
        let varies: Vec<bool> =
            self.columns.iter().map(|(gold, _)| varies(rows.iter().map(|row| gold.places[*row]))).collect();
        let of_column =
            |(gold, predicted): &(Places, Places)| pearson(&gold.ranks(rows), &predicted.ranks(rows));
        mean_of_varying(self.columns.iter().map(of_column), &varies)
    }
}

/// The place of each value among the distinct values in order.
struct Places {
    places: Vec<usize>,
    distinct: usize,
}

impl Places {
    fn of(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (mut places, mut distinct) = (vec![0; values.len()], 0);
        for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
            tied.iter().for_each(|&index| places[index] = distinct);
            distinct += 1;
        }
        Self { places, distinct }
    }

    /// Returns the ranks of some of the values, from 0; equal values share their mean rank.
    fn ranks(&self, rows: &[usize]) -> Vec<f64> {
        let mut counts = vec![0_usize; self.distinct];
        rows.iter().for_each(|row| counts[self.places[*row]] += 1);
        let mut start = 0;
        let rank_of = |count: usize| {
            start += count;
            (start - count) as f64 + count.saturating_sub(1) as f64 / 2.0
        };
        let ranks: Vec<f64> = counts.into_iter().map(rank_of).collect();
        rows.iter().map(|row| ranks[self.places[*row]]).collect()
    }
}

fn varies<T: PartialEq>(mut gold: impl Iterator<Item = T>) -> bool {
    gold.next().is_some_and(|first| gold.any(|number| number != first))
}

/// Returns the mean over the numbers that vary among the gold values, as the others correlate with nothing; over all
/// if none does.
fn mean_of_varying(scores: impl Iterator<Item = f64>, varies: &[bool]) -> f64 {
    let none = !varies.contains(&true);
    mean(scores.zip(varies).filter(|(_, varies)| none || **varies).map(|(score, _)| score))
}

fn scores(gold: &[f64], predicted: &[f64]) -> NumberScores {
    let errors = || gold.iter().zip(predicted).map(|(gold, predicted)| gold - predicted);
    let all: Vec<usize> = (0..gold.len()).collect();
    let ranks = |values: &[f64]| Places::of(values).ranks(&all);
    NumberScores {
        pearson: pearson(gold, predicted),
        spearman: pearson(&ranks(gold), &ranks(predicted)),
        mse: mean(errors().map(|error| error * error)),
        mae: mean(errors().map(f64::abs)),
    }
}

/// Returns, for each number, the gold values and the predicted ones.
fn columns<'a>(pairs: impl Iterator<Item = (&'a Target, &'a Target)>) -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut columns: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for (gold, predicted) in pairs {
        let (gold, predicted) = (gold.numbers(), predicted.numbers());
        columns.resize_with(columns.len().max(gold.len()), Default::default);
        for ((golds, predictions), (gold, predicted)) in columns.iter_mut().zip(gold.iter().zip(predicted)) {
            golds.push(f64::from(*gold));
            predictions.push(f64::from(*predicted));
        }
    }
    columns
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    if count == 0.0 { 0.0 } else { sum / count }
}

/// Returns the sum of squared distances from the mean.
pub fn spread(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let mean = numbers.clone().sum::<f64>() / numbers.clone().count().max(1) as f64;
    numbers.map(|x| (x - mean).powi(2)).sum()
}

/// Returns the mean of numbers and their standard deviation, for dividing: 1 where all are equal.
pub(crate) fn mean_and_deviation(numbers: impl Iterator<Item = f64> + Clone) -> (f32, f32) {
    let count = numbers.clone().count().max(1) as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    let deviation = (spread(numbers) / count).sqrt() as f32;
    (mean as f32, if deviation.is_normal() { deviation } else { 1.0 })
}

/// Returns logits, [texts, width], in which no number of a regression outweighs the others: several numbers are
/// divided by their standard deviations in `exact`, anything else stays as it is.
pub fn balanced<'a>(data: &Dataset, exact: &[f32], logits: &'a [f32]) -> Cow<'a, [f32]> {
    let width = data.width();
    if data.task != Task::Regression || width == 1 {
        return logits.into();
    }
    let of_number = |number: usize| exact.iter().skip(number).step_by(width).map(|x| f64::from(*x));
    let deviations: Vec<f32> = (0..width).map(|number| mean_and_deviation(of_number(number)).1).collect();
    logits.iter().zip(deviations.iter().cycle()).map(|(x, deviation)| x / deviation).collect()
}

/// Returns the share of the variance of `exact` over the texts, [texts, labels], that `other` does not
/// explain.
pub fn unexplained_variance(exact: &[f32], other: &[f32], labels: usize) -> f64 {
    let (mut apart, mut all) = (0.0, 0.0);
    for label in 0..labels {
        let of = |x: &[f32]| x.iter().skip(label).step_by(labels).map(|x| f64::from(*x)).collect::<Vec<_>>();
        let (exact, other) = (of(exact), of(other));
        apart += exact.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        all += spread(exact.iter().copied());
    }
    match apart == 0.0 {
        true => 0.0,
        // a constant output explains nothing
        false => (apart / all.max(f64::MIN_POSITIVE)).min(1e6),
    }
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let scale = aa.sqrt() * bb.sqrt();
    if scale == 0.0 { 0.0 } else { ab / scale }
}
