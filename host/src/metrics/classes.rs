use serde::Serialize;

use crate::data::Target;

/// Scores of one class against all others. A figure whose denominator is 0 is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of the predictions of this class that are right.
    pub precision: f64,
    /// Share of the examples of this class that are found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of examples of this class.
    pub support: u64,
}

/// Counts of decisions about one class.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    right: u64,
    predicted: u64,
    gold: u64,
}

impl Counts {
    fn scores(self) -> ClassScores {
        ClassScores {
            precision: ratio(self.right as f64, self.predicted as f64),
            recall: ratio(self.right as f64, self.gold as f64),
            f1: self.f1(),
            support: self.gold,
        }
    }

    fn f1(self) -> f64 {
        ratio(2.0 * self.right as f64, (self.predicted + self.gold) as f64)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Returns the mean F1 of the classes that occur among gold or predicted labels, as in scikit-learn.
fn macro_f1(counts: &[Counts]) -> f64 {
    let occurring = counts.iter().filter(|class| class.predicted + class.gold > 0);
    ratio(occurring.clone().map(|class| class.f1()).sum(), occurring.count() as f64)
}

fn weighted_f1(counts: &[Counts]) -> f64 {
    let weighted = counts.iter().map(|class| class.f1() * class.gold as f64).sum();
    ratio(weighted, counts.iter().map(|class| class.gold).sum::<u64>() as f64)
}

/// Metrics of a single-label task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SingleLabel {
    /// Number of examples.
    pub rows: u64,
    /// Share of examples with the right label.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// Mean F1, weighted by support.
    pub weighted_f1: f64,
    /// Multi-class Matthews correlation (Gorodkin 2004); 0 if all gold or all predicted labels are the same.
    pub mcc: f64,
    /// Expected calibration error over 15 bins, 0 to 1; see [`Calibration`](super::Calibration).
    pub calibration_error: f64,
    /// Scores by label id.
    pub per_class: Vec<ClassScores>,
    /// `confusion[gold][predicted]`.
    pub confusion: Vec<Vec<u64>>,
}

impl SingleLabel {
    pub(super) fn of<'a>(
        labels: usize,
        pairs: impl Iterator<Item = (&'a Target, &'a Target)>,
    ) -> Option<Self> {
        let mut confusion = vec![vec![0; labels]; labels];
        for pair in pairs {
            if let (Target::Class(gold), Target::Class(predicted)) = pair {
                confusion[*gold as usize][*predicted as usize] += 1;
            }
        }
        let counts: Vec<Counts> = (0..labels)
            .map(|class| Counts {
                right: confusion[class][class],
                predicted: confusion.iter().map(|row| row[class]).sum(),
                gold: confusion[class].iter().sum(),
            })
            .collect();
        let rows: u64 = counts.iter().map(|class| class.gold).sum();
        let right: u64 = counts.iter().map(|class| class.right).sum();
        (rows > 0).then(|| SingleLabel {
            rows,
            accuracy: right as f64 / rows as f64,
            macro_f1: macro_f1(&counts),
            weighted_f1: weighted_f1(&counts),
            mcc: mcc(&counts),
            calibration_error: 0.0,
            per_class: counts.into_iter().map(Counts::scores).collect(),
            confusion,
        })
    }
}

fn mcc(counts: &[Counts]) -> f64 {
    let sum = |term: fn(&Counts) -> f64| counts.iter().map(term).sum::<f64>();
    let rows = sum(|class| class.gold as f64);
    let covariance =
        sum(|class| class.right as f64) * rows - sum(|class| class.predicted as f64 * class.gold as f64);
    let predicted = rows * rows - sum(|class| (class.predicted as f64).powi(2));
    let gold = rows * rows - sum(|class| (class.gold as f64).powi(2));
    ratio(covariance, (predicted * gold).sqrt())
}

/// Metrics of a multi-label task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabel {
    /// Number of examples.
    pub rows: u64,
    /// F1 over all decisions.
    pub micro_f1: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// Mean F1, weighted by support.
    pub weighted_f1: f64,
    /// Share of examples with exactly the right set of labels.
    pub subset_accuracy: f64,
    /// Scores by label id.
    pub per_class: Vec<ClassScores>,
}

impl MultiLabel {
    pub(super) fn of<'a>(
        labels: usize,
        pairs: impl Iterator<Item = (&'a Target, &'a Target)>,
    ) -> Option<Self> {
        let mut counts = vec![Counts::default(); labels];
        let (mut rows, mut whole) = (0_u64, 0_u64);
        for pair in pairs {
            if let (Target::Classes(gold), Target::Classes(predicted)) = pair {
                rows += 1;
                whole += u64::from(gold == predicted);
                gold.iter().for_each(|&id| counts[id as usize].gold += 1);
                for id in predicted {
                    counts[*id as usize].predicted += 1;
                    counts[*id as usize].right += u64::from(gold.contains(id));
                }
            }
        }
        let all = counts.iter().fold(Counts::default(), |all, class| Counts {
            right: all.right + class.right,
            predicted: all.predicted + class.predicted,
            gold: all.gold + class.gold,
        });
        (rows > 0).then(|| MultiLabel {
            rows,
            micro_f1: all.f1(),
            // over all classes, as in scikit-learn for multi-label tasks
            macro_f1: ratio(counts.iter().map(|class| class.f1()).sum(), counts.len() as f64),
            weighted_f1: weighted_f1(&counts),
            subset_accuracy: whole as f64 / rows as f64,
            per_class: counts.into_iter().map(Counts::scores).collect(),
        })
    }
}
