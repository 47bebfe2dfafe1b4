//! Decision settings, fitted on held-out texts after quantization; the device uses them as they are.

use crate::data::{Dataset, Target, Task};
use crate::metrics::{argmax, calibration, temperature, thresholds};
use goldcrest_edge::decision::{Abstention, Answer, Decider, Settings};
use serde::{Deserialize, Serialize};

/// `[decision]`: which settings to fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionOptions {
    /// Single label: fits a temperature that calibrates the probabilities. Default: true.
    pub temperature: bool,
    /// Multi-label: fits a threshold for each label that maximises its F1. Default: true.
    pub thresholds: bool,
    /// Single label: share of the held-out texts, the least certain ones, that may go unanswered.
    pub false_reject: Option<f64>,
    /// Single label: share of the given answers that may be wrong; as many texts go unanswered as that takes.
    pub max_error: Option<f64>,
}

impl Default for DecisionOptions {
    fn default() -> Self {
        DecisionOptions { temperature: true, thresholds: true, false_reject: None, max_error: None }
    }
}

/// The fitted settings and their effect on the reported texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitted {
    /// Fitted temperature.
    pub temperature: f32,
    /// Fitted thresholds.
    pub thresholds: Vec<f32>,
    /// Fitted abstention rule.
    pub abstention: Abstention,
    /// Expected calibration error before temperature scaling; single label only.
    pub calibration_before: Option<f64>,
    /// The same after temperature scaling.
    pub calibration_after: Option<f64>,
    /// Calibration error that perfectly calibrated probabilities would show on as many texts: see
    /// [`by_chance`](crate::metrics::Calibration::by_chance).
    pub calibration_by_chance: Option<f64>,
    /// With abstention: share of the texts that are answered.
    pub coverage: Option<f64>,
    /// With abstention: share of those answers that are wrong.
    pub error: Option<f64>,
    /// With out-of-scope texts: share of them that go unanswered.
    pub out_of_scope_recall: Option<f64>,
}

/// Fits the decision settings to finite logits `[examples, width]` of held-out data. Abstention uses the probability
/// of the best label or, with `false_reject`, the energy if that rejects more of the out-of-scope texts.
pub fn fit_decision(
    data: &Dataset,
    logits: &[f32],
    out_of_scope: &[f32],
    options: &DecisionOptions,
) -> Settings {
    let width = data.width();
    let mut settings = Settings::default();
    match data.task {
        Task::SingleLabel => {
            let gold = classes(data);
            if options.temperature {
                settings.temperature = temperature(logits, width, &gold);
            }
            let rules = [Certainty::Probability, Certainty::Energy].map(|certainty| {
                let rows = certainty.of_rows(logits, width, settings.temperature).into_iter().zip(&gold);
                let scored = rows.map(|((class, score), gold)| (score, class == *gold)).collect();
                certainty.rule(least(scored, options))
            });
            let rejected =
                |abstention| unanswered(&Settings { abstention, ..settings.clone() }, out_of_scope, width);
            // with `max_error`, the two rules reject different numbers of texts and cannot be compared
            let compare = options.false_reject.is_some() && rejected(rules[1]) > rejected(rules[0]);
            settings.abstention = if compare { rules[1] } else { rules[0] };
        }
        Task::MultiLabel if options.thresholds => settings.thresholds = thresholds(data, logits),
        Task::MultiLabel | Task::Regression => {}
    }
    settings
}

