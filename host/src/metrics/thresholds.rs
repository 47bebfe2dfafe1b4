use crate::data::{Dataset, Target};

/// Labels with fewer examples than this get the threshold that is best for all labels together.
const ENOUGH: usize = 10;

/// For each label of a multi-label task the probability from which on giving it is best for its F1. `logits` is
/// `[examples, labels]`, row-major.
pub fn thresholds(data: &Dataset, logits: &[f32]) -> Vec<f32> {
    let width = super::width(data);
    let columns: Vec<Vec<(f32, bool)>> = (0..width)
        .map(|label| {
            let rows = logits.chunks_exact(width).zip(&data.examples);
            rows.map(|(row, example)| {
                let has = matches!(&example.target, Target::Classes(c) if c.contains(&(label as u32)));
                (1.0 / (1.0 + (-row[label]).exp()), has)
            })
            .collect()
        })
        .collect();
    let all: Vec<(f32, bool)> = columns.iter().flatten().copied().collect();
    let common = best_threshold(all);
    columns
        .into_iter()
        .map(|column| {
            let enough = column.iter().filter(|(_, has)| *has).count() >= ENOUGH;
            if enough { best_threshold(column) } else { common }
        })
        .collect()
}

fn best_threshold(mut column: Vec<(f32, bool)>) -> f32 {
    column.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = column.iter().filter(|(_, has)| *has).count();
    let (mut best, mut right) = ((0.0, super::THRESHOLD), 0usize);
    for (i, (score, has)) in column.iter().enumerate() {
        right += usize::from(*has);
        // the threshold lies halfway to the next score; equal scores go together
        let next = column.get(i + 1).map_or(0.0, |(next, _)| *next);
        let f1 = 2.0 * right as f64 / (i + 1 + positives) as f64;
        if next < *score && f1 > best.0 {
            best = (f1, (score + next) / 2.0);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::best_threshold;

    #[test]
    fn a_threshold_by_hand() {
        // giving the label from 0.25 on: 2 right of 3, of 2: F1 0.8; from 0.65: 1 of 1, F1 0.67
        let column = vec![(0.9, true), (0.4, false), (0.3, true), (0.2, false)];
        assert!((best_threshold(column) - 0.25).abs() < 1e-6);
    }
}
