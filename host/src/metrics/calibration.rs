/// Average distance between confidence (the largest probability) and accuracy, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Expected calibration error (Guo et al., On Calibration of Modern Neural Networks, 2017) with 15 bins of equal width.
    pub error: f64,
    /// The error that perfectly calibrated probabilities would show with these confidences: in bins with few
    /// texts, accuracy deviates from confidence by chance. Computed by the normal approximation, where the
    /// mean of |x| is √(2/π) standard deviations, capped at twice the variance, which the mean of such
    /// deviations cannot exceed.
    pub by_chance: f64,
}

#[derive(Clone, Copy, Default)]
struct Bin {
    confidence: f64,
    right: f64,
    variance: f64,
}

impl Bin {
    fn by_chance(&self) -> f64 {
        (self.variance * std::f64::consts::FRAC_2_PI).sqrt().min(2.0 * self.variance)
    }
}

/// Measures the calibration. `logits` is `[rows, width]`, row-major; `gold` has the right class of each row.
/// Both figures are 0 without rows.
pub fn calibration(logits: &[f32], width: usize, gold: impl Iterator<Item = u32>) -> Calibration {
    const BINS: usize = 15;
    let mut bins = [Bin::default(); BINS];
    let mut rows = 0;
    for (row, gold) in logits.chunks_exact(width.max(1)).zip(gold) {
        let best = super::argmax(row);
        let largest = f64::from(row[best as usize]);
        let confidence = 1.0 / row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>();
        let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.confidence += confidence;
        bin.right += f64::from(u8::from(best == gold));
        bin.variance += confidence * (1.0 - confidence);
        rows += 1;
    }
    let share = 1.0 / f64::from(rows.max(1));
    Calibration {
        error: bins.iter().map(|bin| (bin.confidence - bin.right).abs()).sum::<f64>() * share,
        by_chance: bins.iter().map(Bin::by_chance).sum::<f64>() * share,
    }
}

/// Returns the temperature between 0.05 and 20 with the lowest negative log likelihood (Guo et al. 2017), by
/// golden-section search on its logarithm. Gold labels are smoothed as if about one more text had been
/// answered wrongly (after Platt 1999): if all answers are right, the likelihood alone would demand
/// certainty.
///
/// `logits` is `[rows, width]`, row-major; `gold` has the right class of each row.
pub fn temperature(logits: &[f32], width: usize, gold: &[u32]) -> f32 {
    let loss = |t: f64| -> f64 {
        let doubt = 1.0 / (gold.len() + 2) as f64;
        let rows = logits.chunks_exact(width.max(1)).zip(gold);
        rows.map(|(row, gold)| {
            let largest = f64::from(row[super::argmax(row) as usize]);
            let sum: f64 = row.iter().map(|x| ((f64::from(*x) - largest) / t).exp()).sum();
            let right = f64::from(row[*gold as usize]) - largest;
            let others = row.iter().map(|x| f64::from(*x) - largest).sum::<f64>() - right;
            let others = others / (width - 1).max(1) as f64;
            sum.ln() - ((1.0 - doubt) * right + doubt * others) / t
        })
        .sum()
    };
    golden_section(0.05, 20.0, loss) as f32
}

/// Returns where a unimodal function has its minimum, by golden-section search on the logarithm of its argument.
pub(crate) fn golden_section(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (low.ln(), high.ln());
    for _ in 0..60 {
        let (a, b) = (high - RATIO * (high - low), low + RATIO * (high - low));
        if f(a.exp()) < f(b.exp()) { high = b } else { low = a }
    }
    ((low + high) / 2.0).exp()
}
