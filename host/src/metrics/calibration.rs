/// Expected calibration error (Guo et al., On Calibration of Modern Neural Networks, 2017) with 15 bins of equal
/// width: how far confidence (the largest probability) is from accuracy, on average; 0 to 1.
///
/// `logits` is `[rows, width]`, row-major; `gold` gives the right class of each row. 0 without rows.
pub fn calibration_error(logits: &[f32], width: usize, gold: impl Iterator<Item = u32>) -> f64 {
    const BINS: usize = 15;
    // confidence and rights, summed; their difference over all rows is the bin's share of the error
    let mut bins = [(0.0, 0.0); BINS];
    let mut rows = 0;
    for (row, gold) in logits.chunks_exact(width.max(1)).zip(gold) {
        let best = super::argmax(row);
        let largest = f64::from(row[best as usize]);
        let confidence = 1.0 / row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>();
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].0 += confidence;
        bins[bin].1 += f64::from(u8::from(best == gold));
        rows += 1;
    }
    let error: f64 = bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum();
    if rows == 0 { 0.0 } else { error / f64::from(rows) }
}
