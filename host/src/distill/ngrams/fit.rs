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
/// Minimum number of rows that a thread multiplies.
const ROWS_AT_ONCE: usize = 64;

/// Adds the product of a sparse row and a dense matrix as wide as `out`.
pub(super) fn add_product(row: &[(u32, f32)], dense: &[f32], out: &mut [f32]) {
    for (column, value) in row {
        let from = &dense[*column as usize * out.len()..][..out.len()];
        out.iter_mut().zip(from).for_each(|(out, from)| *out += value * from);
    }
}

/// A sparse matrix.
pub(super) struct Sparse {
    entries: Vec<(u32, f32)>,
    /// Where each row begins in `entries`, and where the last one ends.
    starts: Vec<usize>,
    columns: usize,
}

impl Sparse {
    /// Joins rows of ascending columns and their values.
    pub fn of_rows(rows: Vec<Vec<(u32, f32)>>, columns: usize) -> Self {
        let (mut entries, mut starts) = (Vec::with_capacity(rows.iter().map(Vec::len).sum()), vec![0]);
        for row in rows {
            entries.extend(row);
            starts.push(entries.len());
        }
        Self { entries, starts, columns }
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, index: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[index]..self.starts[index + 1]]
    }

    fn transposed(&self) -> Self {
        let mut starts = vec![0; self.columns + 1];
        self.entries.iter().for_each(|(column, _)| starts[*column as usize + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let (mut next, mut entries) = (starts.clone(), vec![(0, 0.0); self.entries.len()]);
        for index in 0..self.rows() {
            for (column, value) in self.row(index) {
                let at = &mut next[*column as usize];
                entries[*at] = (index as u32, *value);
                *at += 1;
            }
        }
        Self { entries, starts, columns: self.rows() }
    }

    /// Multiplies with a dense matrix [columns, width]: [rows, width].
    fn times(&self, dense: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.rows() * width];
        let rows = out.par_chunks_exact_mut(width).enumerate().with_min_len(ROWS_AT_ONCE);
        rows.for_each(|(index, out)| add_product(self.row(index), dense, out));
        out
    }
}

/// Returns the largest eigenvalue of a matrix times its transpose, about.
fn largest_eigenvalue(matrix: &Sparse, transposed: &Sparse) -> f64 {
    let (mut vector, mut length) = (vec![1.0; matrix.columns], 0.0);
    for _ in 0..POWER_STEPS {
        vector = transposed.times(&matrix.times(&vector, 1), 1);
        length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length.max(f64::MIN_POSITIVE) as f32);
    }
    length
}

