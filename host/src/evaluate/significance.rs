//! Tests of whether a difference is more than chance.

use rayon::prelude::*;
use serde::Serialize;

use crate::data::SplitMix;

/// Returns the two-sided p-value of McNemar's exact test: the probability that a fair coin splits the
/// examples that only one model gets right as unevenly as `only_first` to `only_second` (McNemar 1947; exact
/// binomial). 1 without such examples.
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let discordant = only_first + only_second;
    let smaller = only_first.min(only_second);
    if only_first == only_second {
        return 1.0;
    }
    // the terms C(n, k) / 2^n for k = 0 to `smaller`, as logarithms because 2^n soon overflows
    let mut log_term = -(discordant as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=smaller {
        log_term += ((discordant - k + 1) as f64 / k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named as intervals are")]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Computes a percentile bootstrap interval (Efron 1979): draws `rows` indices with replacement `rounds`
/// times, and takes the 2.5th and 97.5th percentile of `statistic`. To compare two models (paired bootstrap),
/// compute both on the same draw. Deterministic given the seed. `None` without rows or rounds.
pub fn bootstrap(
    rows: usize,
    rounds: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64 + Sync,
) -> Option<Interval> {
    if rows == 0 || rounds == 0 {
        return None;
    }
    let drawn = |draw: &mut Vec<usize>, round| {
        let mut random = SplitMix::new(seed, round);
        draw.fill_with(|| random.below(rows));
        statistic(draw)
    };
    let mut values: Vec<f64> = (0..rounds as u64).into_par_iter().map_init(|| vec![0; rows], drawn).collect();
    values.sort_by(f64::total_cmp);
    let percentile = |share: f64| values[(share * (rounds - 1) as f64).round() as usize];
    Some(Interval { low: percentile(0.025), high: percentile(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SciPy: `binomtest(min(b, c), b + c).pvalue`.
    #[test]
    fn mcnemar_equals_scipy() {
        for (first, second, p) in [
            (10, 2, 0.03857421875),
            (5, 5, 1.0),
            (0, 0, 1.0),
            (0, 1, 1.0),
            (7, 0, 0.015625),
            (300, 250, 0.036578745549102676),
            (1000, 1100, 0.03072070786424249),
        ] {
            assert!(
                (mcnemar(first, second) - p).abs() < 1e-12,
                "{first} {second}: {}",
                mcnemar(first, second)
            );
            assert_eq!(mcnemar(first, second), mcnemar(second, first));
        }
        assert_eq!(mcnemar(0, 1_000_000), 0.0);
    }

    #[test]
    fn bootstrap_of_a_mean_is_near_the_normal_interval() {
        // 400 coin tosses, half of them 1: standard error 0.025
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let mean = |draw: &[usize]| draw.iter().map(|&index| values[index]).sum::<f64>() / draw.len() as f64;
        let interval = bootstrap(400, 4000, 1, mean).unwrap();
        assert!((interval.low - (0.5 - 1.96 * 0.025)).abs() < 0.005, "{interval:?}");
        assert!((interval.high - (0.5 + 1.96 * 0.025)).abs() < 0.005, "{interval:?}");
        assert_eq!(bootstrap(400, 100, 1, mean), bootstrap(400, 100, 1, mean));
        assert_ne!(bootstrap(400, 100, 1, mean), bootstrap(400, 100, 2, mean));
        assert_eq!(bootstrap(0, 100, 1, mean), None);
    }
}
