/// A loss over logits [texts, classes] with its targets; the mean over the batch, as PyTorch has it.
///
/// Logits are few, so everything is computed in f64, term by term.
#[derive(Debug, Clone)]
pub enum Loss {
    /// Cross entropy with label smoothing and class weights (`torch.nn.CrossEntropyLoss`).
    CrossEntropy {
        /// Class of each text.
        classes: Vec<u32>,
        /// Share of the target spread over all classes.
        smoothing: f64,
        /// Weight of each class; all 1 where absent.
        weights: Option<Vec<f64>>,
    },
    /// Binary cross entropy per class (`torch.nn.BCEWithLogitsLoss`).
    Binary {
        /// 0 to 1: [texts * classes].
        targets: Vec<f32>,
    },
    /// Mean squared error.
    SquaredError {
        /// [texts * classes].
        targets: Vec<f32>,
    },
    /// `T² · KL(teacher ‖ student)` of the softmax at temperature T, mean over texts (Hinton et al., arXiv 1503.02531).
    Distillation {
        /// The teacher's logits: [texts * classes].
        teacher: Vec<f32>,
        /// T.
        temperature: f64,
    },
}

/// log softmax of `x / temperature`.
fn log_softmax(x: &[f32], temperature: f64) -> Vec<f64> {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x) / temperature).collect();
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let norm = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - norm).collect()
}

impl Loss {
    /// The loss and its gradient by the logits [texts, classes].
    pub fn value_and_gradient(&self, logits: &[f32], texts: usize) -> (f64, Vec<f32>) {
        let classes = logits.len() / texts;
        let mut total = 0.0;
        let mut gradient: Vec<f64> = Vec::with_capacity(logits.len());
        match self {
            Loss::CrossEntropy { classes: targets, smoothing, weights } => {
                let weight = |c: usize| weights.as_ref().map_or(1.0, |w| w[c]);
                let norm: f64 = targets.iter().map(|t| weight(*t as usize)).sum();
                for (x, &target) in logits.chunks_exact(classes).zip(targets) {
                    let logs = log_softmax(x, 1.0);
                    // weight of -log p[c] in this row's loss
                    let share = |c: usize| {
                        let hard = if c == target as usize { 1.0 - smoothing } else { 0.0 };
                        weight(c) * (hard + smoothing / classes as f64) / norm
                    };
                    let row: f64 = (0..classes).map(share).sum();
                    total -= (0..classes).map(|c| share(c) * logs[c]).sum::<f64>();
                    gradient.extend((0..classes).map(|c| row * logs[c].exp() - share(c)));
                }
            }
            Loss::Binary { targets } => {
                let n = logits.len() as f64;
                for (&x, &t) in logits.iter().zip(targets) {
                    let (x, t) = (f64::from(x), f64::from(t));
                    total += (x.max(0.0) - x * t + (-x.abs()).exp().ln_1p()) / n;
                    gradient.push((1.0 / (1.0 + (-x).exp()) - t) / n);
                }
            }
            Loss::SquaredError { targets } => {
                let n = logits.len() as f64;
                for (&x, &t) in logits.iter().zip(targets) {
                    let d = f64::from(x) - f64::from(t);
                    total += d * d / n;
                    gradient.push(2.0 * d / n);
                }
            }
            Loss::Distillation { teacher, temperature } => {
                let n = texts as f64;
                for (x, t) in logits.chunks_exact(classes).zip(teacher.chunks_exact(classes)) {
                    let (log_p, log_q) = (log_softmax(t, *temperature), log_softmax(x, *temperature));
                    for (p, q) in log_p.iter().zip(&log_q) {
                        total += temperature * temperature * p.exp() * (p - q) / n;
                        gradient.push(temperature * (q.exp() - p.exp()) / n);
                    }
                }
            }
        }
        (total, gradient.into_iter().map(|d| d as f32).collect())
    }
}