/// Returns weights [columns, labels] that minimize the loss plus an L2 penalty (Nesterov's method with a
/// constant step). `watch` is called with the numbers of steps done and in all.
pub(super) fn fit(
    texts: &Sparse,
    data: &Dataset,
    labels: usize,
    objective: &Supervised,
    watch: &mut dyn FnMut(usize, usize),
) -> Vec<f32> {
    let (count, by_term) = (texts.rows(), texts.transposed());
    let all: Vec<u32> = (0..count as u32).collect();
    let loss = objective.of_rows(data, &all);
    // bounds of the second derivatives; all losses but the cross entropy are means over the labels too
    let (curvature, share) = match data.task {
        Task::SingleLabel => (0.5, 1.0),
        Task::MultiLabel => (0.25, 1.0 / labels as f64),
        Task::Regression => (2.0, 1.0 / labels as f64),
    };
    let penalty = share / (INVERSE_PENALTY * count as f64);
    let steepest = MARGIN * share * curvature * largest_eigenvalue(texts, &by_term) / count as f64 + penalty;
    let (step, penalty) = ((1.0 / steepest) as f32, penalty as f32);
    let mut weights = vec![0.0; texts.columns * labels];
    // where the next gradient is taken
    let mut ahead = weights.clone();
    let mut inertia = 1.0f32;
    for done in 1..=STEPS {
        let (_, by_logits) = loss.value_and_gradient(&texts.times(&ahead, labels), count);
        let gradient = by_term.times(&by_logits, labels);
        let next = (1.0 + (1.0 + 4.0 * inertia * inertia).sqrt()) / 2.0;
        let momentum = (inertia - 1.0) / next;
        inertia = next;
        for ((weight, ahead), slope) in weights.iter_mut().zip(&mut ahead).zip(gradient) {
            let to = *ahead - step * (slope + penalty * *ahead);
            *ahead = to + momentum * (to - *weight);
            *weight = to;
        }
        watch(done, STEPS);
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
    fn products_are_those_of_the_dense_matrix() {
        let rows = vec![vec![(1, 2.0), (3, -1.0)], vec![], vec![(0, 4.0), (1, 0.5), (3, 3.0)]];
        let matrix = Sparse::of_rows(rows, 4);
        assert_eq!(
            matrix.times(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0], 2),
            [0.0, 0.0, 0.0, 0.0, 17.0, 170.0]
        );
        assert_eq!(matrix.transposed().times(&[1.0, 2.0, 3.0], 1), [12.0, 3.5, 0.0, 8.0]);
    }

    /// The same for sets of labels: the loss and the penalty are means over the labels.
    fn naive_of_sets(dense: &[Vec<f64>], sets: &[Vec<u32>], weights: &[f64], labels: usize) -> f64 {
        let of_label = |label: usize| -> f64 {
            let of_row = |(row, set): (&Vec<f64>, &Vec<u32>)| {
                let logit: f64 = row
                    .iter()
                    .enumerate()
                    .map(|(column, value)| value * weights[column * labels + label])
                    .sum();
                let sign = if set.contains(&(label as u32)) { -1.0 } else { 1.0 };
                (sign * logit).exp().ln_1p()
            };
            dense.iter().zip(sets).map(of_row).sum()
        };
        let loss: f64 = (0..labels).map(of_label).sum();
        let squares = weights.iter().map(|w| w * w).sum::<f64>() / (2.0 * INVERSE_PENALTY);
        (loss + squares) / (dense.len() * labels) as f64
    }

    #[test]
    fn no_weight_of_sets_of_labels_can_be_improved() {
        let (labels, columns, count) = (3, 8, 30);
        let mut random = SplitMix::new(3, 0);
        let dense: Vec<Vec<f64>> =
            (0..count).map(|_| (0..columns).map(|_| random.unit()).collect()).collect();
        let row = |row: &Vec<f64>| (0..).zip(row.iter().map(|value| *value as f32)).collect();
        let rows: Vec<Vec<(u32, f32)>> = dense.iter().map(row).collect();
        let sets: Vec<Vec<u32>> =
            (0..count).map(|_| (0..labels as u32).filter(|_| random.chance(0.3)).collect()).collect();
        let example = |set: &Vec<u32>| Example::new(String::new(), Target::Classes(set.clone()));
        let data = Dataset {
            task: Task::MultiLabel,
            labels: Labels::ordered(vec!["a".into(), "b".into(), "c".into()]).unwrap(),
            examples: sets.iter().map(example).collect(),
            files: vec![],
        };
        let objective = Supervised::new(&data, &TrainOptions::default()).unwrap();
        let found = fit(&Sparse::of_rows(rows, columns), &data, labels, &objective, &mut |_, _| ());
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let least = naive_of_sets(&dense, &sets, &found, labels);
        for at in 0..found.len() {
            for change in [-0.05, 0.05] {
                let mut other = found.clone();
                other[at] += change;
                assert!(naive_of_sets(&dense, &sets, &other, labels) > least, "{at} {change}");
            }
        }
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
        let example = |class: &u32| Example::new(String::new(), Target::Class(*class));
        let data = Dataset {
            task: Task::SingleLabel,
            labels: Labels::ordered(vec!["a".into(), "b".into(), "c".into()]).unwrap(),
            examples: classes.iter().map(example).collect(),
            files: vec![],
        };
        let objective = Supervised::new(&data, &TrainOptions::default()).unwrap();
        let found = fit(&Sparse::of_rows(rows, columns), &data, labels, &objective, &mut |_, _| ());
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
