/// A loss over logits [texts, classes] with its targets; reductions are those of PyTorch.
///
/// There are few logits, so everything is computed in f64, term by term.
#[derive(Debug, Clone)]
pub enum Loss {
    /// Cross entropy with label smoothing and class weights (`torch.nn.CrossEntropyLoss`).
    CrossEntropy {
        /// Class of each text.
        classes: Vec<u32>,
        /// Label smoothing: share of the target spread over all classes.
        smoothing: f64,
        /// Weight of each class; all 1 if `None`.
        weights: Option<Vec<f64>>,
        /// Exponent of the focal loss (Lin et al., arXiv 1708.02002); 0 disables it. The loss of each text is
        /// scaled by `(1 - p[class])^focal`.
        focal: f64,
    },
    /// Binary cross entropy per class (`torch.nn.BCEWithLogitsLoss`).
    Binary {
        /// Probabilities from 0 to 1: [texts * classes].
        targets: Vec<f32>,
        /// Weight of each class's positive texts (`pos_weight`); all 1 if `None`.
        weights: Option<Vec<f64>>,
        /// Exponent of the focal loss, applied to each class's own probability.
        focal: f64,
    },
    /// Mean squared error.
    SquaredError {
        /// Target values: [texts * classes].
        targets: Vec<f32>,
    },
    /// `T² · KL(teacher ‖ student)` of the softmax at temperature T, averaged over texts (Hinton et al.,
    /// arXiv 1503.02531).
    Distillation {
        /// The teacher's logits: [texts * classes].
        teacher: Vec<f32>,
        /// The temperature T.
        temperature: f64,
    },
    /// Disagreement between two passes over the same texts, which form the two halves of the batch: half the
    /// sum of both KL divergences, averaged over pairs and, for Bernoulli labels, over classes (R-Drop, Liang
    /// et al., arXiv 2106.14448).
    Agreement {
        /// How to interpret the logits.
        distribution: Distribution,
    },
}

/// The distribution that logits parametrise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Exactly one class is true: softmax.
    Categorical,
    /// Each class is true or false: sigmoid.
    Bernoulli,
    /// A real number with unit variance.
    Normal,
}

impl Distribution {
    /// Returns the means of the distribution, and the directional derivative of the means for a change `d` of
    /// the logits.
    fn means(self, x: &[f32], d: &[f64]) -> (Vec<f64>, Vec<f64>) {
        match self {
            Distribution::Categorical => {
                let p: Vec<f64> = log_softmax(x, 1.0).into_iter().map(f64::exp).collect();
                let middle: f64 = p.iter().zip(d).map(|(p, d)| p * d).sum();
                let change = p.iter().zip(d).map(|(p, d)| p * (d - middle)).collect();
                (p, change)
            }
            Distribution::Bernoulli => {
                let p: Vec<f64> = x.iter().map(|x| 1.0 / (1.0 + (-f64::from(*x)).exp())).collect();
                let change = p.iter().zip(d).map(|(p, d)| p * (1.0 - p) * d).collect();
                (p, change)
            }
            Distribution::Normal => (x.iter().map(|x| f64::from(*x)).collect(), d.to_vec()),
        }
    }
}

/// Returns `(1 - p)^power` and its derivative with respect to p.
fn focus(p: f64, power: f64) -> (f64, f64) {
    let missing = (1.0 - p).max(1e-12);
    (missing.powf(power), -power * missing.powf(power - 1.0))
}

/// Returns the log softmax of `x / temperature`.
fn log_softmax(x: &[f32], temperature: f64) -> Vec<f64> {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x) / temperature).collect();
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let norm = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - norm).collect()
}

impl Loss {
    /// Returns the loss and its gradient with respect to the logits [texts, classes].
    pub fn value_and_gradient(&self, logits: &[f32], texts: usize) -> (f64, Vec<f32>) {
        let classes = logits.len() / texts;
        let mut total = 0.0;
        let mut gradient: Vec<f64> = Vec::with_capacity(logits.len());
        match self {
            Loss::CrossEntropy { classes: targets, smoothing, weights, focal } => {
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
                    let loss = -(0..classes).map(|c| share(c) * logs[c]).sum::<f64>();
                    let p = logs[target as usize].exp();
                    let (focus, slope) = focus(p, *focal);
                    total += focus * loss;
                    gradient.extend((0..classes).map(|c| {
                        let same = if c == target as usize { 1.0 } else { 0.0 };
                        let q = logs[c].exp();
                        focus * (row * q - share(c)) + loss * slope * p * (same - q)
                    }));
                }
            }
            Loss::Binary { targets, weights, focal } => {
                let n = logits.len() as f64;
                for (i, (&x, &t)) in logits.iter().zip(targets).enumerate() {
                    let (x, t) = (f64::from(x), f64::from(t));
                    let weight = weights.as_ref().map_or(1.0, |w| w[i % classes]);
                    let p = 1.0 / (1.0 + (-x).exp());
                    // -log p and -log(1 - p), without overflow
                    let small = (-x.abs()).exp().ln_1p();
                    let (if_true, if_not) = ((-x).max(0.0) + small, x.max(0.0) + small);
                    let loss = (weight * t * if_true + (1.0 - t) * if_not) / n;
                    let slope_of_loss = (weight * t * (p - 1.0) + (1.0 - t) * p) / n;
                    let (focus, slope) = focus(t * p + (1.0 - t) * (1.0 - p), *focal);
                    total += focus * loss;
                    gradient.push(focus * slope_of_loss + loss * slope * (2.0 * t - 1.0) * p * (1.0 - p));
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
            Loss::Agreement { distribution } => {
                // in an exponential family the two divergences sum to (mean - mean') · (logits - logits')
                let (first, second) = logits.split_at(logits.len() / 2);
                // averaged over Bernoulli labels, as their cross entropy is
                let each = if *distribution == Distribution::Bernoulli { classes } else { 1 };
                let share = 0.5 / (texts / 2 * each) as f64;
                gradient.resize(logits.len(), 0.0);
                let (to_first, to_second) = gradient.split_at_mut(first.len());
                for (i, (x, y)) in first.chunks_exact(classes).zip(second.chunks_exact(classes)).enumerate() {
                    let d: Vec<f64> = x.iter().zip(y).map(|(x, y)| f64::from(*x) - f64::from(*y)).collect();
                    let ((p, dp), (q, dq)) = (distribution.means(x, &d), distribution.means(y, &d));
                    for c in 0..classes {
                        total += share * (p[c] - q[c]) * d[c];
                        to_first[i * classes + c] = share * (p[c] - q[c] + dp[c]);
                        to_second[i * classes + c] = share * (q[c] - p[c] - dq[c]);
                    }
                }
            }
        }
        (total, gradient.into_iter().map(|d| d as f32).collect())
    }
}
