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

/// Returns a 95 % confidence interval of the difference of two shares of right examples, second minus first, from the
/// examples that only one model gets right: Wald's, with half an example more in each of the four cells (Agresti and
/// Min 2005). It has a width even where no example differs.
pub fn paired_shares(only_first: u64, only_second: u64, rows: u64) -> Interval {
    let (b, c, n) = (only_first as f64 + 0.5, only_second as f64 + 0.5, rows as f64 + 2.0);
    let middle = (c - b) / n;
    let half = 1.96 * (b + c - (c - b).powi(2) / n).sqrt() / n;
    Interval { low: (middle - half).max(-1.0), high: (middle + half).min(1.0) }
}

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named as intervals are")]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Computes percentile bootstrap intervals (Efron 1979): draws `rows` indices with replacement `rounds` times, and takes
/// the 2.5th and 97.5th percentile of each of the `statistics`, moved by the difference of the value on all rows from
/// the median: draws that lack a rare class have a lower macro-F1. To compare two models (paired bootstrap), compute
/// both on the same draw. Deterministic given the seed. `None` without rows or rounds.
pub fn bootstrap<const N: usize>(
    rows: usize,
    rounds: usize,
    seed: u64,
    statistics: impl Fn(&[usize]) -> [f64; N] + Sync,
) -> Option<[Interval; N]> {
    if rows == 0 || rounds == 0 {
        return None;
    }
    let drawn = |draw: &mut Vec<usize>, round| {
        let mut random = SplitMix::new(seed, round);
        draw.fill_with(|| random.below(rows));
        statistics(draw)
    };
    let draws: Vec<[f64; N]> = (0..rounds as u64).into_par_iter().map_init(|| vec![0; rows], drawn).collect();
    let on_all = statistics(&(0..rows).collect::<Vec<_>>());
    Some(std::array::from_fn(|i| {
        let mut values: Vec<f64> = draws.iter().map(|draw| draw[i]).collect();
        values.sort_by(f64::total_cmp);
        let percentile = |share: f64| values[(share * (rounds - 1) as f64).round() as usize];
        let moved = on_all[i] - percentile(0.5);
        Interval { low: percentile(0.025) + moved, high: percentile(0.975) + moved }
    }))
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
    fn paired_shares_by_hand() {
        // 8 and 2 of 100 only in one: (2.5 - 8.5) / 102 ± 1.96 sqrt(11 - 36 / 102) / 102
        let interval = paired_shares(8, 2, 100);
        assert!(
            (interval.low + 0.121524).abs() < 1e-5 && (interval.high - 0.003877).abs() < 1e-5,
            "{interval:?}"
        );
        // none of 52: ± 1.96 / 54
        let none = paired_shares(0, 0, 52);
        assert!((none.high - 0.036296).abs() < 1e-5 && none.low == -none.high, "{none:?}");
        assert_eq!(paired_shares(1, 0, 1).low, -1.0);
    }

    #[test]
    fn bootstrap_of_a_mean_is_near_the_normal_interval() {
        // 400 coin tosses, half of them 1: standard error 0.025
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let mean =
            |draw: &[usize]| [draw.iter().map(|&index| values[index]).sum::<f64>() / draw.len() as f64];
        let [interval] = bootstrap(400, 4000, 1, mean).unwrap();
        assert!((interval.low - (0.5 - 1.96 * 0.025)).abs() < 0.005, "{interval:?}");
        assert!((interval.high - (0.5 + 1.96 * 0.025)).abs() < 0.005, "{interval:?}");
        assert_eq!(bootstrap(400, 100, 1, mean), bootstrap(400, 100, 1, mean));
        assert_ne!(bootstrap(400, 100, 1, mean), bootstrap(400, 100, 2, mean));
        assert_eq!(bootstrap(0, 100, 1, mean), None);
        // a statistic that draws make smaller than all rows do: the share of different rows
        let different =
            |draw: &[usize]| [draw.iter().collect::<std::collections::HashSet<_>>().len() as f64 / 400.0];
        let [interval] = bootstrap(400, 1000, 1, different).unwrap();
        assert!(interval.low < 1.0 && interval.high > 1.0, "{interval:?}");
    }
}
