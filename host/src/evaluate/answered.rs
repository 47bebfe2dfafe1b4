use super::BundleRun;
use crate::data::{Dataset, Target};
use crate::metrics;
use crate::train::TargetScale;
use goldcrest_edge::Outcome;
use goldcrest_edge::decision::{Answer, Decider, Decision};
use std::io::{self, Write};

/// A text with its label and the bundle's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AnsweredRow {
    /// Index of the example in the data.
    pub row: usize,
    /// Its label, labels (joined by `|`) or number.
    pub label: String,
    /// The answer in the same form: the best label of a single-label task, even if the bundle would abstain.
    pub answer: String,
    /// Single label: the answer's probability.
    pub score: Option<f32>,
    /// How little the answer fits the label. For a single label, the probability of all others. For several, the
    /// largest probability against one of them, on a scale on which its threshold is 0.5, so that mistakes come first.
    /// For numbers, the distance in standard deviations of the labels (the largest of several).
    pub surprise: f32,
}

/// Returns all rows with their answers, the most surprising first: mistakes, or wrong labels.
///
/// # Panics
/// If the decision settings or the logits were changed to some that suit no model of these labels.
pub fn answered_rows(data: &Dataset, run: &BundleRun) -> Vec<AnsweredRow> {
    let width = data.width();
    let mut decider = Decider::new(data.task, width, &run.decision).expect("settings of a bundle");
    let deviations: Vec<f32> = TargetScale::of(data).deviations().collect();
    let answered = |(row, logits): (usize, &[f32])| {
        let gold = &data.examples[row].target;
        let decision = decider.decide(logits).expect("logits of a bundle");
        let (answer, score) = best_answer(&decision, data.labels.names());
        let label = shown(gold, data.labels.names());
        let surprise = surprise(gold, decision.scores(), &run.decision.thresholds, &deviations);
        AnsweredRow { row, label, answer, score, surprise }
    };
    let mut rows: Vec<_> = run.logits.chunks_exact(width.max(1)).enumerate().map(answered).collect();
    rows.sort_by(|a, b| b.surprise.total_cmp(&a.surprise));
    rows
}

/// Returns a device's answer in one cell, in which `|` joins several labels or numbers, and the probability of a single
/// label. If the model abstains, the cell is empty and the probability is that of its best label.
pub fn answer_in_a_cell(outcome: &Outcome<'_>) -> (String, Option<f32>) {
    let (best, score) = best_answer(&outcome.decision, outcome.labels);
    let abstained = outcome.decision.answer() == Answer::Abstained;
    (if abstained { String::new() } else { best }, score)
}

/// The same, but the best label even if the model abstains.
fn best_answer(decision: &Decision, labels: &[String]) -> (String, Option<f32>) {
    match decision.answer() {
        Answer::Class { .. } | Answer::Abstained => {
            let (class, score) = decision.ranked().next().expect("a model has classes");
            (labels[class].clone(), Some(score))
        }
        Answer::Labels => {
            let mut classes: Vec<usize> = decision.labels().map(|(class, _)| class).collect();
            classes.sort_unstable();
            (joined(classes.into_iter().map(|class| &labels[class])), None)
        }
        Answer::Value(_) | Answer::Values => (joined(decision.scores()), None),
    }
}

fn surprise(gold: &Target, scores: &[f32], thresholds: &[f32], deviations: &[f32]) -> f32 {
    match gold {
        Target::Class(class) => 1.0 - scores[*class as usize],
        Target::Classes(classes) => {
            let against = |(label, score): (u32, &f32)| {
                let threshold = thresholds.get(label as usize).copied().unwrap_or(metrics::THRESHOLD);
                let probability = match *score < threshold {
                    true => 0.5 * score / threshold,
                    false => 1.0 - 0.5 * (1.0 - score) / (1.0 - threshold).max(f32::MIN_POSITIVE),
                };
                if classes.contains(&label) { 1.0 - probability } else { probability }
            };
            (0..).zip(scores).map(against).fold(0.0, f32::max)
        }
        Target::Numbers(numbers) => {
            let apart = numbers.iter().zip(scores).zip(deviations);
            apart.map(|((gold, said), deviation)| ((gold - said) / deviation).abs()).fold(0.0, f32::max)
        }
    }
}

fn shown(target: &Target, labels: &[String]) -> String {
    let name = |id: &u32| labels.get(*id as usize).map_or("", String::as_str);
    match target {
        Target::Class(id) => name(id).to_owned(),
        Target::Classes(ids) => joined(ids.iter().map(name)),
        Target::Numbers(numbers) => joined(numbers),
    }
}

fn joined<T: ToString>(parts: impl IntoIterator<Item = T>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join("|")
}

