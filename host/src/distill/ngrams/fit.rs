use crate::data::{Dataset, Task};
use crate::train::Supervised;
use rayon::prelude::*;

/// Strength of the penalty on large weights: the inverse of it for each text.
const INVERSE_PENALTY: f64 = 10.0;
/// Steps of accelerated gradient descent; more do not change accuracy.
const STEPS: usize = 100;
/// Power iterations to find the largest curvature, and the margin for what they miss.
const POWER_STEPS: usize = 20;
const MARGIN: f64 = 1.2;

/// Adds the product of a sparse row and a dense matrix as wide as `out`.
pub(super) fn add_product(row: &[(u32, f32)], dense: &[f32], out: &mut [f32]) {
    for (column, value) in row {
        let from = &dense[*column as usize * out.len()..][..out.len()];
        out.iter_mut().zip(from).for_each(|(out, from)| *out += value * from);
    }
}

/// A sparse matrix of features.
pub(super) struct Rows {
    /// Columns, ascending, and values.
    pub rows: Vec<Vec<(u32, f32)>>,
    pub columns: usize,
}

impl Rows {
    /// Multiplies with a dense matrix [columns, width]: [rows, width].
    fn times(&self, dense: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.rows.len() * width];
        out.par_chunks_exact_mut(width).zip(&self.rows).for_each(|(out, row)| add_product(row, dense, out));
        out
    }

    /// Multiplies the transposed matrix with a dense one [rows, width]: [columns, width].
    fn transposed_times(&self, dense: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.columns * width];
        for (row, from) in self.rows.iter().zip(dense.chunks_exact(width)) {
            for (column, value) in row {
                let out = &mut out[*column as usize * width..][..width];
                out.iter_mut().zip(from).for_each(|(out, from)| *out += value * from);
            }
        }
        out
    }

    /// Returns the largest eigenvalue of the matrix times its transpose, about.
    fn largest_eigenvalue(&self) -> f64 {
        let (mut vector, mut length) = (vec![1.0; self.columns], 0.0);
        for _ in 0..POWER_STEPS {
            vector = self.transposed_times(&self.times(&vector, 1), 1);
            length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|x| *x /= length.max(f64::MIN_POSITIVE) as f32);
        }
        length
    }
}

/// Returns weights [columns, labels] that minimize the loss plus an L2 penalty (Nesterov's method with a
/// constant step).
pub(super) fn fit(rows: &Rows, data: &Dataset, labels: usize, objective: &Supervised) -> Vec<f32> {
    let count = rows.rows.len();
    let all: Vec<u32> = (0..count as u32).collect();
    let loss = objective.of_rows(data, &all);
    // bounds of the second derivatives; the binary loss is a mean over the labels too
    let (curvature, share) = match data.task {
        Task::SingleLabel => (0.5, 1.0),
        Task::MultiLabel => (0.25, 1.0 / labels as f64),
        Task::Regression => (2.0, 1.0),
    };
    let penalty = share / (INVERSE_PENALTY * count as f64);
    let steepest = MARGIN * share * curvature * rows.largest_eigenvalue() / count as f64 + penalty;
    let (step, penalty) = ((1.0 / steepest) as f32, penalty as f32);
    let mut weights = vec![0.0; rows.columns * labels];
    // where the next gradient is taken
    let mut ahead = weights.clone();
    let mut inertia = 1.0f32;
    for _ in 0..STEPS {
        let (_, by_logits) = loss.value_and_gradient(&rows.times(&ahead, labels), count);
        let gradient = rows.transposed_times(&by_logits, labels);
        let next = (1.0 + (1.0 + 4.0 * inertia * inertia).sqrt()) / 2.0;
        let momentum = (inertia - 1.0) / next;
        inertia = next;
        for ((weight, ahead), slope) in weights.iter_mut().zip(&mut ahead).zip(gradient) {
            let to = *ahead - step * (slope + penalty * *ahead);
            *ahead = to + momentum * (to - *weight);
            *weight = to;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Labels, SplitMix, Target};
    use crate::train::TrainOptions;

    /// Returns the penalised loss, from its definition.
    fn naive(dense: &[Vec<f64>], classes: &[u32], weights: &[f64], labels: usize) -> f64 {
        let count = dense.len() as f64;
        let of_row = |(row, class): (&Vec<f64>, &u32)| {
            let logit = |label: usize| -> f64 {
                row.iter().enumerate().map(|(column, value)| value * weights[column * labels + label]).sum()
            };
            let all: f64 = (0..labels).map(|label| logit(label).exp()).sum();
            all.ln() - logit(*class as usize)
        };
        let loss: f64 = dense.iter().zip(classes).map(of_row).sum();
        loss / count + weights.iter().map(|w| w * w).sum::<f64>() / (2.0 * INVERSE_PENALTY * count)
    }

    #[test]
    fn no_weight_can_be_improved() {
        let (labels, columns, count) = (3, 12, 40);
        let mut random = SplitMix::new(7, 0);
        let (mut dense, mut rows) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let row: Vec<f64> =
                (0..columns).map(|_| if random.chance(0.4) { random.unit() } else { 0.0 }).collect();
            let nonzero = row.iter().enumerate().filter(|(_, value)| **value > 0.0);
            rows.push(nonzero.map(|(column, value)| (column as u32, *value as f32)).collect());
            dense.push(row);
        }
        let classes: Vec<u32> = (0..count).map(|_| random.below(labels) as u32).collect();
        let example = |class: &u32| Example {
            text: String::new(),
            pair: None,
            target: Target::Class(*class),
            file: 0,
            line: 1,
        };
        let data = Dataset {
            task: Task::SingleLabel,
            labels: Labels::ordered(vec!["a".into(), "b".into(), "c".into()]).unwrap(),
            examples: classes.iter().map(example).collect(),
            files: vec![],
        };
        let objective = Supervised::new(&data, &TrainOptions::default()).unwrap();
        let found = fit(&Rows { rows, columns }, &data, labels, &objective);
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let least = naive(&dense, &classes, &found, labels);
        assert!(least < 3f64.ln() - 0.02, "{least}");
        for at in 0..found.len() {
            for change in [-0.05, 0.05] {
                let mut other = found.clone();
                other[at] += change;
                assert!(naive(&dense, &classes, &other, labels) > least, "{at} {change}");
            }
        }
    }
}
