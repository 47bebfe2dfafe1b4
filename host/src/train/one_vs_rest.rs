//! Initial head for multi-label tasks.

use super::head::{Head, INITIAL_CONFIDENCE, add, squares};
use crate::metrics::golden_section;

/// Makes a head by linear discriminant analysis with one variance for all directions: a label is more likely
/// the more frequent it is, and the nearer a text's vector is to the mean of the texts with the label than to
/// that of those without. The slope is a fifth ([`INITIAL_CONFIDENCE`]) of the one that fits the texts best,
/// each left out of its own mean.
///
/// `vectors` is [texts, width], `targets` has their labels, `shares` the overall frequency of each label.
/// `None` if no label has two texts with it and two without, or if distances say nothing about labels.
pub(super) fn one_vs_rest(vectors: &[f32], targets: &[&[u32]], shares: &[f32]) -> Option<Head> {
    let width = vectors.len() / targets.len().max(1);
    let mut all = vec![0.0; width];
    let mut sums = vec![0.0; shares.len() * width];
    let mut counts = vec![0u32; shares.len()];
    for (vector, labels) in vectors.chunks_exact(width.max(1)).zip(targets) {
        add(&mut all, vector);
        for label in *labels {
            counts[*label as usize] += 1;
            add(&mut sums[*label as usize * width..][..width], vector);
        }
    }
    let groups = Groups { vectors, targets, all, sums, counts, width };
    let steep = INITIAL_CONFIDENCE / groups.left_out_temperature()?;
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for (label, share) in shares.iter().enumerate() {
        let prior = (share / (1.0 - share)).ln();
        match groups.means(label) {
            Some([with, without]) => {
                weight.extend(with.iter().zip(&without).map(|(a, b)| steep * (a - b)));
                bias.push(prior - 0.5 * steep * (squares(&with) - squares(&without)));
            }
            None => {
                weight.extend(vec![0.0; width]);
                bias.push(prior);
            }
        }
    }
    Some(Head { weight, bias })
}

/// The texts, grouped by label.
struct Groups<'a> {
    vectors: &'a [f32],
    targets: &'a [&'a [u32]],
    /// Sum of all vectors.
    all: Vec<f32>,
    /// Sums of the vectors with each label [labels, width].
    sums: Vec<f32>,
    counts: Vec<u32>,
    width: usize,
}

impl Groups<'_> {
    fn without(&self, label: usize) -> f32 {
        (self.targets.len() - self.counts[label] as usize) as f32
    }

    /// Returns the mean vectors with and without the label, if there are both.
    fn means(&self, label: usize) -> Option<[Vec<f32>; 2]> {
        let (with, without) = (self.counts[label] as f32, self.without(label));
        let sum = &self.sums[label * self.width..][..self.width];
        let rest = self.all.iter().zip(sum).map(|(all, sum)| (all - sum) / without).collect();
        (with > 0.0 && without > 0.0).then(|| [sum.iter().map(|sum| sum / with).collect(), rest])
    }

    /// Returns, for each text, half the difference of its squared distances to the means without and with the
    /// label, itself left out; and whether it has the label.
    fn differences(&self, label: usize) -> impl Iterator<Item = (f32, bool)> {
        let (with, without) = (self.counts[label] as f32, self.without(label));
        let sum = &self.sums[label * self.width..][..self.width];
        self.vectors.chunks_exact(self.width).zip(self.targets).map(move |(vector, labels)| {
            let has = labels.contains(&(label as u32));
            let own = if has { with } else { without } - 1.0;
            let squared = vector.iter().zip(self.all.iter().zip(sum)).map(|(x, (all, sum))| {
                let (a, b) = if has {
                    ((sum - x) / own, (all - sum) / without)
                } else {
                    (sum / with, (all - sum - x) / own)
                };
                (x - b) * (x - b) - (x - a) * (x - a)
            });
            (0.5 * squared.sum::<f32>(), has)
        })
    }

    /// Returns the temperature of the differences with the lowest binary cross entropy, smoothed as in
    /// [`temperature`](crate::metrics::temperature).
    fn left_out_temperature(&self) -> Option<f32> {
        /// Search range of temperatures, for differences that average 1.
        const RANGE: [f64; 2] = [1e-3, 1e3];
        let several = (0..self.counts.len()).filter(|l| self.counts[*l] > 1 && self.without(*l) > 1.0);
        // prior log odds and differences, with signs such that higher is better
        let rows: Vec<(f64, f64)> = several
            .flat_map(|label| {
                let prior = (f64::from(self.counts[label]) / f64::from(self.without(label))).ln();
                let sign = |has: bool| if has { 1.0 } else { -1.0 };
                self.differences(label).map(move |(d, has)| (sign(has) * prior, sign(has) * f64::from(d)))
            })
            .collect();
        let unit = rows.iter().map(|(_, d)| d.abs()).sum::<f64>() / rows.len() as f64;
        // all vectors are equal, up to rounding
        let least = f64::from(super::head::squares(self.vectors)) / self.targets.len() as f64 * 1e-6;
        if !(unit > least && unit.is_finite()) {
            return None;
        }
        // as if one more text had been answered wrongly: if all are right, the texts alone would demand
        // certainty
        let doubt = 1.0 / (self.targets.len() + 2) as f64;
        let cost = |logit: f64| (-logit).max(0.0) + (-logit.abs()).exp().ln_1p();
        let loss = |t: f64| {
            let of = |(prior, d): &(f64, f64)| {
                let logit = prior + d / (unit * t);
                (1.0 - doubt) * cost(logit) + doubt * cost(-logit)
            };
            rows.iter().map(of).sum::<f64>()
        };
        let best = golden_section(RANGE[0], RANGE[1], loss);
        (best < 0.9 * RANGE[1]).then_some((best * unit) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::one_vs_rest;

    #[test]
    fn separable_texts_do_not_make_it_certain() {
        let vectors = [1.0, 0.1, 1.1, 0.0, 0.9, -0.1, -1.0, 0.1, -1.1, 0.0, -0.9, -0.1];
        let targets: Vec<&[u32]> = vec![&[0], &[0], &[0], &[], &[], &[]];
        let head = one_vs_rest(&vectors, &targets, &[0.5]).unwrap();
        let logits = vectors.chunks(2).map(|x| head.weight[0] * x[0] + head.weight[1] * x[1] + head.bias[0]);
        for (logit, has) in logits.zip([true, true, true, false, false, false]) {
            assert!(logit.abs() < 2.0 && (logit > 0.1) == has && (logit < -0.1) != has, "{logit}");
        }
        // a single text cannot be left out
        assert!(one_vs_rest(&vectors[4..8], &targets[2..4], &[0.5]).is_none());
    }
}