/// Writes rows as CSV with a header.
///
/// # Errors
/// That of `out`.
pub fn write_answered_rows(data: &Dataset, rows: &[AnsweredRow], out: impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let pair = data.is_paired().then_some("pair");
    csv.write_record(
        ["line", "text"].into_iter().chain(pair).chain(["label", "answer", "score", "surprise"]),
    )?;
    for AnsweredRow { row, label, answer, score, surprise } in rows {
        let example = &data.examples[*row];
        let score = score.map_or(String::new(), |score| format!("{score:.4}"));
        let (line, surprise) = (example.line.to_string(), format!("{surprise:.4}"));
        let texts = [&line, &example.text].into_iter().chain(&example.pair);
        csv.write_record(texts.chain([label, answer, &score, &surprise]))?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Labels, Task};
    use crate::evaluate::Latency;
    use goldcrest_edge::decision::{Abstention, Settings};

    fn csv(task: Task, examples: Vec<Example>, logits: &[f32], decision: Settings) -> String {
        let labels = Labels::ordered(vec!["no".into(), "yes, really".into()]).unwrap();
        let data = Dataset::new(task, labels, examples).unwrap();
        let latency = Latency { p50: 0.0, p90: 0.0, p99: 0.0 };
        let run = BundleRun { logits: logits.to_vec(), latency, bytes: 0, decision };
        let mut out = Vec::new();
        write_answered_rows(&data, &answered_rows(&data, &run), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_most_surprising_row_comes_first() {
        let sure = Settings { abstention: Abstention::Probability(0.9), ..Settings::default() };
        let examples =
            [("fine", 1), ("a \"b\"", 0), ("odd", 1)].map(|(text, id)| Example::new(text, Target::Class(id)));
        let logits = [0.0, 2.0, 0.0, 0.0, 3.0, 0.0];
        assert_eq!(
            csv(Task::SingleLabel, examples.to_vec(), &logits, sure),
            "line,text,label,answer,score,surprise\n\
             0,odd,\"yes, really\",no,0.9526,0.9526\n\
             0,\"a \"\"b\"\"\",no,no,0.5000,0.5000\n\
             0,fine,\"yes, really\",\"yes, really\",0.8808,0.1192\n"
        );
    }

    #[test]
    fn an_answer_fits_in_a_cell() {
        let cell = |task, logits: &[f32], settings: Settings| {
            let labels: Vec<String> = ["no", "yes"].map(str::to_owned)[..logits.len()].to_vec();
            let mut decider = Decider::new(task, labels.len(), &settings).unwrap();
            let decision = decider.decide(logits).unwrap();
            let (cell, score) =
                answer_in_a_cell(&Outcome { labels: &labels, logits, decision, tokens: 2, truncated: false });
            (cell, score.map(|score| (score * 1000.0).round()))
        };
        let usual = Settings::default;
        let sure = Settings { abstention: Abstention::Probability(0.9), ..usual() };
        assert_eq!(cell(Task::SingleLabel, &[0.0, 2.0], usual()), ("yes".into(), Some(881.0)));
        assert_eq!(cell(Task::SingleLabel, &[0.0, 2.0], sure), (String::new(), Some(881.0)));
        assert_eq!(cell(Task::MultiLabel, &[1.0, 2.0], usual()), ("no|yes".into(), None));
        assert_eq!(cell(Task::MultiLabel, &[-1.0, -2.0], usual()), (String::new(), None));
        assert_eq!(cell(Task::Regression, &[1.5], usual()), ("1.5".into(), None));
        assert_eq!(cell(Task::Regression, &[1.5, -2.0], usual()), ("1.5|-2".into(), None));
    }

    #[test]
    fn sets_and_numbers_are_surprising_where_they_differ_most() {
        let sets = [vec![0, 1], vec![]].map(Target::Classes);
        let logits = [2.0, 0.0, -2.0, 3.0];
        let examples = |targets: [Target; 2]| targets.map(|target| Example::new("x", target)).to_vec();
        assert_eq!(
            csv(Task::MultiLabel, examples(sets), &logits, Settings::default()),
            "line,text,label,answer,score,surprise\n\
             0,x,,\"yes, really\",,0.9526\n\
             0,x,\"no|yes, really\",\"no|yes, really\",,0.5000\n"
        );
        // the first is a mistake beside its high threshold, and the second is right by far
        let fitted = Settings { thresholds: vec![0.9, 0.2], ..Settings::default() };
        let sets = [vec![0, 1], vec![]].map(Target::Classes);
        assert_eq!(
            csv(Task::MultiLabel, examples(sets), &logits, fitted),
            "line,text,label,answer,score,surprise\n\
             0,x,,\"yes, really\",,0.9704\n\
             0,x,\"no|yes, really\",\"yes, really\",,0.5107\n"
        );
        // deviations 1 and 20
        let numbers = [vec![1.0, 20.0], vec![3.0, -20.0]].map(Target::Numbers);
        let logits = [1.5, 20.0, 3.0, -35.0];
        let pair = |example: Example| Example { pair: Some("y".into()), line: 7, ..example };
        let examples = examples(numbers).into_iter().map(pair).collect();
        assert_eq!(
            csv(Task::Regression, examples, &logits, Settings::default()),
            "line,text,pair,label,answer,score,surprise\n\
             7,x,y,3|-20,3|-35,,0.7500\n\
             7,x,y,1|20,1.5|20,,0.5000\n"
        );
    }
}