/// Measures the effect of settings on `data` and on the logits of out-of-scope texts.
///
/// # Panics
/// If [`Settings::check`] finds them wrong for the task and the labels of `data`.
pub fn describe_decision(
    settings: &Settings,
    data: &Dataset,
    logits: &[f32],
    out_of_scope: Option<&[f32]>,
) -> Fitted {
    let width = data.width();
    let mut fitted = Fitted {
        temperature: settings.temperature,
        thresholds: settings.thresholds.clone(),
        abstention: settings.abstention,
        calibration_before: None,
        calibration_after: None,
        calibration_by_chance: None,
        coverage: None,
        error: None,
        out_of_scope_recall: None,
    };
    if data.task != Task::SingleLabel {
        return fitted;
    }
    let gold = classes(data);
    let measured = |logits: &[f32]| calibration(logits, width, gold.iter().copied());
    let scaled: Vec<f32> = logits.iter().map(|x| x / settings.temperature).collect();
    let after = measured(&scaled);
    (fitted.calibration_before, fitted.calibration_after) = (Some(measured(logits).error), Some(after.error));
    fitted.calibration_by_chance = Some(after.by_chance);
    if settings.abstention != Abstention::Never {
        let answers = answers(settings, logits, width);
        let answered = answers.iter().zip(&gold).filter_map(|(answer, gold)| Some((*answer)? == *gold));
        let (count, right) = (answered.clone().count(), answered.filter(|right| *right).count());
        fitted.coverage = Some(count as f64 / gold.len().max(1) as f64);
        fitted.error = Some((count - right) as f64 / count.max(1) as f64);
        fitted.out_of_scope_recall = out_of_scope
            .filter(|logits| !logits.is_empty())
            .map(|logits| unanswered(settings, logits, width) as f64 / (logits.len() / width) as f64);
    }
    fitted
}

impl Fitted {
    /// Describes the result in sentences.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let points = |x: f64| format!("{:.2}", x * 100.0);
        if let (Some(before), Some(after)) = (self.calibration_before, self.calibration_after) {
            let (before, after) = (points(before), points(after));
            let chance = self.calibration_by_chance.map_or(String::new(), |chance| {
                format!(" (chance alone would show {} on so many texts)", points(chance))
            });
            notes.push(format!(
                "temperature {:.3}: calibration error {before} before, {after} after{chance}",
                self.temperature
            ));
        }
        if !self.thresholds.is_empty() {
            let list: Vec<String> = self.thresholds.iter().map(|t| format!("{t:.2}")).collect();
            notes.push(format!("thresholds in the order of the labels: {}", list.join(" ")));
        }
        let abstention = Certainty::of(self.abstention);
        if let (Some((certainty, least)), Some(coverage), Some(error)) =
            (abstention, self.coverage, self.error)
        {
            let (coverage, error) = (points(coverage), points(error));
            let what = match certainty {
                Certainty::Probability => "a probability",
                Certainty::Energy => "an energy",
            };
            notes.push(match self.abstention {
                NEVER_SURE => "**no text ever gets an answer**: on the held-out texts no score leaves so few answers wrong (decision.max_error); allow more, or leave it out".into(),
                _ => format!(
                    "no answer below {what} of {least:.3}: {coverage} % are answered, {error} % of those wrongly"
                ),
            });
        }
        if let Some(recall) = self.out_of_scope_recall.filter(|_| self.abstention != NEVER_SURE) {
            notes.push(format!("out of scope: {} % get no answer", points(recall)));
        }
        notes
    }
}

fn classes(data: &Dataset) -> Vec<u32> {
    data.examples
        .iter()
        .map(|example| match example.target {
            Target::Class(class) => class,
            Target::Classes(_) | Target::Numbers(_) => 0,
        })
        .collect()
}

/// The highest energy threshold that settings accept.
const HIGHEST: f32 = 1e4;
/// Rejects every text. A probability threshold could not: a probability may round to 1, but no energy is this
/// high.
const NEVER_SURE: Abstention = Abstention::Energy(HIGHEST);

/// The measure of certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Certainty {
    /// The probability of the best class.
    Probability,
    /// See [`Abstention::Energy`].
    Energy,
}

impl Certainty {
    /// Returns the measure and the threshold of an abstention rule.
    fn of(abstention: Abstention) -> Option<(Self, f32)> {
        match abstention {
            Abstention::Never => None,
            Abstention::Probability(least) => Some((Certainty::Probability, least)),
            Abstention::Energy(least) => Some((Certainty::Energy, least)),
        }
    }

