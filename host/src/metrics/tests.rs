//! Small cases are computed by hand; for larger ones the figures of scikit-learn 1.x and SciPy are recorded
//! here.

use super::*;
use crate::data::{Example, Labels, SplitMix};

const ROWS: usize = 60;
const WIDTH: usize = 4;

fn dataset(task: Task, labels: usize, targets: impl IntoIterator<Item = Target>) -> Dataset {
    let names = (0..labels).map(|label| label.to_string()).collect();
    let example = |target| Example::new("x", target);
    Dataset {
        task,
        labels: Labels::ordered(names).unwrap(),
        examples: targets.into_iter().map(example).collect(),
        files: Vec::new(),
    }
}

/// Returns logits that are exact in any language: quarters, with ties.
fn logits() -> Vec<f32> {
    let logit = |i: usize, c: usize| ((i * 31 + c * 17 + i * c * 7) % 23) as f32 / 4.0 - 2.0;
    (0..ROWS).flat_map(|i| (0..WIDTH).map(move |c| logit(i, c))).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn single_label_equals_scikit_learn() {
    let logits = logits();
    let gold = (0..ROWS).map(|i| {
        let row = &logits[i * WIDTH..][..WIDTH];
        Target::Class(if i % 3 > 0 { argmax(row) } else { ((i * i + i / 3) % WIDTH) as u32 })
    });
    let metrics = measure(&dataset(Task::SingleLabel, WIDTH, gold), &logits, None).unwrap();
    let Metrics::SingleLabel(m) = &metrics else { panic!() };
    for (metric, value) in [
        (Metric::Accuracy, m.accuracy),
        (Metric::MicroF1, m.accuracy),
        (Metric::MacroF1, m.macro_f1),
        (Metric::WeightedF1, m.weighted_f1),
        (Metric::Mcc, m.mcc),
    ] {
        assert_eq!(metrics.get(metric), Some(value), "{metric}");
    }
    close(m.accuracy, 0.7166666666666667);
    close(m.macro_f1, 0.7242311276794036);
    close(m.weighted_f1, 0.7056539297918608);
    close(m.mcc, 0.6422751118880453);
    close(m.calibration_error, 0.1693655187195113);
    assert_eq!(m.confusion, [[12, 3, 2, 5], [0, 10, 0, 0], [3, 2, 10, 2], [0, 0, 0, 11]]);
    close(m.per_class[0].precision, 12.0 / 15.0);
    close(m.per_class[0].recall, 12.0 / 22.0);
    close(m.per_class[0].f1, 24.0 / 37.0);
    assert_eq!(m.per_class[2].support, 17);
}

#[test]
fn multi_label_equals_scikit_learn() {
    let logits = logits();
    let gold = |i: usize, c: usize| match i % 3 {
        0 => (i * 5 + c * 3).is_multiple_of(4),
        _ => (logits[i * WIDTH + c] >= 0.0) != (i + c).is_multiple_of(7),
    };
    let targets =
        (0..ROWS).map(|i| Target::Classes((0..WIDTH).filter(|&c| gold(i, c)).map(|c| c as u32).collect()));
    let data = dataset(Task::MultiLabel, WIDTH, targets);
    for (thresholds, [micro, macro_f1, weighted, subset]) in [
        (None, [0.7407407407407407, 0.74010021407769, 0.7407270612554412, 0.3]),
        (Some([0.3, 0.5, 0.7, 0.85]), [0.6530612244897959, 0.6398944193061841, 0.6342986425339366, 0.2]),
    ] {
        let metrics = measure(&data, &logits, thresholds.as_ref().map(|t| t.as_slice())).unwrap();
        let Metrics::MultiLabel(m) = &metrics else { panic!() };
        for (metric, value) in [
            (Metric::Accuracy, subset),
            (Metric::MicroF1, micro),
            (Metric::MacroF1, macro_f1),
            (Metric::WeightedF1, weighted),
        ] {
            close(metrics.get(metric).unwrap(), value);
        }
        close(m.micro_f1, micro);
        close(m.macro_f1, macro_f1);
        close(m.weighted_f1, weighted);
        close(m.subset_accuracy, subset);
    }
}

#[test]
fn regression_equals_scipy() {
    let gold = (0..ROWS).map(|i| Target::number((i * 37 % 50) as f32 / 8.0));
    let predicted: Vec<f32> =
        (0..ROWS).map(|i| ((i * 37 % 50) / 5) as f32 + (i * 11 % 13) as f32 / 4.0).collect();
    let Metrics::Regression(m) = measure(&dataset(Task::Regression, 0, gold), &predicted, None).unwrap()
    else {
        panic!()
    };
    close(m.mean.pearson, 0.94843235707857);
    close(m.mean.spearman, 0.9559246071604806);
    close(m.mean.mse, 11.000520833333333);
    close(m.mean.mae, 2.966666666666667);
    assert!(m.per_number.is_empty());
}

#[test]
fn several_numbers_are_measured_one_by_one() {
    let first: Vec<(f32, f32)> = (0..ROWS).map(|i| ((i * 37 % 50) as f32, (i * 11 % 13) as f32)).collect();
    let second: Vec<(f32, f32)> = (0..ROWS).map(|i| ((i % 7) as f32 / 4.0, (i % 5) as f32)).collect();
    let scores = |numbers: &[&[(f32, f32)]]| {
        let row = |i: usize, of: fn(&(f32, f32)) -> f32| numbers.iter().map(move |n| of(&n[i]));
        let gold = (0..ROWS).map(|i| Target::Numbers(row(i, |n| n.0).collect()));
        let predicted: Vec<f32> = (0..ROWS).flat_map(|i| row(i, |n| n.1)).collect();
        let labels = if numbers.len() > 1 { numbers.len() } else { 0 };
        let data = dataset(Task::Regression, labels, gold);
        let Metrics::Regression(m) = measure(&data, &predicted, None).unwrap() else { panic!() };
        let predicted = predict(&data, &predicted, None).unwrap();
        let pairs = || data.examples.iter().map(|example| &example.target).zip(&predicted);
        assert_eq!(pearson_of(pairs()), m.mean.pearson);
        // and of a draw
        let draw: Vec<usize> = (0..ROWS).map(|i| i * i % 23).collect();
        let drawn = draw.iter().map(|row| pairs().nth(*row).unwrap());
        let drawn = of_pairs(data.task, labels, drawn).unwrap().get(Metric::Spearman);
        assert_eq!(Some(Ranked::new(pairs()).spearman(&draw)), drawn);
        m
    };
    let both = scores(&[&first, &second]);
    let first_numbers = first;
    let [first, second] = [scores(&[&first_numbers]).mean, scores(&[&second]).mean];
    assert_eq!(both.per_number, [first, second]);
    close(both.mean.pearson, (first.pearson + second.pearson) / 2.0);
    close(both.mean.spearman, (first.spearman + second.spearman) / 2.0);
    close(both.mean.mse, (first.mse + second.mse) / 2.0);
    close(both.mean.mae, (first.mae + second.mae) / 2.0);
    // what is the same everywhere correlates with nothing
    let constant: Vec<(f32, f32)> = (0..ROWS).map(|i| (2.5, i as f32)).collect();
    let with_constant = scores(&[&constant, &first_numbers]);
    assert_eq!((with_constant.per_number[0].pearson, with_constant.mean), (0.0, first));
}

#[test]
fn no_number_outweighs_the_others() {
    let data = dataset(Task::Regression, 2, [[0.0, 0.0]; 2].map(|numbers| Target::Numbers(numbers.to_vec())));
    // deviations 100 and 0.5
    let exact = [100.0, 1.0, 300.0, 2.0];
    assert_eq!(*balanced(&data, &exact, &exact), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(*balanced(&data, &exact, &[0.0, 0.5, 50.0, 0.25]), [0.0, 1.0, 0.5, 0.5]);
    // a number that never varies is not divided by zero
    let constant = [100.0, 7.0, 300.0, 7.0];
    assert_eq!(*balanced(&data, &constant, &constant), [1.0, 7.0, 3.0, 7.0]);
    let classes = dataset(Task::SingleLabel, 2, [0, 1].map(Target::Class));
    assert_eq!(*balanced(&classes, &exact, &exact), exact);
}

#[test]
fn zero_denominators_give_zero() {
    let data = dataset(Task::SingleLabel, 3, [0, 0].map(Target::Class));
    let Metrics::SingleLabel(m) = measure(&data, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], None).unwrap() else {
        panic!()
    };
    assert_eq!((m.accuracy, m.mcc), (0.5, 0.0));
    close(m.macro_f1, (2.0 / 3.0 + 0.0) / 2.0);
    let constant = dataset(Task::Regression, 0, [1.0, 1.0].map(Target::number));
    let Metrics::Regression(m) = measure(&constant, &[1.0, 2.0], None).unwrap() else { panic!() };
    assert_eq!(m.mean, NumberScores { pearson: 0.0, spearman: 0.0, mse: 0.5, mae: 0.5 });
}

#[test]
fn calibration_error_by_hand() {
    // two classes, logits (z, 0) with sigmoid(z) = 0.9: confidence 0.9, half of them right
    let z = 9.0_f32.ln();
    close_f32(calibration(&[z, 0.0, z, 0.0], 2, [0, 1].into_iter()).error, 0.4);
    assert_eq!(calibration(&[0.0, 0.0], 2, [0].into_iter()).error, 0.5);
    assert_eq!(calibration(&[], 2, [].into_iter()), Calibration::default());
    // one right, one wrong: in the last bin but one and the last, both in the last, and both certain
    let two = |first: f32, second: f32| {
        let logit = |p: f32| (p / (1.0 - p)).ln();
        calibration(&[logit(first), 0.0, logit(second), 0.0], 2, [0, 1].into_iter()).error
    };
    close_f32(two(0.9, 0.95), (0.1 + 0.95) / 2.0);
    close_f32(two(0.94, 0.99), (0.94 + 0.99 - 1.0) / 2.0);
    close_f32(calibration(&[90.0, 0.0, 90.0, 0.0], 2, [0, 1].into_iter()).error, 0.5);
}

#[test]
fn temperature_has_the_least_loss() {
    let logits = [3.0, 1.0, -1.0, 0.5, 2.0, 0.0, 1.0, 0.0, 4.0, 2.5, 2.0, 0.0];
    let gold = [0, 1, 2, 1];
    // each text counts by a sixth, that is one of four and two more, as one of the other classes
    let loss = |t: f64| -> f64 {
        let of_row = |(row, gold): (&[f64], &usize)| {
            let all: f64 = row.iter().map(|x| (x / t).exp()).sum();
            let lost = |class: usize| all.ln() - row[class] / t;
            let others = (0..3).filter(|class| class != gold).map(lost).sum::<f64>();
            lost(*gold) * 5.0 / 6.0 + others / 2.0 / 6.0
        };
        logits.chunks(3).zip(&gold).map(of_row).sum()
    };
    let single = logits.map(|x| x as f32);
    let found = f64::from(temperature(&single, 3, &gold.map(|class| class as u32)));
    assert!(
        (0.1..10.0).contains(&found) && loss(found) < loss(found * 1.01) && loss(found) < loss(found / 1.01)
    );
}

#[test]
fn labels_that_never_occur_count_in_the_mean_of_sets() {
    let data = dataset(Task::MultiLabel, 3, [vec![0], vec![0, 1]].map(Target::Classes));
    let logits = [1.0, -1.0, -1.0, 1.0, 1.0, -1.0];
    let Metrics::MultiLabel(m) = measure(&data, &logits, None).unwrap() else { panic!() };
    assert_eq!((m.micro_f1, m.macro_f1), (1.0, 2.0 / 3.0));
}

#[test]
fn calibration_by_chance_matches_a_simulation() {
    // simulates 40 texts of confidence 0.6 and 60 of 0.9 that are right as often as they claim
    let logit = |p: f64| (p / (1.0 - p)).ln() as f32;
    let confidences: Vec<f64> = [vec![0.6; 40], vec![0.9; 60]].concat();
    let logits: Vec<f32> = confidences.iter().flat_map(|p| [logit(*p), 0.0]).collect();
    let mut random = SplitMix::new(1, 0);
    let mut draw = || {
        let gold: Vec<u32> = confidences.iter().map(|p| u32::from(!random.chance(*p))).collect();
        calibration(&logits, 2, gold.into_iter())
    };
    let drawn: Vec<Calibration> = (0..2000).map(|_| draw()).collect();
    let mean = drawn.iter().map(|c| c.error).sum::<f64>() / 2000.0;
    assert!((mean / drawn[0].by_chance - 1.0).abs() < 0.05, "{mean} {}", drawn[0].by_chance);
}

fn close_f32(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn shapes_are_checked() {
    let data = dataset(Task::SingleLabel, 2, [0, 1].map(Target::Class));
    let error = measure(&data, &[0.0; 3], None).unwrap_err();
    assert_eq!(error.to_string(), "3 logits where 4 are needed (2 examples of 2)");
    assert!(measure(&data, &[0.0; 4], Some(&[0.5])).is_err());
    assert_eq!(measure(&dataset(Task::SingleLabel, 2, []), &[], None), Err(MetricsError::Empty));
    assert_eq!(measure(&data, &[0.0, 1.0, f32::NAN, 0.0], None), Err(MetricsError::NotFinite { row: 2 }));
}

#[test]
fn each_task_has_its_figures() {
    for task in [Task::SingleLabel, Task::MultiLabel, Task::Regression] {
        let target = match task {
            Task::SingleLabel => Target::Class(0),
            Task::MultiLabel => Target::Classes(vec![0]),
            Task::Regression => Target::number(1.0),
        };
        let labels = if task == Task::Regression { 0 } else { 1 };
        let metrics = measure(&dataset(task, labels, [target]), &[1.0], None).unwrap();
        for metric in Metric::ALL {
            assert_eq!(metrics.get(metric).is_some(), metric.suits(task), "{task} {metric}");
            // the same name everywhere
            assert_eq!(metric.name().parse(), Ok(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
        assert_eq!(task.name().parse(), Ok(task));
        assert_eq!(serde_json::to_value(task).unwrap(), task.name());
        assert_eq!("Mcc".parse::<Metric>(), Err(UnknownMetric));
        assert!(Metric::of(task).suits(task));
    }
}

#[test]
fn unexplained_is_a_share_of_the_variance() {
    // two texts, two labels; the second label is the same for both texts
    let exact = [1.0, 5.0, 3.0, 5.0];
    assert_eq!(unexplained_variance(&exact, &exact, 2), 0.0);
    assert!((unexplained_variance(&exact, &[1.0, 5.0, 2.0, 5.0], 2) - 0.5).abs() < 1e-12);
    assert!((unexplained_variance(&exact, &[2.0, 5.0, 2.0, 5.0], 2) - 1.0).abs() < 1e-12);
    assert_eq!(unexplained_variance(&[1.0, 1.0], &[1.0, 1.0], 1), 0.0);
}
