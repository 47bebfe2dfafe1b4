//! Turns logits into answers.
use super::{Abstention, Error, MAX_CLASSES, Settings, Task};
use crate::kernels::Kernels;
use heapless::Vec;

/// Turns logits into answers. Allocates nothing.
#[derive(Clone, Debug)]
pub struct Decider {
    kernels: Kernels,
    task: Task,
    temperature: f32,
    abstention: Abstention,
    /// One per class for multi-label, otherwise empty.
    thresholds: Vec<f32, MAX_CLASSES>,
    scores: Vec<f32, MAX_CLASSES>,
    ranking: Vec<u16, MAX_CLASSES>,
}

/// The answer to one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Single label: the class and its probability.
    Class {
        /// Index of the label.
        class: usize,
        /// Its probability.
        score: f32,
    },
    /// Single label: the best guess, the first of [`Decision::ranked`], is below the threshold.
    Abstained,
    /// Multi-label: see [`Decision::labels`] for the classes that reach their thresholds.
    Labels,
    /// Regression of one number: the number.
    Value(f32),
    /// Regression of several: see [`Decision::scores`] for the numbers.
    Values,
}

/// An answer, with the scores that it is based on.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    answer: Answer,
    scores: &'a [f32],
    ranking: &'a [u16],
    thresholds: &'a [f32],
}

impl Decider {
    /// Returns a decider for a model with `classes` logits, on the fastest kernels.
    ///
    /// # Errors
    /// If a setting is invalid for such a model.
    pub fn new(task: Task, classes: usize, settings: &Settings) -> Result<Self, Error> {
        Self::with_kernels(Kernels::best(), task, classes, settings)
    }

    /// Like [`new`](Self::new), on the given kernels; all give the same bits.
    ///
    /// # Errors
    /// The same as for `new`.
    pub fn with_kernels(
        kernels: Kernels,
        task: Task,
        classes: usize,
        settings: &Settings,
    ) -> Result<Self, Error> {
        settings.check(task, classes)?;
        let mut thresholds = Vec::new();
        if task == Task::MultiLabel {
            // `resize` cannot fail: `check` has bounded the number of classes
            let _ = thresholds.resize(classes, 0.5);
            for (to, from) in thresholds.iter_mut().zip(&settings.thresholds) {
                *to = *from;
            }
        }
        let (mut scores, mut ranking) = (Vec::new(), Vec::new());
        let _ = scores.resize(classes, 0.0);
        let _ = ranking.resize(classes, 0);
        Ok(Decider {
            kernels,
            task,
            temperature: settings.temperature,
            abstention: settings.abstention,
            thresholds,
            scores,
            ranking,
        })
    }

    /// Returns the answer for the logits of one message, one per class.
    ///
    /// # Errors
    /// If the number of logits is wrong, or one is not finite.
    pub fn decide(&mut self, logits: &[f32]) -> Result<Decision<'_>, Error> {
        if logits.len() != self.scores.len() {
            return Err(Error::Logits { found: logits.len(), expected: self.scores.len() });
        }
        if let Some(class) = logits.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite { class });
        }
        let strange = match self.abstention {
            Abstention::Energy(least) => self.energy_is_below(logits, least),
            _ => false,
        };
        self.scale(logits);
        match self.task {
            Task::SingleLabel => self.kernels.softmax(&mut self.scores),
            Task::MultiLabel => self.kernels.sigmoid(&mut self.scores),
            Task::Regression => {}
        }
        for (i, class) in self.ranking.iter_mut().enumerate() {
            *class = i as u16;
        }
        let scores = &self.scores;
        // by descending score, then by logit, as a high temperature can make scores equal, then by label: the
        // order is the same everywhere
        self.ranking.sort_unstable_by(|&a, &b| {
            let by = |numbers: &[f32]| numbers[usize::from(b)].total_cmp(&numbers[usize::from(a)]);
            by(scores).then_with(|| by(logits)).then(a.cmp(&b))
        });
        let class = usize::from(self.ranking[0]);
        let score = scores[class];
        let answer = match self.task {
            Task::SingleLabel if strange => Answer::Abstained,
            Task::SingleLabel if matches!(self.abstention, Abstention::Probability(least) if score < least) => {
                Answer::Abstained
            }
            Task::SingleLabel => Answer::Class { class, score },
            Task::MultiLabel => Answer::Labels,
            Task::Regression if scores.len() == 1 => Answer::Value(score),
            Task::Regression => Answer::Values,
        };
        Ok(Decision { answer, scores, ranking: &self.ranking, thresholds: &self.thresholds })
    }

    /// Sets the scores to the logits divided by the temperature, as long as they are finite.
    fn scale(&mut self, logits: &[f32]) {
        let temperature = if self.task == Task::Regression { 1.0 } else { self.temperature };
        self.scores
            .iter_mut()
            .zip(logits)
            .for_each(|(score, x)| *score = (x / temperature).clamp(f32::MIN, f32::MAX));
    }

    /// Returns whether `ln Σ exp(x) < least`, computed without a logarithm as `Σ exp(x - least) < 1`.
    /// Overwrites the scores.
    fn energy_is_below(&mut self, logits: &[f32], least: f32) -> bool {
        self.scale(logits);
        self.scores.iter_mut().for_each(|x| *x -= least);
        self.kernels.exp(&mut self.scores);
        self.scores.iter().sum::<f32>() < 1.0
    }
}