    fn rule(self, least: Option<f32>) -> Abstention {
        match (self, least) {
            (_, None) => Abstention::Never,
            (_, Some(f32::INFINITY)) => NEVER_SURE,
            (Certainty::Probability, Some(least)) => Abstention::Probability(least),
            (Certainty::Energy, Some(least)) => Abstention::Energy(least.clamp(-HIGHEST, HIGHEST)),
        }
    }

    /// Returns the best class of each row and its certainty.
    fn of_rows(self, logits: &[f32], width: usize, temperature: f32) -> Vec<(u32, f32)> {
        let probability = Settings { temperature, ..Settings::default() };
        let mut decider = decider(&probability, width);
        let rows = logits.chunks_exact(width.max(1));
        rows.map(|row| match self {
            // a row without an answer is as uncertain as possible
            Certainty::Probability => decider
                .decide(row)
                .ok()
                .and_then(|decision| decision.ranked().next())
                .map_or((0, 0.0), |(class, score)| (class as u32, score)),
            Certainty::Energy => {
                let best = argmax(row);
                let scaled = || row.iter().map(|x| f64::from(x / temperature));
                let highest = f64::from(row[best as usize] / temperature);
                (best, (highest + scaled().map(|x| (x - highest).exp()).sum::<f64>().ln()) as f32)
            }
        })
        .collect()
    }
}

/// Creates the decider that the device uses.
fn decider(settings: &Settings, width: usize) -> Decider {
    Decider::new(Task::SingleLabel, width, settings)
        .expect("numbers that were fitted, and as many labels as there are")
}

/// Returns the device's answer for each row; `None` if it is not certain enough.
fn answers(settings: &Settings, logits: &[f32], width: usize) -> Vec<Option<u32>> {
    let mut decider = decider(settings, width);
    let rows = logits.chunks_exact(width.max(1));
    rows.map(|row| match decider.decide(row).map(|decision| decision.answer()) {
        Ok(Answer::Class { class, .. }) => Some(class as u32),
        _ => None,
    })
    .collect()
}

/// Counts the rows without an answer.
fn unanswered(settings: &Settings, logits: &[f32], width: usize) -> usize {
    answers(settings, logits, width).iter().filter(|answer| answer.is_none()).count()
}

/// Returns the lowest certainty that is answered, given the certainty of each row and whether its answer is
/// right.
fn least(mut scored: Vec<(f32, bool)>, options: &DecisionOptions) -> Option<f32> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    match (options.false_reject, options.max_error) {
        (Some(share), _) => {
            let rejected = (scored.len() as f64 * share) as usize;
            let first = rejected.min(scored.len().checked_sub(1)?);
            Some(between(&scored, scored[first].0))
        }
        (None, Some(most)) => Some(least_certain(&scored, most)),
        (None, None) => None,
    }
}

/// Returns the lowest score such that at most a share `most` of the answers from there on is wrong. `scored`
/// is ascending. If `most` allows for two errors among all rows, one extra error is counted, because the best
/// of many thresholds was partly lucky.
fn least_certain(scored: &[(f32, bool)], most: f64) -> f32 {
    let doubt = usize::from(most * scored.len() as f64 >= 2.0);
    let mut wrong = doubt + scored.iter().filter(|(_, right)| !right).count();
    for (i, (score, right)) in scored.iter().enumerate() {
        // equal scores are all answered, or none of them
        let first = i == 0 || scored[i - 1].0 < *score;
        if first && wrong as f64 <= most * (scored.len() - i) as f64 {
            return between(scored, *score);
        }
        wrong -= usize::from(!right);
    }
    f32::INFINITY
}

