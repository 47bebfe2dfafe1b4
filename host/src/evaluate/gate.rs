use std::fmt;

use super::Comparison;
use crate::metrics::Metric;

/// How much an int8 model may lose. `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gate {
    /// Largest drop in the comparison's metric, in points (hundredths).
    pub max_drop: Option<f64>,
    /// Largest drop in any class's F1, in points.
    pub max_drop_per_class: Option<f64>,
}

/// A class that lost F1.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `ClassComparison`")]
pub struct ClassDrop {
    pub label: String,
    pub support: u64,
    pub lost: u64,
    /// F1 in points.
    pub fp32: f64,
    pub int8: f64,
}

impl ClassDrop {
    fn drop(&self) -> f64 {
        self.fp32 - self.int8
    }
}

/// A gate's refusal: the int8 model loses more than allowed, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Refusal {
    /// The deciding metric.
    pub metric: Metric,
    /// The metric's value for fp32, in points.
    pub fp32: f64,
    /// The metric's value for int8, in points.
    pub int8: f64,
    /// The limit that the metric broke, in points; `None` if only classes did.
    pub max_drop: Option<f64>,
    /// The limit per class, in points.
    pub max_drop_per_class: Option<f64>,
    /// Regression: the distance of the values from fp32's, if too large, and the limit; see
    /// [`Comparison::unexplained_variance`].
    pub unexplained_variance: Option<(f64, f64)>,
    /// Classes that lost, worst first: all of them if the metric broke its limit, else those beyond their
    /// own.
    pub classes: Vec<ClassDrop>,
}

/// Largest distance between regression values, as a share of their variance. Correlation alone would miss
/// that all are halved.
const MAX_UNEXPLAINED: f64 = 0.05;

impl Gate {
    /// Accepts or refuses a comparison. If the metric has a limit, regression values must also be close to
    /// fp32's: their squared difference, as a share of the variance, may be as large as that limit or 5 %,
    /// whichever is greater.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, comparison: &Comparison) -> Result<(), Refusal> {
        // a drop of exactly the limit passes, whatever the rounding
        let beyond = |drop: f64, limit: Option<f64>| limit.is_some_and(|limit| drop > limit + 1e-9);
        let broken = beyond(-comparison.delta, self.max_drop);
        let mut classes: Vec<ClassDrop> = comparison
            .per_class
            .iter()
            .filter(|class| (broken && class.delta < 0.0) || beyond(-class.delta, self.max_drop_per_class))
            .map(|class| ClassDrop {
                label: class.label.clone(),
                support: class.fp32.support,
                lost: class.lost,
                fp32: class.fp32.f1 * 100.0,
                int8: class.int8.f1 * 100.0,
            })
            .collect();
        let allowed = self.max_drop.map(|drop| (drop / 100.0).max(MAX_UNEXPLAINED));
        let unexplained_variance =
            comparison.unexplained_variance.zip(allowed).filter(|(share, allowed)| share > allowed);
        if !broken && classes.is_empty() && unexplained_variance.is_none() {
            return Ok(());
        }
        classes.sort_by(|a, b| b.drop().total_cmp(&a.drop()));
        Err(Refusal {
            metric: comparison.metric,
            fp32: comparison.points(&comparison.fp32),
            int8: comparison.points(&comparison.int8),
            max_drop: self.max_drop.filter(|_| broken),
            max_drop_per_class: self.max_drop_per_class,
            unexplained_variance,
            classes,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        let drop = self.fp32 - self.int8;
        write!(f, "refused: int8 has {} {:.2}, fp32 {:.2}", self.metric, self.int8, self.fp32)?;
        if let Some((share, most)) = self.unexplained_variance {
            let [share, most] = [share, most].map(|share| share * 100.0);
            write!(
                f,
                ", and its numbers differ by {share:.2} % of their variance where {most:.2} % are allowed"
            )?;
        }
        match (self.max_drop, self.max_drop_per_class) {
            (Some(limit), _) => write!(f, ", a drop of {drop:.2} where max_drop allows {limit:.2}")?,
            (None, Some(limit)) if !self.classes.is_empty() => {
                write!(f, ", but classes lost more F1 than max_drop_per_class allows ({limit})")?
            }
            (None, _) => {}
        }
        if !self.classes.is_empty() {
            write!(f, "\nclasses that suffered (F1 fp32 -> int8):")?;
        }
        for class in self.classes.iter().take(SHOWN) {
            let ClassDrop { label, support, lost, fp32, int8 } = class;
            write!(
                f,
                "\n  {label}: {fp32:.2} -> {int8:.2} ({:+.2}), {lost} of its {support} examples lost",
                int8 - fp32
            )?;
        }
        match self.classes.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