impl<'a> Decision<'a> {
    /// Returns the answer.
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// Returns the probability of each class; for regression, the numbers.
    pub fn scores(&self) -> &'a [f32] {
        self.scores
    }

    /// Returns all classes with their scores, the best first; for regression, the numbers, the largest first.
    pub fn ranked(&self) -> impl Iterator<Item = (usize, f32)> + use<'a> {
        let scores = self.scores;
        self.ranking.iter().map(move |&class| (usize::from(class), scores[usize::from(class)]))
    }

    /// Multi-label: returns the classes at or above their thresholds, the best first. Empty for other tasks.
    pub fn labels(&self) -> impl Iterator<Item = (usize, f32)> + use<'a> {
        let thresholds = self.thresholds;
        self.ranked().filter(move |&(class, score)| thresholds.get(class).is_some_and(|t| score >= *t))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    fn settings(thresholds: &[f32], abstention: Abstention) -> Settings {
        Settings { temperature: 1.0, thresholds: thresholds.into(), abstention }
    }

    #[test]
    fn the_first_of_equal_classes_wins() {
        let mut decider = Decider::new(Task::SingleLabel, 3, &Settings::default()).unwrap();
        let decision = decider.decide(&[1.0, 2.0, 2.0]).unwrap();
        let ranked: std::vec::Vec<_> = decision.ranked().map(|(class, _)| class).collect();
        assert_eq!(ranked, [1, 2, 0]);
        assert!(matches!(decision.answer(), Answer::Class { class: 1, .. }));
    }

    #[test]
    fn temperature_flattens_but_does_not_reorder() {
        let hot = Settings { temperature: 4.0, ..Settings::default() };
        let mut decider = Decider::new(Task::SingleLabel, 2, &hot).unwrap();
        let decision = decider.decide(&[0.0, 4.0]).unwrap();
        assert!((decision.scores()[1] - 0.731_058_6).abs() < 1e-6);
        // a low one does not make them infinite
        let cold = Settings { temperature: 0.5, ..Settings::default() };
        let mut decider = Decider::new(Task::SingleLabel, 2, &cold).unwrap();
        let scores = decider.decide(&[3e38, 1.0]).unwrap().scores();
        assert!(scores[0] == 1.0 && scores[1] < 1e-30, "{scores:?}");
        // at such a high temperature the scores are equal
        let hot = Settings { temperature: 100.0, ..Settings::default() };
        let mut decider = Decider::new(Task::SingleLabel, 2, &hot).unwrap();
        let decision = decider.decide(&[1.0, 1.000_002]).unwrap();
        assert_eq!(decision.scores()[0], decision.scores()[1]);
        assert!(matches!(decision.answer(), Answer::Class { class: 1, .. }));
    }

    #[test]
    fn abstains_below_the_threshold_only() {
        let mut decider =
            Decider::new(Task::SingleLabel, 2, &settings(&[], Abstention::Probability(0.9))).unwrap();
        assert_eq!(decider.decide(&[0.0, 1.0]).unwrap().answer(), Answer::Abstained);
        assert!(matches!(decider.decide(&[0.0, 9.0]).unwrap().answer(), Answer::Class { class: 1, .. }));
        let mut decider =
            Decider::new(Task::SingleLabel, 2, &settings(&[], Abstention::Probability(0.5))).unwrap();
        let half = Answer::Class { class: 0, score: 0.5 };
        assert_eq!(decider.decide(&[0.0, 0.0]).unwrap().answer(), half);
    }

    #[test]
    fn abstains_if_all_logits_are_low() {
        // ln(e^2 + e^1) is 2.313, and half of it at twice the temperature: ln(e^1 + e^0.5) is 1.474
        for (temperature, least, answers) in
            [(1.0, 2.31, true), (1.0, 2.32, false), (2.0, 1.47, true), (2.0, 1.48, false)]
        {
            let settings = Settings { temperature, ..settings(&[], Abstention::Energy(least)) };
            let mut decider = Decider::new(Task::SingleLabel, 2, &settings).unwrap();
            let decision = decider.decide(&[2.0, 1.0]).unwrap();
            assert_eq!(decision.answer() != Answer::Abstained, answers, "{temperature} {least}");
            // the probabilities are not affected
            let wanted = 1.0 / (1.0 + (-1.0 / temperature).exp());
            assert!((decision.scores()[0] - wanted).abs() < 1e-6);
        }
    }

    #[test]
    fn each_label_has_its_threshold() {
        let mut decider =
            Decider::new(Task::MultiLabel, 3, &settings(&[0.2, 0.5, 0.9], Abstention::Never)).unwrap();
        let decision = decider.decide(&[-1.0, 0.0, 2.0]).unwrap();
        let labels: std::vec::Vec<_> = decision.labels().map(|(class, _)| class).collect();
        assert_eq!(decision.answer(), Answer::Labels);
        // 0.88 misses 0.9; 0.5 meets 0.5; 0.27 meets 0.2
        assert_eq!(labels, [1, 0]);
    }

    #[test]
    fn regression_gives_the_number() {
        for temperature in [1.0, 2.0] {
            let settings = Settings { temperature, ..Settings::default() };
            let mut decider = Decider::new(Task::Regression, 1, &settings).unwrap();
            let decision = decider.decide(&[3.2]).unwrap();
            assert_eq!(decision.answer(), Answer::Value(3.2));
            assert_eq!(decision.labels().count(), 0);
            let mut decider = Decider::new(Task::Regression, 3, &settings).unwrap();
            let decision = decider.decide(&[3.2, -7.5, 0.0]).unwrap();
            assert_eq!(decision.answer(), Answer::Values);
            assert_eq!(decision.scores(), [3.2, -7.5, 0.0]);
            assert_eq!(decision.labels().count(), 0);
        }
    }

    #[test]
    fn invalid_numbers_are_named() {
        let single = |s: &Settings| s.check(Task::SingleLabel, 2);
        assert_eq!(Settings::default().check(Task::SingleLabel, 513), Err(Error::Classes { found: 513 }));
        assert!(matches!(single(&settings(&[0.5, 0.5], Abstention::Never)), Err(Error::Thresholds { .. })));
        let abstains = |abstention| single(&settings(&[], abstention));
        assert!(matches!(abstains(Abstention::Probability(f32::NAN)), Err(Error::Probability { .. })));
        assert!(matches!(abstains(Abstention::Energy(f32::INFINITY)), Err(Error::Energy(_))));
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let settings = Settings { temperature, ..Settings::default() };
            assert!(matches!(single(&settings), Err(Error::Temperature(_))));
        }
        let mut decider = Decider::new(Task::SingleLabel, 2, &Settings::default()).unwrap();
        assert_eq!(decider.decide(&[1.0]).unwrap_err(), Error::Logits { found: 1, expected: 2 });
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(decider.decide(&[1.0, strange]).unwrap_err(), Error::NotFinite { class: 1 });
        }
    }

    proptest! {
        /// Compares with the formulas in f64.
        #[test]
        fn probabilities_are_right(
            logits in proptest::collection::vec(-30f32..30., 1..MAX_CLASSES), temperature in 0.1f32..10.,
        ) {
            let settings = Settings { temperature, ..Settings::default() };
            // divided in f32, as the decider does
            let scaled: std::vec::Vec<f64> = logits.iter().map(|&x| f64::from(x / temperature)).collect();
            let max = scaled.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scaled.iter().map(|x| (x - max).exp()).sum();

            let mut decider = Decider::new(Task::SingleLabel, logits.len(), &settings).unwrap();
            let decision = decider.decide(&logits).unwrap();
            for (score, x) in decision.scores().iter().zip(&scaled) {
                prop_assert!((f64::from(*score) - (x - max).exp() / sum).abs() < 2e-6);
            }
            prop_assert!(decision.ranked().is_sorted_by(|a, b| a.1 >= b.1));
            prop_assert_eq!(decision.ranked().count(), logits.len());

            let mut decider = Decider::new(Task::MultiLabel, logits.len(), &settings).unwrap();
            for (score, x) in decider.decide(&logits).unwrap().scores().iter().zip(&scaled) {
                prop_assert!((f64::from(*score) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6);
            }
        }
    }
}