/// Returns the midpoint of a score and the next lower one, so that the threshold coincides with no row.
fn between(scored: &[(f32, bool)], score: f32) -> f32 {
    let lower = scored.iter().map(|(score, _)| *score).take_while(|lower| *lower < score).last();
    lower.map(|lower| lower + (score - lower) / 2.0).filter(|half| Some(*half) > lower).unwrap_or(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_undoes_scaled_logits() {
        // calibrated probabilities 0.8 and 0.6, with logits scaled by 3
        let mut logits = Vec::new();
        let mut gold = Vec::new();
        for (p, right) in [(0.8f32, 8000), (0.6, 6000)] {
            for i in 0..10_000 {
                logits.extend([3.0 * (p / (1.0 - p)).ln(), 0.0]);
                gold.push(u32::from(i >= right));
            }
        }
        let t = temperature(&logits, 2, &gold);
        assert!((t - 3.0).abs() < 1e-3, "{t}");
        // without any mistake the temperature stays moderate
        let t = temperature(&[4.0, -4.0, -3.0, 5.0, 6.0, 1.0], 2, &[0, 1, 0]);
        assert!((1.0..6.0).contains(&t), "{t}");
    }

    #[test]
    fn abstention_by_hand() {
        let scored = [(0.5, false), (0.6, true), (0.7, false), (0.9, true), (0.95, true)];
        let close = |scored: &[(f32, bool)], most, wanted: f32| {
            let found = least_certain(scored, most);
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        };
        close(&scored, 0.25, 0.55);
        close(&scored, 0.0, 0.8);
        // half of five rows may hold two errors, so one extra is counted
        close(&scored, 0.5, 0.55);
        close(&[(0.5, false), (0.5, true), (0.9, true)], 0.0, 0.7);
        assert_eq!(least_certain(&[(0.5, true), (0.9, false)], 0.25), f32::INFINITY);
        // adjacent floats have no midpoint: the higher one is returned
        let next = 0.5f32.next_up();
        assert_eq!(between(&[(0.5, true), (next, true)], next), next);
    }

    /// Makes twenty texts of two classes.
    fn data(class: fn(u32) -> u32) -> Dataset {
        use crate::data::{Example, Labels};
        let example = |i: u32| {
            let target = Target::Class(class(i));
            Example::new(format!("text {i}"), target)
        };
        Dataset {
            task: Task::SingleLabel,
            labels: Labels::ordered(vec!["a".into(), "b".into()]).unwrap(),
            examples: (0..20).map(example).collect(),
            files: vec![],
        }
    }

    #[test]
    fn nothing_is_fitted_that_was_not_asked_for() {
        let nothing = DecisionOptions { temperature: false, thresholds: false, ..Default::default() };
        let mut data = data(|i| u32::from(i.is_multiple_of(5)));
        let logits = [6.0, -2.0].repeat(20);
        let fitted = |data: &Dataset, options: &DecisionOptions| fit_decision(data, &logits, &[], options);
        assert_eq!(fitted(&data, &nothing), Settings::default());
        assert!(fitted(&data, &DecisionOptions::default()).temperature > 2.0);
        data.task = Task::MultiLabel;
        data.examples.iter_mut().for_each(|example| example.target = Target::Classes(vec![0]));
        assert_eq!(fitted(&data, &nothing), Settings::default());
        assert_eq!(fitted(&data, &DecisionOptions::default()).thresholds.len(), 2);
    }

    #[test]
    fn the_error_is_that_of_the_answers_given() {
        // the first ten texts are answered, one of them wrongly
        let data = data(|i| u32::from(i == 0 || i > 12));
        let logits = [[4.0, 0.0].repeat(10), [0.5, 0.0].repeat(10)].concat();
        let settings = Settings { abstention: Abstention::Probability(0.9), ..Default::default() };
        let fitted = describe_decision(&settings, &data, &logits, Some(&[0.5, 0.0, 4.0, 0.0]));
        assert_eq!((fitted.coverage, fitted.error), (Some(0.5), Some(0.1)));
        assert_eq!(fitted.out_of_scope_recall, Some(0.5));
    }

    #[test]
    fn energy_is_that_of_scaled_logits_as_on_the_device() {
        let logits = [2.0, 4.0];
        let (class, energy) = Certainty::Energy.of_rows(&logits, 2, 2.0)[0];
        assert!(class == 1 && (energy - (1f32.exp() + 2f32.exp()).ln()).abs() < 1e-6, "{energy}");
        let rejected = |least| {
            let settings =
                Settings { temperature: 2.0, abstention: Abstention::Energy(least), ..Default::default() };
            unanswered(&settings, &logits, 2)
        };
        assert_eq!((rejected(energy - 0.01), rejected(energy + 0.01)), (0, 1));
        // no settings accept more
        assert_eq!(Certainty::Energy.rule(Some(1e6)), Abstention::Energy(HIGHEST));
        assert_eq!(Certainty::Energy.rule(Some(-1e6)), Abstention::Energy(-HIGHEST));
    }

    #[test]
    fn the_least_certain_share_is_rejected() {
        let scored: Vec<(f32, bool)> = (1..=8).map(|i| (i as f32, i > 2)).collect();
        let rejecting = |share| {
            let options = DecisionOptions { false_reject: Some(share), ..Default::default() };
            least(scored.iter().rev().copied().collect(), &options)
        };
        assert_eq!([0.0, 0.25, 0.3, 1.0].map(rejecting), [Some(1.0), Some(2.5), Some(2.5), Some(7.5)]);
        // a quarter of eight rows may hold two errors, so one extra is counted
        assert_eq!(least_certain(&scored, 0.25), 2.5);
        assert_eq!(least_certain(&scored, 0.24), 1.5);
    }

    #[test]
    fn no_answers_if_none_is_certain_enough() {
        let data = data(|i| u32::from(i.is_multiple_of(5)));
        // every probability rounds to 1 in f32
        let logits = [40.0, -40.0].repeat(20);
        let options = DecisionOptions { temperature: false, max_error: Some(0.05), ..Default::default() };
        let settings = fit_decision(&data, &logits, &[], &options);
        settings.check(Task::SingleLabel, 2).unwrap();
        let fitted = describe_decision(&settings, &data, &logits, None);
        assert_eq!((fitted.coverage, fitted.error), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn energy_decides_if_it_rejects_more() {
        let data = data(|i| i % 2);
        // in scope one logit is high; out of scope both are low, with about the same probability but less
        // energy
        let in_scope: Vec<f32> =
            (0..20).flat_map(|i| if i % 2 == 0 { [6.0, 3.0] } else { [3.0, 6.0] }).collect();
        let strange: Vec<f32> = (0..10).flat_map(|_| [-3.0, 0.5]).collect();
        let options = DecisionOptions { temperature: false, false_reject: Some(0.05), ..Default::default() };
        let settings = fit_decision(&data, &in_scope, &strange, &options);
        let Abstention::Energy(least) = settings.abstention else { panic!("{settings:?}") };
        assert!((least - (6f32.exp() + 3f32.exp()).ln()).abs() < 1e-5);
        let fitted = describe_decision(&settings, &data, &in_scope, Some(&strange));
        assert_eq!((fitted.coverage, fitted.out_of_scope_recall), (Some(1.0), Some(1.0)));
        // without out-of-scope texts the probability decides
        let settings = fit_decision(&data, &in_scope, &[], &options);
        assert!(matches!(settings.abstention, Abstention::Probability(_)));
        // and so it does with `max_error`
        let options_by_error =
            DecisionOptions { temperature: false, max_error: Some(0.05), ..Default::default() };
        let settings = fit_decision(&data, &in_scope, &strange, &options_by_error);
        assert!(matches!(settings.abstention, Abstention::Probability(_)));
        let never = fit_decision(&data, &in_scope, &strange, &DecisionOptions::default());
        assert_eq!(never.abstention, Abstention::Never);
    }
}
